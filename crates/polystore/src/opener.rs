//! Stores that this build has, and stores that it does not.

use crate::address::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

/// How a store is opened by its URL, as far as this build has it.
pub(crate) struct Opener {
    kind: &'static str,
    open: std::result::Result<fn(Address) -> Result<Store>, Absence>,
}

/// Why a build does not have a store.
#[allow(dead_code, reason = "a build with every store has no use for it")]
enum Absence {
    /// The feature of this name is not enabled.
    Feature(&'static str),
    /// It works there only.
    Elsewhere(&'static str),
}

impl Opener {
    pub(crate) const fn new(kind: &'static str, open: fn(Address) -> Result<Store>) -> Self {
        Self {
            kind,
            open: Ok(open),
        }
    }

    /// For a store whose feature is not enabled.
    #[allow(dead_code, reason = "a build with every store has no use for it")]
    pub(crate) const fn absent(kind: &'static str, feature: &'static str) -> Self {
        Self {
            kind,
            open: Err(Absence::Feature(feature)),
        }
    }

    /// For a store of servers: files, and what is reached by sockets.
    #[allow(dead_code, reason = "a build with every store has no use for it")]
    pub(crate) const fn absent_on_servers(kind: &'static str) -> Self {
        match cfg!(target_family = "wasm") {
            true => Self {
                kind,
                open: Err(Absence::Elsewhere("outside of browsers and Workers")),
            },
            false => Self::absent(kind, kind),
        }
    }

    /// For a store of browsers.
    #[allow(dead_code, reason = "a build with every store has no use for it")]
    pub(crate) const fn absent_in_browsers(kind: &'static str, feature: &'static str) -> Self {
        match cfg!(target_family = "wasm") {
            true => Self::absent(kind, feature),
            false => Self {
                kind,
                open: Err(Absence::Elsewhere("in browsers")),
            },
        }
    }

    pub(crate) fn open(&self, address: Address) -> Result<Store> {
        let kind = self.kind;
        let message = match self.open {
            Ok(open) => return open(address),
            Err(Absence::Feature(feature)) => {
                format!(
                    "this build has no {kind} store: enable the feature {feature:?} of polystore-kv"
                )
            }
            Err(Absence::Elsewhere(place)) => {
                format!("a {kind} store works only {place}, and not on this target")
            }
        };
        Err(Error::new(ErrorKind::InvalidOption, message))
    }
}
