//! `cloudflare:`: Cloudflare KV by its REST API.

use crate::address::Address;
use crate::error::{Error, Result};
use crate::opener::Opener;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("cloudflare", open);

fn open(_address: Address) -> Result<Store> {
    Err(Error::unsupported("open yet"))
}
