//! Which stores are examined, and how it is reported.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use libtest_mimic::{Arguments, Completion};
use polystore_kv::{IntoStore, Store};

use crate::counts::{self, Counts};
use crate::properties;
use crate::property::Property;
use crate::runtime;
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
    open: Box<dyn Fn() -> BoxFuture<'static, Opened> + Send + Sync>,
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
            open: Box::new(open),
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

    /// Tries everything, reports as `cargo test` does, and takes its arguments from the
    /// command line. What it gives is for `main` to return.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let arguments = Arguments::from_args();
        let complete = arguments.filter.is_none()
            && arguments.skip.is_empty()
            && !arguments.list
            && !arguments.ignored
            && !arguments.bench;
        let tally = Arc::new(Mutex::new(Counts::new()));
        let mut tests = Vec::new();
        for store in &self.stores {
            for property in properties::all() {
                let (store, tally, limit) = (Arc::clone(store), Arc::clone(&tally), self.limit);
                let name = format!("{}::{}", store.name, property.name);
                tests.push(libtest_mimic::Trial::ignorable_test(name, move || {
                    let outcome = store.try_property(&property, limit);
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    let count = tally.entry(store.name.clone()).or_default();
                    match outcome {
                        Outcome::Passed => {
                            count.passed += 1;
                            Ok(Completion::Completed)
                        }
                        Outcome::Skipped(why) => {
                            count.skipped += 1;
                            Ok(Completion::ignored_with(why))
                        }
                        Outcome::Failed(why) => Err(why.into()),
                    }
                }));
            }
        }
        let conclusion = libtest_mimic::run(&arguments, tests);
        if conclusion.has_failed() || !complete {
            return conclusion.exit_code();
        }
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match self
            .counts
            .map_or(Ok(()), |path| counts::settle(&path, &tally))
        {
            Ok(()) => conclusion.exit_code(),
            Err(message) => {
                eprintln!("{message}\n");
                ExitCode::FAILURE
            }
        }
    }

    /// Tries, one after another, the properties that `wanted` picks by name, and gives what
    /// came of each: for tests of a suite's own making.
    #[must_use]
    pub fn outcomes(&self, wanted: impl Fn(&str) -> bool) -> Vec<Trial> {
        let mut trials = Vec::new();
        for store in &self.stores {
            let properties = properties::all().into_iter();
            for property in properties.filter(|property| wanted(&property.name)) {
                trials.push(Trial {
                    store: store.name.clone(),
                    outcome: store.try_property(&property, self.limit),
                    property: property.name,
                });
            }
        }
        trials
    }
}

impl Candidate {
    fn try_property(&self, property: &Property, limit: Duration) -> Outcome {
        runtime::block_on(async {
            match (self.open)().await {
                Ok(store) => property.try_on(store, self.disposable, limit).await.into(),
                Err(error) => Outcome::Failed(format!("the store does not open: {error:?}")),
            }
        })
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
