//! `http:`: a server that speaks the HTTP protocol of `docs/http.md`, or the npm package's part of it.

use crate::address::Address;
use crate::error::{Error, Result};
use crate::opener::Opener;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("http", open);

fn open(_address: Address) -> Result<Store> {
    Err(Error::unsupported("open yet"))
}
