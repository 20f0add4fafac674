//! The page at `/_/`, clicked through in Chromium.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod entries;
mod looks;
mod refusals;
mod world;
