//! Which stores are examined, and how it is reported.

#[cfg(not(target_family = "wasm"))]
mod report;

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use polystore_kv::{IntoStore, Store};

use crate::properties;
use crate::property::Property;
use crate::verdict::{Stop, Verdict};

/// A test that has not ended by then has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// The properties, and the stores that they are tried on.
#[must_use = "nothing is tried until it runs"]
pub struct Suite {
    stores: Vec<Arc<Candidate>>,
    counts: Option<PathBuf>,
    limit: Duration,
}

struct Candidate {
    name: String,
    disposable: bool,
    place: Place,
}

enum Place {
    Here(Box<dyn Fn() -> BoxFuture<'static, Opened> + Send + Sync>),
    Elsewhere(Box<dyn Fn(&str) -> Outcome + Send + Sync>),
}

type Opened = Result<Store, Box<dyn StdError + Send + Sync>>;

/// What came of one property on one store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trial {
    /// The name of the store, as the suite was told.
    pub store: String,
    /// The name of the property: its group, `::`, and what it says.
    pub property: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of trying a property.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It says nothing about this store, for this reason.
    Skipped(String),
    /// It does not hold: this was found.
    Failed(String),
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Ok(()) => Self::Passed,
            Err(Stop::Skipped(why)) => Self::Skipped(why.to_owned()),
            Err(Stop::Failed(why)) => Self::Failed(why),
        }
    }
}

impl Default for Suite {
    fn default() -> Self {
        Self::new()
    }
}

impl Suite {
    /// A suite without stores.
    pub fn new() -> Self {
        Self {
            stores: Vec::new(),
            counts: None,
            limit: LIMIT,
        }
    }

    /// Tries the properties on the store that `open` gives, each under a prefix of its own
    /// and none about the whole store.
    ///
    /// `open` is called for each property, for a handle that nobody else uses (some
    /// properties close it). It may give a store that holds data, and the same one
    /// each time.
    pub fn store<F, Fut, S, E>(self, name: &str, open: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<S, E>> + Send + 'static,
        S: IntoStore,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.candidate(name, false, open)
    }

    /// As [`store`](Self::store), for a store that is the suite's own: empty at each call
    /// of `open`, and for nobody else to see. Properties about the whole store,
    /// such as clearing all of it, are tried as well.
    pub fn disposable_store<F, Fut, S, E>(self, name: &str, open: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<S, E>> + Send + 'static,
        S: IntoStore,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.candidate(name, true, open)
    }

    fn candidate<F, Fut, S, E>(mut self, name: &str, disposable: bool, open: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<S, E>> + Send + 'static,
        S: IntoStore,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let open = move || {
            let opening = open();
            async move { Ok(opening.await.map_err(Into::into)?.into_store()?) }.boxed()
        };
        self.stores.push(Arc::new(Candidate {
            name: name.to_owned(),
            disposable,
            place: Place::Here(Box::new(open)),
        }));
        self
    }

    /// Reports on a store that is not for this program to open, such as a browser's: `examine` gets the name of
    /// a property and has it [examined](Self::examine) there. It may block.
    pub fn store_elsewhere<F>(mut self, name: &str, examine: F) -> Self
    where
        F: Fn(&str) -> Outcome + Send + Sync + 'static,
    {
        self.stores.push(Arc::new(Candidate {
            name: name.to_owned(),
            disposable: true,
            place: Place::Elsewhere(Box::new(examine)),
        }));
        self
    }

    /// Compares how many properties passed and were skipped with the table in the file
    /// `path`, when all of them ran.
    ///
    /// With the environment variable `POLYSTORE_UPDATE_COUNTS=1` the file is written instead.
    /// A relative path starts at the package's folder, where `cargo test` runs.
    pub fn counts(mut self, path: impl Into<PathBuf>) -> Self {
        self.counts = Some(path.into());
        self
    }

    /// How long one property may take before it counts as failed, instead of two minutes.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The names of the stores, in the order in which they came.
    pub fn stores(&self) -> impl Iterator<Item = &str> {
        self.stores.iter().map(|store| &store.name[..])
    }

    /// Tries one of the [`properties`](crate::properties()) on the store of that name: for hosts that
    /// `cargo test` does not reach, such as a browser. What it gives is for
    /// [`store_elsewhere`](Self::store_elsewhere) where `cargo test` runs.
    ///
    /// `None`: there is no such store or property.
    pub async fn examine(&self, store: &str, property: &str) -> Option<Outcome> {
        let store = self.stores.iter().find(|one| one.name == store)?;
        let mut properties = properties::all().into_iter();
        let property = properties.find(|one| one.name == property)?;
        Some(store.examine(&property, self.limit).await)
    }
}

impl Candidate {
    async fn examine(&self, property: &Property, limit: Duration) -> Outcome {
        let opened = match &self.place {
            Place::Here(open) => open().await,
            Place::Elsewhere(examine) => return examine(&property.name),
        };
        match opened {
            Ok(store) => property.try_on(store, self.disposable, limit).await.into(),
            Err(error) => Outcome::Failed(format!("the store does not open: {error:?}")),
        }
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stores: Vec<_> = self.stores.iter().map(|store| &store.name).collect();
        f.debug_struct("Suite")
            .field("stores", &stores)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
