//! What a person with a browser sees of it, through axum.

#[path = "../backends.rs"]
mod backends;
mod browser;
mod outage;
mod sessions;
