//! Which writes go in one statement, and in which order.

use std::collections::HashMap;

use super::writes::Op;
use crate::entry::Entry;

/// Writes of one kind can share a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Put,
    Insert,
    Replace,
    Touch,
    Evict,
}

fn class(op: &Op) -> Class {
    match op {
        Op::Put(_) => Class::Put,
        Op::Insert(..) => Class::Insert,
        Op::Replace(..) => Class::Replace,
        Op::Touch(..) => Class::Touch,
        Op::Evict(..) => Class::Evict,
    }
}

/// The statements one after another, each with its members by their places in `ops`. What is
/// about one key stays in order, and only puts of one key share a statement.
pub(super) fn plan(ops: &[&Op]) -> Vec<(Class, Vec<usize>)> {
    // The usual case.
    if !ops.is_empty() && ops.iter().all(|op| class(op) == Class::Put) {
        return vec![(Class::Put, (0..ops.len()).collect())];
    }
    let mut steps: Vec<(Class, Vec<usize>)> = Vec::new();
    let mut last: HashMap<&str, usize> = HashMap::new();
    for (at, op) in ops.iter().enumerate() {
        let class = class(op);
        let after = |key: &str| match last.get(key) {
            None => 0,
            Some(&step) if class == Class::Put && steps[step].0 == Class::Put => step,
            Some(&step) => step + 1,
        };
        let earliest = op.keys().map(after).max().unwrap_or(0);
        let step = (earliest..steps.len()).find(|step| steps[*step].0 == class);
        let step = step.unwrap_or_else(|| {
            steps.push((class, Vec::new()));
            steps.len() - 1
        });
        steps[step].1.push(at);
        last.extend(op.keys().map(|key| (key, step)));
    }
    steps
}

/// What is put and what is removed in the end, each key once, in the order of the keys: all take
/// the rows in one order, so that none waits for one that waits for it.
pub(super) fn puts<'a>(ops: &[&'a Op]) -> (Vec<(&'a str, &'a Entry)>, Vec<&'a str>) {
    let mut all: Vec<(&str, Option<&Entry>)> = Vec::with_capacity(ops.len());
    for op in ops {
        if let Op::Put(entries) = op {
            all.extend(entries.iter().map(|(key, entry)| (&**key, entry.as_ref())));
        }
    }
    // Stable: of one key, the last stays the last.
    all.sort_by_key(|(key, _)| *key);
    let (mut sets, mut dels) = (Vec::with_capacity(all.len()), Vec::new());
    for (at, (key, entry)) in all.iter().enumerate() {
        if all.get(at + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        match entry {
            Some(entry) => sets.push((*key, *entry)),
            None => dels.push(*key),
        }
    }
    (sets, dels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Expiry;

    fn entry(value: u32) -> Entry {
        Entry::new(&value, Expiry::Never).unwrap()
    }

    fn set(key: &str, value: u32) -> Op {
        Op::Put(vec![(key.to_owned(), Some(entry(value)))])
    }

    fn del(key: &str) -> Op {
        Op::Put(vec![(key.to_owned(), None)])
    }

    fn insert(key: &str) -> Op {
        Op::Insert(key.to_owned(), entry(0))
    }

    fn touch(key: &str) -> Op {
        Op::Touch(key.to_owned(), Expiry::Never)
    }

    #[test]
    fn puts_share_a_statement_and_the_last_of_a_key_wins() {
        let ops = [
            set("b", 1),
            set("a", 2),
            del("b"),
            set("c", 3),
            set("c", 4),
            del("d"),
            set("d", 5),
        ];
        let ops: Vec<&Op> = ops.iter().collect();
        assert_eq!(plan(&ops), [(Class::Put, (0..7).collect())]);
        let (sets, dels) = puts(&ops);
        let sets: Vec<(&str, &str)> = sets
            .iter()
            .map(|(key, entry)| (*key, entry.json()))
            .collect();
        assert_eq!(sets, [("a", "2"), ("c", "4"), ("d", "5")]);
        assert_eq!(dels, ["b"]);
    }

    #[test]
    fn what_is_about_one_key_stays_in_order() {
        let ops = [
            set("a", 1),
            insert("b"),
            insert("a"),
            touch("a"),
            set("b", 2),
            insert("b"),
            set("c", 3),
            touch("c"),
        ];
        let ops: Vec<&Op> = ops.iter().collect();
        let expected = [
            (Class::Put, vec![0, 6]),
            (Class::Insert, vec![1, 2]),
            (Class::Touch, vec![3, 7]),
            (Class::Put, vec![4]),
            (Class::Insert, vec![5]),
        ];
        assert_eq!(plan(&ops), expected);
    }
}
