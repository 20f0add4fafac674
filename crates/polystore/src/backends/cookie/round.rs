//! Writes: several at a time, and what became of them.
//!
//! A browser says nothing when it refuses a cookie, or removes another for want of room: it is asked afterwards.

use futures_channel::oneshot;
use web_sys::js_sys::{Date, Reflect};

use super::jar::{self, Jar};
use super::{Attributes, Cookies, MOST, ROOM, ROOM_OF_NAMES};
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, ErrorKind, Result};

/// The last second that a cookie's date can name, with its four digits for the year.
const LAST_SECOND: i64 = 253_402_300_799;

/// What removes a cookie, as the npm package has it.
const GONE: &str = "=%22%22; expires=Thu, 01 Jan 1970 00:00:00 GMT";

/// A write that waits for its round.
pub(super) struct Job {
    key: String,
    name: String,
    /// Nothing: it is to be removed.
    value: Option<Value>,
    answer: oneshot::Sender<Result<()>>,
}

struct Value {
    text: String,
    /// The first whole second at or after the instant.
    expires: Option<i64>,
}

impl Job {
    pub(super) fn new(
        key: &str,
        entry: Option<Entry>,
        answer: oneshot::Sender<Result<()>>,
    ) -> Result<Self> {
        let name = jar::encode(key);
        if name.is_empty() {
            return Err(Error::new(ErrorKind::InvalidKey, "a cookie has a name"));
        }
        if name.len() > ROOM_OF_NAMES && entry.is_some() {
            return Err(Error::new(
                ErrorKind::InvalidKey,
                format!("a cookie's name has {ROOM_OF_NAMES} bytes as a URL writes it"),
            ));
        }
        let value = entry.filter(|entry| !entry.is_expired()).map(|entry| {
            let expires = match entry.expiry() {
                Expiry::At(at) => Some(seconds(at)),
                Expiry::Never | Expiry::Unread => None,
            };
            let text = jar::encode(entry.json());
            Value { text, expires }
        });
        if value
            .as_ref()
            .is_some_and(|value| name.len() + value.text.len() > ROOM)
        {
            return Err(Error::new(
                ErrorKind::InvalidValue,
                format!("a cookie has {ROOM} bytes, name and value as a URL writes them"),
            ));
        }
        Ok(Self {
            key: key.to_owned(),
            name,
            value,
            answer,
        })
    }

    fn is_mine(&self, name: &str) -> bool {
        jar::is_of(name, &self.key, &self.name)
    }
}

fn seconds(at: Timestamp) -> i64 {
    let rounded_up = at.as_millis().saturating_add(999).div_euclid(1000);
    rounded_up.min(LAST_SECOND)
}

impl Value {
    fn is_over(&self) -> bool {
        let now = Timestamp::now().as_millis();
        self.expires.is_some_and(|at| at * 1000 <= now)
    }

    /// As it is written.
    fn cookie(&self, name: &str, attributes: &Attributes) -> String {
        let mut cookie = format!("{name}={}", self.text);
        if let Some(at) = self.expires {
            #[expect(clippy::cast_precision_loss, reason = "it is far below 2^53")]
            let date = Date::new(&((at * 1000) as f64).into());
            cookie += "; expires=";
            cookie += &String::from(date.to_utc_string());
        }
        cookie += attributes.as_str();
        cookie
    }
}

impl Cookies {
    /// Does them, and answers. One round never has two of a key.
    pub(super) fn do_all(&self, mut jobs: Vec<Job>) {
        while !jobs.is_empty() {
            let is_second = |at: &usize| {
                let earlier = &jobs[..*at];
                earlier.iter().any(|job| job.name == jobs[*at].name)
            };
            let end = (1..jobs.len()).find(is_second).unwrap_or(jobs.len());
            let rest = jobs.split_off(end);
            self.round(jobs);
            jobs = rest;
        }
    }

    fn round(&self, jobs: Vec<Job>) {
        // Nobody waits for what was dropped.
        let jobs = jobs.into_iter().filter(|job| !job.answer.is_canceled());
        let (before, second) = (self.jar.read(), now_in_seconds());
        let mut written = Vec::new();
        let mut count = before
            .as_ref()
            .map_or(0, |cookies| jar::pairs(cookies).count());
        for job in jobs {
            let begun = before.clone().and_then(|cookies| {
                let is_new = jar::find(&cookies, &job.key, &job.name).is_none();
                if is_new && job.value.is_some() {
                    if count >= MOST {
                        return Err(full(count));
                    }
                    count += 1;
                }
                self.begin(&job, &cookies)
            });
            match begun {
                Ok(()) => written.push(job),
                // Whoever was dropped meanwhile need not hear of it.
                Err(error) => drop(job.answer.send(Err(error))),
            }
        }
        let (Ok(before), false) = (before, written.is_empty()) else {
            return;
        };
        let after = self.jar.read();
        let lost = after
            .as_ref()
            .map_or(0, |after| lost(&before, after, &written));
        // Cookies that expire do so with a second.
        let is_loss = lost > 0 && now_in_seconds() == second;
        for job in written {
            let outcome = after.clone().and_then(|after| self.look(&job, &after));
            let outcome = match (outcome, &job.value) {
                (Ok(()), Some(_)) if is_loss => Err(evicted(lost)),
                (outcome, _) => outcome,
            };
            drop(job.answer.send(outcome));
        }
    }

    fn begin(&self, job: &Job, cookies: &str) -> Result<()> {
        let attributes = self.attributes.as_str();
        if let Some(value) = &job.value {
            self.check_domain()?;
            self.jar.write(&value.cookie(&job.name, &self.attributes))?;
        }
        // Those that others have encoded in another way would be there still.
        let names = jar::pairs(cookies).map(|(name, _)| name);
        let old = names.filter(|name| job.is_mine(name));
        for name in old.filter(|name| job.value.is_none() || *name != job.name) {
            self.jar.write(&format!("{name}{GONE}{attributes}"))?;
        }
        Ok(())
    }

    /// Whether the browser has done it.
    fn look(&self, job: &Job, after: &str) -> Result<()> {
        let found = jar::find(after, &job.key, &job.name);
        let Some(value) = &job.value else {
            return match found {
                None => Ok(()),
                Some(_) => self.remove_elsewhere(job, after),
            };
        };
        if found == Some(&value.text) || found.is_none() && value.is_over() {
            return Ok(());
        }
        let is_hidden = jar::pairs(after).any(|pair| pair == (&job.name, &value.text));
        if is_hidden {
            let attributes = self.attributes.as_str();
            self.jar.write(&format!("{}{GONE}{attributes}", job.name))?;
            return Err(Error::new(
                ErrorKind::Denied,
                "another cookie of that name, with a longer path or of longer standing, hides what is written",
            ));
        }
        Err(self.refused(job))
    }

    /// Others give cookies other paths and domains, where they have to be removed.
    fn remove_elsewhere(&self, job: &Job, after: &str) -> Result<()> {
        let location = web_sys::window().map(|window| window.location());
        let location = location.as_ref();
        let path = location.and_then(|at| at.pathname().ok());
        let host = location.and_then(|at| at.hostname().ok());
        let (path, host) = (path.unwrap_or_default(), host.unwrap_or_default());
        let names = jar::pairs(after).map(|(name, _)| name);
        for name in names.filter(|name| job.is_mine(name)) {
            for path in ends(&path, '/') {
                let path = if path.is_empty() { "/" } else { path };
                let parents = host.match_indices('.').map(|(at, _)| &host[at + 1..]);
                let domains = std::iter::once(&host[..]).chain(parents).map(Some);
                for domain in std::iter::once(None).chain(domains) {
                    let attributes = self.attributes.at(Some(path), domain);
                    self.jar.write(&format!("{name}{GONE}{attributes}"))?;
                }
            }
        }
        let after = self.jar.read()?;
        match jar::find(&after, &job.key, &job.name) {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::Denied,
                "the browser does not let this page remove the cookie: it is another page's, or another site's frame wrote it",
            )),
        }
    }

    /// Fails for a domain that the page is not of.
    fn check_domain(&self) -> Result<()> {
        let Some(domain) = &self.attributes.domain else {
            return Ok(());
        };
        let host = web_sys::window().and_then(|window| window.location().hostname().ok());
        let host = host.unwrap_or_default();
        let front = host.strip_suffix(&domain[..]);
        match front.is_some_and(|front| front.is_empty() || front.ends_with('.')) {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::InvalidOption,
                "the page is not of the domain that the option domain says",
            )),
        }
    }

    /// Why a cookie that is not too large is not there.
    fn refused(&self, job: &Job) -> Error {
        if !is_so("navigator", "cookieEnabled") {
            return Error::new(ErrorKind::Denied, "the browser denies this page cookies");
        }
        if job.key.starts_with("__") {
            return Error::new(
                ErrorKind::InvalidKey,
                "the browser has refused the cookie: such a name is for servers, or for certain options only",
            );
        }
        if self.attributes.is_secure && !is_so("", "isSecureContext") {
            return Error::new(
                ErrorKind::InvalidOption,
                "the browser has refused the cookie: the option secure is for pages of https:",
            );
        }
        Error::new(
            ErrorKind::Denied,
            "the browser has refused the cookie: a server's own (HttpOnly, Secure) may have that name, its domain \
             be one under which anybody can register, or the page be a frame in another site's",
        )
    }
}

/// `text`, and what is before each `separator` in it, the longest first.
fn ends(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let parts = text.rmatch_indices(separator).map(|(at, _)| &text[..at]);
    std::iter::once(text).chain(parts)
}

/// A property of the page's `window`, or of what it has under `of`.
fn is_so(of: &str, property: &str) -> bool {
    let Some(window) = web_sys::window() else {
        return false;
    };
    let object = match of {
        "" => Ok(window.into()),
        of => Reflect::get(&window, &of.into()),
    };
    let value = object.and_then(|object| Reflect::get(&object, &property.into()));
    value.is_ok_and(|value| value.is_truthy())
}

fn now_in_seconds() -> i64 {
    Timestamp::now().as_millis().div_euclid(1000)
}

/// How many cookies have gone that nobody has asked to go.
fn lost(before: &str, after: &str, written: &[Job]) -> usize {
    let is_there = |name: &str| jar::pairs(after).any(|(there, _)| there == name);
    let gone = jar::pairs(before).filter(|(name, _)| !is_there(name));
    gone.filter(|(name, _)| !written.iter().any(|job| job.is_mine(name)))
        .count()
}

fn full(count: usize) -> Error {
    Error::new(
        ErrorKind::Full,
        format!("this page has {count} cookies already: with more the browser may remove others"),
    )
}

fn evicted(lost: usize) -> Error {
    Error::new(
        ErrorKind::Full,
        format!("to make room for the cookie, the browser has removed {lost} others of this site"),
    )
    .with_maybe_applied()
}
