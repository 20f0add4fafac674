//! What stores on the network share: where they are, and how they are reached.

mod authority;
mod tls;
#[cfg(feature = "_web")]
pub(crate) mod web;

pub(crate) use authority::{Authority, Host};
pub(crate) use tls::{Pem, TlsFiles, choose_provider, provider};
