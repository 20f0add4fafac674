//! A server for each store: on what this process has, and on a Redis.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN};
use axum::middleware::{self, Next};
use axum::response::Response;
use polystore_conformance::Suite;
use polystore_kv::{Error, Result, Store, kv};
use polystore_server::Server;
use polystore_servers::Redis;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};

pub(crate) fn with_servers(mut suite: Suite, scratch: &Path) -> Suite {
    let servers = runtime();
    let here = servers.clone();
    suite = suite.disposable_store("http on memory", move || {
        serve(here.clone(), kv("memory:"), |router| router)
    });
    let here = servers.clone();
    suite = suite.disposable_store("http that speaks npm only", move || {
        serve(here.clone(), kv("memory:"), npm_only)
    });
    #[cfg(feature = "sqlite")]
    {
        let (here, scratch) = (servers.clone(), scratch.to_owned());
        suite = suite.disposable_store("http on sqlite", move || {
            let folder = crate::new_folder(&scratch);
            let store = folder.and_then(|at| kv(format!("sqlite:{}/a.db", at.display())));
            serve(here.clone(), store, |router| router)
        });
    }
    #[cfg(feature = "redis")]
    if let Some(redis) = Redis::with(&["databases 4000"]) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        suite = suite.disposable_store("http on redis", move || {
            let store = kv(redis.database_url(NEXT.fetch_add(1, Ordering::Relaxed)));
            serve(servers.clone(), store, |router| router)
        });
    }
    suite
}

/// Where the servers run: on a thread of its own, which ends with this process.
pub(crate) fn runtime() -> Handle {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = runtime.expect("threads can be started");
        let _ = sender.send(runtime.handle().clone());
        runtime.block_on(std::future::pending::<()>());
    });
    receiver.recv().expect("the runtime starts")
}

async fn serve(here: Handle, store: Result<Store>, change: fn(Router) -> Router) -> Result<Store> {
    kv(listen(here, change(polystore_server::router(store?))).await?)
}

/// The URL of a store in memory, on a port of its own, which pages of `origin` may use.
pub(crate) async fn serve_pages(
    here: Handle,
    origin: &str,
    change: fn(Router) -> Router,
) -> Result<String> {
    let server = Server::new(kv("memory:")?).cors_origin(origin)?;
    listen(here, change(server.router())).await
}

async fn listen(here: Handle, router: Router) -> Result<String> {
    let listening = here.spawn(TcpListener::bind("127.0.0.1:0")).await;
    let listener = listening.map_err(std::io::Error::other).and_then(|it| it);
    let listener = listener.map_err(|error| Error::from_io("listen", error))?;
    let address = listener.local_addr();
    let address = address.map_err(|error| Error::from_io("listen", error))?;
    here.spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}/"))
}

/// Leaves of a server what the npm package's has.
pub(crate) fn npm_only(router: Router) -> Router {
    async fn filter(request: Request, next: Next) -> Response {
        let (method, uri) = (request.method().as_str(), request.uri());
        if method == "OPTIONS" {
            // A browser asks on its own account.
            return next.run(request).await;
        }
        let is_listing = method == "GET" && uri.path() == "/";
        let is_item = matches!(method, "GET" | "PUT" | "DELETE")
            && uri.path().len() > 1
            && !uri.path().starts_with("/_/");
        let knows = |name: &str| match method {
            "GET" => is_listing && name == "prefix",
            _ => name == "expires",
        };
        let query = uri.query().unwrap_or_default();
        let mut names = query
            .split('&')
            .map(|pair| pair.split('=').next().unwrap_or_default());
        let is_known = names.all(|name| name.is_empty() || knows(name));
        let is_json = ["accept", "content-type"].iter().all(|name| {
            request
                .headers()
                .get(*name)
                .is_some_and(|it| it == "application/json")
        });
        if !request.uri().path().starts_with("/_/") {
            assert!(
                (is_listing || is_item) && is_known && is_json,
                "{request:?}"
            );
        }
        let is_there = is_listing || is_item;
        let origin = request.headers().get(ORIGIN).cloned();
        let mut response = match is_there {
            true => next.run(request).await,
            false => Response::new(axum::body::Body::empty()),
        };
        if !is_there {
            *response.status_mut() = StatusCode::NOT_FOUND;
            let headers = response.headers_mut();
            headers.extend(origin.map(|it| (ACCESS_CONTROL_ALLOW_ORIGIN, it)));
        }
        for name in ["polystore-protocol", "polystore-ttl"] {
            response.headers_mut().remove(name);
        }
        response
    }
    router.layer(middleware::from_fn(filter))
}
