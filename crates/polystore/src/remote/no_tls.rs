//! TLS in browsers and Workers, which is theirs alone.

use crate::address::{Address, invalid};
use crate::error::Result;

/// No files: they could not be read, and nobody would listen.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles;

impl TlsFiles {
    /// Refuses the options by these names.
    pub(crate) fn take(address: &mut Address, names: [&str; 3]) -> Result<Self> {
        match names.into_iter().find(|name| address.take(name).is_some()) {
            Some(name) => Err(invalid(format!(
                "the option {name} is for servers: here the browser decides whom to trust"
            ))),
            None => Ok(Self),
        }
    }

    /// Whether any file is named.
    #[expect(clippy::unused_self, reason = "on servers there may be one")]
    pub(crate) fn is_given(&self) -> bool {
        false
    }
}
