//! The origin, and what a client gets.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use polystore_http_cache::HttpCache;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, RequestBuilder};
use tokio::net::TcpListener;

/// What reached the origin.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// How many requests came before.
    pub(crate) before: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }
}

pub(crate) struct Origin {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Origin {
    /// One on a free port that answers every request with what `answer` gives.
    pub(crate) async fn start<F>(answer: F) -> Self
    where
        F: Fn(&Seen) -> Response<Body> + Clone + Send + Sync + 'static,
    {
        Self::start_when(move |seen| std::future::ready(answer(&seen))).await
    }

    /// One that answers when it wants.
    pub(crate) async fn start_when<F, A>(answer: F) -> Self
    where
        F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        let router = axum::Router::new().fallback(move |request: Request| {
            let mut all = all.lock().expect("nobody panicked");
            let seen = Seen {
                method: request.method().clone(),
                uri: request.uri().clone(),
                headers: request.headers().clone(),
                before: all.len(),
            };
            all.push(seen.clone());
            answer(seen)
        });
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self { url, seen, serving }
    }

    /// One that answers with these headers and a number: how many requests there were.
    pub(crate) async fn counting(headers: &'static [(&'static str, &'static str)]) -> Self {
        Self::start(move |seen| reply(200, headers, (seen.before + 1).to_string())).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panicked").clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen().len()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("there was a request")
    }

    /// From now on nothing answers.
    pub(crate) async fn stop(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) fn reply(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Response<Body> {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        let name: axum::http::HeaderName = name.parse().expect("a name");
        reply
            .headers_mut()
            .append(name, value.parse().expect("a value"));
    }
    reply
}

pub(crate) fn client(cache: HttpCache) -> ClientWithMiddleware {
    // Some of the stores here have TLS, so that this one has it too, and wants to know whose.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build();
    ClientBuilder::new(client.expect("a client"))
        .with(cache)
        .build()
}

/// A client with a cache in memory.
pub(crate) fn in_memory() -> ClientWithMiddleware {
    client(HttpCache::default())
}

/// A reply, read to its end.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// What the cache says of it.
    pub(crate) cache: String,
}

impl Got {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.cache.starts_with("polystore; hit")
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Got {
    let reply = request.send().await.expect("a reply");
    let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
    let body = reply.bytes().await.expect("the body").to_vec();
    let said = headers.get_all("cache-status").iter().next_back();
    let cache = said
        .map_or("", |said| said.to_str().expect("text"))
        .to_owned();
    Got {
        status,
        headers,
        body,
        cache,
    }
}

pub(crate) async fn get(client: &ClientWithMiddleware, url: &str) -> Got {
    send(client.get(url)).await
}
