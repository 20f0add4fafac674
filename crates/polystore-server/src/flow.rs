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
use polystore_kv::Error;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::problem::Problem;
use crate::record::Record;

/// What is handed over at a time. A shorter body is handed over as it is.
const PIECE: usize = 64 << 10;

/// The client sent nothing for too long.
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
    /// From one piece to the next.
    Each(Duration),
}

/// The body of a request.
struct Sent {
    body: Body,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The body of a request, which ends with [`TooSlow`] if it does not come.
pub(crate) fn sent(body: Body, pace: Pace) -> Body {
    match body.is_end_stream() {
        true => body,
        false => Body::new(Sent {
            body,
            pace,
            timer: None,
        }),
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
            if matches!(self.pace, Pace::Each(_)) {
                self.timer = None;
            }
            return Poll::Ready(frame.map(|it| it.map_err(Into::into)));
        }
        let pace = self.pace;
        let timer = self.timer.get_or_insert_with(|| {
            Box::pin(match pace {
                Pace::Until(end) => sleep_until(end),
                Pace::Each(most) => sleep(most),
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
    timer: AbortHandle,
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
    let timer = tokio::spawn(drop_if_left(Arc::clone(&reply), idle)).abort_handle();
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
        self.timer.abort();
        let mut reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        reply.held = None;
    }
}

impl Reply {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let Some((body, record)) = &mut self.held else {
            return Poll::Ready(Some(Err(Box::new(TooSlow))));
        };
        self.handed = None;
        if self.rest.is_empty() {
            match ready!(Pin::new(body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => {
                    record.kind = Some(kind_of(&error));
                    return Poll::Ready(Some(Err(error.into())));
                }
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

/// What was wrong with a list that had begun.
fn kind_of(error: &axum::Error) -> &'static str {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        let wrapped = error.downcast_ref::<std::io::Error>();
        let wrapped = wrapped.and_then(|it| it.get_ref()?.downcast_ref::<Error>());
        if let Some(error) = wrapped.or_else(|| error.downcast_ref()) {
            return Problem::kind_of(error.kind());
        }
        cause = error.source();
    }
    "other"
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
