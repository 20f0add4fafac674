//! A load generator over HTTP/1.1, run in a process of its own: connections that are kept, on each
//! one request at a time. It knows no more of HTTP than that, so as to take little of the cores
//! that it shares with the server.

use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::Sub;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::measure::KEYS;

/// Until code is compiled, connections are open and caches are filled.
const WARM_UP: Duration = Duration::from_millis(300);
/// How long is measured.
const SPAN: Duration = Duration::from_secs(1);
/// What a second of processor time is divided into in /proc.
const TICKS: f64 = 100.0;

/// What was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) requests_per_sec: f64,
    pub(crate) p99_ms: f64,
    /// Processor time that the server took for a request, in all and without the kernel's part.
    pub(crate) cpu_micros: f64,
    pub(crate) user_micros: f64,
    /// How much of one core this program took: near 1, it would be what is measured.
    pub(crate) generator: f64,
}

/// When to begin to count and when to end.
#[derive(Clone, Copy)]
struct Spell {
    begin: Instant,
    end: Instant,
}

/// What is asked for, in turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Get,
    Put,
    /// One more visit of the connection's session.
    Visit,
}

/// Puts all keys, then has `connections` get or put them in turn; or has each of them visit with a session of its own.
pub(crate) fn run(address: &str, pid: &str, operation: &str, connections: &str) -> Load {
    let address: SocketAddr = address.parse().expect("it is an address");
    let connections: u32 = connections.parse().expect("it is a number");
    let what = match operation {
        "get" => What::Get,
        "put" => What::Put,
        _ => What::Visit,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        let mut connected = Vec::new();
        for _ in 0..connections {
            connected.push(Connection::to(address).await);
        }
        for id in 0..KEYS {
            if what != What::Visit {
                connected[0].put(id, id).await;
            }
        }
        let begin = Instant::now() + WARM_UP;
        let end = begin + SPAN;
        let tasks: Vec<_> = (0..)
            .zip(connected)
            .map(|(number, connection)| {
                tokio::spawn(connection.work(number, what, Spell { begin, end }))
            })
            .collect();
        tokio::time::sleep_until(begin.into()).await;
        let before = [Cpu::of(pid), Cpu::of("self")];
        tokio::time::sleep_until(end.into()).await;
        let [server, generator] = [Cpu::of(pid) - before[0], Cpu::of("self") - before[1]];
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.expect("no task panics"));
        }
        latencies.sort_unstable();
        let worst = latencies.len() * 99 / 100;
        let requests = latencies.len() as f64;
        Load {
            requests_per_sec: requests / SPAN.as_secs_f64(),
            p99_ms: latencies[worst].as_secs_f64() * 1e3,
            cpu_micros: server.all / requests * 1e6,
            user_micros: server.user / requests * 1e6,
            generator: generator.all / SPAN.as_secs_f64(),
        }
    })
}

/// Processor time of a process so far, in seconds.
#[derive(Clone, Copy)]
struct Cpu {
    user: f64,
    all: f64,
}

impl Cpu {
    fn of(pid: &str) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
        // The name, in parentheses, may have spaces.
        let (_, fields) = stat.rsplit_once(')').expect("it has a name");
        let mut ticks = fields.split_whitespace().skip(11);
        let mut seconds = || {
            let ticks = ticks.next().and_then(|field| field.parse::<f64>().ok());
            ticks.expect("it is a number") / TICKS
        };
        let user = seconds();
        let all = user + seconds();
        Self { user, all }
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            user: self.user - before.user,
            all: self.all - before.all,
        }
    }
}

struct Connection {
    host: SocketAddr,
    stream: TcpStream,
    request: Vec<u8>,
    reply: Vec<u8>,
    /// Of a session.
    cookie: String,
    visits: u64,
}

impl Connection {
    async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await;
        let stream = stream.expect("the server accepts");
        stream.set_nodelay(true).expect("it is a socket");
        Self {
            host: address,
            stream,
            request: Vec::new(),
            reply: Vec::new(),
            cookie: String::new(),
            visits: 0,
        }
    }

    /// How long each request took that ended in the spell.
    async fn work(mut self, number: u32, what: What, spell: Spell) -> Vec<Duration> {
        let mut latencies = Vec::new();
        let mut at = number * 37;
        loop {
            at = (at + 1) % KEYS;
            let sent = Instant::now();
            match what {
                What::Get => self.get(at).await,
                // Another value each time: SQLite does not write what is there already.
                What::Put => {
                    let count = u32::try_from(latencies.len()).unwrap_or_default();
                    self.put(at, count.wrapping_mul(KEYS)).await;
                }
                What::Visit => self.visit().await,
            }
            let now = Instant::now();
            if now >= spell.end {
                return latencies;
            }
            if now >= spell.begin {
                latencies.push(now - sent);
            }
        }
    }

    async fn get(&mut self, key: u32) {
        self.request.clear();
        write!(
            self.request,
            "GET /user:{key} HTTP/1.1\r\nhost: {}\r\n\r\n",
            self.host
        )
        .expect("memory takes it");
        let length = self.exchange().await;
        assert!(length > 50, "the value of user:{key} is short");
    }

    async fn put(&mut self, key: u32, id: u32) {
        let value = format!(r#"{{"id":{id},"name":"Ada Lovelace","email":"ada@ex.org"}}"#);
        let length = value.len();
        self.request.clear();
        write!(
            self.request,
            "PUT /user:{key} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{value}",
            self.host
        )
        .expect("memory takes it");
        self.exchange().await;
    }

    /// The server is to answer how often that was, with all visits of the session.
    async fn visit(&mut self) {
        self.request.clear();
        write!(
            self.request,
            "GET / HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\n\r\n",
            self.host, self.cookie
        )
        .expect("memory takes it");
        let length = self.exchange().await;
        self.visits += 1;
        let body = &self.reply[self.reply.len() - length..];
        assert_eq!(body, self.visits.to_string().as_bytes(), "a visit was lost");
        if self.visits == 1 {
            let head = String::from_utf8_lossy(&self.reply);
            let (_, cookie) = head.split_once("set-cookie: ").expect("there is a session");
            self.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        }
    }

    /// Sends the request and reads the whole reply: the length of its body.
    async fn exchange(&mut self) -> usize {
        let sent = self.stream.write_all(&self.request).await;
        sent.expect("the server reads");
        self.reply.clear();
        loop {
            let read = self.stream.read_buf(&mut self.reply).await;
            assert!(read.expect("the server answers") > 0, "it was cut off");
            if let Some((head, body)) = body_of(&self.reply)
                && self.reply.len() >= head + body
            {
                return body;
            }
        }
    }
}

/// The length of the head of a reply that is `200 OK`, and of its body.
fn body_of(reply: &[u8]) -> Option<(usize, usize)> {
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&reply[..end]).expect("heads are text");
    assert!(head.starts_with("HTTP/1.1 200"), "it answered: {head}");
    let mut lines = head.split("\r\n").skip(1);
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().expect("it is a number"))
    });
    Some((end + 4, length.expect("the length is said")))
}
