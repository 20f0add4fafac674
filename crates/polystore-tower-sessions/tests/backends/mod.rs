//! Each store that runs natively, with a prefix or a folder of its own for each test.

#![allow(dead_code, reason = "not every test takes all of them")]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use polystore_kv::{Cloudflare, Store, kv};
use polystore_servers::{Cloudflare as Workerd, Etcd, Postgres, Redis};
use tempfile::TempDir;

/// A store, and the folder that it is in.
pub(crate) struct Place {
    pub(crate) store: Store,
    folder: Option<TempDir>,
}

fn anywhere(url: &str) -> Option<Place> {
    Some(Place {
        store: kv(url).expect("it is a store").prefix(new_prefix()),
        folder: None,
    })
}

fn in_a_folder(scheme: &str, name: &str) -> Option<Place> {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let url = format!("{scheme}:{}/{name}", folder.path().display());
    Some(Place {
        folder: Some(folder),
        ..anywhere(&url)?
    })
}

fn new_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}:session:", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) async fn memory() -> Option<Place> {
    anywhere("memory:")
}

pub(crate) async fn file() -> Option<Place> {
    in_a_folder("file", "sessions.json")
}

pub(crate) async fn folder() -> Option<Place> {
    in_a_folder("file", "sessions/")
}

pub(crate) async fn sqlite() -> Option<Place> {
    in_a_folder("sqlite", "sessions.db")
}

pub(crate) async fn level() -> Option<Place> {
    in_a_folder("level", "sessions")
}

pub(crate) async fn redis() -> Option<Place> {
    anywhere(&Redis::shared()?)
}

pub(crate) async fn postgres() -> Option<Place> {
    anywhere(&Postgres::shared()?)
}

pub(crate) async fn etcd() -> Option<Place> {
    anywhere(&Etcd::shared()?)
}

/// A server of ours.
pub(crate) async fn http() -> Option<Place> {
    anywhere(
        &served(polystore_server::router(
            kv("memory:").expect("it is a store"),
        ))
        .await,
    )
}

/// A server that has no more than what the npm package asks for: no insert.
pub(crate) async fn http_for_npm() -> Option<Place> {
    use axum::extract::Request;
    use axum::http::StatusCode;
    use axum::middleware::{self, Next};
    use axum::response::{IntoResponse, Response};

    async fn filter(request: Request, next: Next) -> Response {
        let is_ours = request.uri().path().starts_with("/_/") || request.uri().path() == "/ping";
        if is_ours || request.method() == "HEAD" || request.method() == "POST" {
            return StatusCode::NOT_FOUND.into_response();
        }
        let mut response = next.run(request).await;
        for name in ["polystore-protocol", "polystore-ttl"] {
            response.headers_mut().remove(name);
        }
        response
    }
    let router = polystore_server::router(kv("memory:").expect("it is a store"));
    anywhere(&served(router.layer(middleware::from_fn(filter))).await)
}

/// On the runtime of the test, with which it ends.
pub(crate) async fn served(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/")
}

/// The real runtime behind the paths of Cloudflare's API.
pub(crate) async fn cloudflare() -> Option<Place> {
    static SERVER: OnceLock<Option<Workerd>> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let namespace = NEXT.fetch_add(1, Ordering::Relaxed);
    let server = SERVER
        .get_or_init(|| Workerd::with_namespaces(64))
        .as_ref()?;
    let store = Cloudflare::new(server.url_with(namespace, "timeout=60s"), Workerd::TOKEN);
    Some(Place {
        store: kv(store).expect("it is a store").prefix(new_prefix()),
        folder: None,
    })
}
