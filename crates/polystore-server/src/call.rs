//! A request that is known to mean something, and what answers it.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::extract::OriginalUri;
use axum::response::Response;
use http::header::{
    ALLOW, CONTENT_RANGE, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LOCATION,
};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use polystore_kv::Store;
use tokio::time::timeout;

use crate::auth::Access;
use crate::groups::Group;
use crate::limits::Limits;
use crate::operation::Operation;
use crate::page;
use crate::problem::{Outcome, Problem};
use crate::respond::{empty, json, text};
use crate::target::{Address, Target};
use crate::{accept, body, info, items, listing};

/// The protocol for programs.
const OPENAPI: &str = include_str!("openapi.json");

/// How long the store may take to show that it is there.
const READY: Duration = Duration::from_secs(2);

/// A request that is known to mean something.
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation,
    /// With the prefix of the request.
    pub(crate) store: Cow<'a, Store>,
    pub(crate) address: &'a Address,
    pub(crate) parts: &'a Parts,
    pub(crate) limits: &'a Limits,
    /// Which keys of a body may be reached.
    pub(crate) access: &'a Access,
}

impl Call<'_> {
    pub(crate) async fn answer(&self, body: Body) -> Outcome<Response> {
        use Operation as Op;
        self.check()?;
        let (store, params, headers) = (&*self.store, &self.address.params, &self.parts.headers);
        let (most, expires) = (self.limits.body, params.expires);
        let ttl = params.ttl.unwrap_or(true);
        let key = match &self.address.target {
            Target::Key(key) => &key[..],
            _ => "",
        };
        let group = Group {
            store,
            prefix: params.prefix(),
            limits: self.limits,
            access: self.access,
        };
        match self.operation {
            Op::Get => items::get(store, key, ttl).await,
            Op::Has => items::has(store, key, ttl).await,
            Op::Set => items::set(store, key, expires, &body::whole(body, most).await?).await,
            Op::Insert => {
                items::check_condition(headers, &IF_NONE_MATCH)?;
                items::insert(store, key, expires, &body::whole(body, most).await?).await
            }
            Op::Replace => {
                items::check_condition(headers, &IF_MATCH)?;
                items::replace(store, key, expires, &body::whole(body, most).await?).await
            }
            Op::Touch => items::touch(store, key, expires, body).await,
            Op::Del => items::del(store, key).await,
            Op::Add => {
                let body = body::json(headers, body, most).await?;
                items::add(store, expires, &body, &self.mount(), params.prefix()).await
            }
            Op::List => {
                let form = listing::Form::of(accept::lines(headers)?, params)?;
                listing::answer(store, params, form).await
            }
            Op::Clear => self.clear().await,
            Op::GetMany => {
                let form = listing::Form::of(accept::lines(headers)?, params)?;
                group
                    .get(&body::json(headers, body, most).await?, form)
                    .await
            }
            Op::SetMany => match body::form(headers)? {
                body::Form::Json => group.set(expires, &body::whole(body, most).await?).await,
                body::Form::Lines => group.set_lines(expires, body).await,
            },
            Op::DelMany => group.del(&body::json(headers, body, most).await?).await,
            Op::Prune => {
                body::json(headers, body, most).await?;
                group.prune().await
            }
            Op::Evict => group.evict(&body::json(headers, body, most).await?).await,
            Op::Store => info::store(store, self.limits.key, most).await,
            Op::Ready => {
                let asked = timeout(READY, async { store.has("ready").await });
                asked.await.map_err(|_| Problem::late(false))??;
                Ok(empty(StatusCode::OK))
            }
            Op::Ping => Ok(empty(StatusCode::OK)),
            Op::Page => self.page(),
            Op::OpenApi => Ok(json(OPENAPI)),
            Op::Metrics => Err(Problem::not_found("metrics are not served here")),
        }
    }

    fn check(&self) -> Outcome<()> {
        use Operation as Op;
        let params = &self.address.params;
        params.check(self.operation)?;
        let key = match &self.address.target {
            Target::Key(key) => &key[..],
            _ => "",
        };
        let fits = self.limits.check_key(params.prefix(), key);
        fits.map_err(|problem| problem.with_status(StatusCode::URI_TOO_LONG))?;
        let writes_one = matches!(
            self.operation,
            Op::Set | Op::Insert | Op::Replace | Op::Touch | Op::Del | Op::Add | Op::Clear
        );
        if !writes_one {
            return Ok(());
        }
        // Who sends a condition relies on it.
        let headers = &self.parts.headers;
        let is_there = |name: &&HeaderName| headers.contains_key(*name);
        let unknown = [IF_UNMODIFIED_SINCE, CONTENT_RANGE];
        if let Some(name) = unknown.iter().find(is_there) {
            return Err(Problem::bad(format!("there is no {name} here")));
        }
        for (condition, of) in [(IF_NONE_MATCH, Op::Insert), (IF_MATCH, Op::Replace)] {
            if self.operation != of && headers.contains_key(&condition) {
                return Err(Problem::bad(format!(
                    "{condition} goes with PUT only, and alone"
                )));
            }
        }
        body::check_plain(headers)
    }

    async fn clear(&self) -> Outcome<Response> {
        let params = &self.address.params;
        let prefix = match params.prefix.as_deref() {
            Some(prefix) if !prefix.is_empty() || params.all == Some(true) => prefix,
            _ => {
                return Err(Problem::bad(
                    "say what to remove: ?prefix=P, or ?prefix=&all=true for everything",
                ));
            }
        };
        self.store.clear().await?;
        Ok(json(text(prefix)))
    }

    fn page(&self) -> Outcome<Response> {
        if let Target::Service(name) = &self.address.target {
            let file =
                page::find(name).ok_or_else(|| Problem::not_found("there is no such page"))?;
            return Ok(file.answer(&self.parts.headers));
        }
        if !accept::html(&self.parts.headers) {
            return Err(Problem::bad_key(
                "a path cannot carry the empty key: use ?key=, or ?prefix= for a listing",
            ));
        }
        let mut response = empty(StatusCode::SEE_OTHER);
        if let Ok(page) = HeaderValue::try_from(format!("{}_/", self.mount())) {
            response.headers_mut().insert(LOCATION, page);
        }
        Ok(response)
    }

    /// What leads from the path of a request to `/` to what is below it: `/kv` is not below `/kv`.
    fn mount(&self) -> String {
        let original = self.parts.extensions.get();
        let uri = original.map_or(&self.parts.uri, |OriginalUri(uri)| uri);
        match uri.path().rsplit('/').next() {
            None | Some("") => String::new(),
            Some(last) => format!("./{last}/"),
        }
    }
}

/// The answer to `OPTIONS`, of the methods that there are.
pub(crate) fn options(allowed: &'static str) -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}
