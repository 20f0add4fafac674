//! Feature flags in a store: what there is to one, and who has it.

use std::fmt;
use std::str::FromStr;

use polystore_kv::{Expires, Expiry, IntoStore, Result, Scan, TypedStore, kv};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Who has a feature. In the file it is `"on"`, `"off"` or `{"percent": 20}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Flag {
    On,
    Off,
    /// So many of a hundred users, and always the same ones.
    Percent(#[serde(deserialize_with = "percent")] f64),
}

/// A slip such as 200 for 20 must not be everybody.
fn percent<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<f64, D::Error> {
    let percent = f64::deserialize(from)?;
    if (0.0..=100.0).contains(&percent) {
        return Ok(percent);
    }
    Err(D::Error::custom("a share is from 0 to 100"))
}

impl Flag {
    /// Whether `user` has the feature `name`.
    pub(crate) fn is_on(self, name: &str, user: &str) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Percent(percent) => f64::from(place(name, user)) < percent * 100.0,
        }
    }
}

/// Where a user stands among ten thousand places: the same in every process, on every machine and in every
/// release, which the hashes of the standard library do not promise. By the name of the flag too, so
/// that it is not the same people who try everything first. Who is among the first 20 % stays so at 30 %.
fn place(name: &str, user: &str) -> u32 {
    let hash = hmac_sha256::HMAC::mac(user, name);
    let [a, b, c, d, ..] = hash;
    u32::from_be_bytes([a, b, c, d]) % 10_000
}

/// A flag in a listing.
pub(crate) struct Listed {
    pub(crate) name: String,
    /// An error if it was written by hand and is none.
    pub(crate) flag: Result<Flag>,
    pub(crate) expiry: Expiry,
}

/// The flags in a store.
pub(crate) struct Flags(TypedStore<Flag>);

impl Flags {
    pub(crate) fn new(store: impl IntoStore) -> Result<Self> {
        Ok(Self(kv(store)?.typed()))
    }

    /// Sets a flag, until `expires` has passed: then it is off, as one that was never set.
    pub(crate) async fn set(&self, name: &str, flag: Flag, expires: Expires) -> Result<()> {
        self.0.set(name, &flag).expires(expires).await
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<()> {
        self.0.del(name).await
    }

    /// Whether `user` has the feature `name`. One that is not there is off.
    pub(crate) async fn is_on(&self, name: &str, user: &str) -> Result<bool> {
        let flag = self.0.get(name).await?;
        Ok(flag.is_some_and(|flag| flag.is_on(name, user)))
    }

    /// All flags by name, those that are wrong too: one slip in the file hides no other flag.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>> {
        let mut entries = self.0.store().scan(Scan::new());
        let mut flags = Vec::new();
        while let Some((name, entry)) = entries.try_next().await? {
            flags.push(Listed {
                flag: entry.decode(),
                expiry: entry.expiry(),
                name,
            });
        }
        flags.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(flags)
    }
}

impl FromStr for Flag {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let percent = |word: &str| word.strip_suffix('%')?.parse().ok();
        match word {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => percent(word)
                .filter(|percent| (0.0..=100.0).contains(percent))
                .map(Self::Percent)
                .ok_or_else(|| format!("a flag is on, off or a share such as 20%, not {word:?}")),
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.pad("on"),
            Self::Off => f.pad("off"),
            Self::Percent(percent) => f.pad(&format!("{percent}%")),
        }
    }
}
