//! What is known of a connection, to end it when its client is too slow.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::limits::Limits;

/// Times are milliseconds since it began, and zero for never.
#[derive(Debug)]
pub(crate) struct Connection {
    began: Instant,
    /// How many requests are under way.
    active: AtomicUsize,
    /// When the last one ended.
    ended: AtomicU64,
    /// Since when there is a beginning of another request.
    heading: AtomicU64,
    /// Since when the client takes nothing.
    writing: AtomicU64,
    is_given_up: AtomicBool,
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            active: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            heading: AtomicU64::new(0),
            writing: AtomicU64::new(0),
            is_given_up: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    pub(crate) fn begin(&self) {
        self.active.fetch_add(1, Relaxed);
        self.heading.store(0, Relaxed);
    }

    pub(crate) fn end(&self) {
        self.ended.store(self.now(), Relaxed);
        self.active.fetch_sub(1, Relaxed);
    }

    /// Nothing more is to be had of this client.
    pub(crate) fn give_up(&self) {
        self.is_given_up.store(true, Relaxed);
    }

    /// Whether it is to be ended now.
    pub(crate) fn is_stuck(&self, limits: &Limits) -> bool {
        let now = self.now();
        let is_over = |since: u64, most: Duration| {
            since > 0 && u128::from(now.saturating_sub(since)) >= most.as_millis()
        };
        self.is_given_up.load(Relaxed)
            || is_over(self.writing.load(Relaxed), limits.idle_time)
            || self.active.load(Relaxed) == 0
                && is_over(self.heading.load(Relaxed), limits.header_time)
    }

    /// Whether nothing was asked for a long time.
    pub(crate) fn is_idle(&self, limits: &Limits) -> bool {
        let quiet = self.now().saturating_sub(self.ended.load(Relaxed));
        self.active.load(Relaxed) == 0 && u128::from(quiet) >= limits.idle_time.as_millis()
    }
}

/// Bytes from and to a client.
#[derive(Debug)]
pub(crate) struct Observed<T> {
    pub(crate) io: T,
    pub(crate) connection: Arc<Connection>,
    /// Whether what comes between requests is the beginning of one. In HTTP/2 it need not be.
    pub(crate) is_plain: bool,
}

impl<T> Observed<T> {
    fn wrote<R>(&self, poll: Poll<R>) -> Poll<R> {
        let writing = &self.connection.writing;
        if poll.is_ready() {
            if writing.load(Relaxed) != 0 {
                writing.store(0, Relaxed);
            }
        } else if writing.load(Relaxed) == 0 {
            writing.store(self.connection.now(), Relaxed);
        }
        poll
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Observed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.io).poll_read(cx, buf);
        let connection = &self.connection;
        if self.is_plain
            && buf.filled().len() > before
            && connection.active.load(Relaxed) == 0
            && connection.heading.load(Relaxed) == 0
        {
            connection.heading.store(connection.now(), Relaxed);
        }
        poll
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Observed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_flush(cx);
        self.wrote(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_shutdown(cx);
        self.wrote(poll)
    }
}
