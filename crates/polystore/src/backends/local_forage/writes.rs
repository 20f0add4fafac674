//! Writes that wait go in one transaction, in their order.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use send_wrapper::SendWrapper;
use web_sys::wasm_bindgen::JsValue;
use web_sys::{IdbObjectStore, IdbRequest, IdbTransactionMode};

use super::database::Database;
use super::failure::{error_of, foreign};
use super::value::{entry_of, object_of, renewed};
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};
use crate::gather::Trip;

/// What is to be done as a whole: one write or several.
#[derive(Clone)]
pub(super) struct Op(Arc<[Step]>);

struct Step {
    key: String,
    what: What,
}

enum What {
    Put(Put),
    Del,
    /// Only if nothing live is there.
    Insert(Put),
    /// Only if something live is there, as is the one after it.
    Replace(Put),
    Touch(Expiry),
    /// Only if it still is this.
    Evict(Entry),
    /// Only if it has expired.
    Expire,
}

/// The object to be stored.
struct Put {
    object: SendWrapper<JsValue>,
    bytes: usize,
}

impl Put {
    fn new(entry: &Entry) -> Result<Self> {
        Ok(Self {
            object: SendWrapper::new(object_of(entry)?),
            bytes: entry.json().len(),
        })
    }
}

impl Op {
    fn one(key: &str, what: What) -> Self {
        let key = key.to_owned();
        Self([Step { key, what }].into())
    }

    pub(super) fn put(key: &str, entry: &Entry) -> Result<Self> {
        Ok(Self::one(key, What::Put(Put::new(entry)?)))
    }

    pub(super) fn del(key: &str) -> Self {
        Self::one(key, What::Del)
    }

    pub(super) fn insert(key: &str, entry: &Entry) -> Result<Self> {
        Ok(Self::one(key, What::Insert(Put::new(entry)?)))
    }

    pub(super) fn replace(key: &str, entry: &Entry) -> Result<Self> {
        Ok(Self::one(key, What::Replace(Put::new(entry)?)))
    }

    pub(super) fn touch(key: &str, expiry: Expiry) -> Self {
        Self::one(key, What::Touch(expiry))
    }

    pub(super) fn evict(key: &str, seen: &Entry) -> Self {
        Self::one(key, What::Evict(seen.clone()))
    }

    pub(super) fn put_all(entries: &[(String, Entry)]) -> Result<Self> {
        let steps = entries.iter().map(|(key, entry)| {
            let put = Put::new(entry).map_err(|error| error.with_key(key))?;
            let (key, what) = (key.clone(), What::Put(put));
            Ok(Step { key, what })
        });
        steps.collect::<Result<_>>().map(Self)
    }

    pub(super) fn del_all(keys: &[String]) -> Self {
        Self::of(keys.to_vec(), || What::Del)
    }

    /// Removes those that have expired.
    pub(super) fn expire(keys: Vec<String>) -> Self {
        Self::of(keys, || What::Expire)
    }

    fn of(keys: Vec<String>, what: impl Fn() -> What) -> Self {
        let steps = keys.into_iter().map(|key| Step { key, what: what() });
        Self(steps.collect())
    }
}

impl What {
    /// Whether it depends on what is there.
    fn is_conditional(&self) -> bool {
        !matches!(self, Self::Put(_) | Self::Del)
    }
}

/// What is there under the keys on which something depends; undefined is nothing.
type There = HashMap<String, JsValue>;

/// Asks for all of it. Of each operation: whether its last condition was met.
fn apply(
    store: &IdbObjectStore,
    ops: &[Op],
    mut there: There,
) -> Result<Vec<Result<bool>>, JsValue> {
    let mut outcomes = Vec::with_capacity(ops.len());
    for Op(steps) in ops {
        let mut outcome = Ok(true);
        for Step { key, what } in &**steps {
            let found = there.get(key);
            let write = match (what, found) {
                (What::Put(put), _) => Ok(Some((*put.object).clone())),
                (What::Del, _) => Ok(Some(JsValue::UNDEFINED)),
                (condition, found) => decide(condition, found.unwrap_or(&JsValue::UNDEFINED)),
            };
            outcome = match write {
                Ok(Some(object)) => {
                    write_to(store, key, &object)?;
                    if let Some(there) = there.get_mut(key) {
                        *there = object;
                    }
                    Ok(true)
                }
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            };
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// What is to be there instead, if the condition is met.
fn decide(condition: &What, found: &JsValue) -> Result<Option<JsValue>> {
    let entry = match found.is_undefined() {
        true => None,
        false => Some(entry_of(found, matches!(condition, What::Evict(_)))),
    };
    let gone = Some(JsValue::UNDEFINED);
    Ok(match (condition, entry) {
        (What::Insert(put), None) => Some((*put.object).clone()),
        (What::Insert(put), Some(entry)) => entry?.is_expired().then(|| (*put.object).clone()),
        (What::Replace(put), Some(entry)) => (!entry?.is_expired()).then(|| (*put.object).clone()),
        (What::Touch(expiry), Some(entry)) => {
            (!entry?.is_expired()).then(|| renewed(found, *expiry))
        }
        (What::Evict(seen), Some(Ok(entry))) if entry == *seen => gone,
        (What::Expire, Some(Ok(entry))) if entry.is_expired() => gone,
        _ => None,
    })
}

fn write_to(store: &IdbObjectStore, key: &str, object: &JsValue) -> Result<IdbRequest, JsValue> {
    let key = JsValue::from_str(key);
    match object.is_undefined() {
        true => store.delete(&key),
        false => store.put_with_key(object, &key),
    }
}

pub(super) struct Writes(pub(super) Arc<Database>);

impl Writes {
    async fn write(&self, ops: &[Op]) -> Result<Vec<Result<bool>>> {
        let mut transaction = self.0.begin(IdbTransactionMode::Readwrite).await?;
        let steps = ops.iter().flat_map(|op| &*op.0);
        let conditional = steps.filter(|step| step.what.is_conditional());
        let mut gets: HashMap<String, Option<IdbRequest>> =
            conditional.map(|step| (step.key.clone(), None)).collect();
        let failed = |exception: JsValue| error_of(&exception);
        if gets.is_empty() {
            let applied = apply(transaction.store(), ops, There::new());
            let outcomes = applied.map_err(|exception| {
                transaction.abort();
                failed(exception)
            })?;
            transaction.commit();
            transaction.complete().await?;
            return Ok(outcomes);
        }
        let mut last = None;
        for (key, get) in &mut gets {
            let asked = transaction.store().get(&JsValue::from_str(key));
            *get = Some(asked.map_err(failed)?);
            last.clone_from(get);
        }
        let done = Rc::new(RefCell::new(Err(foreign())));
        if let Some(last) = last {
            let (store, ops) = (transaction.store().clone(), ops.to_vec());
            let tell = Rc::clone(&done);
            transaction.after(last, move || {
                let there = gets.into_iter().map(|(key, get)| {
                    let object = get.map_or(Ok(JsValue::UNDEFINED), |get| get.result());
                    Ok((key, object?))
                });
                let there: Result<There, JsValue> = there.collect();
                let applied = there.and_then(|there| apply(&store, &ops, there));
                let outcome = applied.as_ref().map(drop).map_err(JsValue::clone);
                *tell.borrow_mut() = applied.map_err(|exception| error_of(&exception));
                outcome
            });
        }
        let completed = transaction.complete().await;
        let done = done.replace(Ok(Vec::new()));
        match completed {
            Ok(()) => done,
            // What was refused says more than that all was rolled back.
            Err(error) => Err(done
                .err()
                .filter(|it| it.kind() != ErrorKind::Corrupt)
                .unwrap_or(error)),
        }
    }

    /// The same, where one of them may be all that is wrong.
    async fn write_apart(&self, ops: &[Op]) -> Vec<Result<bool>> {
        let error = match self.write(ops).await {
            Ok(outcomes) => return outcomes,
            Err(error) => error,
        };
        let may_be_one = error.kind() == ErrorKind::Full || !error.is_connection();
        if ops.len() == 1 || !may_be_one {
            return vec![Err(error); ops.len()];
        }
        let mut outcomes = Vec::with_capacity(ops.len());
        for op in ops {
            let written = self.write(std::slice::from_ref(op)).await;
            outcomes.push(written.and_then(|mut outcome| outcome.pop().unwrap_or(Ok(false))));
        }
        outcomes
    }
}

impl Trip for Writes {
    type Op = Op;
    type Reply = bool;
    const UNDER_WAY: usize = 1;
    const BATCH: usize = 256;
    const BY_CALLER: bool = true;

    async fn send(&self, ops: &[&Op]) -> Vec<Result<bool>> {
        let ops: Vec<Op> = ops.iter().map(|op| (*op).clone()).collect();
        SendWrapper::new(self.write_apart(&ops)).await
    }

    fn is_transient(&self, error: &Error) -> bool {
        Database::is_transient(error)
    }

    fn may_repeat(op: &Op) -> bool {
        let is_insert = |step: &Step| matches!(step.what, What::Insert(_) | What::Evict(_));
        !op.0.iter().any(is_insert)
    }

    fn is_write(_: &Op) -> bool {
        true
    }

    fn weight(op: &Op) -> usize {
        let bytes = |step: &Step| match &step.what {
            What::Put(put) | What::Insert(put) | What::Replace(put) => put.bytes,
            _ => 0,
        };
        op.0.iter().map(bytes).sum()
    }

    fn gave_up(&self) {
        self.0.give_up();
    }
}
