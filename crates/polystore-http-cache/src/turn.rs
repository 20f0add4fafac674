//! One request that the cache may answer, step by step.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use polystore_kv::Store;
use reqwest::{Body, Request, Response, Url};
use reqwest_middleware::{Next, Result};

use crate::cache::HttpCache;
use crate::changes::Since;
use crate::judge::{self, Judge, Subject};
use crate::key;
use crate::record::{Head, Stored};
use crate::reply::{self, Forward, Said, said};
use crate::request::{Asked, Question};
use crate::shelf::{self, Found, Keeping, Variant};
use crate::tee::{Keep, Tee};

/// One request that the cache may answer.
pub(crate) struct Turn<'a> {
    pub(crate) cache: &'a HttpCache,
    pub(crate) store: &'a Store,
    pub(crate) lifetime: Option<u64>,
    pub(crate) since: Since,
    pub(crate) question: Question,
    pub(crate) now: SystemTime,
}

/// When the origin was asked, and when its reply came: what the store took before is not the reply's age.
#[derive(Clone, Copy)]
struct Way {
    asked: SystemTime,
    came: SystemTime,
}

impl Way {
    fn since(asked: SystemTime) -> Self {
        let came = SystemTime::now();
        Self { asked, came }
    }
}

impl Turn<'_> {
    pub(crate) async fn answer(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let asked = Asked::new(request.headers(), &self.cache.client_headers);
        let changes = &self.cache.changes;
        let (old, mut forward) = match shelf::find(self.store, changes, &self.since, asked).await {
            Found::Nothing(forward) => (None, forward),
            Found::Reply(stored) => {
                let judge = Judge::of(&stored, self.cache.is_shared);
                // Another program may keep by other rules, or have another clock.
                match judge.may_be_kept() && judge.is_born_by(self.now) {
                    true => (Some((stored, judge)), Forward::Stale),
                    false => (None, Forward::UriMiss),
                }
            }
        };
        let old = match old {
            Some((stored, judge)) if judge.answers(&self.question, self.now) => {
                let hit = Said::hit(judge.ttl(self.now));
                let url = request.url().clone();
                return Ok(reply::kept(
                    stored,
                    &judge,
                    self.now,
                    &hit,
                    url,
                    request.method(),
                ));
            }
            old => old,
        };
        if old.is_some() && self.question.wants_new() {
            forward = Forward::Request;
        }
        if self.question.has("only-if-cached") {
            return Ok(reply::not_kept(forward, request.url().clone()));
        }
        if request.method() == Method::HEAD {
            let url = request.url().clone();
            let outcome = next.run(request, extensions).await;
            let Some((stored, judge)) = old else {
                return Ok(said(outcome?, &Said::forward(forward)));
            };
            let now = SystemTime::now();
            if self.is_helped(&judge, &outcome, now) {
                return Ok(help_out(
                    stored,
                    &judge,
                    now,
                    forward,
                    &outcome,
                    url,
                    &Method::HEAD,
                ));
            }
            let reply = outcome?;
            if reply.status().is_success()
                && is_of(&reply, &url)
                && is_another(&stored.headers, reply.headers())
            {
                self.forget().await;
            }
            return Ok(said(reply, &Said::forward(forward)));
        }
        let plain = request.try_clone();
        if let Some((stored, _)) = &old {
            ask_to_confirm(&mut request, &stored.headers);
        }
        let url = request.url().clone();
        let asked = SystemTime::now();
        let outcome = next.clone().run(request, extensions).await;
        let way = Way::since(asked);
        let Some((stored, judge)) = old else {
            let plain = plain.unwrap_or_else(|| Request::new(Method::GET, url));
            return Ok(self
                .keep(&plain, outcome?, way, Said::forward(forward), false)
                .await);
        };
        let plain = plain.unwrap_or_else(|| Request::new(Method::GET, url));
        if self.is_helped(&judge, &outcome, way.came) {
            let url = plain.url().clone();
            return Ok(help_out(
                stored,
                &judge,
                way.came,
                forward,
                &outcome,
                url,
                plain.method(),
            ));
        }
        let reply = outcome?;
        if reply.status() != StatusCode::NOT_MODIFIED {
            let forwarded = Said::forward(forward).fwd_status(reply.status());
            return Ok(self.keep(&plain, reply, way, forwarded, true).await);
        }
        if is_of(&reply, plain.url()) && is_same(&stored.headers, reply.headers()) {
            return Ok(self.confirm(stored, &reply, way, forward, &plain).await);
        }
        // It speaks of another reply than the one that was kept.
        let again = plain.try_clone();
        let again = again.unwrap_or_else(|| Request::new(Method::GET, plain.url().clone()));
        let asked = SystemTime::now();
        let reply = next.run(again, extensions).await?;
        let way = Way::since(asked);
        Ok(self
            .keep(&plain, reply, way, Said::forward(forward), true)
            .await)
    }

    /// Whether what is kept helps out in place of `outcome`.
    fn is_helped(&self, judge: &Judge, outcome: &Result<Response>, now: SystemTime) -> bool {
        let is_failed = match outcome {
            Ok(reply) => is_failure(reply.status()),
            Err(_) => true,
        };
        is_failed && judge.helps_out(&self.question, now)
    }

    /// What is kept does not hold any more.
    async fn forget(&self) {
        let key = self.since.place.key.clone();
        shelf::forget(self.store, &self.cache.changes, vec![key]).await;
    }

    /// At what age a reply is stale, if the program says how long it is fresh once it came.
    fn lifetime(&self, born: SystemTime, came: SystemTime) -> Option<u64> {
        let age = came.duration_since(born).unwrap_or_default().as_secs();
        self.lifetime.map(|lifetime| lifetime.saturating_add(age))
    }

    /// The origin says that the reply still holds.
    async fn confirm(
        &self,
        mut stored: Stored,
        reply: &Response,
        way: Way,
        forward: Forward,
        request: &Request,
    ) -> Response {
        let born = judge::born(reply.headers(), way.asked, way.came);
        stored.confirm(
            born,
            reply::confirmed(&stored.headers, reply.headers(), way.came),
        );
        stored.authorized = self.question.is_authorized;
        // What an earlier request wanted is not what this one wants.
        stored.lifetime = self.lifetime(born, way.came);
        let judge = Judge::of(&stored, self.cache.is_shared);
        let mut said = Said::forward(forward).fwd_status(StatusCode::NOT_MODIFIED);
        match self.useful_for(&judge, way.came) {
            Some(useful) => {
                let keeping = Keeping {
                    store: self.store.clone(),
                    variant: self.variant(&stored.headers, request),
                    stored: stored.clone(),
                    useful,
                    now: way.came,
                    since: self.since.clone(),
                };
                keeping.begin(&self.cache.changes).await;
                said = said.stored();
            }
            None => self.forget().await,
        }
        let url = request.url().clone();
        reply::kept(stored, &judge, way.came, &said, url, request.method())
    }

    fn useful_for(&self, judge: &Judge, came: SystemTime) -> Option<Duration> {
        let useful = judge.useful_for(came, self.cache.keep_stale);
        useful.filter(|_| judge.may_be_kept())
    }

    /// Under what a reply with these headers is kept, if its URL has several.
    fn variant(&self, headers: &HeaderMap, request: &Request) -> Option<Variant> {
        let mut names = key::varies(headers).unwrap_or_default();
        // What one user's name and password got is not for another one's.
        if !self.cache.is_shared && self.question.is_authorized {
            names.push("authorization".to_owned());
            names.sort_unstable();
            names.dedup();
        }
        if names.is_empty() {
            return None;
        }
        let asked = Asked::new(request.headers(), &self.cache.client_headers);
        Some(Variant {
            key: key::of_variant(&self.since.place.key, &names, asked),
            names,
        })
    }

    /// Passes a reply of the origin on, and keeps it on the way if that is allowed. If not, what `was_there` is
    /// forgotten: it does not hold any more.
    async fn keep(
        &self,
        request: &Request,
        reply: Response,
        way: Way,
        forwarded: Said,
        was_there: bool,
    ) -> Response {
        let born = judge::born(reply.headers(), way.asked, way.came);
        let head = Head {
            born,
            lifetime: self.lifetime(born, way.came),
            authorized: self.question.is_authorized,
            status: reply.status(),
            http: reply.version(),
        };
        let subject = Subject {
            status: head.status,
            headers: reply.headers(),
            born: head.born,
            lifetime: head.lifetime,
            authorized: head.authorized,
        };
        let judge = Judge::new(&subject, self.cache.is_shared);
        let is_short = reply
            .content_length()
            .is_none_or(|length| length <= self.cache.max_body);
        // How long a redirection holds that reqwest followed, it does not say.
        let useful = match is_short && is_of(&reply, request.url()) {
            true => self.useful_for(&judge, way.came),
            false => None,
        };
        let Some(useful) = useful else {
            if was_there && !head.status.is_server_error() {
                self.forget().await;
            }
            return said(reply, &forwarded);
        };
        let headers = reply::to_keep(reply.headers(), way.came);
        let variant = self.variant(&headers, request);
        let (store, since) = (self.store.clone(), self.since.clone());
        let changes = self.cache.changes.clone();
        let keep: Keep = Box::new(move |body: Bytes| {
            let keeping = Keeping {
                store,
                variant,
                stored: Stored::new(&head, headers, body),
                useful,
                now: way.came,
                since,
            };
            keeping.begin(&changes)
        });
        let url = reply.url().clone();
        let (mut parts, body) = http::Response::<Body>::from(reply).into_parts();
        forwarded.stored().put(&mut parts.headers);
        if body.is_end_stream() {
            keep(Bytes::new()).await;
            return reply::with(parts, url, body);
        }
        let body = Body::wrap(Tee::new(body, self.cache.max_body, keep));
        reply::with(parts, url, body)
    }
}

/// A stale reply where the origin failed with `outcome`.
fn help_out(
    stored: Stored,
    judge: &Judge,
    now: SystemTime,
    forward: Forward,
    outcome: &Result<Response>,
    url: Url,
    method: &Method,
) -> Response {
    let mut said = Said::forward(forward);
    if let Ok(reply) = outcome {
        said = said.fwd_status(reply.status());
    }
    let said = said.detail("stale-if-error");
    reply::kept(stored, judge, now, &said, url, method)
}

/// Whether it came of this URL, without a redirection.
pub(crate) fn is_of(reply: &Response, url: &Url) -> bool {
    key::without_fragment(reply.url()) == key::without_fragment(url)
}

/// Failures that RFC 5861, section 4, speaks of.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

fn ask_to_confirm(request: &mut Request, kept: &HeaderMap) {
    for (said, asked) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
        if let Some(value) = kept.get(said) {
            request.headers_mut().insert(asked, value.clone());
        }
    }
}

/// Whether the reply to a `HEAD` shows that what was kept is not what is there now (RFC 9111, section 4.3.5).
fn is_another(kept: &HeaderMap, new: &HeaderMap) -> bool {
    let differs = |name| match (kept.get(&name), new.get(&name)) {
        (Some(kept), Some(new)) => kept != new,
        _ => false,
    };
    [ETAG, LAST_MODIFIED, CONTENT_LENGTH]
        .into_iter()
        .any(differs)
}

/// Whether a 304 speaks of the reply that was kept (RFC 9111, section 4.3.4).
fn is_same(kept: &HeaderMap, confirmed: &HeaderMap) -> bool {
    fn opaque(tag: &HeaderValue) -> &[u8] {
        let tag = tag.as_bytes().trim_ascii();
        tag.strip_prefix(b"W/").unwrap_or(tag)
    }
    match (kept.get(ETAG), confirmed.get(ETAG)) {
        (Some(kept), Some(confirmed)) => opaque(kept) == opaque(confirmed),
        (None, Some(_)) => false,
        (_, None) => match (kept.get(LAST_MODIFIED), confirmed.get(LAST_MODIFIED)) {
            (Some(kept), Some(confirmed)) => kept == confirmed,
            _ => true,
        },
    }
}
