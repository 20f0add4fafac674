//! How much a server takes.

use std::time::Duration;

use tokio::sync::Semaphore;

use crate::problem::{Outcome, Problem};

/// What a server takes at most. Each has a default that is meant to be kept.
///
/// ```
/// use std::time::Duration;
/// use polystore_server::Limits;
///
/// let mut limits = Limits::default();
/// limits.body = 1 << 20;
/// limits.request_time = Duration::from_secs(5);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The longest body, and the longest line of one that is read line by line: 32 MiB. Beyond is 413.
    pub body: usize,
    /// The longest key in bytes of UTF-8, with its prefix: 8 KiB. Beyond is 414.
    pub key: usize,
    /// How many requests are under way at once, listings being sent included: 2048. Beyond is 429 at
    /// once, with `retry-after`. The npm package's client removes all keys of a listing at once.
    pub requests: usize,
    /// How long a request may take, its body included: 60 s. Then it is 408 if its body is still
    /// coming, else 504. Lists take as long as they go on; so do bodies in lines, of which so long is waited
    /// for the client in all, and a second more for each KiB that it sent.
    pub request_time: Duration,
    /// How long a client may take nothing of a list, or send nothing of a body in lines, before it is
    /// dropped; and, of [`Server::serve`](crate::Server::serve), how long a connection may be idle: 60 s.
    pub idle_time: Duration,
    /// How many connections there may be: 4096. Each is an open file, of which a process often may have
    /// only 1024 (`polystore serve` raises that): what comes when there are no more waits. Beyond is 429
    /// and the end of the connection. Of [`Server::serve`](crate::Server::serve).
    pub connections: usize,
    /// The longest request line and headers together in bytes: 64 KiB. Beyond is 431. Of
    /// [`Server::serve`](crate::Server::serve).
    pub headers: usize,
    /// How long the headers of a request may take from their first byte, and a TLS handshake: 10 s. Of
    /// [`Server::serve`](crate::Server::serve).
    pub header_time: Duration,
    /// How long what is under way may take after the server is told to stop: 10 s. Of
    /// [`Server::serve`](crate::Server::serve).
    pub drain_time: Duration,
}

/// What is longer is as good as for ever, and no clock goes further.
const EVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl Limits {
    /// Whether `key` can be one, with the prefix of the request in front.
    pub(crate) fn check_key(&self, prefix: &str, key: &str) -> Outcome<()> {
        if prefix.len() + key.len() <= self.key {
            return Ok(());
        }
        let detail = format!("a key has at most {} bytes here", self.key);
        Err(Problem::bad_key(detail))
    }

    /// The same within what can be counted.
    pub(crate) fn countable(mut self) -> Self {
        for count in [&mut self.requests, &mut self.connections] {
            *count = (*count).min(Semaphore::MAX_PERMITS);
        }
        for time in [
            &mut self.request_time,
            &mut self.idle_time,
            &mut self.header_time,
            &mut self.drain_time,
        ] {
            *time = (*time).min(EVER);
        }
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 32 << 20,
            key: 8 << 10,
            requests: 2048,
            request_time: Duration::from_secs(60),
            idle_time: Duration::from_secs(60),
            connections: 4096,
            headers: 64 << 10,
            header_time: Duration::from_secs(10),
            drain_time: Duration::from_secs(10),
        }
    }
}
