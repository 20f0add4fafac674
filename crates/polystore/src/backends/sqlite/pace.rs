//! Whether work that rarely waits may run on the calling thread just now.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is done on the calling thread takes microseconds; what takes longer has
/// probably waited for a disk.
const SLOW: Duration = Duration::from_millis(1);

/// Or the thread was not given the processor: that happens now and then, and to send the
/// next ones to other threads, which wait for the processor too, would make it worse.
/// So three in a short row are needed: each slow one counts so much, each quick one
/// takes one off, and at `TOO_MUCH` it is the disk.
const STRIKE: u32 = 20;
const TOO_MUCH: u32 = 60;

const FIRST_PAUSE: Duration = Duration::from_millis(8);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// After slow work the next goes to other threads for a while, so that a cold or
/// overloaded disk does not hold up an async runtime. If the attempt after that is slow
/// again, the pause doubles, up to a second.
#[derive(Default)]
pub(super) struct Pace {
    /// In nanoseconds since [`epoch`].
    paused_until: AtomicU64,
    last_pause: AtomicU64,
    strikes: AtomicU32,
}

impl Pace {
    pub(super) fn is_quick(&self, now: Instant) -> bool {
        let until = self.paused_until.load(Ordering::Relaxed);
        until == 0 || nanos(now.saturating_duration_since(epoch())) >= until
    }

    /// Learns from a piece of work that began at `begun` and ends now.
    pub(super) fn note(&self, begun: Instant) {
        let now = Instant::now();
        let strikes = self.strikes.load(Ordering::Relaxed);
        if now.saturating_duration_since(begun) < SLOW {
            if strikes > 0 {
                self.strikes.store(strikes - 1, Ordering::Relaxed);
            }
            if strikes == 1 {
                self.last_pause.store(0, Ordering::Relaxed);
                self.paused_until.store(0, Ordering::Relaxed);
            }
            return;
        }
        let strikes = (strikes + STRIKE).min(TOO_MUCH + STRIKE);
        self.strikes.store(strikes, Ordering::Relaxed);
        if strikes < TOO_MUCH {
            return;
        }
        let last_pause = self.last_pause.load(Ordering::Relaxed);
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
        for _ in 0..10 {
            // Alone, it may have been the processor.
            pace.note(before);
            assert!(pace.is_quick(now));
            for _ in 0..STRIKE {
                pace.note(Instant::now());
            }
        }
        for _ in 0..3 {
            pace.note(before);
        }
        assert!(!pace.is_quick(now));
        assert!(pace.is_quick(now + Duration::from_millis(500)));
        for _ in 0..20 {
            pace.note(before);
        }
        assert!(!pace.is_quick(now + Duration::from_millis(900)));
        assert!(pace.is_quick(now + Duration::from_secs(2)));
        for _ in 0..TOO_MUCH + STRIKE {
            pace.note(Instant::now());
        }
        assert!(pace.is_quick(Instant::now()));
    }
}
