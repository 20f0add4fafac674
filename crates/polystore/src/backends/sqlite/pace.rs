//! Whether work that rarely waits may run on the calling thread just now.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is done on the calling thread takes microseconds; what takes longer has
/// probably waited for a disk.
const SLOW: Duration = Duration::from_millis(1);

const FIRST_PAUSE: Duration = Duration::from_millis(8);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// After a slow piece of work the next ones go to other threads for a while, so that a
/// cold or overloaded disk does not hold up an async runtime. One that was only
/// slow because its thread was not given the processor costs a few milliseconds of that; if
/// each attempt is slow, the pause doubles up to a second.
#[derive(Default)]
pub(super) struct Pace {
    /// In nanoseconds since [`epoch`].
    paused_until: AtomicU64,
    last_pause: AtomicU64,
}

impl Pace {
    pub(super) fn is_quick(&self, now: Instant) -> bool {
        let until = self.paused_until.load(Ordering::Relaxed);
        until == 0 || nanos(now.saturating_duration_since(epoch())) >= until
    }

    /// Learns from a piece of work that began at `begun` and ends now.
    pub(super) fn note(&self, begun: Instant) {
        let now = Instant::now();
        let last_pause = self.last_pause.load(Ordering::Relaxed);
        if now.saturating_duration_since(begun) < SLOW {
            if last_pause != 0 {
                self.last_pause.store(0, Ordering::Relaxed);
                self.paused_until.store(0, Ordering::Relaxed);
            }
            return;
        }
        let pause = (2 * last_pause).clamp(nanos(FIRST_PAUSE), nanos(LONGEST_PAUSE));
        let until = nanos(now.saturating_duration_since(epoch())) + pause;
        self.last_pause.store(pause, Ordering::Relaxed);
        self.paused_until.store(until, Ordering::Relaxed);
    }
}

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_work_pauses_for_longer_each_time_and_quick_work_ends_that() {
        let pace = Pace::default();
        let now = Instant::now();
        assert!(pace.is_quick(now));
        pace.note(now);
        assert!(pace.is_quick(now));
        let before = now.checked_sub(Duration::from_millis(5)).unwrap();
        pace.note(before);
        assert!(!pace.is_quick(now));
        assert!(pace.is_quick(now + Duration::from_millis(500)));
        for _ in 0..20 {
            pace.note(before);
        }
        assert!(!pace.is_quick(now + Duration::from_millis(900)));
        assert!(pace.is_quick(now + Duration::from_secs(2)));
        pace.note(Instant::now());
        assert!(pace.is_quick(Instant::now()));
    }
}
