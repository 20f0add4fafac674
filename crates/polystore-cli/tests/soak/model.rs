//! What may be under the keys of one connection, which nobody else writes.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::KEYS;
use crate::client::Reply;

/// From before a request was sent until its reply was there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// How far apart the clocks may be: that of dates and that of this test are not the same.
const TOLERANCE: Duration = Duration::from_millis(50);
/// How many of the last events of a key a failure shows.
const HISTORY: usize = 12;

#[derive(PartialEq)]
struct Value {
    json: String,
    /// It expires after the first and before the second.
    expires: Option<(Instant, Instant)>,
}

impl Value {
    /// Whether it can have been there at some time of the span.
    fn may_be_present(&self, span: Span) -> bool {
        self.expires
            .is_none_or(|(_, latest)| span.from <= latest + TOLERANCE)
    }

    fn may_be_absent(&self, span: Span) -> bool {
        self.expires
            .is_some_and(|(earliest, _)| span.to + TOLERANCE >= earliest)
    }
}

/// What may be under a key: more than one thing after writes that failed halfway.
struct Slot {
    candidates: Vec<Option<Value>>,
    history: VecDeque<String>,
}

pub(crate) struct Model {
    slots: Vec<Slot>,
    numbers: u64,
    begun: Instant,
}

fn expiry(lifetime: Option<Duration>, span: Span) -> Option<(Instant, Instant)> {
    lifetime.map(|lifetime| (span.from + lifetime, span.to + lifetime))
}

impl Model {
    pub(crate) fn new() -> Self {
        let slot = || Slot {
            candidates: vec![None],
            history: VecDeque::new(),
        };
        Self {
            slots: (0..KEYS).map(|_| slot()).collect(),
            numbers: 0,
            begun: Instant::now(),
        }
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn note(&mut self, key: usize, event: &str) {
        let mut event = format!("{:?}: {event}", self.begun.elapsed());
        event.truncate(200);
        let history = &mut self.slots[key].history;
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(event);
    }

    pub(crate) fn written(
        &mut self,
        key: usize,
        value: Option<&str>,
        lifetime: Option<Duration>,
        span: Span,
    ) {
        self.slots[key].candidates.clear();
        self.add(key, value, lifetime, span);
        self.note(key, &format!("written {lifetime:?} {value:?}"));
    }

    pub(crate) fn maybe_written(
        &mut self,
        key: usize,
        value: Option<&str>,
        lifetime: Option<Duration>,
        span: Span,
    ) {
        self.add(key, value, lifetime, span);
        self.note(key, &format!("maybe written {lifetime:?} {value:?}"));
    }

    fn add(&mut self, key: usize, value: Option<&str>, lifetime: Option<Duration>, span: Span) {
        let value = value.map(|json| Value {
            json: json.to_owned(),
            expires: expiry(lifetime, span),
        });
        let candidates = &mut self.slots[key].candidates;
        if !candidates.contains(&value) {
            candidates.push(value);
        }
    }

    pub(crate) fn touched(&mut self, key: usize, lifetime: Duration, span: Span, is_sure: bool) {
        let candidates = &mut self.slots[key].candidates;
        let touched: Vec<_> = candidates
            .iter()
            .flatten()
            .filter(|value| value.may_be_present(span))
            .map(|value| {
                Some(Value {
                    json: value.json.clone(),
                    expires: expiry(Some(lifetime), span),
                })
            })
            .collect();
        if is_sure {
            candidates.clear();
        }
        candidates.extend(touched);
        let maybe = if is_sure { "" } else { "maybe " };
        self.note(key, &format!("{maybe}touched {lifetime:?}"));
    }

    pub(crate) fn check_present(&mut self, key: usize, span: Span) {
        let is_so =
            |value: &Option<Value>| value.as_ref().is_some_and(|it| it.may_be_present(span));
        self.check(key, is_so, "something is there");
    }

    pub(crate) fn check_absent(&mut self, key: usize, span: Span) {
        let is_so = |value: &Option<Value>| value.as_ref().is_none_or(|it| it.may_be_absent(span));
        self.check(key, is_so, "nothing is there");
    }

    pub(crate) fn check_value(&mut self, key: usize, found: Option<&str>, span: Span) {
        let Some(found) = found else {
            return self.check_absent(key, span);
        };
        let is_so = |value: &Option<Value>| {
            let value = value.as_ref();
            value.is_some_and(|it| it.json == found && it.may_be_present(span))
        };
        self.check(key, is_so, &format!("it is {found}"));
    }

    /// The reply to `GET`, or to `HEAD` without a body.
    pub(crate) fn check_read(&mut self, key: usize, reply: &Reply, span: Span, body: Option<&str>) {
        match reply.status {
            404 => return self.check_absent(key, span),
            200 => {}
            status => panic!("a read is answered with {status}"),
        }
        let ttl = reply.ttl.as_deref().expect("it says how long it lives");
        let is_so = |value: &Option<Value>| {
            let Some(value) = value else { return false };
            let is_left = match (ttl, value.expires) {
                ("never", expires) => expires.is_none(),
                (_, None) => false,
                (seconds, Some((earliest, latest))) => {
                    let left = Duration::from_secs_f64(seconds.parse().unwrap());
                    span.to + left + TOLERANCE >= earliest && span.from + left <= latest + TOLERANCE
                }
            };
            let is_it = body.is_none_or(|body| value.json == body);
            is_it && is_left && value.may_be_present(span)
        };
        self.check(key, is_so, &format!("it is {body:?} for {ttl}"));
    }

    fn check(&mut self, key: usize, is_so: impl Fn(&Option<Value>) -> bool, answer: &str) {
        let slot = &self.slots[key];
        if slot.candidates.iter().any(is_so) {
            return;
        }
        let mut report = format!(
            "{:?}: k{key}: {answer}, which cannot be",
            self.begun.elapsed()
        );
        for candidate in &slot.candidates {
            let at = |instant: Instant| instant.duration_since(self.begun);
            let value = candidate.as_ref().map(|value| {
                let expires = value.expires.map(|(from, to)| (at(from), at(to)));
                (&value.json, expires)
            });
            let _ = writeln!(report, "\n  may be {value:?}");
        }
        for event in &slot.history {
            let _ = writeln!(report, "  {event}");
        }
        panic!("{report}");
    }
}
