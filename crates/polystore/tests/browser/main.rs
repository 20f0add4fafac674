//! What the stores of browsers do to what a page sees, in headless Chromium.

#![cfg(all(feature = "browser", unix))]

mod forage;
mod world;
