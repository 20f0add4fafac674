//! What the stores of browsers do to what a page sees, in headless Chromium.

#![cfg(all(feature = "browser", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

#[allow(dead_code, reason = "it has what all tests with servers need")]
#[path = "../http/fake.rs"]
mod fake;
mod full;
mod http;
mod urls;
