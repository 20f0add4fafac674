//! The stores of browsers, in headless Chromium: what the conformance suite cannot ask of every store.

#![cfg(all(feature = "browser", unix))]

mod cookie;
mod forage;
mod storage;
mod world;
