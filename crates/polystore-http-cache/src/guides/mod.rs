//! The guide, which is a page of the repository's folder `docs`.

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/http-cache.md")]
pub mod http_cache {}
