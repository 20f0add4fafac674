//! `localstorage:` and `sessionstorage:`: the web storage of a page.

use crate::opener::Opener;

pub(crate) const STORE: Opener = Opener::absent_in_browsers("web storage", "web_storage");
