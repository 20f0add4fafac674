//! What stores on the network share: where they are, and how they are reached.

#[cfg(not(target_family = "wasm"))]
mod authority;
#[cfg_attr(target_family = "wasm", path = "no_tls.rs")]
mod tls;
#[cfg(feature = "_web")]
pub(crate) mod web;

#[cfg(not(target_family = "wasm"))]
pub(crate) use authority::{Authority, Host};
pub(crate) use tls::TlsFiles;
#[cfg(not(target_family = "wasm"))]
pub(crate) use tls::{Pem, choose_provider, provider};
