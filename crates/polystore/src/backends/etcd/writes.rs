//! Writes that wait go in one transaction.

use std::sync::Arc;

use futures_util::future::join;

use super::failure::{Cause, Failure};
use super::leases::Leases;
use super::ops::{Op, Put, What, rounds};
use super::proto::{PutRequest, TxnRequest, TxnResponse};
use super::reads::{Found, found, op};
use super::server::{MOST_OPS, Server};
use crate::error::{Error, ErrorKind, Result};
use crate::gather::Trip;

/// What came of it.
#[derive(Clone)]
pub(super) struct Done {
    /// The condition was met, if there was one.
    pub(super) is_done: bool,
    /// What was there, for a look and for what has a condition that was not met.
    pub(super) found: Found,
}

pub(super) struct Writes {
    pub(super) server: Arc<Server>,
    pub(super) leases: Leases,
}

impl Writes {
    /// Does all of them, if all conditions are met; else looks at all keys.
    async fn txn(&self, ops: &[&Op]) -> Result<TxnResponse, Failure> {
        let expiries: Vec<_> = ops.iter().map(|op| op.as_put()?.expires()).collect();
        let leases = self.leases.of(&self.server, &expiries).await?;
        let reply = match ops {
            [
                Op {
                    key,
                    what: What::Put(put),
                    ..
                },
            ] => self.put(put.request(key, leases[0])).await,
            _ => self.transact(ops, &leases).await,
        };
        if matches!(&reply, Err(failure) if failure.cause == Cause::Lease) {
            self.leases.forget(&leases);
        }
        reply
    }

    async fn transact(&self, ops: &[&Op], leases: &[i64]) -> Result<TxnResponse, Failure> {
        let compare: Vec<_> = ops.iter().filter_map(|op| op.compare()).collect();
        let failure = if compare.is_empty() { &[] } else { ops };
        let requests = ops.iter().zip(leases);
        let txn = TxnRequest {
            success: requests
                .map(|(one, lease)| op(one.request(*lease)))
                .collect(),
            failure: failure.iter().map(|one| op(one.look_back())).collect(),
            compare,
        };
        self.server
            .call(async move |connection| connection.txn(txn).await)
            .await
    }

    /// One alone, which is less work for the server.
    async fn put(&self, put: PutRequest) -> Result<TxnResponse, Failure> {
        self.server
            .call(async move |connection| connection.put(put).await)
            .await?;
        Ok(TxnResponse {
            succeeded: true,
            ..TxnResponse::default()
        })
    }

    /// Does each of them whose condition is met. All have one or none has.
    ///
    /// Each could be a transaction inside that of the batch: but in those, etcd (3.4 at least) heeds
    /// neither its quota nor who may do what.
    async fn write(&self, ops: &[&Op]) -> Vec<Result<Done, Failure>> {
        let mut results: Vec<_> = ops.iter().map(|_| Err(Failure::contradiction())).collect();
        let mut left: Vec<usize> = (0..ops.len()).collect();
        loop {
            let some: Vec<&Op> = left.iter().map(|number| ops[*number]).collect();
            let txn = match self.txn(&some).await {
                Ok(txn) => txn,
                Err(failure) => {
                    for number in left {
                        results[number] = Err(failure.clone());
                    }
                    return results;
                }
            };
            let is_done = txn.succeeded;
            let mut replies = txn.responses.into_iter();
            left.retain(|number| {
                let found = found(replies.next());
                let revision = found.as_ref().map_or(0, |kv| kv.mod_revision);
                // It was only held up by another one.
                let again = !is_done && ops[*number].condition() == Some(revision);
                if !again {
                    results[*number] = Ok(Done { is_done, found });
                }
                again
            });
            // Each time there are fewer.
            if left.is_empty() || left.len() == some.len() {
                return results;
            }
        }
    }

    /// The same, where one of them may be all that is wrong.
    async fn write_apart(&self, ops: &[&Op]) -> Vec<Result<Done, Failure>> {
        if ops.is_empty() {
            return Vec::new();
        }
        let mut results = self.write(ops).await;
        let is_one = |result: &Result<Done, Failure>| matches!(result, Err(failure) if failure.cause == Cause::OneOfMany);
        if ops.len() > 1 {
            for (op, result) in ops.iter().zip(&mut results) {
                if is_one(result) {
                    *result = self.write(&[op]).await.swap_remove(0);
                }
            }
            // etcd refuses what removes together with what puts, and takes it alone.
            let is_full = |result: &Result<Done, Failure>| matches!(result, Err(failure) if failure.cause == Cause::Full);
            let removes = |op: &Op| op.as_put().is_none() && op.may_repeat;
            let some: Vec<usize> = (0..ops.len())
                .filter(|number| is_full(&results[*number]) && removes(ops[*number]))
                .collect();
            if !some.is_empty() && some.len() < ops.len() {
                let alone: Vec<&Op> = some.iter().map(|number| ops[*number]).collect();
                for (number, result) in some.into_iter().zip(self.write(&alone).await) {
                    results[number] = result;
                }
            }
        }
        results
    }
}

impl Trip for Writes {
    type Op = Op;
    type Reply = Done;
    const UNDER_WAY: usize = 1;
    const BATCH: usize = MOST_OPS;
    /// etcd takes 1.5 MiB by default.
    const BYTES: usize = 1 << 20;

    async fn send(&self, ops: &[&Op]) -> Vec<Result<Done>> {
        let mut results: Vec<_> = ops
            .iter()
            .map(|_| Err(Failure::contradiction().error))
            .collect();
        let mut failed: Option<Error> = None;
        for round in rounds(ops, self.server.most_ops()) {
            let (free, bound): (Vec<_>, Vec<_>) =
                round.iter().partition(|step| step.op.condition().is_none());
            if let Some(error) = &failed {
                // To keep the order, what comes after it is not even sent.
                for number in round.iter().flat_map(|step| &step.asked_by) {
                    results[*number] = Err(error.clone());
                }
                continue;
            }
            let [free_ops, bound_ops] =
                [&free, &bound].map(|steps| steps.iter().map(|step| &*step.op).collect::<Vec<_>>());
            let (free_done, bound_done) =
                join(self.write_apart(&free_ops), self.write_apart(&bound_ops)).await;
            let steps = free.into_iter().chain(bound);
            for (step, done) in steps.zip(free_done.into_iter().chain(bound_done)) {
                if let Err(failure) = &done
                    && !matches!(failure.cause, Cause::OneOfMany | Cause::Full)
                {
                    failed = Some(failure.error.clone());
                }
                let result = done.map_err(Failure::of_write);
                for number in &step.asked_by {
                    results[*number] = result.clone();
                }
            }
        }
        results
    }

    /// Not silence: the member may go on, and do late what was done again elsewhere, over what
    /// has come in between.
    fn is_transient(&self, error: &Error) -> bool {
        let is_silence = error.kind() == ErrorKind::Timeout && error.is_maybe_applied();
        !is_silence && self.server.is_transient(error)
    }

    fn may_repeat(op: &Op) -> bool {
        op.may_repeat
    }

    fn is_write(op: &Op) -> bool {
        !matches!(op.what, What::Look)
    }

    fn weight(op: &Op) -> usize {
        // A condition names the key twice more.
        let text = op.as_put().map_or(0, Put::weight);
        3 * op.key.len() + text + 64
    }

    fn gave_up(&self) {
        self.server.give_up();
    }
}
