//! The router: from a request to what answers it.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use polystore_kv::Store;
use tokio::net::TcpListener;

use crate::body;
use crate::groups;
use crate::info;
use crate::items::{self, Item};
use crate::listing;
use crate::page;
use crate::problem::{Outcome, Problem};
use crate::respond::{empty, json, text};
use crate::target::{Address, Params, Target};

const PROTOCOL: HeaderName = HeaderName::from_static("polystore-protocol");

/// The longest body, and the longest line of one that is read line by line.
const MOST_BODY_BYTES: usize = 32 << 20;
/// The longest key in bytes of UTF-8, with its prefix.
const MOST_KEY_BYTES: usize = 8 << 10;

/// A router that serves `store` to whoever reaches it, for an application of one's own, with
/// its own middleware in front: `nest_service("/kv", router(store))`. (axum's `nest` would leave
/// out the path `/kv/`, where listings are.)
pub fn router(store: Store) -> Router {
    Server::new(store).router()
}

/// How a store is served.
#[derive(Clone, Debug)]
pub struct Server {
    store: Store,
    most_body: usize,
    most_key: usize,
}

impl Server {
    /// Serves `store` to whoever reaches it, within the default limits.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            most_body: MOST_BODY_BYTES,
            most_key: MOST_KEY_BYTES,
        }
    }

    /// The router.
    pub fn router(self) -> Router {
        Router::new().fallback(serve).with_state(Arc::new(self))
    }

    /// Serves on `listener` until `shutdown` is done, and then finishes what is under way.
    ///
    /// # Errors
    /// When no more connections can be accepted.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let serving = axum::serve(listener, self.router());
        serving.with_graceful_shutdown(shutdown).await
    }
}

async fn serve(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let is_head = request.method() == Method::HEAD;
    let mut response = match server.answer(request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    let version = HeaderValue::from_static("1");
    response.headers_mut().insert(PROTOCOL, version);
    if is_head {
        *response.body_mut() = Body::empty();
    }
    response
}

fn accepts(headers: &HeaderMap, form: &str) -> bool {
    let accepted = headers.get_all(ACCEPT).into_iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.any(|value| {
        let mut forms = value.split(',');
        forms.any(|it| it.split(';').next().unwrap_or_default().trim() == form)
    })
}

impl Server {
    async fn answer(&self, request: Request<Body>) -> Outcome<Response> {
        let (parts, body) = request.into_parts();
        let address = Address::parse(&parts.uri)?;
        let (method, headers, params) = (&parts.method, &parts.headers, &address.params);
        let store = self.store.prefix(params.prefix());
        match &address.target {
            Target::Ping => match *method {
                Method::GET | Method::HEAD => Ok(empty(StatusCode::OK)),
                _ => Err(Problem::bad_key(
                    "a path cannot carry the key \"ping\": use ?key=",
                )),
            },
            Target::Key(key) => {
                self.check_key(key, params)?;
                let item = Item {
                    store: &store,
                    key,
                    params,
                    headers,
                    most: self.most_body,
                };
                item.answer(method, body).await
            }
            Target::Root => self.root(method, headers, params, &store, body).await,
            Target::Service(name) => {
                self.service(name, method, headers, params, &store, body)
                    .await
            }
        }
    }

    fn check_key(&self, key: &str, params: &Params) -> Outcome<()> {
        if params.prefix().len() + key.len() <= self.most_key {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::URI_TOO_LONG,
            "invalid_key",
            format!("a key has at most {} bytes here", self.most_key),
        ))
    }

    async fn root(
        &self,
        method: &Method,
        headers: &HeaderMap,
        params: &Params,
        store: &Store,
        body: Body,
    ) -> Outcome<Response> {
        match *method {
            Method::GET | Method::HEAD if params.is_given => {
                listing::answer(store, params, accepts(headers, "application/x-ndjson")).await
            }
            Method::GET | Method::HEAD if accepts(headers, "text/html") => {
                let mut response = empty(StatusCode::SEE_OTHER);
                let page = HeaderValue::from_static("_/");
                response.headers_mut().insert(LOCATION, page);
                Ok(response)
            }
            Method::GET | Method::HEAD => Err(Problem::bad(
                "a path cannot carry the empty key: use ?key=, or ?prefix= for a listing",
            )),
            Method::POST => {
                body::form(headers)?;
                let body = body::whole(body, self.most_body).await?;
                items::add(store, params.expires, body).await
            }
            Method::DELETE => {
                let prefix = match params.prefix.as_deref() {
                    Some(prefix) if !prefix.is_empty() || params.all == Some(true) => prefix,
                    _ => {
                        return Err(Problem::bad(
                            "say what to remove: ?prefix=P, or ?prefix=&all=true for everything",
                        ));
                    }
                };
                store.clear().await?;
                Ok(json(text(prefix)))
            }
            _ => Err(Problem::bad_key(
                "a path cannot carry the empty key: use ?key=",
            )),
        }
    }

    async fn service(
        &self,
        name: &str,
        method: &Method,
        headers: &HeaderMap,
        params: &Params,
        store: &Store,
        body: Body,
    ) -> Outcome<Response> {
        if let Some(file) = page::find(name) {
            return file.answer(method, headers);
        }
        match (name, method) {
            ("store", &Method::GET) => info::store(store, self.most_key, self.most_body).await,
            ("ready", &Method::GET) => {
                store.has("ready").await?;
                Ok(empty(StatusCode::OK))
            }
            ("get" | "set" | "del" | "prune" | "evict", &Method::POST) => {
                let form = body::form(headers)?;
                let most = self.most_body;
                match name {
                    "set" => groups::set(store, form, params.expires, body, most).await,
                    "prune" => groups::prune(store).await,
                    "evict" => groups::evict(store, &body::whole(body, most).await?).await,
                    "del" => groups::del(store, &body::whole(body, most).await?).await,
                    _ => {
                        let lines = accepts(headers, "application/x-ndjson");
                        let values = params.values.unwrap_or(true);
                        groups::get(store, &body::whole(body, most).await?, lines, values).await
                    }
                }
            }
            ("store" | "ready", _) => Err(Problem::method("GET")),
            ("get" | "set" | "del" | "prune" | "evict", _) => Err(Problem::method("POST")),
            _ => Err(Problem::not_found()),
        }
    }
}
