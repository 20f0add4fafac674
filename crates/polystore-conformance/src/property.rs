//! What a property is, and how one is tried on a store.

use std::any::type_name;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use polystore_kv::{Capabilities, ErrorKind, Result, Store};

use crate::runtime;
use crate::subject::Subject;
use crate::verdict::{Stop, Verdict};

/// What a store must have for a property to say something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Insert,
    NoInsert,
    Replace,
    NoReplace,
    Touch,
    NoTouch,
    Prune,
    NoPrune,
    Ttl,
    NoTtl,
    Ordered,
    /// It refuses keys that are text.
    RefusesKeys,
    /// It refuses values for their size.
    RefusesValues,
    /// Room for so many entries.
    Entries(usize),
    /// Room for a value of so many bytes.
    ValueBytes(usize),
}

/// How many bytes of a value are worth trying.
const TRIED_VALUE: usize = 32_000_000;

impl Need {
    /// Why a store that can do `can` is not what is needed.
    fn missing_in(self, can: &Capabilities) -> Option<&'static str> {
        let room = |limit: Option<usize>, needed| limit.is_none_or(|limit| limit >= needed);
        let (met, why) = match self {
            Self::Insert => (can.insert, "it has no insert"),
            Self::NoInsert => (!can.insert, "it has insert"),
            Self::Replace => (can.replace, "it has no replace"),
            Self::NoReplace => (!can.replace, "it has replace"),
            Self::Touch => (can.touch, "it has no touch"),
            Self::NoTouch => (!can.touch, "it has touch"),
            Self::Prune => (can.prune, "it has no prune"),
            Self::NoPrune => (!can.prune, "it has prune"),
            Self::Ttl => (can.ttl, "its expiries cannot be read"),
            Self::NoTtl => (!can.ttl, "its expiries can be read"),
            Self::Ordered => (can.ordered, "its listings have no order"),
            Self::RefusesKeys => {
                let any = can.max_key_bytes.is_some()
                    || !can.refused_keys.is_empty()
                    || !can.refused_chars.is_empty();
                (any, "it takes every key")
            }
            Self::RefusesValues => {
                let tried = can.max_value_bytes.is_some_and(|most| most <= TRIED_VALUE);
                (tried, "it takes every value that is not too large to try")
            }
            Self::Entries(count) => {
                // Keys and values of these properties are short.
                let fits = room(can.max_entries, count) && room(can.max_total_bytes, count * 400);
                (fits, "it does not hold so many entries")
            }
            Self::ValueBytes(bytes) => {
                let fits = room(can.max_value_bytes, bytes) && room(can.max_total_bytes, bytes * 4);
                (fits, "it does not hold values of that size")
            }
        };
        (!met).then_some(why)
    }
}

/// Something that holds on every store that can do what it needs.
pub(crate) struct Property {
    pub(crate) name: String,
    needs: Vec<Need>,
    at_root: bool,
    run: Box<dyn Fn(Subject) -> BoxFuture<'static, Verdict> + Send + Sync>,
}

/// The property that the function `run` checks, named like it and its module.
pub(crate) fn property<F, Fut>(run: F) -> Property
where
    F: Fn(Subject) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Verdict> + Send + 'static,
{
    let path: Vec<&str> = type_name::<F>().rsplit("::").take(2).collect();
    Property {
        name: format!("{}::{}", path[1], path[0]),
        needs: Vec::new(),
        at_root: false,
        run: Box::new(move |subject| run(subject).boxed()),
    }
}

impl Property {
    pub(crate) fn needs(mut self, needs: &[Need]) -> Self {
        self.needs.extend(needs);
        self
    }

    /// The same about a whole store instead of a substore. It needs a store that is the
    /// suite's own.
    pub(crate) fn at_root(mut self) -> Self {
        self.name += "_at_the_root";
        self.at_root = true;
        self
    }

    /// Tries it on `store`, which is the suite's own and empty if it is `disposable`.
    pub(crate) async fn try_on(&self, store: Store, disposable: bool, limit: Duration) -> Verdict {
        let can = store.capabilities().await?;
        if self.at_root && !disposable {
            return Err(Stop::Skipped("the store is not the suite's own"));
        }
        if let Some(why) = self.needs.iter().find_map(|need| need.missing_in(&can)) {
            return Err(Stop::Skipped(why));
        }
        let prefix = if self.at_root {
            String::new()
        } else {
            format!("ps{:014x}", runtime::random() >> 8)
        };
        let subject = Subject {
            store: store.prefix(&prefix),
            prefix,
            can,
        };
        let checking = AssertUnwindSafe((self.run)(subject.clone())).catch_unwind();
        let verdict = match runtime::within(limit, checking).await {
            Some(Ok(verdict)) => verdict,
            Some(Err(panic)) => Err(Stop::Failed(format!("panicked: {}", text_of(&*panic)))),
            None => Err(Stop::Failed(format!("has not ended after {limit:?}"))),
        };
        let tidied = async {
            tidy_up(&subject.store).await?;
            store.close().await
        };
        let tidied = match runtime::within(limit, AssertUnwindSafe(tidied).catch_unwind()).await {
            Some(Ok(Ok(()))) => Ok(()),
            // The property closed it.
            Some(Ok(Err(error))) if error.kind() == ErrorKind::Closed => Ok(()),
            Some(Ok(Err(error))) => Err(Stop::from(error)),
            Some(Err(panic)) => Err(Stop::Failed(format!("panicked: {}", text_of(&*panic)))),
            None => Err(Stop::Failed(format!("has not closed after {limit:?}"))),
        };
        verdict.and(tidied)
    }
}

/// Removes what a property left. Not with `clear`, which a broken store may take for more
/// than the substore: this touches nothing else whatever the store does.
async fn tidy_up(store: &Store) -> Result<()> {
    let left = store.keys().await?;
    for keys in left.chunks(1000) {
        store.del_many(keys).await?;
    }
    Ok(())
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("(no message)")
}
