//! The guide, which is a page of the repository's folder `docs`.

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/sessions-actix.md")]
pub mod sessions_actix {}
