//! The stores, each with a prefix or a folder of its own.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use actix_session::storage::SessionKey;
use polystore_kv::{Cloudflare, Store, kv};
use polystore_servers::{Cloudflare as CloudflareServer, Etcd, Postgres, Redis};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// One store, and what is removed with it.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) store: Store,
    _folder: Option<TempDir>,
}

/// All of them. What is missing here was said.
pub(crate) fn everywhere() -> Vec<Place> {
    let mut places = vec![Place {
        name: "memory",
        store: kv("memory:").unwrap(),
        _folder: None,
    }];
    for (name, scheme, rest) in [
        ("file", "file:", "a.json"),
        ("folder", "file:", ""),
        ("sqlite", "sqlite:", "a.db"),
        ("level", "level:", "a"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("{scheme}{}/{rest}?sync=normal", folder.path().display());
        places.push(Place {
            name,
            store: kv(url).unwrap(),
            _folder: Some(folder),
        });
    }
    let servers = [
        ("redis", Redis::shared()),
        ("postgres", Postgres::shared()),
        ("etcd", Etcd::shared()),
        ("http", Some(polystore_server())),
    ];
    for (name, url) in servers {
        let Some(url) = url else { continue };
        places.push(Place {
            name,
            store: kv(url).unwrap().prefix(new_prefix()),
            _folder: None,
        });
    }
    if let Some(server) = cloudflare() {
        let store = Cloudflare::new(server.url(0), CloudflareServer::TOKEN);
        places.push(Place {
            name: "cloudflare",
            store: kv(store).unwrap().prefix(new_prefix()),
            _folder: None,
        });
    }
    places
}

pub(crate) fn cloudflare() -> Option<&'static CloudflareServer> {
    static SERVER: OnceLock<Option<CloudflareServer>> = OnceLock::new();
    let start = || CloudflareServer::with_namespaces(1);
    SERVER.get_or_init(start).as_ref()
}

fn new_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}:", std::process::id())
}

/// The URL of a store in memory behind the real server, for as long as this process lives.
pub(crate) fn polystore_server() -> String {
    static URL: OnceLock<String> = OnceLock::new();
    let start = || {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                sender.send(format!("http://{address}/")).unwrap();
                let router = polystore_server::router(kv("memory:").unwrap());
                axum::serve(listener, router).await.unwrap();
            });
        });
        receiver.recv().unwrap()
    };
    URL.get_or_init(start).clone()
}

/// The key of a cookie with this text.
pub(crate) fn key(text: &str) -> SessionKey {
    text.to_owned().try_into().unwrap()
}

/// The same key once more: it cannot be cloned.
pub(crate) fn again(key: &SessionKey) -> SessionKey {
    self::key(key.as_ref())
}

/// Waits until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
