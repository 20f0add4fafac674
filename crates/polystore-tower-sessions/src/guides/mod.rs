//! The guides, which are pages of the repository's folder `docs`.

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/sessions.md")]
pub mod sessions {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/from-tower-sessions.md")]
pub mod from_tower_sessions {}
