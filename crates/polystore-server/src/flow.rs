//! Bodies that have to move: what a client sends too slowly is refused, and what it does not take
//! is dropped.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::record::Record;

/// What is handed over at a time. A shorter body is handed over as it is.
const PIECE: usize = 64 << 10;

/// The bytes a second of a body in lines below which a client is only holding a place. A listing that is read
/// more slowly than a [`PIECE`] in the idle time is dropped, which by default is about the same.
const SLOWEST: u32 = 1 << 10;

/// The client sent nothing, or next to nothing, for too long.
#[derive(Debug)]
pub(crate) struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client was too slow")
    }
}

impl StdError for TooSlow {}

/// How long the body of a request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    Until(Instant),
    /// As long as it goes on.
    Going {
        /// From one piece to the next.
        idle: Duration,
        /// How long is waited for the client in all. What comes adds to it at [`SLOWEST`], up to this again.
        patience: Duration,
    },
}

/// The body of a request.
struct Sent {
    body: Body,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when the client is waited for. How long the store takes is not held against it.
    waiting: Option<Instant>,
    /// What is left of the patience.
    left: Duration,
}

/// The body of a request, which ends with [`TooSlow`] if it does not come.
pub(crate) fn sent(body: Body, pace: Pace) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let left = match pace {
        Pace::Until(_) => Duration::ZERO,
        Pace::Going { patience, .. } => patience,
    };
    Body::new(Sent {
        body,
        pace,
        timer: None,
        waiting: None,
        left,
    })
}

impl Sent {
    /// So many bytes came of a body that takes as long as it goes on.
    fn came(&mut self, bytes: usize, patience: Duration) {
        let waited = self.waiting.take().map(|since| since.elapsed());
        let earned = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(earned.into()) / SLOWEST;
        let left = self.left.saturating_sub(waited.unwrap_or_default());
        self.left = left.saturating_add(earned).min(patience);
        self.timer = None;
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Pace::Going { patience, .. } = self.pace {
                let data = frame.as_ref().and_then(|it| it.as_ref().ok()?.data_ref());
                self.came(data.map_or(0, Bytes::len), patience);
            }
            return Poll::Ready(frame.map(|it| it.map_err(Into::into)));
        }
        let (pace, left) = (self.pace, self.left);
        self.waiting.get_or_insert_with(Instant::now);
        let timer = self.timer.get_or_insert_with(|| {
            Box::pin(match pace {
                Pace::Until(end) => sleep_until(end),
                Pace::Going { idle, .. } => sleep(idle.min(left)),
            })
        });
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(Box::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a reply.
struct Taken {
    reply: Arc<Mutex<Reply>>,
    /// None outside of tokio, where there are no timers.
    timer: Option<AbortHandle>,
}

/// What is gone when the client is too slow.
struct Reply {
    held: Option<(Body, Record)>,
    /// What is left of a long piece.
    rest: Bytes,
    /// Since when the client has something to take.
    handed: Option<Instant>,
}

/// The body of a reply with what is told at its end, so that it is dropped if for `idle` nothing of
/// it is taken. One that is short and there is handed over at once.
pub(crate) fn taken(body: Body, record: Record, idle: Duration) -> Body {
    if body
        .size_hint()
        .upper()
        .is_some_and(|it| it <= PIECE as u64)
    {
        return body;
    }
    let reply = Arc::new(Mutex::new(Reply {
        held: Some((body, record)),
        rest: Bytes::new(),
        handed: Some(Instant::now()),
    }));
    let timer = Handle::try_current().ok().map(|runtime| {
        let task = runtime.spawn(drop_if_left(Arc::clone(&reply), idle));
        task.abort_handle()
    });
    Body::new(Taken { reply, timer })
}

async fn drop_if_left(reply: Arc<Mutex<Reply>>, idle: Duration) {
    loop {
        let left = {
            let mut reply = reply.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = reply.handed.map_or(Duration::ZERO, |it| it.elapsed());
            if waited >= idle {
                if let Some((_, mut record)) = reply.held.take() {
                    record.give_up();
                }
                reply.rest.clear();
                return;
            }
            idle - waited
        };
        sleep(left).await;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
        let mut reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        reply.held = None;
    }
}

impl Reply {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let Some((body, _)) = &mut self.held else {
            return Poll::Ready(Some(Err(Box::new(TooSlow))));
        };
        self.handed = None;
        if self.rest.is_empty() {
            match ready!(Pin::new(body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
            }
        }
        self.handed = Some(Instant::now());
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl HttpBody for Taken {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        reply.poll(cx)
    }

    fn size_hint(&self) -> SizeHint {
        let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        let left = reply.rest.len() as u64;
        let Some((body, _)) = &reply.held else {
            return SizeHint::new();
        };
        let of_body = body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + left);
        }
        hint.set_lower(of_body.lower() + left);
        hint
    }
}
