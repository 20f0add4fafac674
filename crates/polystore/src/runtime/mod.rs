//! What asks somebody and waits for the answer stands on this: tasks, time limits, and trying again inside them.
//!
//! On servers that is tokio. In browsers and Workers it is the event loop, which is always there and has one
//! thread: `Send` holds by wrapping what belongs to it.

#[cfg(not(target_family = "wasm"))]
#[path = "tokio.rs"]
mod host;
#[cfg(target_family = "wasm")]
#[path = "event_loop.rs"]
mod host;
mod patience;

#[cfg(all(any(feature = "redis", feature = "etcd"), not(target_family = "wasm")))]
pub(crate) use self::host::timeout;
pub(crate) use self::host::{Handle, Id, Instant, current, sleep_until, spawn, timeout_at};
pub(crate) use self::patience::{Backoff, persist, timed_out};

/// How long an operation waits, if its URL does not say.
pub(crate) const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
