//! `localforage:`: IndexedDB, as localForage keeps it.

use crate::opener::Opener;

pub(crate) const STORE: Opener = Opener::absent_in_browsers("localForage", "local_forage");
