//! When expired entries are looked for.
//!
//! LevelDB has no index of expiries, so finding them takes a walk through everything. It is
//! done a page at a time, with long rests between, and only when something may have expired.

use std::time::{Duration, Instant};

use super::reader::{Doomed, Range};
use crate::entry::Timestamp;

/// After a page, it rests so many times as long as that took.
const REST: u32 = 20;

/// It rests at least so long after a page, and after the last.
const BETWEEN_PAGES: Duration = Duration::from_millis(10);
const BETWEEN_WALKS: Duration = Duration::from_secs(1);

/// And so long after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// The sleep of a thread that waits for something to expire: clocks are put right.
const LONGEST_REST: Duration = Duration::from_secs(600);

pub(super) struct Sweeper {
    /// Whether anything was written: a store that is only read removes nothing either.
    has_written: bool,
    /// The first expiry that is known of, in milliseconds since 1970, but for what the walk
    /// under way has seen.
    first_expiry: Option<i64>,
    walk: Option<Walk>,
    not_before: Instant,
}

struct Walk {
    range: Range,
    /// The first expiry of what it has left.
    first_expiry: Option<i64>,
}

impl Sweeper {
    pub(super) fn new() -> Self {
        Self {
            has_written: false,
            first_expiry: None,
            walk: None,
            not_before: Instant::now(),
        }
    }

    /// Hears of a write, and when the first of what it put expires.
    pub(super) fn note_write(&mut self, first_expiry: Option<i64>) {
        if !self.has_written {
            self.has_written = true;
            // What expired before, or was written by others.
            self.first_expiry = Some(0);
        }
        self.first_expiry = earlier(self.first_expiry, first_expiry);
    }

    /// How long until there is something to do, if ever.
    pub(super) fn rest(&self) -> Option<Duration> {
        let due = match (&self.walk, self.first_expiry) {
            (Some(_), _) => Duration::ZERO,
            (None, Some(first)) => Timestamp::from_millis(first).duration_from_now(),
            (None, None) => return None,
        };
        let rest = self.not_before.saturating_duration_since(Instant::now());
        Some(due.max(rest).min(LONGEST_REST))
    }

    /// The part of the store to look at now, if it is time.
    pub(super) fn next(&mut self) -> Option<Range> {
        if self.rest() != Some(Duration::ZERO) {
            return None;
        }
        let walk = self.walk.get_or_insert_with(|| {
            self.first_expiry = None;
            Walk {
                range: Range::of_prefix(""),
                first_expiry: None,
            }
        });
        Some(walk.range.clone())
    }

    /// Hears what was found there, and how long that took.
    pub(super) fn note_found(&mut self, found: &Doomed, took: Duration) {
        let Some(mut walk) = self.walk.take() else {
            return;
        };
        walk.first_expiry = earlier(walk.first_expiry, found.first_expiry);
        let least = if let Some(next) = &found.next {
            walk.range.start.clone_from(next);
            self.walk = Some(walk);
            BETWEEN_PAGES
        } else {
            self.first_expiry = earlier(self.first_expiry, walk.first_expiry);
            BETWEEN_WALKS
        };
        self.not_before = Instant::now() + least.max(REST * took);
    }

    pub(super) fn note_failure(&mut self) {
        self.walk = None;
        self.first_expiry = Some(0);
        self.not_before = Instant::now() + AFTER_FAILURE;
    }
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(next: Option<&str>, first_expiry: Option<i64>) -> Doomed {
        Doomed {
            keys: Vec::new(),
            next: next.map(|key| key.as_bytes().to_owned()),
            first_expiry,
        }
    }

    #[test]
    fn it_walks_once_after_the_first_write_and_again_when_something_expires() {
        let mut sweeper = Sweeper::new();
        assert_eq!(sweeper.rest(), None);
        sweeper.note_write(None);
        let range = sweeper.next().unwrap();
        assert!(range.start.is_empty());
        sweeper.note_found(&found(Some("k"), None), Duration::ZERO);
        assert!(sweeper.next().is_none());
        assert!(sweeper.rest().unwrap() <= BETWEEN_PAGES);
        sweeper.not_before = Instant::now();
        assert_eq!(sweeper.next().unwrap().start, b"k");
        let soon = Timestamp::now().as_millis() + 100_000;
        sweeper.note_found(&found(None, Some(soon)), Duration::ZERO);
        let rest = sweeper.rest().unwrap();
        assert!(rest > Duration::from_secs(90) && rest <= Duration::from_secs(100));
        sweeper.note_write(Some(soon - 50_000));
        assert!(sweeper.rest().unwrap() <= Duration::from_secs(50));
        sweeper.note_write(Some(0));
        assert!(sweeper.rest().unwrap() <= BETWEEN_WALKS);
        sweeper.not_before = Instant::now();
        assert!(sweeper.next().is_some());
        sweeper.note_found(&found(None, None), Duration::from_secs(1));
        assert_eq!(sweeper.rest(), None);
        assert!(sweeper.not_before > Instant::now() + Duration::from_secs(15));
    }
}
