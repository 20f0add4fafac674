//! The event loop of a browser or a Worker.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_channel::oneshot;
use gloo_timers::future::TimeoutFuture;
use send_wrapper::SendWrapper;
pub(crate) use web_time::Instant;

/// Runs `future` beside its caller.
pub(crate) fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    wasm_bindgen_futures::spawn_local(async move {
        let _ = sender.send(future.await);
    });
    Task(receiver)
}

/// Awaits what [`spawn`] runs.
pub(crate) struct Task<T>(oneshot::Receiver<T>);

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|ended| ended.expect("a panic ends everything here"))
    }
}

pub(crate) async fn sleep(time: Duration) {
    let millis = time.as_nanos().div_ceil(1_000_000);
    let timer = TimeoutFuture::new(u32::try_from(millis).unwrap_or(u32::MAX));
    SendWrapper::new(timer).await;
}

/// Lets others run that are ready to: the browser too, which gets its turn after a timer only.
pub(crate) async fn yield_now() {
    sleep(Duration::ZERO).await;
}

/// What `future` gives, unless it takes longer than `limit`.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut over = pin!(sleep(limit));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => over.as_mut().poll(cx).map(|()| None),
    })
    .await
}
