//! What is measured: something that reads and writes users.

use std::future::Future;

use serde::{Deserialize, Serialize};

/// About 55 bytes of JSON, the same on both sides.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct User {
    id: u32,
    name: String,
    email: String,
}

impl User {
    pub(crate) fn new(id: u32) -> Self {
        Self {
            id,
            name: "Ada Lovelace".to_owned(),
            email: "ada@ex.org".to_owned(),
        }
    }
}

/// Something that reads and writes users under keys.
pub(crate) trait Subject: Clone + Send + Sync + 'static {
    /// The same thing for the runtime that this is called on: a connection that somebody
    /// keeps by hand belongs to one.
    fn fresh(&self) -> impl Future<Output = Self> + Send {
        async { self.clone() }
    }
    fn get(&self, key: &str) -> impl Future<Output = Option<User>> + Send;
    fn set(&self, key: &str, user: &User) -> impl Future<Output = ()> + Send;
    /// How many users are under `keys`, each read and decoded.
    fn get_many(&self, keys: &[String]) -> impl Future<Output = usize> + Send {
        async move {
            let mut found = 0;
            for key in keys {
                found += usize::from(self.get(key).await.is_some());
            }
            found
        }
    }
}

pub(crate) fn to_json(user: &User) -> Vec<u8> {
    serde_json::to_vec(user).expect("a user is JSON")
}

pub(crate) fn from_json(json: &[u8]) -> User {
    serde_json::from_slice(json).expect("it was written as JSON")
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Wrapper<T> {
    pub(crate) expires: Option<i64>,
    pub(crate) value: T,
}

pub(crate) fn wrap(user: &User) -> Vec<u8> {
    let wrapper = Wrapper {
        expires: None,
        value: user,
    };
    serde_json::to_vec(&wrapper).expect("a user is JSON")
}

pub(crate) fn unwrap(json: &[u8]) -> User {
    let wrapper: Wrapper<User> = serde_json::from_slice(json).expect("it was written as JSON");
    wrapper.value
}
