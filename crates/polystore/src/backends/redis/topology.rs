//! The masters of a cluster, one after another, until all of its slots were seen.

use std::collections::HashMap;
use std::sync::Arc;

use redis::{Value, cmd};

use super::server::{self, Server};
use super::wire::{Node, Wire};
use crate::error::Result;

/// How many slots a cluster has.
pub(super) const SLOTS: usize = 16384;

/// The slot of a key, as the cluster specification has it: CRC16 of the key, or of what is
/// between its first `{` and the `}` after that.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let hashed = match tag {
        Some((tag, _)) if !tag.is_empty() => tag,
        _ => key,
    };
    let crc = hashed.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    });
    crc % 16384
}

/// The slots from one to another, both included.
type Range = (u16, u16);

/// Which masters a listing has gone through. When slots have moved meanwhile, or another
/// server has become the master of some, those are gone through again.
#[derive(Default)]
pub(super) struct Masters {
    seen: HashMap<Node, Vec<Range>>,
    now: Option<(Node, Vec<Range>)>,
}

impl Masters {
    /// Finds one that is to be gone through, if there still is any.
    pub(super) async fn next(&mut self, server: &Server, wire: &Arc<Wire>) -> Result<bool> {
        let slots = server
            .ask_node(wire, None, cmd("CLUSTER").arg("SLOTS"))
            .await?;
        let masters = masters(slots)?;
        let unseen = masters.into_iter().find(|(node, slots)| {
            let seen = self.seen.get(node);
            !seen.is_some_and(|seen| slots.iter().all(|range| covers(seen, *range)))
        });
        self.now = unseen;
        Ok(self.now.is_some())
    }

    pub(super) fn node(&self) -> Option<&Node> {
        self.now.as_ref().map(|(node, _)| node)
    }

    /// All of its keys were given.
    pub(super) fn done(&mut self) {
        if let Some((node, slots)) = self.now.take() {
            self.seen.insert(node, slots);
        }
    }
}

fn covers(seen: &[Range], (first, last): Range) -> bool {
    (first..=last).all(|slot| seen.iter().any(|range| (range.0..=range.1).contains(&slot)))
}

/// What CLUSTER SLOTS says: `[first, last, [host, port, …] of the master, … of replicas]`.
fn masters(reply: Value) -> Result<Vec<(Node, Vec<Range>)>> {
    let Value::Array(ranges) = reply else {
        return server::unexpected();
    };
    let mut masters: Vec<(Node, Vec<Range>)> = Vec::new();
    for range in ranges {
        let Some((node, range)) = master(range) else {
            return server::unexpected();
        };
        match masters.iter_mut().find(|(known, _)| *known == node) {
            Some((_, ranges)) => ranges.push(range),
            None => masters.push((node, vec![range])),
        }
    }
    Ok(masters)
}

fn master(range: Value) -> Option<(Node, Range)> {
    let Value::Array(parts) = range else {
        return None;
    };
    let [
        Value::Int(first),
        Value::Int(last),
        Value::Array(master),
        ..,
    ] = &parts[..]
    else {
        return None;
    };
    let range = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    let [host, Value::Int(port), ..] = &master[..] else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        Value::SimpleString(host) => host.clone(),
        _ => String::new(),
    };
    let node = match host.as_str() {
        // It knows no name for itself.
        "" | "?" | "0.0.0.0" | "::" => Node::Slot(range.0),
        _ => Node::Address(host, u16::try_from(*port).ok()?),
    };
    Some((node, range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, host: &str, port: i64) -> Value {
        let node = vec![Value::BulkString(host.into()), Value::Int(port)];
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(node),
        ])
    }

    #[test]
    fn each_master_is_listed_once_with_all_of_its_slots() {
        let reply = Value::Array(vec![
            range(0, 5, "a", 1),
            range(6, 9, "b", 1),
            range(10, 10, "a", 1),
            range(11, 16383, "", 1),
        ]);
        let a = Node::Address("a".to_owned(), 1);
        let b = Node::Address("b".to_owned(), 1);
        assert_eq!(
            masters(reply).unwrap(),
            [
                (a, vec![(0, 5), (10, 10)]),
                (b, vec![(6, 9)]),
                (Node::Slot(11), vec![(11, 16383)]),
            ]
        );
        assert!(masters(Value::Okay).is_err());
        assert!(masters(Value::Array(vec![Value::Int(1)])).is_err());
    }

    #[test]
    fn keys_have_the_slots_that_the_driver_finds() {
        for key in [
            "", "a", "foo", "{a}b", "x{y}z{w}", "{}a", "}{", "{{b}}", "é😀", "{é}1",
        ] {
            let slot = redis::cluster_routing::Slot::new(slot(key));
            assert_eq!(
                slot,
                Some(redis::cluster_routing::Slot::for_key(key)),
                "{key}"
            );
        }
    }

    #[test]
    fn slots_are_covered_by_those_seen_in_any_order() {
        let seen = [(6, 9), (0, 5)];
        assert!(covers(&seen, (0, 9)) && covers(&seen, (3, 7)));
        assert!(!covers(&seen, (3, 10)) && !covers(&[], (1, 1)));
    }
}
