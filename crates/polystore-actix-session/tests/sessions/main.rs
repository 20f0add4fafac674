//! Sessions of actix-session, in every store that works outside of a browser.

#![cfg(unix)]

mod app;
mod contract;
mod ends;
mod failures;
mod places;
mod workers;
