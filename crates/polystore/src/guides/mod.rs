//! The guides: pages of the repository's folder `docs`, which is a part of this package too.
//!
//! - To begin with: [choosing a store](choosing_a_store), [expiry and eviction](expiry), [substores], [errors], [caching],
//!   [performance]
//! - Building on it: [libraries that take any store](for_library_authors), [a store of one's own](creating_a_store),
//!   [in a browser](browser)
//! - Over HTTP: [the protocol](http), [running the server](operating), [with curl](curl), [the page](page)
//! - Coming from: [the npm package](from_npm), [keyv](from_keyv), [OpenDAL](from_opendal); [what else there is](comparison)

// A page names its links by their files; `links.md`, before each, says where those are here.
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/choosing-a-store.md")]
pub mod choosing_a_store {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/expiry.md")]
pub mod expiry {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/substores.md")]
pub mod substores {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/errors.md")]
pub mod errors {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/caching.md")]
pub mod caching {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/performance.md")]
pub mod performance {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/creating-a-store.md")]
pub mod creating_a_store {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/for-library-authors.md")]
pub mod for_library_authors {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/browser.md")]
pub mod browser {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/http.md")]
pub mod http {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/operating.md")]
pub mod operating {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/curl.md")]
pub mod curl {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/page.md")]
pub mod page {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/from-npm.md")]
pub mod from_npm {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/from-keyv.md")]
pub mod from_keyv {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/from-opendal.md")]
pub mod from_opendal {}
#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/comparison.md")]
pub mod comparison {}
