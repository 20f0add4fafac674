//! What a person with a browser sees of it, through axum.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "../backends/mod.rs"]
mod backends;
mod browser;
mod outage;
mod sessions;
