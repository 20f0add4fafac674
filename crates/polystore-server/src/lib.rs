//! Serves any key-value store over HTTP.
//!
//! What it speaks is in `docs/http.md`: what the npm package's `https://` client sends, and
//! more of the same kind.
//!
//! ```
//! use axum::Router;
//! use polystore_kv::kv;
//!
//! # fn app() -> polystore_kv::Result<Router> {
//! let store = kv("memory:")?;
//! let app: Router = Router::new().nest_service("/kv", polystore_server::router(store));
//! # Ok(app)
//! # }
//! # app().unwrap();
//! ```

mod auth;
mod body;
mod call;
mod connection;
mod cors;
mod flow;
mod groups;
mod handle;
mod info;
mod items;
mod limits;
mod listen;
mod listing;
mod metrics;
mod operation;
mod problem;
mod record;
mod respond;
mod server;
mod target;
mod tls;

pub use auth::Tokens;
pub use limits::Limits;
pub use server::{Server, router};
pub use tls::Tls;
