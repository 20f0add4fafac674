//! Servers that say whatever a test wants them to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given == name)?;
        Some(&found.1)
    }

    /// The method and the target.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// What goes back, byte for byte.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    text: String,
    /// The connection ends after it.
    closes: bool,
    /// The connection stays, and nothing more comes.
    hangs: bool,
}

impl Answer {
    pub(super) fn new(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        Self::raw(text + "\r\n" + body)
    }

    pub(super) fn raw(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            closes: false,
            hangs: false,
        }
    }

    /// The same with one more header.
    pub(super) fn with(self, name: &str, value: &str) -> Self {
        let (first, rest) = self.text.split_once("\r\n").unwrap();
        let text = format!("{first}\r\n{name}: {value}\r\n{rest}");
        Self { text, ..self }
    }

    pub(super) fn status(status: u16) -> Self {
        Self::new(status, &[], "")
    }

    pub(super) fn json(body: &str) -> Self {
        Self::new(200, &[("content-type", "application/json")], body)
    }

    /// As a server that speaks the whole protocol has it.
    pub(super) fn ours(status: u16, body: &str) -> Self {
        Self::new(status, &[("polystore-protocol", "1")], body)
    }

    pub(super) fn closing(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }

    pub(super) fn hanging(self) -> Self {
        Self {
            hangs: true,
            ..self
        }
    }

    /// Nothing, and the end of the connection.
    pub(super) fn nothing() -> Self {
        Self::raw("").closing()
    }
}

/// A server on a port of its own.
pub(super) struct Fake {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    left: Arc<AtomicUsize>,
}

impl Fake {
    pub(super) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    pub(super) fn on(
        listener: TcpListener,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let open = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let (all, streams) = (Arc::clone(&seen), Arc::clone(&open));
        let left = Arc::new(AtomicUsize::new(0));
        let gone = Arc::clone(&left);
        // It ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                streams.lock().unwrap().push(stream.try_clone().unwrap());
                let gone = Arc::clone(&gone);
                thread::spawn(move || serve(&stream, &all, &*answer, &gone));
            }
        });
        Self {
            address,
            seen,
            open,
            left,
        }
    }

    pub(super) fn url(&self, rest: &str) -> String {
        format!("http://{}{rest}", self.address)
    }

    /// The same at another origin.
    pub(super) fn elsewhere(&self, rest: &str) -> String {
        format!("http://localhost:{}{rest}", self.address.port())
    }

    /// How many have gone while an answer hung.
    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    pub(super) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// What came but for the question what it speaks.
    pub(super) fn lines(&self) -> Vec<String> {
        let seen = self.seen();
        let lines = seen.iter().map(Request::line);
        lines.filter(|line| !line.contains("/_/store")).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        for stream in self.open.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(
    stream: &TcpStream,
    all: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request) -> Answer,
    left: &AtomicUsize,
) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        all.lock().unwrap().push(request.clone());
        let answer = answer(&request);
        let mut stream = stream;
        let is_sent = stream.write_all(answer.text.as_bytes()).is_ok();
        if answer.hangs {
            // Until the other side goes, or the server does.
            let _ = reader.read(&mut [0]);
            left.fetch_add(1, Ordering::Relaxed);
        }
        if answer.closes || answer.hangs || !is_sent {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = || {
        let mut line = String::new();
        let length = reader.read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, length)| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        target,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}
