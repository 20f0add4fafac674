//! Time limits, and trying again inside them.

use std::future::Future;
use std::time::Duration;

use super::host::{Instant, current, sleep_until, timeout_at};
use crate::error::{Error, ErrorKind, Result};

const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// As long as a server may ask to wait: what it says may be more than a clock can.
const LONGEST_ASKED: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How long to wait before each next try: twice as long each time, up to half a second, and
/// a random half of it less, so that those who failed together do not come back together.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_WAIT)
    }
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST_WAIT);
        // Without randomness they wait alike, which does no harm to anyone alone.
        let random = getrandom::u32().unwrap_or(0);
        let less = f64::from(random) / f64::from(u32::MAX) / 2.0;
        wait.mul_f64(1.0 - less)
    }

    /// When to try again, if the server has asked to wait so long.
    pub(crate) fn until(&mut self, asked: Option<Duration>) -> Instant {
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        Instant::now() + self.next().max(asked)
    }
}

/// The error of what has waited for `timeout`.
pub(crate) fn timed_out(timeout: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("the store has not answered in {timeout:?}"),
    )
}

/// Tries, and again after what is `transient`, until `timeout` is over. What was tried then may have been
/// applied if it was a write: only the caller knows.
pub(crate) async fn persist<T, F>(
    timeout: Duration,
    transient: impl Fn(&Error) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    current()?;
    let deadline = Instant::now() + timeout;
    let mut backoff = Backoff::default();
    loop {
        let error = match timeout_at(deadline, attempt()).await {
            Ok(Err(error)) if transient(&error) => error,
            Ok(done) => return done,
            Err(_) => return Err(timed_out(timeout)),
        };
        let until = backoff.until(error.retry_after());
        if until >= deadline {
            return Err(error);
        }
        sleep_until(until).await;
    }
}
