//! Reads that wait go in one request.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::codegen::Bytes;

use super::failure::{Cause, Failure};
use super::proto::request_op::Request;
use super::proto::response_op::Response;
use super::proto::{KeyValue, RangeRequest, RequestOp, ResponseOp, TxnRequest};
use super::server::{MOST_OPS, Server};
use crate::error::{Error, Result};
use crate::gather::Trip;

pub(super) struct Reads(pub(super) Arc<Server>);

pub(super) type Found = Option<KeyValue>;

pub(super) fn range_of(key: &Bytes) -> RangeRequest {
    RangeRequest {
        key: key.clone(),
        ..RangeRequest::default()
    }
}

pub(super) fn op(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

/// The one entry in a reply.
pub(super) fn found(reply: Option<ResponseOp>) -> Found {
    match reply?.response? {
        Response::ResponseRange(mut range) => range.kvs.pop(),
        _ => None,
    }
}

impl Reads {
    async fn read(&self, keys: &[Bytes]) -> Result<Vec<Found>, Failure> {
        let server = &self.0;
        if let [key] = keys {
            let range = range_of(key);
            let reply = server
                .call(async move |connection| connection.range(range, usize::MAX).await)
                .await?;
            return Ok(vec![reply.kvs.into_iter().next()]);
        }
        let reads = keys
            .iter()
            .map(|key| op(Request::RequestRange(range_of(key))));
        let txn = TxnRequest {
            success: reads.collect(),
            ..TxnRequest::default()
        };
        let reply = server
            .call(async move |connection| connection.txn(txn).await)
            .await?;
        let mut replies = reply.responses.into_iter();
        Ok(keys.iter().map(|_| found(replies.next())).collect())
    }

    /// The same, where one key may be all that is wrong.
    async fn read_apart(&self, keys: &[Bytes]) -> Vec<Result<Found>> {
        let failure = match self.read(keys).await {
            Ok(found) => return found.into_iter().map(Ok).collect(),
            Err(failure) => failure,
        };
        if failure.cause != Cause::OneOfMany || keys.len() == 1 {
            return vec![Err(failure.error); keys.len()];
        }
        let mut results = Vec::with_capacity(keys.len());
        for key in keys {
            let read = self.read(std::slice::from_ref(key)).await;
            results.push(
                read.map(|mut found| found.pop().flatten())
                    .map_err(|failed| failed.error),
            );
        }
        results
    }
}

impl Trip for Reads {
    type Op = Bytes;
    type Reply = Found;
    const UNDER_WAY: usize = 2;
    const BATCH: usize = MOST_OPS;

    async fn send(&self, keys: &[&Bytes]) -> Vec<Result<Found>> {
        let mut places = HashMap::with_capacity(keys.len());
        let mut distinct: Vec<Bytes> = Vec::with_capacity(keys.len());
        let order: Vec<usize> = keys
            .iter()
            .map(|key| {
                *places.entry(*key).or_insert_with(|| {
                    distinct.push((*key).clone());
                    distinct.len() - 1
                })
            })
            .collect();
        let mut results = Vec::with_capacity(distinct.len());
        for keys in distinct.chunks(self.0.most_ops()) {
            results.extend(self.read_apart(keys).await);
        }
        order
            .into_iter()
            .map(|place| results[place].clone())
            .collect()
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.0.is_transient(error)
    }

    fn is_write(_: &Bytes) -> bool {
        false
    }

    fn gave_up(&self) {
        self.0.give_up();
    }
}
