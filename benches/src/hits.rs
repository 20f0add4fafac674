//! How many hits of an HTTP cache there are in a second: whole requests by reqwest, body included.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest_middleware::ClientWithMiddleware;

const SPAN: Duration = Duration::from_millis(300);

/// Replies of a small API have so many.
const HEADERS: &str = "content-type: application/json\r\ncache-control: public, max-age=3600\r\n\
    etag: \"33a64df551425fcc55e4d42a148795d9f25f89d4\"\r\nlast-modified: Fri, 02 Jan 2026 08:00:00 GMT\r\n\
    vary: accept-encoding\r\nx-request-id: 6c1b3f0e-5f6e-4b6b-8f4a-0d6d3b9c1a2f\r\nserver: bench\r\n\
    strict-transport-security: max-age=31536000\r\n";

/// Hits a second of a reply of so many bytes, by `tasks` at once.
pub(crate) fn a_second(client: &ClientWithMiddleware, bytes: usize, tasks: u32) -> f64 {
    let (url, asked) = origin(bytes);
    // A lone task is measured without the wake-ups of a second thread.
    let runtime = match tasks {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    }
    .worker_threads(2)
    .enable_all()
    .build()
    .expect("a runtime starts");
    runtime.block_on(async {
        for _ in 0..2 {
            get(client, &url, bytes).await;
        }
    });
    assert_eq!(asked.load(Ordering::Relaxed), 1, "the second one was a hit");
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let timer = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            std::thread::sleep(SPAN);
            stop.store(true, Ordering::Relaxed);
        })
    };
    let one = || {
        let (client, url) = (client.clone(), url.clone());
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        async move {
            let mut count: u32 = 0;
            while !stop.load(Ordering::Relaxed) {
                get(&client, &url, bytes).await;
                count += 1;
                // Tasks that never wait take turns all the same.
                if tasks > 1 && count.is_multiple_of(64) {
                    tokio::task::yield_now().await;
                }
            }
            done.fetch_add(u64::from(count), Ordering::Relaxed);
        }
    };
    runtime.block_on(async {
        if tasks == 1 {
            return one().await;
        }
        let tasks: Vec<_> = (0..tasks).map(|_| tokio::spawn(one())).collect();
        for task in tasks {
            task.await.expect("no task panics");
        }
    });
    let took = begun.elapsed();
    timer.join().expect("the timer does not panic");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "all were hits");
    done.load(Ordering::Relaxed) as f64 / took.as_secs_f64()
}

async fn get(client: &ClientWithMiddleware, url: &str, bytes: usize) {
    let reply = client.get(url).send().await.expect("a reply");
    let body = reply.bytes().await.expect("the body");
    assert_eq!(std::hint::black_box(body).len(), bytes);
}

/// Where a reply of so many bytes is, and how often it was asked for.
fn origin(bytes: usize) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!(
        "http://{}/api/things/17?fields=all",
        listener.local_addr().expect("its address")
    );
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        // All bytes: nothing is easier to encode than what is real.
        let body: Vec<u8> = (0..=255).cycle().take(bytes).collect();
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let mut lines = BufReader::new(&connection).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            count.fetch_add(1, Ordering::Relaxed);
            let head = format!(
                "HTTP/1.1 200 OK\r\n{HEADERS}content-length: {bytes}\r\nconnection: close\r\n\r\n"
            );
            let _ = connection
                .write_all(head.as_bytes())
                .and_then(|()| connection.write_all(&body));
        }
    });
    (url, asked)
}
