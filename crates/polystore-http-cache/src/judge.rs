//! Whether a reply may be kept, and whether one that was kept may be used: what http-cache-semantics says of it.
//!
//! It is given what it reads and nothing else, in the form that it reads: directives in lower case, dates in the
//! one format that it knows, seconds that are numbers, and the age already counted (RFC 9111, section 4.2.3), which it
//! would take from `Age` alone. What it does not know is decided here: `Vary`, `stale-if-error`, that what
//! has to be validated is not given stale, whatever the request accepts. It is not told of `proxy-revalidate`, which
//! it takes for `no-cache`, nor of `immutable`, which it takes for a lifetime of a day and for `public`.

use std::time::{Duration, SystemTime};

use http::header::{
    AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, LAST_MODIFIED, PRAGMA, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, StatusCode};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};

use crate::directives::{Directives, MOST_SECONDS, delta_seconds, header};
use crate::key;
use crate::record::Stored;
use crate::request::{Question, view_of};

/// How long a reply that says nothing of it is fresh at most: a tenth of these is a week.
const MOST_UNCHANGED: Duration = Duration::from_secs(10 * 7 * 24 * 60 * 60);

/// What the decisions stand on.
pub(crate) struct Judge {
    policy: CachePolicy,
    directives: Directives,
    is_shared: bool,
    born: SystemTime,
    has_validator: bool,
    is_unique: bool,
    sets_cookie: bool,
}

/// A reply, of the origin or of the store.
pub(crate) struct Subject<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) born: SystemTime,
    /// The age at which it is stale, if the program said so.
    pub(crate) lifetime: Option<u64>,
    pub(crate) authorized: bool,
}

impl Judge {
    pub(crate) fn new(subject: &Subject<'_>, is_shared: bool) -> Self {
        let directives = Directives::of(subject.headers);
        let asked = view_of("", false, subject.authorized);
        let mut reply = HttpResponse::new(());
        *reply.status_mut() = subject.status;
        *reply.headers_mut() = view(subject, &directives);
        let options = CacheOptions {
            shared: is_shared,
            ..CacheOptions::default()
        };
        let has = |name| subject.headers.contains_key(name);
        Self {
            policy: CachePolicy::new_options(&asked, &reply, subject.born, options),
            is_shared,
            born: subject.born,
            has_validator: has(ETAG) || has(LAST_MODIFIED),
            is_unique: has(VARY) && key::varies(subject.headers).is_none(),
            sets_cookie: has(SET_COOKIE) && !directives.has("public"),
            directives,
        }
    }

    pub(crate) fn of(stored: &Stored, is_shared: bool) -> Self {
        let subject = Subject {
            status: stored.status,
            headers: &stored.headers,
            born: stored.born(),
            lifetime: stored.lifetime,
            authorized: stored.authorized,
        };
        Self::new(&subject, is_shared)
    }

    /// Whether the reply may be in a store, for as long as it is of use there.
    pub(crate) fn may_be_kept(&self) -> bool {
        // Somebody's cookie is nobody else's, even if the origin forgot to say so.
        self.policy.is_storable() && !self.is_unique && !(self.is_shared && self.sets_cookie)
    }

    /// Whether it is of the past. What is not was kept while a clock was wrong, and would be fresh until then.
    pub(crate) fn is_born_by(&self, now: SystemTime) -> bool {
        const SKEW: Duration = Duration::from_secs(60);
        now.checked_add(SKEW).is_none_or(|now| self.born <= now)
    }

    /// How long it is of use from now: while it is fresh, and as long as it may be confirmed (`keep_stale`) or
    /// help out afterwards. `None` if it never is.
    pub(crate) fn useful_for(&self, now: SystemTime, keep_stale: Duration) -> Option<Duration> {
        let confirmed = match self.has_validator {
            true => keep_stale,
            false => Duration::ZERO,
        };
        let helping = self
            .directives
            .seconds("stale-if-error")
            .unwrap_or_default();
        let stale = confirmed.max(Duration::from_secs(helping));
        let useful = self.fresh_for(now).saturating_add(stale);
        (!useful.is_zero()).then_some(useful)
    }

    /// How long it is fresh from now on.
    pub(crate) fn fresh_for(&self, now: SystemTime) -> Duration {
        self.lifetime().saturating_sub(self.age(now))
    }

    /// Seconds until it is stale, or since then below nothing.
    pub(crate) fn ttl(&self, now: SystemTime) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime()) - seconds(self.age(now))
    }

    fn lifetime(&self) -> Duration {
        self.policy.time_to_live(self.born)
    }

    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        self.policy.age(now)
    }

    /// Whether it answers `question` as it is.
    pub(crate) fn answers(&self, question: &Question, now: SystemTime) -> bool {
        let view = question.view(!self.must_be_confirmed());
        matches!(
            self.policy.before_request(&view, now),
            BeforeRequest::Fresh(_)
        )
    }

    /// Whether it may never be given stale (RFC 9111, section 4.2.4).
    fn must_be_confirmed(&self) -> bool {
        let always: &[&str] = &["no-cache", "must-revalidate"];
        let shared: &[&str] = &["proxy-revalidate", "s-maxage"];
        let has = |names: &[&str]| names.iter().any(|name| self.directives.has(name));
        has(always) || self.is_shared && has(shared)
    }

    /// Whether it helps out when the origin fails (RFC 5861, section 4).
    pub(crate) fn helps_out(&self, question: &Question, now: SystemTime) -> bool {
        if self.must_be_confirmed() {
            return false;
        }
        let said = self.directives.seconds("stale-if-error");
        let allowed = said.max(question.seconds("stale-if-error"));
        let stale = self.age(now).saturating_sub(self.lifetime());
        allowed.is_some_and(|allowed| stale <= Duration::from_secs(allowed))
    }
}

/// The headers that http-cache-semantics reads, as it reads them.
fn view(subject: &Subject<'_>, directives: &Directives) -> HeaderMap {
    let (given, lifetime) = (subject.headers, subject.lifetime);
    let mut view = HeaderMap::with_capacity(8);
    let mut control = match lifetime {
        None => directives.only(&[
            "max-age",
            "s-maxage",
            "no-cache",
            "no-store",
            "private",
            "public",
            "must-revalidate",
        ]),
        // How long is said by the program, to whom and whether at all by the origin; what it allows for
        // requests that say who asks, it allows still.
        Some(_) => {
            let mut control =
                directives.only(&["no-store", "private", "public", "must-revalidate"]);
            if directives.has("s-maxage") && !directives.has("public") {
                control += if control.is_empty() {
                    "public"
                } else {
                    ", public"
                };
            }
            control
        }
    };
    if let Some(seconds) = lifetime {
        control += if control.is_empty() { "" } else { ", " };
        control += &format!("max-age={}", seconds.min(2 * MOST_SECONDS));
    }
    if !control.is_empty() {
        view.insert(CACHE_CONTROL, header(&control));
    }
    let date = |name: HeaderName| -> Option<Option<SystemTime>> {
        let value = given.get(name)?.to_str().ok();
        Some(value.and_then(|date| httpdate::parse_http_date(date).ok()))
    };
    let show = |date: SystemTime| header(&httpdate::fmt_http_date(date));
    if lifetime.is_none() {
        // One that is no date is over (RFC 9111, section 5.3).
        if let Some(expires) = date(EXPIRES) {
            view.insert(EXPIRES, expires.map_or(HeaderValue::from_static("0"), show));
        }
        let made = date(DATE).flatten();
        if let Some(made) = made {
            view.insert(DATE, show(made));
        }
        if let Some(Some(modified)) = date(LAST_MODIFIED) {
            let first = made.unwrap_or(subject.born).checked_sub(MOST_UNCHANGED);
            let modified = first.map_or(modified, |first| modified.max(first));
            view.insert(LAST_MODIFIED, show(modified));
        }
        if let Some(pragma) = given.get(PRAGMA).filter(|_| directives.is_empty()) {
            view.insert(PRAGMA, pragma.clone());
        }
    }
    if let Some(cookie) = given.get(SET_COOKIE) {
        view.insert(SET_COOKIE, cookie.clone());
    }
    view
}

/// When the age of a reply was nothing, if it was asked for at `asked` and came at `came` (RFC 9111, section 4.2.3).
pub(crate) fn born(headers: &HeaderMap, asked: SystemTime, came: SystemTime) -> SystemTime {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let date = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let apparent = date.and_then(|date| came.duration_since(date).ok());
    // Of several ages, or what is none, the first number counts.
    let age = text(AGE).and_then(|age| delta_seconds(age.split(',').next()?.trim()));
    let delay = came.duration_since(asked).unwrap_or_default();
    let age = Duration::from_secs(age.unwrap_or(0)).saturating_add(delay);
    let age = apparent.unwrap_or_default().max(age);
    // In whole seconds, as all of these are.
    came.checked_sub(Duration::from_secs(age.as_secs()))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
