//! Stores that this build has, and stores that it does not.

use crate::address::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

/// How a store is opened by its URL, as far as this build has it.
pub(crate) struct Opener {
    kind: &'static str,
    open: Option<fn(Address) -> Result<Store>>,
}

impl Opener {
    pub(crate) const fn new(kind: &'static str, open: fn(Address) -> Result<Store>) -> Self {
        let open = Some(open);
        Self { kind, open }
    }

    /// For a store that this build does not have.
    #[allow(dead_code, reason = "a build with every store has no use for it")]
    pub(crate) const fn absent(kind: &'static str) -> Self {
        Self { kind, open: None }
    }

    pub(crate) fn open(&self, address: Address) -> Result<Store> {
        let kind = self.kind;
        match self.open {
            Some(open) => open(address),
            None if cfg!(target_family = "wasm") => Err(Error::new(
                ErrorKind::InvalidOption,
                format!("a {kind} store cannot work on this target"),
            )),
            None => Err(Error::new(
                ErrorKind::InvalidOption,
                format!(
                    "this build has no {kind} store: enable the feature {kind:?} of polystore-kv"
                ),
            )),
        }
    }
}
