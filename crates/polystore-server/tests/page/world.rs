//! The server that the page belongs to.

use std::net::SocketAddr;

use axum::Router;
use polystore_kv::{Store, kv};
use polystore_server::Server;

/// A store that is served at `/kv`, until the test's runtime ends.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) origin: String,
}

impl World {
    pub(crate) async fn memory() -> Self {
        Self::of(kv("memory:").unwrap(), |server| server).await
    }

    pub(crate) async fn of(store: Store, change: impl FnOnce(Server) -> Server) -> Self {
        let app = change(Server::new(store.clone())).router();
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

/// May do everything.
pub(crate) const OWNER: &str = "sesame-sesame-sesame";
/// May only read.
pub(crate) const READER: &str = "reader-reader-reader";

/// Takes [`OWNER`] and [`READER`], in the path too.
pub(crate) fn with_tokens(server: Server) -> Server {
    let tokens = format!("{OWNER} read-write\n{READER} read-only");
    server.tokens(tokens.parse().unwrap()).path_tokens()
}
