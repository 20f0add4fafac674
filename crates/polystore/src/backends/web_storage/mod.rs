//! `localstorage:` and `sessionstorage:`: the web storage of a page.

use std::sync::Arc;

use crate::address::{Address, invalid};
use crate::browser::storage::{Area, WebStorage};
use crate::error::Result;
use crate::opener::Opener;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("web storage", open);

fn open(address: Address) -> Result<Store> {
    let (kind, area) = match address.scheme() {
        "sessionstorage" => ("sessionstorage", Area::Session),
        _ => ("localstorage", Area::Local),
    };
    if !address.location().is_empty() {
        return Err(invalid(format!(
            "{kind}: has no name: a site has one, and a prefix makes a store of its own in it"
        )));
    }
    address.finish(&[])?;
    Ok(Store::new(Arc::new(WebStorage::new(kind, area, ""))))
}

#[cfg(feature = "web-sys-0_3")]
mod given {
    use super::{Arc, Area, Result, Store, WebStorage};
    use crate::kv::IntoStore;

    /// The page's own `sessionStorage` is as `sessionstorage:`, and any other as `localstorage:`.
    #[cfg_attr(docsrs, doc(cfg(feature = "web-sys-0_3")))]
    impl IntoStore for web_sys::Storage {
        fn into_store(self) -> Result<Store> {
            let is_session = Area::Session.open().is_ok_and(|session| session == self);
            let (kind, area) = match is_session {
                true => ("sessionstorage", Area::Session),
                false => ("localstorage", Area::Local),
            };
            Ok(Store::new(Arc::new(WebStorage::of(kind, area, self))))
        }
    }
}
