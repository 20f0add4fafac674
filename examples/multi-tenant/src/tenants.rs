//! Each tenant's part of a store, which no other tenant's reaches into.

use std::collections::BTreeMap;

use polystore_kv::{IntoStore, Result, Store, TypedStore, kv};
use serde::{Deserialize, Serialize};

/// A person who works for a tenant.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) seat: u32,
}

/// All tenants in one store.
pub(crate) struct Tenants {
    store: Store,
    /// The plan of each, by name. The name is the key and nothing comes after it: here any name is safe.
    plans: TypedStore<Plan>,
}

/// What a tenant pays for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) seats: u32,
}

/// One tenant. It has no way to any key but its own.
pub(crate) struct Tenant {
    plan: Plan,
    all: Store,
    users: TypedStore<User>,
    seats: Store,
    settings: TypedStore<String>,
}

/// What becomes of somebody who is to get a seat.
#[derive(Debug, PartialEq)]
pub(crate) enum Hired {
    Seat(u32),
    IsThere,
    AllSeatsTaken,
}

/// What all keys of a tenant begin with, and no key of another.
///
/// A prefix is plain text. With `tenant:{name}:` the tenant `a` would list and clear what belongs to a tenant
/// of the name `a:b`, and `a:` would write into it. The length before the name says where the name ends, so
/// that no such text begins another one: `tenant:1:a:` and `tenant:3:a:b:`. (Names of letters and
/// digits alone do as well, checked where tenants are made; so do ids that you make yourself.)
fn prefix_of(name: &str) -> String {
    format!("tenant:{}:{name}:", name.len())
}

impl Tenants {
    pub(crate) fn new(store: impl IntoStore) -> Result<Self> {
        let store = kv(store)?;
        Ok(Self {
            plans: store.prefix("plan:").typed(),
            store,
        })
    }

    /// Makes a tenant, and says whether it is new: the name of one that is there is nobody else's to take.
    pub(crate) async fn create(&self, name: &str, plan: Plan) -> Result<bool> {
        self.plans.insert(name, &plan).await
    }

    pub(crate) async fn names(&self) -> Result<Vec<String>> {
        self.plans.keys().await
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Option<Tenant>> {
        let plan = self.plans.get(name).await?;
        Ok(plan.map(|plan| Tenant::new(&self.store, name, plan)))
    }

    /// Removes a tenant with everything that it has.
    pub(crate) async fn remove(&self, name: &str) -> Result<()> {
        // The plan goes last: if this fails half way, it can be done again.
        if let Some(tenant) = self.get(name).await? {
            tenant.all.clear().await?;
        }
        self.plans.del(name).await
    }

    pub(crate) async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}

impl Tenant {
    fn new(store: &Store, name: &str, plan: Plan) -> Self {
        let all = store.prefix(prefix_of(name));
        Self {
            plan,
            users: all.prefix("user:").typed(),
            seats: all.prefix("seat:"),
            settings: all.prefix("setting:").typed(),
            all,
        }
    }

    /// Gives `email` one of the seats.
    ///
    /// Counting the users first would let two through at a time. Seats have numbers instead, and `insert`
    /// gives each to one only, whoever else asks at the same moment.
    pub(crate) async fn hire(&self, email: &str, name: &str) -> Result<Hired> {
        for seat in 1..=self.plan.seats {
            let number = seat.to_string();
            if !self.seats.insert(&number, email).await? {
                continue;
            }
            let name = name.to_owned();
            let hired = self.users.insert(email, &User { name, seat }).await;
            match hired {
                Ok(true) => return Ok(Hired::Seat(seat)),
                Ok(false) => {
                    self.seats.del(&number).await?;
                    return Ok(Hired::IsThere);
                }
                // If it may have been written, the seat is theirs; nothing is given twice.
                Err(error) if error.is_maybe_applied() => return Err(error),
                Err(error) => {
                    self.seats.del(&number).await?;
                    return Err(error);
                }
            }
        }
        Ok(Hired::AllSeatsTaken)
    }

    /// Frees the seat of `email`, and says whether there was one.
    pub(crate) async fn dismiss(&self, email: &str) -> Result<bool> {
        let users = self.users.store();
        let Some(seen) = users.entry(email).await? else {
            return Ok(false);
        };
        let user: User = seen.decode()?;
        // Of several who dismiss at a time, one does it. A second one would free the seat of whoever got it since.
        if !users.evict(email, &seen).await? {
            return Ok(false);
        }
        // If this ends half way, a seat stays taken: too few are a nuisance, too many a lie.
        self.seats.del(&user.seat.to_string()).await?;
        Ok(true)
    }

    pub(crate) async fn users(&self) -> Result<BTreeMap<String, User>> {
        self.users.all().await
    }

    pub(crate) fn settings(&self) -> &TypedStore<String> {
        &self.settings
    }
}
