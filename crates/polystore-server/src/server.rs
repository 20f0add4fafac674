//! How a store is served, as an application says it.

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use polystore_kv::{Result, Store};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::auth::Tokens;
use crate::cors::Origins;
use crate::handle::Handle;
use crate::limits::Limits;
use crate::listen::listen;
use crate::metrics::Metrics;
use crate::tls::Tls;

/// A router that serves `store` to whoever reaches it, for an application of one's own, with
/// its own middleware in front: `nest_service("/kv", router(store))`. (axum's `nest` would leave
/// out the path `/kv/`, where listings are.)
pub fn router(store: Store) -> Router {
    Server::new(store).router()
}

/// How a store is served.
///
/// ```no_run
/// use polystore_kv::kv;
/// use polystore_server::Server;
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:3000").await?;
/// let server = Server::new(kv("memory:")?)
///     .tokens(std::env::var("TOKENS")?.parse()?)
///     .cors_origin("https://app.example")?;
/// server.serve(listener, std::future::pending()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Server {
    store: Store,
    limits: Limits,
    tokens: Option<Tokens>,
    has_path_tokens: bool,
    allows_anonymous: bool,
    origins: Origins,
    hosts: Vec<String>,
    tls: Option<Tls>,
}

impl Server {
    /// Serves `store` to whoever reaches it, within the default limits.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            limits: Limits::default(),
            tokens: None,
            has_path_tokens: false,
            allows_anonymous: false,
            origins: Origins::default(),
            hosts: Vec::new(),
            tls: None,
        }
    }

    /// Asks for one of these tokens, for all but `/ping`, the page and its description of the
    /// protocol. A token of any prefix may see `/_/store`, `/_/ready` and `/_/metrics`.
    #[must_use]
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Takes tokens in the path as well, `/_/t/TOKEN/…`, for clients that can send no header. Logs of a
    /// proxy in front have them then.
    #[must_use]
    pub fn path_tokens(mut self) -> Self {
        self.has_path_tokens = true;
        self
    }

    /// Lets [`serve`](Self::serve) go without tokens where other machines can reach it.
    #[must_use]
    pub fn allow_anonymous(mut self) -> Self {
        self.allows_anonymous = true;
        self
    }

    /// Replaces the default limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits.countable();
        self
    }

    /// Lets pages of this origin ask, such as `https://app.example`. Can be said several times.
    ///
    /// # Errors
    /// `InvalidOption` if it is no origin; there is no `*`.
    pub fn cors_origin(mut self, origin: &str) -> Result<Self> {
        self.origins.push(origin)?;
        Ok(self)
    }

    /// A name by which requests may address the server, as the header `host` has it, without a port.
    /// Can be said several times; then every other name is refused with 421, but those of the machine
    /// itself (`localhost`, 127.0.0.1, `[::1]`). [`serve`](Self::serve) without tokens on a loopback
    /// address checks names always, so that no web page gets in by having its name lead there.
    #[must_use]
    pub fn host(mut self, name: &str) -> Self {
        self.hosts.push(name.to_owned());
        self
    }

    /// Has [`serve`](Self::serve) speak TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The router, to be used within a tokio runtime. Connections and TLS are up to whoever serves it.
    pub fn router(self) -> Router {
        let checks_host = !self.hosts.is_empty();
        Router::new()
            .fallback(respond)
            .with_state(self.handle(checks_host))
    }

    /// Serves on `listener` until `shutdown` is done, and then finishes what is under way, for at most
    /// [`drain_time`](Limits::drain_time). The store stays open.
    ///
    /// # Errors
    /// `InvalidInput` if there are no tokens, other machines can reach the listener, and
    /// [`allow_anonymous`](Self::allow_anonymous) was not said.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let address = listener.local_addr()?.ip().to_canonical();
        let is_anonymous = self.tokens.is_none();
        if is_anonymous && !address.is_loopback() && !self.allows_anonymous {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "other machines can reach this address: give tokens, or say that anyone may come",
            ));
        }
        let tls = self.tls.clone();
        let checks_host = !self.hosts.is_empty() || is_anonymous && address.is_loopback();
        listen(self.handle(checks_host), listener, tls, shutdown).await;
        Ok(())
    }

    fn handle(self, checks_host: bool) -> Arc<Handle> {
        Arc::new(Handle {
            kind: self.store.kind().into_owned(),
            room: Arc::new(Semaphore::new(self.limits.requests)),
            store: self.store,
            limits: self.limits,
            tokens: self.tokens,
            has_path_tokens: self.has_path_tokens,
            origins: self.origins,
            hosts: checks_host.then_some(self.hosts),
            metrics: Metrics::new(),
        })
    }
}

async fn respond(State(handle): State<Arc<Handle>>, request: Request<Body>) -> Response {
    handle.respond(request, None).await
}
