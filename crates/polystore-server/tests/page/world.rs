//! The server that the page belongs to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, StatusCode};
use polystore_kv::{Store, kv};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// A store that is served at `/kv`, until the test's runtime ends.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) origin: String,
}

impl World {
    pub(crate) async fn memory() -> Self {
        Self::of(kv("memory:").unwrap(), |app| app).await
    }

    pub(crate) async fn of(store: Store, around: impl FnOnce(Router) -> Router) -> Self {
        let app = around(polystore_server::router(store.clone()));
        let app = Router::new().nest_service("/kv", app);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            store,
            origin: format!("http://{address}"),
        }
    }

    pub(crate) fn page(&self) -> String {
        format!("{}/kv/_/", self.origin)
    }

    pub(crate) async fn json(&self, key: &str) -> Option<String> {
        let entry = self.store.entry(key).await.unwrap();
        entry.map(|entry| entry.json().to_owned())
    }
}

/// `sesame` may do everything, `reader` only read; the page's own files need no token.
pub(crate) fn with_tokens(app: Router) -> Router {
    app.layer(from_fn(async |request: Request, next: Next| {
        let name = request.uri().path().rsplit_once('/').unwrap().1;
        let is_file = request.uri().path().starts_with("/_/")
            && (name.is_empty() || name.ends_with(".js") || name.ends_with(".css"));
        let given = request.headers().get(AUTHORIZATION);
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match given.map(|it| it.to_str().unwrap()) {
            Some("Bearer sesame") => next.run(request).await,
            Some("Bearer reader") if is_read => next.run(request).await,
            _ if is_file => next.run(request).await,
            Some("Bearer reader") => refusal(StatusCode::FORBIDDEN, "this token is read-only"),
            _ => refusal(StatusCode::UNAUTHORIZED, "say authorization: Bearer TOKEN"),
        }
    }))
}

fn refusal(status: StatusCode, detail: &str) -> Response {
    let said = serde_json::json!({"status": status.as_u16(), "detail": detail, "kind": "denied"});
    let form = [(CONTENT_TYPE, "application/problem+json")];
    (status, form, said.to_string()).into_response()
}

type Labels = Vec<(&'static str, &'static str)>;

/// Counts requests and their latencies.
pub(crate) fn with_metrics(app: Router) -> Router {
    let mut registry = Registry::default();
    let counts = Family::<Labels, Counter>::default();
    let histogram = || Histogram::new([0.0001, 0.001, 0.01, 0.1, 1.0]);
    let latencies = Family::<Labels, Histogram, fn() -> Histogram>::new_with_constructor(histogram);
    registry.register("polystore_requests", "Requests", counts.clone());
    registry.register(
        "polystore_request_duration_seconds",
        "Latencies",
        latencies.clone(),
    );
    let registry = Arc::new(registry);
    app.layer(from_fn(move |request: Request, next: Next| {
        let (registry, counts, latencies) = (registry.clone(), counts.clone(), latencies.clone());
        async move {
            let path = request.uri().path();
            if path == "/_/metrics" {
                let mut text = String::new();
                encode(&mut text, &registry).unwrap();
                return text.into_response();
            }
            let operation = if path.starts_with("/_/") {
                "page"
            } else {
                "get"
            };
            let begun = Instant::now();
            let response = next.run(request).await;
            let labels = vec![("operation", operation), ("status", "200")];
            counts.get_or_create(&labels).inc();
            let latency = latencies.get_or_create(&labels[..1].to_vec());
            latency.observe(begun.elapsed().as_secs_f64());
            response
        }
    }))
}
