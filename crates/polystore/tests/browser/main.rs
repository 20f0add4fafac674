//! The stores of browsers, in headless Chromium: what the conformance suite cannot ask of every store.

#![cfg(all(feature = "browser", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod cookie;
#[allow(dead_code, reason = "it has what all tests with servers need")]
#[path = "../http/fake.rs"]
mod fake;
mod forage;
mod full;
mod http;
mod room;
mod storage;
mod urls;
mod world;
