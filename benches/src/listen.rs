//! A server that a benchmark starts as a program of its own.

use std::io::{self, Read, Write};

use tokio::net::TcpListener;

/// Serves what `serve` makes of a listener, on as many threads as there are cores, until the
/// program that started this one ends.
pub(crate) fn run<F>(serve: impl FnOnce(TcpListener) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    std::thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut out = io::stdout();
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
        serve(listener).await
    })
}
