//! A TCP proxy that breaks connections the way networks do, when it is told to.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Sub;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ports;

/// Stands between clients and a server. It forwards as it is, until it is told otherwise; each method works on the
/// connections that there are and on those to come.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
}

/// What went through a [`Proxy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: u64,
    /// How often something was read from clients and forwarded: about the number of requests, or fewer
    /// where a client did not wait between them.
    pub requests: u64,
    /// The bytes in them.
    pub request_bytes: u64,
    /// How often something was read from the server and forwarded.
    pub replies: u64,
    /// The bytes in them.
    pub reply_bytes: u64,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    port: u16,
    state: Mutex<State>,
    /// Whenever the state changes.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    flow: Flow,
    is_refusing: bool,
    is_listening: bool,
    is_over: bool,
    delay: Delay,
    limit: Option<Limit>,
    counts: Counts,
    connections: HashMap<u64, Connection>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Flow {
    #[default]
    Passes,
    Stalls,
    Vanishes,
}

#[derive(Clone, Copy, Debug, Default)]
struct Delay {
    requests: Duration,
    replies: Duration,
}

/// What happens after so many more bytes of reply.
#[derive(Clone, Copy, Debug)]
struct Limit {
    bytes: usize,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Cut,
    Swallow,
}

#[derive(Debug)]
struct Connection {
    ends: [TcpStream; 2],
    /// In how many something may still come.
    directions: u8,
    /// It has lost bytes, so that what comes after them would make no sense.
    has_hole: bool,
    /// Whether the rest of what the server says is swallowed.
    is_truncated: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Requests,
    Replies,
}

impl Proxy {
    /// One in front of `server`, on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn to(server: SocketAddr) -> Self {
        let listening = std::iter::repeat_with(ports::free).take(10);
        let listening =
            listening.map(|port| (port, TcpListener::bind((Ipv4Addr::LOCALHOST, port))));
        let (port, listener) = listening
            .filter_map(|(port, listener)| Some((port, listener.ok()?)))
            .next()
            .expect("one of ten ports is still free");
        let state = State {
            is_listening: true,
            ..State::default()
        };
        let shared = Arc::new(Shared {
            server,
            port,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(listener));
        Self { shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.shared.port).into()
    }

    /// `url` of the server, by way of the proxy.
    ///
    /// # Panics
    /// If `url` does not name the server's address as it is.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let server = self.shared.server.to_string();
        assert!(url.contains(&server), "the URL does not name {server}");
        url.replacen(&server, &self.address().to_string(), 1)
    }

    /// Ends every trouble: connections are accepted, and all is forwarded at once. What was held back by
    /// [`stall`](Self::stall) goes on its way; connections that lost something to [`black_hole`](Self::black_hole) or
    /// [`truncate_after`](Self::truncate_after) are cut.
    pub fn pass(&self) {
        let mut state = self.shared.state();
        state.flow = Flow::Passes;
        state.delay = Delay::default();
        state.limit = None;
        state.cut(|connection| connection.has_hole);
        drop(state);
        self.shared.changed.notify_all();
        self.set_refusing(false);
    }

    /// Forwards each chunk so much later.
    pub fn delay(&self, requests: Duration, replies: Duration) {
        self.shared.state().delay = Delay { requests, replies };
    }

    /// Cuts every connection that there is, in both directions. New ones are accepted.
    pub fn cut(&self) {
        self.shared.state().cut(|_| true);
        self.shared.changed.notify_all();
    }

    /// Forwards `bytes` more of reply, counted over all connections from now on, then cuts the one that they came on.
    /// After that, all is as before.
    pub fn cut_after(&self, bytes: usize) {
        let then = Then::Cut;
        self.shared.state().limit = Some(Limit { bytes, then });
    }

    /// Like [`cut_after`](Self::cut_after), but the connection stays open and the rest of what the server says on it is
    /// swallowed.
    pub fn truncate_after(&self, bytes: usize) {
        let then = Then::Swallow;
        self.shared.state().limit = Some(Limit { bytes, then });
    }

    /// Forwards nothing any more and says nothing, until [`pass`](Self::pass): a network that is broken for a while.
    pub fn stall(&self) {
        self.shared.state().flow = Flow::Stalls;
    }

    /// Takes everything and forwards nothing.
    pub fn black_hole(&self) {
        self.shared.state().flow = Flow::Vanishes;
        self.shared.changed.notify_all();
    }

    /// Refuses new connections, as a machine does where no server runs. Those that there are stay.
    pub fn refuse(&self) {
        self.set_refusing(true);
    }

    /// Accepts connections again after [`refuse`](Self::refuse).
    pub fn accept(&self) {
        self.set_refusing(false);
    }

    fn set_refusing(&self, refusing: bool) {
        let shared = &self.shared;
        let mut state = shared.state();
        if state.is_refusing == refusing {
            return;
        }
        state.is_refusing = refusing;
        drop(state);
        shared.changed.notify_all();
        if refusing {
            shared.wake();
        }
        let mut state = shared.state();
        while state.is_listening == refusing {
            state = shared.wait(state);
        }
    }

    /// What went through so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    /// How many connections are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.state().connections.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_over = true;
        state.cut(|_| true);
        drop(state);
        self.shared.changed.notify_all();
        self.shared.wake();
    }
}

/// What went through between two looks.
impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            requests: self.requests - earlier.requests,
            request_bytes: self.request_bytes - earlier.request_bytes,
            replies: self.replies - earlier.replies,
            reply_bytes: self.reply_bytes - earlier.reply_bytes,
        }
    }
}

impl State {
    fn cut(&mut self, which: impl Fn(&Connection) -> bool) {
        let numbers = self.connections.iter().filter(|(_, one)| which(one));
        let numbers: Vec<u64> = numbers.map(|(number, _)| *number).collect();
        for number in numbers {
            self.cut_one(number);
        }
    }

    fn cut_one(&mut self, number: u64) {
        let connection = self.connections.remove(&number);
        for end in connection.iter().flat_map(|connection| &connection.ends) {
            // It may be over already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// How much of `length` bytes is forwarded on the connection, and whether it is cut afterwards; nothing if
    /// the connection is over.
    fn admit(&mut self, number: u64, direction: Direction, length: usize) -> Option<(usize, bool)> {
        let connection = self.connections.get_mut(&number)?;
        let replies = direction == Direction::Replies;
        if self.flow == Flow::Vanishes || (replies && connection.is_truncated) {
            connection.has_hole = true;
            return Some((0, false));
        }
        let mut admitted = (length, false);
        if let Some(limit) = self.limit.as_mut().filter(|_| replies) {
            if length < limit.bytes {
                limit.bytes -= length;
            } else {
                admitted = (limit.bytes, limit.then == Then::Cut);
                connection.is_truncated = true;
                connection.has_hole = true;
                self.limit = None;
            }
        }
        let (counted, bytes) = match direction {
            Direction::Requests => (&mut self.counts.requests, &mut self.counts.request_bytes),
            Direction::Replies => (&mut self.counts.replies, &mut self.counts.reply_bytes),
        };
        *counted += u64::from(admitted.0 > 0);
        *bytes += admitted.0 as u64;
        Some(admitted)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread that waits for a client can be reached by a client only.
    fn wake(&self) {
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }

    fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut listener = Some(listener);
        let mut next = 0;
        loop {
            let accepted = listener.as_ref().map(TcpListener::accept);
            let mut state = self.state();
            if state.is_over {
                return;
            }
            if state.is_refusing {
                // Whoever came in between is turned away with it.
                listener = None;
                state.is_listening = false;
                self.changed.notify_all();
                while state.is_refusing && !state.is_over {
                    state = self.wait(state);
                }
                continue;
            }
            drop(state);
            if listener.is_none() {
                listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).ok();
                assert!(listener.is_some(), "the proxy's port was taken");
                self.state().is_listening = true;
                self.changed.notify_all();
            } else if let Some(Ok((client, _))) = accepted {
                next += 1;
                self.connect(next, client);
            }
        }
    }

    /// Without a server, the client is cut off: it may be about to start again.
    fn connect(self: &Arc<Self>, number: u64, client: TcpStream) {
        let dial = || -> std::io::Result<()> {
            let server = TcpStream::connect(self.server)?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let connection = Connection {
                ends: [client.try_clone()?, server.try_clone()?],
                directions: 2,
                has_hole: false,
                is_truncated: false,
            };
            let mut state = self.state();
            state.counts.connections += 1;
            state.connections.insert(number, connection);
            drop(state);
            let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
            self.pump(number, Direction::Requests, client_too, server);
            self.pump(number, Direction::Replies, server_too, client);
            Ok(())
        };
        let _ = dial();
    }

    /// Two threads, so that what is delayed does not hold up what comes behind it any longer.
    fn pump(self: &Arc<Self>, number: u64, direction: Direction, from: TcpStream, to: TcpStream) {
        let (sender, receiver) = sync_channel(64);
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.read(direction, from, &sender));
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.forward(number, direction, &receiver, to));
    }

    fn read(
        &self,
        direction: Direction,
        mut from: TcpStream,
        chunks: &SyncSender<(Instant, Vec<u8>)>,
    ) {
        let mut buffer = vec![0; 1 << 16];
        // Nothing read is the end, of which the other side hears as well.
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let delay = self.state().delay;
            let delay = match direction {
                Direction::Requests => delay.requests,
                Direction::Replies => delay.replies,
            };
            if chunks
                .send((Instant::now() + delay, buffer[..length].to_vec()))
                .is_err()
            {
                break;
            }
        }
    }

    fn forward(
        &self,
        number: u64,
        direction: Direction,
        chunks: &Receiver<(Instant, Vec<u8>)>,
        mut to: TcpStream,
    ) {
        for (due, chunk) in chunks {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut state = self.state();
            while state.flow == Flow::Stalls && state.connections.contains_key(&number) {
                state = self.wait(state);
            }
            let admitted = state.admit(number, direction, chunk.len());
            drop(state);
            let Some((length, cut)) = admitted else {
                return;
            };
            if to.write_all(&chunk[..length]).is_err() || cut {
                self.state().cut_one(number);
                return;
            }
        }
        // The end of one direction; the other may still have something to say.
        let mut state = self.state();
        while state.flow == Flow::Stalls && state.connections.contains_key(&number) {
            state = self.wait(state);
        }
        let _ = to.shutdown(Shutdown::Write);
        let Some(connection) = state.connections.get_mut(&number) else {
            return;
        };
        connection.directions -= 1;
        if connection.directions == 0 {
            state.cut_one(number);
        }
    }
}
