//! A body that is kept while the program reads it.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use reqwest::Body;

use crate::changes::Waiting;

/// What to do with the whole body.
pub(crate) type Keep = Box<dyn FnOnce(Bytes) -> Waiting + Send>;

/// Gives what `body` gives as it comes, and keeps all of it once its end was read. Of one that turns out longer than
/// `limit`, or fails, or is not read to its end, nothing is kept.
pub(crate) struct Tee {
    body: Body,
    limit: u64,
    // Behind a lock that nobody waits for: a body has to be `Sync`, and these are not.
    state: Mutex<State>,
}

enum State {
    Reading(BytesMut, Keep),
    /// The last frame waits until it is done: who has read that has read the end.
    Keeping(Waiting, Option<Frame<Bytes>>),
    Passing,
    /// The body has given its end. It is not asked again: its timeouts run, however long keeping takes.
    Done,
}

impl Tee {
    pub(crate) fn new(body: Body, limit: u64, keep: Keep) -> Self {
        // As much as it says, up to what most replies are.
        let expected = body.size_hint().exact().unwrap_or(0).min(64 << 10);
        let collected = BytesMut::with_capacity(usize::try_from(expected).unwrap_or(0));
        Self {
            body,
            limit,
            state: Mutex::new(State::Reading(collected, keep)),
        }
    }
}

impl http_body::Body for Tee {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let Self { body, limit, state } = &mut *self;
        let state = state.get_mut().unwrap_or_else(PoisonError::into_inner);
        match state {
            State::Reading(..) | State::Passing => {}
            State::Keeping(keeping, last) => {
                std::task::ready!(keeping.as_mut().poll(cx));
                let last = last.take();
                *state = State::Done;
                return Poll::Ready(last.map(Ok));
            }
            State::Done => return Poll::Ready(None),
        }
        let frame = std::task::ready!(Pin::new(&mut *body).poll_frame(cx));
        let State::Reading(mut collected, keep) = std::mem::replace(state, State::Passing) else {
            return Poll::Ready(frame);
        };
        let (is_last, last) = match frame {
            None => (true, None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    if collected.len() as u64 + data.len() as u64 > *limit {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    collected.extend_from_slice(data);
                }
                // Who counts what comes may not ask for the end.
                (body.is_end_stream(), Some(frame))
            }
        };
        if !is_last {
            *state = State::Reading(collected, keep);
            return Poll::Ready(last.map(Ok));
        }
        *state = State::Keeping(keep(collected.freeze()), last);
        self.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Reading(..) | State::Keeping(..) => false,
            State::Passing => self.body.is_end_stream(),
            State::Done => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Reading(..) | State::Passing => self.body.size_hint(),
            State::Keeping(_, last) => {
                let data = last.as_ref().and_then(Frame::data_ref);
                SizeHint::with_exact(data.map_or(0, |data| data.len() as u64))
            }
            State::Done => SizeHint::with_exact(0),
        }
    }
}
