//! `cookie:`: the cookies of a page.

use crate::opener::Opener;

pub(crate) const STORE: Opener = Opener::absent_in_browsers("cookie", "cookie");
