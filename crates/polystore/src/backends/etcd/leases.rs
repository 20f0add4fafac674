//! Leases: how entries leave the server by themselves.
//!
//! When an entry expires is in its own text, to the millisecond. The lease only removes it, a little
//! later, so entries that expire at about the same time share one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::failure::Failure;
use super::server::{Connection, Server};
use crate::entry::Timestamp;

/// How much later than the last of its entries a lease ends, for clocks that differ.
const MARGIN_SECONDS: i64 = 2;

/// What expires later than in so many seconds (100 years) has none; etcd knows no more than 285 years.
const FAR_SECONDS: i64 = 100 * 31_557_600;

/// More than there are at any time, unless the clock is changed.
const MOST_KEPT: usize = 4096;

/// The second in which the lease of what expires at `at` may end, or `None` for none.
///
/// It is rounded up by at most a thirty-second of the time left, so that there are few of them.
fn window(at: Timestamp, now: Timestamp) -> Option<i64> {
    let at = at.as_millis().max(now.as_millis());
    let left = (at - now.as_millis()) / 1000;
    if left > FAR_SECONDS {
        return None;
    }
    let seconds = at / 1000 + 1;
    let grain = match (left / 32).checked_ilog2() {
        Some(bits) => 1 << bits,
        None => 1,
    };
    Some((seconds + grain - 1) / grain * grain)
}

/// The leases that this process has, by the second in which they may end.
#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<i64, Held>>);

struct Held {
    lease: i64,
    /// When the server ends it, at the earliest.
    ends: Instant,
}

impl Held {
    /// Whether it is there until `end`. It is not if the clock was put back since it was granted.
    fn lasts_until(&self, end: i64, now: Timestamp) -> bool {
        let needed = (end * 1000).saturating_sub(now.as_millis());
        let needed = Duration::from_millis(needed.try_into().unwrap_or(0));
        self.ends.saturating_duration_since(Instant::now()) >= needed
    }
}

impl Leases {
    /// A lease for each of these; 0 is none.
    pub(super) async fn of(
        &self,
        server: &Server,
        expiries: &[Option<Timestamp>],
    ) -> Result<Vec<i64>, Failure> {
        if expiries.iter().all(Option::is_none) {
            return Ok(vec![0; expiries.len()]);
        }
        let now = Timestamp::now();
        let windows: Vec<_> = expiries
            .iter()
            .map(|at| at.and_then(|at| window(at, now)))
            .collect();
        let mut leases = HashMap::new();
        let mut missing = Vec::new();
        {
            let held = self.held();
            for end in windows.iter().flatten() {
                match held.get(end) {
                    Some(held) if held.lasts_until(*end, now) => {
                        leases.insert(*end, held.lease);
                    }
                    _ => missing.push(*end),
                }
            }
        }
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let now = now.as_millis() / 1000;
            let asked = Instant::now();
            let grants = missing.iter().map(async |end| {
                let seconds = end - now + MARGIN_SECONDS;
                let grant =
                    async move |connection: Arc<Connection>| connection.grant(seconds).await;
                let lease = server.call(grant).await?;
                let ends = asked + Duration::from_secs(seconds.try_into().unwrap_or(0));
                Ok((*end, Held { lease, ends }))
            });
            let granted = try_join_all(grants).await.map_err(Failure::before)?;
            leases.extend(granted.iter().map(|(end, held)| (*end, held.lease)));
            let mut held = self.held();
            held.retain(|end, _| *end > now);
            if held.len() > MOST_KEPT {
                held.clear();
            }
            held.extend(granted);
        }
        let lease = |end: &Option<i64>| end.map_or(0, |end| leases[&end]);
        Ok(windows.iter().map(lease).collect())
    }

    /// Lets these go: the server does not have one of them any more.
    pub(super) fn forget(&self, leases: &[i64]) {
        self.held().retain(|_, held| !leases.contains(&held.lease));
    }

    fn held(&self) -> MutexGuard<'_, HashMap<i64, Held>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NOW: i64 = 1_800_000_000_123;

    fn end(in_millis: i64) -> Option<i64> {
        window(
            Timestamp::from_millis(NOW.saturating_add(in_millis)),
            Timestamp::from_millis(NOW),
        )
    }

    #[test]
    fn nothing_leaves_early_or_much_later_than_it_expires() {
        for in_millis in [
            -5,
            0,
            1,
            500,
            999,
            31_999,
            60_000,
            3_600_123,
            86_400_000 * 400,
        ] {
            let late = end(in_millis).unwrap() * 1000 - (NOW + in_millis.max(0));
            assert!(late >= 0, "{in_millis}: {late}");
            assert!(late <= 1000 + in_millis.max(0) / 32, "{in_millis}: {late}");
        }
        assert_eq!(end(i64::MIN), end(0));
        assert_eq!(end(i64::MAX), None);
        let now = Timestamp::from_millis(NOW);
        assert_eq!(window(Timestamp::MAX, now), None);
    }

    #[test]
    fn a_lease_that_a_clock_put_back_has_made_too_short_is_not_used() {
        let seconds = 3600 + MARGIN_SECONDS.unsigned_abs();
        let held = Held {
            lease: 1,
            ends: Instant::now() + Duration::from_secs(seconds),
        };
        let end = NOW / 1000 + 3600;
        let at = |put_back: i64| Timestamp::from_millis(NOW - put_back * 1000);
        assert!(held.lasts_until(end, at(0)));
        assert!(held.lasts_until(end, at(-600)));
        assert!(held.lasts_until(end, at(-7200)));
        assert!(!held.lasts_until(end, at(600)));
    }

    #[test]
    fn what_expires_at_about_the_same_time_shares_a_lease() {
        let hour: BTreeSet<_> = (0..10_000).map(|n| end(3_600_000 + n)).collect();
        assert!(hour.len() <= 2, "{hour:?}");
        // Of all the times in a day there are few: for each doubling no more than 64.
        let day: BTreeSet<_> = (0..86_400).map(|n| end(n * 1000)).collect();
        assert!(day.len() <= 64 * 13, "{}", day.len());
    }
}
