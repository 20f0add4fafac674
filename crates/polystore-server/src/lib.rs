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

mod accept;
mod body;
mod call;
mod groups;
mod info;
mod items;
mod listing;
mod operation;
mod page;
mod problem;
mod respond;
mod server;
mod target;

pub use server::{Server, router};
