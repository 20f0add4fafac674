//! The server's clock against this machine's, and instants as the server has them.
//!
//! The server judges what has expired, by its own clock, but an instant of expiry is one of this
//! machine's. What is between the two clocks is measured, and then both ways are computed with the
//! same number: an instant that was written reads back as the very one. (To send and to read the time
//! that is left would make it later by the time that each message takes.)

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::entry::{Expiry, Timestamp};

/// How long the clocks are taken to go alike.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// By how much this machine's clock may have been put right before it is compared again.
const STEP_MICROS: i64 = 300;

/// The years in which the server's instants are, in microseconds since 1970. Where it begins, year 1,
/// is late enough for what is over.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;
const LAST_MICROS: i64 = Timestamp::MAX.as_millis() * 1000 + 86_400_000_000;

/// The server's "infinity" is the last number of microseconds since 2000: in a row that somebody made by
/// hand. No instant comes near.
const LAST_INFINITE: i64 = i64::MAX - 86_400_000_000;

/// An instant on the server's clock.
pub(super) type ServerTime = SystemTime;

fn micros(at: ServerTime) -> i64 {
    let whole = |since: Duration| i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => -whole(before.duration()),
    }
}

fn server_time(micros: i64) -> ServerTime {
    let since = Duration::from_micros(micros.unsigned_abs());
    if micros < 0 {
        SystemTime::UNIX_EPOCH - since
    } else {
        SystemTime::UNIX_EPOCH + since
    }
}

/// How far the server's clock is ahead.
#[derive(Default)]
pub(super) struct Clock(Mutex<Option<Sample>>);

#[derive(Clone, Copy)]
struct Sample {
    /// The server's time less this machine's, in microseconds.
    ahead: i64,
    at: Moment,
}

/// What both clocks of this machine say.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    micros: i64,
    steady: Instant,
}

impl Moment {
    pub(super) fn now() -> Self {
        let mut steady = Instant::now();
        // The processor may be given to others between the two.
        for _ in 0..3 {
            let micros = micros(SystemTime::now());
            let then = Instant::now();
            if then - steady < Duration::from_micros(50) {
                return Self { micros, steady };
            }
            steady = then;
        }
        let micros = micros(SystemTime::now());
        Self { micros, steady }
    }
}

impl Clock {
    /// Whether the clocks have to be compared before an instant can be converted.
    pub(super) fn is_stale(&self) -> bool {
        let Some(sample) = *self.sample() else {
            return true;
        };
        let now = Moment::now();
        let went = now.steady.saturating_duration_since(sample.at.steady);
        let micros = i64::try_from(went.as_micros()).unwrap_or(i64::MAX);
        let step = now.micros.saturating_sub(sample.at.micros) - micros;
        went > GOOD_FOR || step.abs() > STEP_MICROS
    }

    /// Learns that the server's clock said `server` at some time between `before` and `after`.
    ///
    /// As long as what is known can be true it stays, so that instants read as they were written.
    /// The first is taken at the end where nothing expires early.
    pub(super) fn learn(&self, before: Moment, server: ServerTime, after: Moment) {
        let server = micros(server);
        let least = server.saturating_sub(after.micros);
        let most = server.saturating_sub(before.micros).max(least);
        let mut sample = self.sample();
        let ahead = sample.map_or(most, |sample| sample.ahead.clamp(least, most));
        *sample = Some(Sample { ahead, at: after });
    }

    fn ahead(&self) -> i64 {
        self.sample().map_or(0, |sample| sample.ahead)
    }

    /// When that is on the server's clock, or `None` for never.
    pub(super) fn to_server(&self, expiry: Expiry) -> Option<ServerTime> {
        let micros = expiry.as_millis()?.saturating_mul(1000);
        let there = micros.saturating_add(self.ahead());
        Some(server_time(there.clamp(FIRST_MICROS, LAST_MICROS)))
    }

    /// When that is on this machine's clock. A fraction of a millisecond rounds up.
    pub(super) fn to_local(&self, at: Option<ServerTime>) -> Expiry {
        let Some(there) = at.map(micros).filter(|there| *there < LAST_INFINITE) else {
            return Expiry::Never;
        };
        let micros = there.saturating_sub(self.ahead());
        let millis = micros.div_euclid(1000) + i64::from(micros.rem_euclid(1000) > 0);
        Expiry::At(Timestamp::from_millis(millis).min(Timestamp::MAX))
    }

    fn sample(&self) -> MutexGuard<'_, Option<Sample>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Expiry {
        Expiry::At(Timestamp::from_millis(millis))
    }

    fn moment(micros: i64) -> Moment {
        Moment {
            micros,
            steady: Instant::now(),
        }
    }

    fn server(micros: i64) -> ServerTime {
        server_time(micros)
    }

    #[test]
    fn an_instant_reads_back_as_it_was_written() {
        let clock = Clock::default();
        for ahead in [0, 1, -1, 999, 1_234_567, -98_765_432_101] {
            let now = Moment::now();
            clock.0.lock().unwrap().take();
            clock.learn(now, server(now.micros + ahead), now);
            for millis in [0, 1, -1, 1_700_000_000_123, Timestamp::MAX.as_millis()] {
                let there = clock.to_server(at(millis));
                assert_eq!(clock.to_local(there), at(millis), "{ahead}");
            }
            assert_eq!(clock.to_server(Expiry::Never), None);
            assert_eq!(clock.to_local(None), Expiry::Never);
        }
    }

    #[test]
    fn what_is_known_of_the_clocks_stays_as_long_as_it_can_be_true() {
        let clock = Clock::default();
        clock.learn(moment(1000), server(5000), moment(1400));
        assert_eq!(clock.ahead(), 4000);
        clock.learn(moment(2000), server(6500), moment(2600));
        assert_eq!(clock.ahead(), 4000);
        clock.learn(moment(3000), server(6900), moment(3100));
        assert_eq!(clock.ahead(), 3900);
        clock.learn(moment(4000), server(9000), moment(4500));
        assert_eq!(clock.ahead(), 4500);
    }

    #[test]
    fn infinity_is_never() {
        let clock = Clock::default();
        let infinity = server_time(946_684_800_000_000) + Duration::from_micros(i64::MAX as u64);
        assert_eq!(clock.to_local(Some(infinity)), Expiry::Never);
        let last = server_time(LAST_MICROS);
        assert_ne!(clock.to_local(Some(last)), Expiry::Never);
    }

    #[test]
    fn a_clock_that_was_put_right_is_compared_again() {
        let clock = Clock::default();
        assert!(clock.is_stale());
        let now = Moment::now();
        clock.learn(now, server(now.micros), now);
        assert!(!clock.is_stale());
        let before = Moment {
            micros: now.micros - 1_000_000,
            ..now
        };
        clock.learn(before, server(now.micros), before);
        assert!(clock.is_stale());
    }
}
