//! Writes that wait go in one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::codegen::Bytes;

use super::failure::{Cause, Failure};
use super::leases::Leases;
use super::proto::compare::{CompareTarget, TargetUnion};
use super::proto::request_op::Request;
use super::proto::response_op::Response;
use super::proto::{Compare, DeleteRangeRequest, PutRequest, RequestOp, ResponseOp, TxnRequest};
use super::reads::{Found, found, op, range_of};
use super::server::{MOST_OPS, Server};
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, Result};
use crate::gather::Trip;

/// What is to be done to a key.
pub(super) struct Op {
    key: Bytes,
    what: What,
    may_repeat: bool,
}

enum What {
    /// To read it after the writes before.
    Look,
    Put(Put),
    Del,
    /// Only if the key is of this revision (0: absent).
    PutIf(i64, Put),
    DelIf(i64),
}

#[derive(Clone)]
pub(super) struct Put {
    text: Bytes,
    expires: Option<Timestamp>,
}

/// What came of it.
#[derive(Clone)]
pub(super) struct Done {
    /// The condition was met, if there was one.
    pub(super) is_done: bool,
    /// What was there, for a look and for a put whose condition was not met.
    pub(super) found: Found,
}

impl Put {
    pub(super) fn new(entry: &Entry) -> Self {
        let expires = match entry.expiry() {
            Expiry::At(at) => Some(at),
            _ => None,
        };
        Self {
            text: entry.to_envelope().into(),
            expires,
        }
    }

    fn request(&self, key: &Bytes, lease: i64) -> Request {
        Request::RequestPut(PutRequest {
            key: key.clone(),
            value: self.text.clone(),
            lease,
        })
    }
}

impl Op {
    fn new(key: Bytes, what: What) -> Self {
        Self {
            key,
            what,
            may_repeat: true,
        }
    }

    pub(super) fn look(key: &Bytes) -> Self {
        Self::new(key.clone(), What::Look)
    }

    pub(super) fn put(key: &Bytes, put: Put) -> Self {
        Self::new(key.clone(), What::Put(put))
    }

    pub(super) fn del(key: &Bytes) -> Self {
        Self::new(key.clone(), What::Del)
    }

    /// Only if the key still is of this revision; 0 is one that is not there.
    pub(super) fn put_if(key: &Bytes, revision: i64, put: Put) -> Self {
        Self::new(key.clone(), What::PutIf(revision, put))
    }

    pub(super) fn del_if(key: &Bytes, revision: i64) -> Self {
        Self::new(key.clone(), What::DelIf(revision))
    }

    /// It is never sent again once it may have been done.
    pub(super) fn once(self) -> Self {
        Self {
            may_repeat: false,
            ..self
        }
    }

    /// Whether only the last one of several at the same key matters.
    fn is_plain(&self) -> bool {
        matches!(self.what, What::Put(_) | What::Del)
    }

    fn as_put(&self) -> Option<&Put> {
        match &self.what {
            What::Put(put) | What::PutIf(_, put) => Some(put),
            What::Look | What::Del | What::DelIf(_) => None,
        }
    }

    fn request(&self, lease: i64) -> RequestOp {
        let key = &self.key;
        let look = || Request::RequestRange(range_of(key));
        let del = || Request::RequestDeleteRange(DeleteRangeRequest { key: key.clone() });
        op(match &self.what {
            What::Look => look(),
            What::Put(put) => put.request(key, lease),
            What::Del => del(),
            What::PutIf(revision, put) => {
                self.only_if(*revision, put.request(key, lease), Some(look()))
            }
            What::DelIf(revision) => self.only_if(*revision, del(), None),
        })
    }

    /// A transaction inside that of the batch, with a condition of its own.
    fn only_if(&self, revision: i64, then: Request, otherwise: Option<Request>) -> Request {
        Request::RequestTxn(TxnRequest {
            compare: vec![Compare {
                target: CompareTarget::Mod.into(),
                key: self.key.clone(),
                target_union: Some(TargetUnion::ModRevision(revision)),
                ..Compare::default()
            }],
            success: vec![op(then)],
            failure: otherwise.into_iter().map(op).collect(),
        })
    }
}

fn done(reply: Option<ResponseOp>) -> Done {
    match reply.and_then(|reply| reply.response) {
        Some(Response::ResponseTxn(txn)) => Done {
            is_done: txn.succeeded,
            found: found(txn.responses.into_iter().next()),
        },
        response => Done {
            is_done: true,
            found: found(Some(ResponseOp { response })),
        },
    }
}

/// An operation, and those who asked for it.
struct Step<'a> {
    op: &'a Op,
    asked_by: Vec<usize>,
}

/// What can be done in one transaction after the other: none may have a key twice. Of writes without
/// a condition that follow each other the last one is enough.
fn rounds<'a>(ops: &[&'a Op], most: usize) -> Vec<Vec<Step<'a>>> {
    let mut rounds = Vec::new();
    let mut round: Vec<Step<'a>> = Vec::with_capacity(ops.len().min(most));
    let mut places: HashMap<&[u8], usize> = HashMap::with_capacity(ops.len().min(most));
    for (number, &op) in ops.iter().enumerate() {
        match places.get(&op.key[..]) {
            Some(&place) if op.is_plain() && round[place].op.is_plain() => {
                round[place].op = op;
                round[place].asked_by.push(number);
                continue;
            }
            Some(_) => {
                rounds.push(std::mem::take(&mut round));
                places.clear();
            }
            None if round.len() == most => {
                rounds.push(std::mem::take(&mut round));
                places.clear();
            }
            None => {}
        }
        places.insert(&op.key, round.len());
        round.push(Step {
            op,
            asked_by: vec![number],
        });
    }
    rounds.push(round);
    rounds
}

pub(super) struct Writes {
    pub(super) server: Arc<Server>,
    pub(super) leases: Leases,
}

impl Writes {
    async fn write(&self, steps: &[Step<'_>]) -> Result<Vec<Done>, Failure> {
        let expiries = steps.iter().map(|step| step.op.as_put()?.expires);
        let expiries: Vec<_> = expiries.collect();
        let leases = self.leases.of(&self.server, &expiries).await?;
        let requests = steps.iter().zip(&leases);
        let txn = TxnRequest {
            success: requests
                .map(|(step, lease)| step.op.request(*lease))
                .collect(),
            ..TxnRequest::default()
        };
        let reply = self
            .server
            .call(async move |connection| connection.txn(txn).await);
        match reply.await {
            Ok(reply) => {
                let mut replies = reply.responses.into_iter();
                Ok(steps.iter().map(|_| done(replies.next())).collect())
            }
            Err(failure) => {
                if failure.cause == Cause::Lease {
                    self.leases.forget(&leases);
                }
                Err(failure)
            }
        }
    }
}

impl Trip for Writes {
    type Op = Op;
    type Reply = Done;
    const UNDER_WAY: usize = 1;
    /// A transaction inside one counts among its operations.
    const BATCH: usize = MOST_OPS - 1;
    /// etcd takes 1.5 MiB by default.
    const BYTES: usize = 1 << 20;

    async fn send(&self, ops: &[&Op]) -> Vec<Result<Done>> {
        let most = self.server.most_ops().saturating_sub(1).max(1);
        let mut results: Vec<Option<Result<Done>>> = ops.iter().map(|_| None).collect();
        let mut answer = |step: &Step<'_>, result: Result<Done>| {
            for number in &step.asked_by {
                results[*number] = Some(result.clone());
            }
        };
        let mut failed: Option<Error> = None;
        for round in rounds(ops, most) {
            if let Some(error) = &failed {
                // To keep the order, what comes after it is not even sent.
                for step in &round {
                    answer(step, Err(error.clone()));
                }
                continue;
            }
            match self.write(&round).await {
                Ok(done) => {
                    for (step, done) in round.iter().zip(done) {
                        answer(step, Ok(done));
                    }
                }
                Err(failure) if failure.cause == Cause::OneOfMany && round.len() > 1 => {
                    for step in round.chunks(1) {
                        let done = self.write(step).await;
                        let done = done.map(|mut done| done.swap_remove(0));
                        answer(&step[0], done.map_err(Failure::of_write));
                    }
                }
                Err(failure) => {
                    failed = Some(failure.error.clone());
                    let error = failure.of_write();
                    for step in &round {
                        answer(step, Err(error.clone()));
                    }
                }
            }
        }
        let unasked = || {
            Err(Error::new(
                crate::ErrorKind::Unreachable,
                "the write was not sent",
            ))
        };
        let results = results.into_iter();
        results
            .map(|result| result.unwrap_or_else(unasked))
            .collect()
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.server.is_transient(error)
    }

    fn may_repeat(op: &Op) -> bool {
        op.may_repeat
    }

    fn is_write(op: &Op) -> bool {
        !matches!(op.what, What::Look)
    }

    fn weight(op: &Op) -> usize {
        // A condition names the key twice more.
        let text = op.as_put().map_or(0, |put| put.text.len());
        3 * op.key.len() + text + 64
    }

    fn gave_up(&self) {
        self.server.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str) -> Op {
        Op::put(&Bytes::from_static(key.as_bytes()), Put::new(&entry()))
    }

    fn entry() -> Entry {
        Entry::from_stored("1", Expiry::Never)
    }

    fn plan(ops: &[&Op], most: usize) -> Vec<Vec<Vec<usize>>> {
        let rounds = rounds(ops, most).into_iter();
        rounds
            .map(|round| round.into_iter().map(|step| step.asked_by).collect())
            .collect()
    }

    #[test]
    fn no_transaction_has_a_key_twice_and_each_key_keeps_its_order() {
        let (a, b, c) = (put("a"), put("b"), put("c"));
        let key = Bytes::from_static(b"a");
        let (look, del) = (Op::look(&key), Op::del(&key));
        let insert = Op::put_if(&key, 0, Put::new(&entry()));
        // The last of plain writes is enough.
        assert_eq!(plan(&[&a, &b, &a, &del], 9), [vec![vec![0, 2, 3], vec![1]]]);
        let kept = rounds(&[&a, &del], 9);
        assert!(matches!(kept[0][0].op.what, What::Del));
        // A condition or a look has a round of its own.
        assert_eq!(
            plan(&[&a, &insert, &b, &look, &a], 9),
            [
                vec![vec![0]],
                vec![vec![1], vec![2]],
                vec![vec![3]],
                vec![vec![4]]
            ]
        );
        assert_eq!(
            plan(&[&a, &b, &c, &a], 2),
            [vec![vec![0], vec![1]], vec![vec![2], vec![3]]]
        );
    }
}
