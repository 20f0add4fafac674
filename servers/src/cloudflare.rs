//! Cloudflare's KV: the real runtime, workerd, with a Worker that speaks the paths of Cloudflare's API.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ports;
use crate::server::{Ends, Server, line, with_query};
use crate::skip;

/// Node ends the runtime before itself.
const ENDS: Ends = Ends {
    graceful: "TERM",
    quick: "TERM",
};

const ACCOUNT: &str = "polystore-test";

/// A Worker that runs beside the API.
#[derive(Clone, Debug)]
pub struct Worker {
    name: String,
    folder: PathBuf,
    files: Vec<PathBuf>,
    variables: Value,
    namespaces: Value,
}

impl Worker {
    /// That of a folder, which has a `worker.mjs` and what it imports.
    #[must_use]
    pub fn new(name: &str, folder: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.into(),
            files: Vec::new(),
            variables: json!({}),
            namespaces: json!({}),
        }
    }

    /// With one more file that it may import, by its name.
    #[must_use]
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.files.push(file.into());
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables[name] = value.into();
        self
    }

    /// With the namespace of this number by a name of its own, besides `n0` and so on.
    #[must_use]
    pub fn namespace(mut self, name: &str, number: u32) -> Self {
        self.namespaces[name] = format!("n{number}").into();
        self
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "folder": self.folder,
            "files": self.files,
            "variables": self.variables,
            "namespaces": self.namespaces,
        })
    }
}

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
        Self::with_workers(namespaces, &[])
    }

    /// One with Workers beside it, which have the same namespaces. They answer by [`ask_worker`](Self::ask_worker).
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn with_workers(namespaces: u32, workers: &[Worker]) -> Option<Self> {
        let folder = folder();
        let workers =
            serde_json::to_string(&workers.iter().map(Worker::to_json).collect::<Vec<_>>());
        let workers = workers.expect("text is JSON");
        let node = Command::new("node").arg("--version").output();
        let is_there = node.is_ok_and(|node| node.status.success());
        if !is_there || !folder.join("node_modules/miniflare").exists() {
            skip("needs Node and `npm ci` in servers/cloudflare (cargo xtask test does both)");
            return None;
        }
        let server = Server::new("cloudflare", &ENDS, None);
        let port = server.start_on_free_ports(|| {
            let port = ports::free();
            (port, launch(&server, &folder, port, namespaces, &workers))
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

    /// What the Worker of that name answers. It may take two minutes.
    ///
    /// # Panics
    /// If it cannot be asked.
    pub fn ask_worker(
        &self,
        name: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let path = format!("/worker/{name}{path}");
        request(self.port, method, &path, headers, body).expect("the server runs")
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

fn launch(
    server: &Server,
    folder: &Path,
    port: u16,
    namespaces: u32,
    workers: &str,
) -> Result<(), String> {
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
        workers.to_owned(),
    ];
    // What it makes besides goes with the folder.
    let data = line([format!("TMPDIR={data}")]);
    let script = format!("export {data}\nexec {}\n", line(words));
    server.start(&script, move || {
        ask(port, "GET", "/test/ready", "").is_ok_and(|(status, _)| status == 200)
    })
}

/// What a server answers.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// A line for each header, its name in small letters.
    pub headers: Vec<String>,
    /// What comes after them.
    pub body: String,
}

impl Reply {
    /// The value of the header of this name, in small letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.headers.iter().filter_map(|line| line.split_once(": "));
        pairs.find_map(|(given, value)| (given == name).then_some(value))
    }
}

/// The status and the body.
fn ask(port: u16, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let reply = request(port, method, path, &[], body)?;
    Ok((reply.status, reply.body))
}

/// The runtime holds on to the connection, whatever it is asked for, and by HTTP/1.0 it says how long its answer is.
fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Reply> {
    let more = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\n{}\r\n{body}",
        Cloudflare::TOKEN,
        body.len(),
        more.collect::<String>()
    );
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(150)))?;
    stream.write_all(request.as_bytes())?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).unwrap_or_default();
    let status = status.parse().map_err(io::Error::other)?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push(format!("{}: {value}", name.to_ascii_lowercase()));
    }
    let mut reply = Reply {
        status,
        headers,
        body: String::new(),
    };
    let length = reply.header("content-length").unwrap_or("0");
    let mut body = vec![0; length.parse().map_err(io::Error::other)?];
    stream.read_exact(&mut body)?;
    reply.body = String::from_utf8_lossy(&body).into_owned();
    Ok(reply)
}
