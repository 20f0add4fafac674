//! What is to be written under one key, and what of it goes together.

use std::borrow::Cow;
use std::collections::HashMap;

use tonic::codegen::Bytes;

use super::proto::compare::{CompareTarget, TargetUnion};
use super::proto::request_op::Request;
use super::proto::{Compare, DeleteRangeRequest, PutRequest};
use super::reads::range_of;
use crate::entry::{Entry, Expiry, Timestamp};

/// What is around the JSON of a value, at most.
const ENVELOPE: usize = 48;

/// What is to be done to a key.
#[derive(Clone)]
pub(super) struct Op {
    pub(super) key: Bytes,
    pub(super) what: What,
    pub(super) may_repeat: bool,
    changes: Changes,
}

/// What a write with a condition makes of what was there with that revision.
#[derive(Clone, Copy, PartialEq)]
enum Changes {
    /// Nothing was there, or nothing is to be.
    Being,
    /// Another expiry.
    Expiry,
    /// Another value, whatever its expiry.
    Entry,
}

#[derive(Clone)]
pub(super) enum What {
    /// To read it after the writes before.
    Look,
    Put(Put),
    Del,
    /// Only if the key is of this revision (0: absent).
    PutIf(i64, Put),
    DelIf(i64),
}

#[derive(Clone)]
pub(super) struct Put(Entry);

impl Put {
    pub(super) fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// How long its text is, or a little more.
    pub(super) fn weight(&self) -> usize {
        self.0.json().len() + ENVELOPE
    }

    pub(super) fn expires(&self) -> Option<Timestamp> {
        match self.0.expiry() {
            Expiry::At(at) => Some(at),
            _ => None,
        }
    }

    pub(super) fn request(&self, key: &Bytes, lease: i64) -> PutRequest {
        PutRequest {
            key: key.clone(),
            value: self.0.to_envelope().into(),
            lease,
        }
    }
}

impl Op {
    fn new(key: Bytes, what: What) -> Self {
        Self {
            key,
            what,
            may_repeat: true,
            changes: Changes::Being,
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

    /// The same for a new value, whatever there is at that revision.
    pub(super) fn replace_if(key: &Bytes, revision: i64, put: Put) -> Self {
        Self {
            changes: Changes::Entry,
            ..Self::put_if(key, revision, put)
        }
    }

    /// The same for what is there at that revision, with another expiry.
    pub(super) fn touch_if(key: &Bytes, revision: i64, put: Put) -> Self {
        Self {
            changes: Changes::Expiry,
            ..Self::put_if(key, revision, put)
        }
    }

    pub(super) fn del_if(key: &Bytes, revision: i64) -> Self {
        Self::new(key.clone(), What::DelIf(revision))
    }

    /// Whether it puts what has expired by now.
    pub(super) fn is_over(&self) -> bool {
        let expires = self.as_put().and_then(Put::expires);
        expires.is_some_and(|at| at <= Timestamp::now())
    }

    /// It is never sent again once it may have been done.
    pub(super) fn once(self) -> Self {
        Self {
            may_repeat: false,
            ..self
        }
    }

    /// What comes to the same as it and the one `before` it at the same key, if one operation does.
    fn after<'a>(&'a self, before: &Self) -> Option<Cow<'a, Self>> {
        let (What::PutIf(seen, old), What::PutIf(also, new)) = (&before.what, &self.what) else {
            let is_enough = matches!(
                (&before.what, &self.what),
                (What::Put(_) | What::Del, What::Put(_) | What::Del) | (What::Look, What::Look)
            );
            return is_enough.then_some(Cow::Borrowed(self));
        };
        // What is put once only is of the past, and leaves nothing to the next one.
        if seen != also || !before.may_repeat || !self.may_repeat {
            return None;
        }
        match (before.changes, self.changes) {
            (Changes::Being, _) | (_, Changes::Being) => None,
            (_, Changes::Entry) | (Changes::Expiry, Changes::Expiry) => Some(Cow::Borrowed(self)),
            (Changes::Entry, Changes::Expiry) => {
                let both = old.0.clone().with_expiry(new.0.expiry());
                Some(Cow::Owned(Self::replace_if(&self.key, *seen, Put(both))))
            }
        }
    }

    pub(super) fn as_put(&self) -> Option<&Put> {
        match &self.what {
            What::Put(put) | What::PutIf(_, put) => Some(put),
            What::Look | What::Del | What::DelIf(_) => None,
        }
    }

    pub(super) fn request(&self, lease: i64) -> Request {
        let key = &self.key;
        match &self.what {
            What::Look => Request::RequestRange(range_of(key)),
            What::Put(put) | What::PutIf(_, put) => Request::RequestPut(put.request(key, lease)),
            What::Del | What::DelIf(_) => {
                Request::RequestDeleteRange(DeleteRangeRequest { key: key.clone() })
            }
        }
    }

    /// The revision that the key must have; 0 is one that is not there.
    pub(super) fn condition(&self) -> Option<i64> {
        match self.what {
            What::PutIf(revision, _) | What::DelIf(revision) => Some(revision),
            What::Look | What::Put(_) | What::Del => None,
        }
    }

    pub(super) fn compare(&self) -> Option<Compare> {
        Some(Compare {
            target: CompareTarget::Mod.into(),
            key: self.key.clone(),
            target_union: Some(TargetUnion::ModRevision(self.condition()?)),
            ..Compare::default()
        })
    }

    /// What tells whether the condition was met, if it was not that of all.
    pub(super) fn look_back(&self) -> Request {
        Request::RequestRange(range_of(&self.key))
    }
}

/// An operation, and those who asked for it.
pub(super) struct Step<'a> {
    pub(super) op: Cow<'a, Op>,
    pub(super) asked_by: Vec<usize>,
}

/// What can be done in one transaction after the other: none may have a key twice. For some that follow each other
/// at one key one is enough.
pub(super) fn rounds<'a>(ops: &[&'a Op], most: usize) -> Vec<Vec<Step<'a>>> {
    let mut rounds = Vec::new();
    let mut round: Vec<Step<'a>> = Vec::with_capacity(ops.len().min(most));
    let mut places: HashMap<&[u8], usize> = HashMap::with_capacity(ops.len().min(most));
    for (number, &op) in ops.iter().enumerate() {
        let place = places.get(&op.key[..]).copied();
        if let Some(place) = place
            && let Some(both) = op.after(&round[place].op)
        {
            round[place].op = both;
            round[place].asked_by.push(number);
            continue;
        }
        match place {
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
            op: Cow::Borrowed(op),
            asked_by: vec![number],
        });
    }
    rounds.push(round);
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str) -> Op {
        Op::put(&Bytes::from_static(key.as_bytes()), Put::new(entry()))
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
        let insert = Op::put_if(&key, 0, Put::new(entry()));
        // The last of plain writes is enough.
        assert_eq!(plan(&[&a, &b, &a, &del], 9), [vec![vec![0, 2, 3], vec![1]]]);
        let kept = rounds(&[&a, &del], 9);
        assert!(matches!(kept[0][0].op.what, What::Del));
        // So is one look, and for changes to what all of them saw one that has them all.
        let looks = [&Op::look(&key), &look];
        assert_eq!(plan(&looks, 9), [vec![vec![0, 1]]]);
        let seen = |revision| {
            let put = |json: &str, expiry| Put::new(Entry::from_stored(json, expiry));
            let replace = Op::replace_if(&key, revision, put("2", Expiry::Never));
            let soon = Expiry::At(Timestamp::MAX);
            (Op::touch_if(&key, revision, put("1", soon)), replace)
        };
        let ((touch, replace), (later, other)) = (seen(7), seen(8));
        assert_eq!(
            plan(&[&touch, &touch, &replace, &replace, &touch], 9),
            [vec![vec![0, 1, 2, 3, 4]]]
        );
        let both = &rounds(&[&replace, &touch], 9)[0][0];
        let put = &both.op.as_put().unwrap().0;
        assert_eq!(
            (put.json(), put.expiry()),
            ("2", Expiry::At(Timestamp::MAX))
        );
        assert_eq!(plan(&[&touch, &later], 9).len(), 2);
        assert_eq!(plan(&[&replace, &other], 9).len(), 2);
        assert_eq!(plan(&[&replace, &seen(7).1.once()], 9).len(), 2);
        assert_eq!(plan(&[&insert, &replace], 9).len(), 2);
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
