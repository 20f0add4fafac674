//! A store whose token the program already has.

use std::fmt;

use super::open_with;
use crate::address::{Address, invalid};
use crate::error::Result;
use crate::kv::IntoStore;
use crate::store::Store;

/// A namespace of Cloudflare KV with a token that comes from the program, and not from its environment. See [the
/// store's documentation](crate::stores::cloudflare).
///
/// ```
/// use polystore_kv::{Cloudflare, kv};
///
/// # fn read_secret() -> &'static str { "token" }
/// let token = read_secret();
/// let store = kv(Cloudflare::new("cloudflare://ACCOUNT/NAMESPACE?timeout=5s", token))?;
/// # Ok::<(), polystore_kv::Error>(())
/// ```
#[derive(Clone)]
pub struct Cloudflare {
    url: String,
    token: String,
}

impl Cloudflare {
    /// The namespace at `url`, which may have all options but `token_env`. Nothing is checked until
    /// [`kv`](crate::kv()) gets it.
    #[must_use]
    pub fn new(url: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: token.into(),
        }
    }
}

impl fmt::Debug for Cloudflare {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloudflare").finish_non_exhaustive()
    }
}

impl IntoStore for Cloudflare {
    fn into_store(self) -> Result<Store> {
        let address = Address::parse(&self.url)?;
        if address.scheme() != "cloudflare" {
            return Err(invalid(
                "the URL of a namespace is cloudflare://ACCOUNT/NAMESPACE",
            ));
        }
        open_with(address, Some(self.token))
    }
}
