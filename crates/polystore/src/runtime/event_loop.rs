//! The event loop of JavaScript.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use gloo_timers::future::TimeoutFuture;
use send_wrapper::SendWrapper;
pub(crate) use web_time::Instant;

use crate::error::Result;

/// The longest time that `setTimeout` keeps to: it counts milliseconds in 32 bits, with a sign
/// (HTML, section 8.6, "Timers").
const LONGEST: u128 = i32::MAX as u128;

/// The one event loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle;

/// Which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id;

impl Handle {
    #[expect(
        clippy::unused_self,
        clippy::trivially_copy_pass_by_ref,
        reason = "as tokio has it"
    )]
    pub(crate) fn id(&self) -> Id {
        Id
    }
}

/// The event loop of the caller.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there may be none")]
pub(crate) fn current() -> Result<Handle> {
    Ok(Handle)
}

/// Has it do this after what runs now, whether anybody waits or not.
pub(crate) fn spawn(_: &Handle, work: impl Future<Output = ()> + Send + 'static) {
    wasm_bindgen_futures::spawn_local(work);
}

pub(crate) async fn sleep_until(until: Instant) {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let millis = left.as_nanos().div_ceil(1_000_000).min(LONGEST);
        let timer = TimeoutFuture::new(u32::try_from(millis).unwrap_or(u32::MAX));
        SendWrapper::new(timer).await;
    }
}

/// The time is over.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// What `work` gives, unless that takes until after `deadline`.
pub(crate) async fn timeout_at<F: Future>(
    deadline: Instant,
    work: F,
) -> Result<F::Output, Elapsed> {
    let mut work = pin!(work);
    let mut over = pin!(sleep_until(deadline));
    // What is done at once needs no timer.
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => over.as_mut().poll(context).map(|()| Err(Elapsed)),
    })
    .await
}
