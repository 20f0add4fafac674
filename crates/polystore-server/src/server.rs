//! The router: from a request to what answers it.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, HeaderName};
use http::{HeaderValue, Method, Request};
use polystore_kv::Store;
use tokio::net::TcpListener;

use crate::call::{Call, Limits, options};
use crate::operation::Operation;
use crate::problem::Outcome;
use crate::target::Address;

const PROTOCOL: HeaderName = HeaderName::from_static("polystore-protocol");

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
    limits: Limits,
}

impl Server {
    /// Serves `store` to whoever reaches it, within the default limits.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            limits: Limits::default(),
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
    let is_options = request.method() == Method::OPTIONS;
    let mut response = match server.answer(request).await {
        Ok(response) => response,
        Err(problem) => match problem.allow.filter(|_| is_options) {
            Some(allowed) => options(allowed),
            None => problem.into_response(),
        },
    };
    let headers = response.headers_mut();
    headers.insert(PROTOCOL, HeaderValue::from_static("1"));
    // Values change at any time.
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(CACHE_CONTROL).or_insert(no_store);
    response
}

impl Server {
    async fn answer(&self, request: Request<Body>) -> Outcome<Response> {
        let (parts, body) = request.into_parts();
        let address = Address::parse(&parts.uri)?;
        let operation = Operation::of(&parts.method, &address, &parts.headers)?;
        let call = Call {
            operation,
            store: address.params.store(&self.store),
            address: &address,
            parts: &parts,
            limits: self.limits,
        };
        call.answer(body).await
    }
}
