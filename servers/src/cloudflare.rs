//! Cloudflare's KV: the real runtime, workerd, with a Worker that speaks the paths of Cloudflare's API.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ports;
use crate::server::{Ends, Server, line, with_query};
use crate::skip;

/// Node ends the runtime before itself.
const ENDS: Ends = Ends {
    graceful: "TERM",
    quick: "TERM",
};

const ACCOUNT: &str = "polystore-test";

/// One server with an account of empty namespaces, `n0` and so on.
#[derive(Debug)]
pub struct Cloudflare {
    server: Server,
    port: u16,
}

impl Cloudflare {
    /// A token that may read and write.
    pub const TOKEN: &str = "secret-token-that-may-write";

    /// A token that may only read.
    pub const READ_ONLY: &str = "secret-token-that-may-read";

    /// One with eight empty namespaces. Nothing where Node or its npm packages are missing.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::with_namespaces(8)
    }

    /// One with so many namespaces: a hundred take a second.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn with_namespaces(namespaces: u32) -> Option<Self> {
        let folder = folder();
        let node = Command::new("node").arg("--version").output();
        let is_there = node.is_ok_and(|node| node.status.success());
        if !is_there || !folder.join("node_modules/miniflare").exists() {
            skip("needs Node and `npm ci` in servers/cloudflare (cargo xtask test does both)");
            return None;
        }
        let server = Server::new("cloudflare", &ENDS, None);
        let port = server.start_on_free_ports(|| {
            let port = ports::free();
            (port, launch(&server, &folder, port, namespaces))
        });
        Some(Self { server, port })
    }

    /// `cloudflare://ACCOUNT/n7?base=…`: the namespace of this number, from 0.
    #[must_use]
    pub fn url(&self, namespace: u32) -> String {
        let address = self.address();
        format!("cloudflare://{ACCOUNT}/n{namespace}?base=http://{address}/client/v4")
    }

    /// [`url`](Self::url) with parameters like `"timeout=1s"`.
    #[must_use]
    pub fn url_with(&self, namespace: u32, query: &str) -> String {
        with_query(&self.url(namespace), query)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// What the API answers: the status, and the body. The `path` is that after the namespace, like `/keys?limit=10`.
    ///
    /// # Panics
    /// If it cannot be asked.
    pub fn api(&self, namespace: u32, method: &str, path: &str, body: &str) -> (u16, String) {
        let path =
            format!("/client/v4/accounts/{ACCOUNT}/storage/kv/namespaces/n{namespace}{path}");
        ask(self.port, method, &path, body).expect("the server runs")
    }

    /// Orders the Worker to do what `worker.mjs` has under `/test/`, like `put`, with a body in JSON.
    ///
    /// # Panics
    /// If it does not.
    pub fn order(&self, what: &str, body: &str) -> String {
        let done = ask(self.port, "POST", &format!("/test/{what}"), body);
        match done.expect("the server runs") {
            (200, answer) => answer,
            (status, answer) => panic!("{what}: {status} {answer}"),
        }
    }

    /// What it wrote to its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Stops it, and waits until it has ended.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Starts it again after [`stop`](Self::stop), with the same port and data.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&self) {
        self.server.start_again();
    }
}

/// What is there of JavaScript: the Worker, and its npm packages once they are installed.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cloudflare")
}

fn launch(server: &Server, folder: &Path, port: u16, namespaces: u32) -> Result<(), String> {
    let script = folder.join("serve.mjs").to_string_lossy().into_owned();
    let data = server.folder().to_string_lossy().into_owned();
    let tokens = format!(
        r#"{{"{}":"write","{}":"read"}}"#,
        Cloudflare::TOKEN,
        Cloudflare::READ_ONLY
    );
    let words = [
        "node".to_owned(),
        script,
        port.to_string(),
        format!("{data}/kv"),
        namespaces.to_string(),
        ACCOUNT.to_owned(),
        tokens,
    ];
    // What it makes besides goes with the folder.
    let data = line([format!("TMPDIR={data}")]);
    let script = format!("export {data}\nexec {}\n", line(words));
    server.start(&script, move || {
        ask(port, "GET", "/test/ready", "").is_ok_and(|(status, _)| status == 200)
    })
}

/// The status and the body. The runtime holds on to the connection, whatever it is asked for, and by HTTP/1.0
/// it says how long its answer is.
fn ask(port: u16, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        Cloudflare::TOKEN,
        body.len()
    );
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request.as_bytes())?;
    let mut stream = BufReader::new(stream);
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(' ') {
            Some(("content-length:", bytes)) => length = bytes.parse().map_err(io::Error::other)?,
            Some((version, rest)) if version.starts_with("http/") => {
                let code = rest.split(' ').next().unwrap_or_default();
                status = code.parse().map_err(io::Error::other)?;
            }
            None if line.is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
