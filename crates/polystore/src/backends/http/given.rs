//! A store over HTTP with a token that the program has.

use std::fmt;

use super::store;
use super::transport::Credential;
use crate::address::{Address, invalid};
use crate::error::Result;
use crate::kv::IntoStore;
use crate::store::Store;

/// A store over HTTP whose token the program has already: what a URL cannot say, because it shows in logs
/// and process lists. Give it to [`kv`](crate::kv()).
///
/// See [the store's documentation](crate::stores::http) for the URL and its options.
///
/// ```
/// use polystore_kv::{HttpStore, kv};
///
/// # fn main() -> polystore_kv::Result<()> {
/// let token = "from wherever secrets are kept";
/// let store = kv(HttpStore::new("https://kv.example.com/app").token(token))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it is a store once kv() has it"]
pub struct HttpStore {
    url: String,
    token: Option<String>,
}

impl HttpStore {
    /// The store at `url`, which is as for [`kv`](crate::kv()): `https://host/path`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: None,
        }
    }

    /// Sends `token` with every request, as `authorization: Bearer`.
    pub fn token(self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self
        }
    }
}

/// Without the URL and the token: either may be a secret.
impl fmt::Debug for HttpStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpStore").finish_non_exhaustive()
    }
}

impl IntoStore for HttpStore {
    fn into_store(self) -> Result<Store> {
        let address = Address::parse(&self.url)?;
        if !matches!(address.scheme(), "http" | "https") {
            return Err(invalid(
                "the URL of an HttpStore begins with http: or https:",
            ));
        }
        let token = self.token.as_deref().map(Credential::token);
        store(address, token.transpose()?)
    }
}
