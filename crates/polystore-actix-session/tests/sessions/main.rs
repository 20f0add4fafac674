//! Sessions of actix-session, in every store that works outside of a browser.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

#[macro_use]
mod app;
mod contract;
mod ends;
mod failures;
mod places;
mod workers;
