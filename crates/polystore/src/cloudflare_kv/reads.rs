//! Reads that wait go in one request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Api, Cause, Failure, MOST_KEYS};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::gather::Trip;

pub(crate) struct Reads<A>(pub(crate) Arc<A>);

impl<A: Api> Trip for Reads<A> {
    /// Up to [`MOST_KEYS`] keys.
    type Op = Vec<String>;
    /// What is under each of them.
    type Reply = Vec<Option<Entry>>;
    const UNDER_WAY: usize = A::UNDER_WAY;
    const BATCH: usize = MOST_KEYS;
    /// Counted in keys.
    const BYTES: usize = MOST_KEYS;

    async fn send(&self, ops: &[&Vec<String>]) -> Vec<Result<Vec<Option<Entry>>>> {
        let keys = ops.iter().flat_map(|keys| keys.iter().map(String::as_str));
        let distinct: HashSet<&str> = keys.collect();
        let found = self.read(distinct.into_iter().collect()).await;
        let of_op = |keys: &&Vec<String>| {
            let entry = |key: &String| match found.get(key.as_str()) {
                Some(Ok(entry)) => Ok(Some(entry.clone())),
                Some(Err(error)) => Err(error.clone().with_key(key)),
                None => Ok(None),
            };
            keys.iter().map(entry).collect()
        };
        ops.iter().map(of_op).collect()
    }

    fn is_transient(&self, error: &Error) -> bool {
        error.is_retryable()
    }

    fn is_write(_: &Vec<String>) -> bool {
        false
    }

    fn weight(keys: &Vec<String>) -> usize {
        keys.len()
    }

    fn gave_up(&self) {
        self.0.give_up();
    }
}

impl<A: Api> Reads<A> {
    /// Each that is there, or what went wrong with it.
    async fn read(&self, keys: Vec<&str>) -> HashMap<String, Result<Entry>> {
        let mut found = HashMap::with_capacity(keys.len());
        // Where they are refused together, each half is tried alone.
        let mut parts = vec![keys];
        while let Some(mut keys) = parts.pop() {
            let failure = match self.0.read(&keys).await {
                Ok(entries) => {
                    found.extend(entries.into_iter().map(|(key, entry)| (key, Ok(entry))));
                    continue;
                }
                Err(failure) => failure,
            };
            match &keys[..] {
                [key] if failure.cause == Cause::OneOfMany => {
                    let alone = self.0.read_alone(key).await;
                    if let Some(result) = alone.map_err(Failure::of_read).transpose() {
                        found.insert((*key).to_owned(), result);
                    }
                }
                _ if failure.cause == Cause::OneOfMany => {
                    let half = keys.split_off(keys.len() / 2);
                    parts.extend([keys, half]);
                }
                // It is no better for the others.
                _ => {
                    let error = failure.of_read();
                    let left = parts.drain(..).flatten().chain(keys);
                    found.extend(left.map(|key| (key.to_owned(), Err(error.clone()))));
                }
            }
        }
        found
    }
}
