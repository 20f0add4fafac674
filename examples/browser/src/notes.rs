//! The notes, in whatever store was chosen.

use polystore_kv::{Capabilities, Error, Expiry, Scan, Store, kv};
use serde::{Deserialize, Serialize};

/// Where the choice of a store is kept: a setting of this browser.
const SETTINGS: &str = "localstorage:";
const DEFAULT: &str = "localstorage:";

/// A note, with its title, which is its key.
#[derive(Debug, PartialEq)]
pub(crate) struct Note {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) expiry: Expiry,
}

/// What is kept under the title.
#[derive(Deserialize, Serialize)]
struct Kept {
    text: String,
}

#[derive(Clone)]
pub(crate) struct Notes {
    store: Store,
    scheme: String,
    can: Capabilities,
}

impl Notes {
    /// In the store at `url`, beside what else it has.
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        let store = kv(url)?.prefix("note:");
        let can = store.capabilities().await?;
        let scheme = url.split(':').next().unwrap_or_default().to_owned();
        Ok(Self { store, scheme, can })
    }

    pub(crate) async fn save(&self, title: &str, text: &str, expires: &str) -> Result<(), Error> {
        let kept = Kept {
            text: text.to_owned(),
        };
        self.store.set(title, &kept).expires(expires).await
    }

    /// Each that has not expired, by its title.
    pub(crate) async fn all(&self) -> Result<Vec<Note>, Error> {
        let mut entries = self.store.scan(Scan::new());
        let mut notes = Vec::new();
        while let Some((title, entry)) = entries.try_next().await? {
            // Of another program, it may be anything.
            if let Ok(Kept { text }) = entry.decode() {
                let expiry = entry.expiry();
                notes.push(Note {
                    title,
                    text,
                    expiry,
                });
            }
        }
        notes.sort_by(|one, other| one.title.cmp(&other.title));
        Ok(notes)
    }

    pub(crate) async fn delete(&self, title: &str) -> Result<(), Error> {
        self.store.del(title).await
    }

    pub(crate) async fn clear(&self) -> Result<(), Error> {
        self.store.clear().await
    }

    /// Whether only looking tells what has expired, and costs nothing.
    pub(crate) fn must_look(&self) -> bool {
        !self.can.ttl && !self.scheme.starts_with("http")
    }

    /// What a person should know of the store.
    pub(crate) fn about(&self) -> String {
        let mut about = match &self.scheme[..] {
            "localstorage" => "All tabs of this browser share it, and it survives closing them.",
            "sessionstorage" => "Of this tab alone: it survives a reload, and ends with the tab.",
            "cookie" => "With a time to keep it, a note survives closing the browser; without, it ends with it.",
            "localforage" => "A database of this browser, with room for more. It survives closing it.",
            "memory" => "Of this page alone: a reload ends it.",
            _ => "Of whatever store it has.",
        }
        .to_owned();
        if !self.can.ttl {
            about += " It does not tell how long a note stays.";
        }
        if let Some(bytes) = self.can.max_value_bytes {
            about += &match bytes {
                0..4096 => format!(" A note has at most {bytes} bytes."),
                4096..4_194_304 => format!(" A note has at most {} KB.", bytes / 1024),
                _ => format!(" A note has at most {} MB.", bytes / 1_048_576),
            };
        }
        about
    }
}

/// The URL of the store that was chosen last.
pub(crate) async fn remembered() -> String {
    let settings = async || kv(SETTINGS)?.prefix("notes:").get("store").await;
    // Where a browser keeps nothing, nothing was chosen.
    settings()
        .await
        .ok()
        .flatten()
        .unwrap_or_else(|| DEFAULT.to_owned())
}

pub(crate) async fn remember(url: &str) {
    let settings = async || kv(SETTINGS)?.prefix("notes:").set("store", url).await;
    // The choice holds until the page is left, which is what such a browser allows.
    let _: Result<(), Error> = settings().await;
}
