//! What stores on the network share: where they are, how they are reached and kept.

mod authority;
mod link;
mod retry;
mod tls;
#[cfg(feature = "_web")]
pub(crate) mod web;

pub(crate) use authority::{Authority, Host};
pub(crate) use link::Link;
/// How long an operation waits, if its URL does not say.
pub(crate) const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

pub(crate) use retry::{Backoff, persist, runtime, timed_out};
pub(crate) use tls::{Pem, TlsFiles, choose_provider, provider};
