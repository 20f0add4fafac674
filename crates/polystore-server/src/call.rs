//! A request that is known to mean something, and what answers it.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use polystore_kv::Store;
use tokio::time::timeout;

use crate::auth::Access;
use crate::items::{self, Item};
use crate::limits::Limits;
use crate::operation::Operation;
use crate::problem::{Outcome, Problem};
use crate::respond::{empty, json, text};
use crate::target::{Address, Target};
use crate::{body, groups, info, listing};

/// How long the store may take to show that it is there.
const READY: Duration = Duration::from_secs(2);

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

fn accepts(headers: &HeaderMap, form: &str) -> bool {
    let accepted = headers.get_all(ACCEPT).into_iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.any(|value| {
        let mut forms = value.split(',');
        forms.any(|it| it.split(';').next().unwrap_or_default().trim() == form)
    })
}

impl Call<'_> {
    pub(crate) async fn answer(&self, body: Body) -> Outcome<Response> {
        let (store, params) = (&*self.store, &self.address.params);
        let headers = &self.parts.headers;
        let most = self.limits.body;
        let item = Item {
            store,
            key: self.key()?,
            params,
            headers,
            most,
        };
        let lines = || accepts(headers, "application/x-ndjson");
        match self.operation {
            Operation::Get => item.get().await,
            Operation::Has => item.head().await,
            Operation::Set | Operation::Insert => item.put(body).await,
            Operation::Touch => item.touch().await,
            Operation::Del => item.del().await,
            Operation::Add => {
                body::form(headers)?;
                items::add(store, params.expires, body::whole(body, most).await?).await
            }
            Operation::List => listing::answer(store, params, lines()).await,
            Operation::Clear => self.clear().await,
            Operation::GetMany => {
                body::form(headers)?;
                let values = params.values.unwrap_or(true);
                groups::get(self, &body::whole(body, most).await?, lines(), values).await
            }
            Operation::SetMany => {
                let form = body::form(headers)?;
                groups::set(self, form, body).await
            }
            Operation::DelMany => {
                body::form(headers)?;
                groups::del(self, &body::whole(body, most).await?).await
            }
            Operation::Prune => {
                body::form(headers)?;
                groups::prune(store).await
            }
            Operation::Evict => {
                body::form(headers)?;
                groups::evict(self, &body::whole(body, most).await?).await
            }
            Operation::Store => info::store(store, self.limits.key, most).await,
            Operation::Ready => {
                let asked = timeout(READY, async { store.has("ready").await });
                asked.await.map_err(|_| Problem::late(false))??;
                Ok(empty(StatusCode::OK))
            }
            Operation::Ping => Ok(empty(StatusCode::OK)),
            Operation::Page => self.page(),
            Operation::Metrics | Operation::OpenApi => Err(Problem::not_found()),
        }
    }

    fn key(&self) -> Outcome<&str> {
        let Target::Key(key) = &self.address.target else {
            return Ok("");
        };
        if self.address.params.prefix().len() + key.len() <= self.limits.key {
            return Ok(key);
        }
        Err(Problem::new(
            StatusCode::URI_TOO_LONG,
            "invalid_key",
            format!("a key has at most {} bytes here", self.limits.key),
        ))
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
        if self.address.target != Target::Root {
            return Err(Problem::not_found());
        }
        if !accepts(&self.parts.headers, "text/html") {
            return Err(Problem::bad(
                "a path cannot carry the empty key: use ?key=, or ?prefix= for a listing",
            ));
        }
        let mut response = empty(StatusCode::SEE_OTHER);
        let page = HeaderValue::from_static("_/");
        response.headers_mut().insert(LOCATION, page);
        Ok(response)
    }
}
