//! Random operations, compared with a plain map after each.

use std::collections::{BTreeMap, VecDeque};

use polystore_kv::{Entry, Expires, Expiry, Scan, Store};
use serde_json::{Value, json};

use crate::property::{Need, Property, property};
use crate::runtime;
use crate::subject::Subject;
use crate::verdict::{Stop, Verdict, holds, same};

/// With this in the environment a run repeats the one whose failure printed it.
const SEED: &str = "POLYSTORE_CONFORMANCE_SEED";

const STEPS: usize = 300;

/// Every so many steps clear a prefix, drawn or not: few draws do, and a run in which none
/// does would say nothing of it.
const CLEAR_EVERY: usize = 30;

/// How many of the last steps a failure shows.
const SHOWN: usize = 25;

/// Prefixes and keys that together make few full keys, in several ways each.
const PREFIXES: [&str; 8] = ["", "a", "ab", "a:", "A", "%", "é", "a\u{0}"];
const KEYS: [&str; 12] = [
    "", "a", "b", "ab", ":", "B", "_", "%", "/", "é", "e\u{301}", "😀",
];

pub(super) fn all() -> Vec<Property> {
    vec![
        property(a_store_is_a_map).needs(&[Need::Entries(200)]),
        property(a_store_is_a_map)
            .needs(&[Need::Entries(200)])
            .at_root(),
    ]
}

/// Full keys and what is live under them.
type Model = BTreeMap<String, Value>;

struct Run {
    t: Subject,
    random: Random,
    model: Model,
    last: VecDeque<String>,
}

async fn a_store_is_a_map(t: Subject) -> Verdict {
    let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(runtime::random);
    let mut run = Run {
        t,
        random: Random(seed),
        model: Model::new(),
        last: VecDeque::new(),
    };
    for step in 0..STEPS {
        let stepped = match run.step(step).await {
            Ok(()) => run.compare().await,
            failed => failed,
        };
        if let Err(Stop::Failed(why)) = stepped {
            let last = run.last.make_contiguous().join("\n  ");
            return Err(Stop::Failed(format!(
                "step {step} with {SEED}={seed}: {why}\n  the last steps were:\n  {last}"
            )));
        }
    }
    Ok(())
}

impl Run {
    fn log(&mut self, step: String) {
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(step);
    }

    /// Of the prefixes that keys of the store can have.
    fn prefix(&mut self) -> &'static str {
        let possible = |prefix: &&str| {
            KEYS.iter()
                .any(|key| self.t.accepts(&format!("{prefix}{key}")))
        };
        let prefixes: Vec<&str> = PREFIXES.into_iter().filter(possible).collect();
        self.random.pick(&prefixes)
    }

    /// Of the keys that the store can hold.
    fn key(&mut self, prefix: &str) -> &'static str {
        loop {
            let key = self.random.pick(&KEYS);
            if self.t.accepts(&format!("{prefix}{key}")) {
                return key;
            }
        }
    }

    fn value(&mut self) -> Value {
        match self.random.below(9) {
            0 => json!(null),
            1 => json!(0),
            2 => json!(""),
            3 => json!(false),
            4 => json!([null, {"a": [1.5]}]),
            5 => json!("é😀\u{0}"),
            _ => json!(self.random.below(1000)),
        }
    }

    /// Either stays for the time of the test or is over.
    fn expires(&mut self) -> Expires {
        match self.random.below(8) {
            0 => Expires::from(0),
            1 => Expires::from(-3600),
            2 | 3 => Expires::from(3600),
            _ => Expires::NEVER,
        }
    }

    fn write(&mut self, full: String, value: Value, expires: Expires) {
        if value.is_null() || is_over(expires) {
            self.model.remove(&full);
        } else {
            self.model.insert(full, value);
        }
    }

    async fn step(&mut self, step: usize) -> Verdict {
        let prefix = self.prefix();
        let store = self.t.store.prefix(prefix);
        let key = self.key(prefix);
        let full = format!("{prefix}{key}");
        let clears = step % CLEAR_EVERY == CLEAR_EVERY - 1;
        let operation = if clears { 11 } else { self.random.below(20) };
        self.log(format!("operation {operation} on {prefix:?} + {key:?}"));
        match operation {
            0..=3 => {
                let (value, expires) = (self.value(), self.expires());
                self.log(format!("set {full:?} to {value} for {expires}"));
                if self.random.below(2) == 0 {
                    store.set(key, &value).expires(expires).await?;
                } else {
                    store.expires(expires).set(key, &value).await?;
                }
                self.write(full, value, expires);
            }
            4 => {
                store.del(key).await?;
                self.model.remove(&full);
            }
            5 => self.set_many(&store, prefix).await?,
            6 => {
                let keys = [key, self.key(prefix), key];
                self.log(format!("del_many {keys:?}"));
                store.del_many(keys).await?;
                for key in keys {
                    self.model.remove(&format!("{prefix}{key}"));
                }
            }
            7 if self.t.can.insert => {
                let (value, expires) = (self.value(), self.expires());
                if value.is_null() {
                    return Ok(());
                }
                self.log(format!("insert {full:?} with {value} for {expires}"));
                let inserted = store.insert(key, &value).expires(expires).await?;
                if self.model.contains_key(&full) {
                    return same(inserted, false);
                }
                // Of what is over at once a store may say either.
                holds(inserted || is_over(expires), "it did not insert")?;
                self.write(full, value, expires);
            }
            8 if self.t.can.replace => {
                let (value, expires) = (self.value(), self.expires());
                if value.is_null() {
                    return Ok(());
                }
                self.log(format!("replace {full:?} with {value} for {expires}"));
                let is_there = self.model.contains_key(&full);
                let replaced = store.replace(key, &value).expires(expires).await?;
                same(replaced, is_there)?;
                if is_there {
                    self.write(full, value, expires);
                }
            }
            9 if self.t.can.touch => {
                let expires = self.expires();
                self.log(format!("touch {full:?} for {expires}"));
                same(
                    store.touch(key, expires).await?,
                    self.model.contains_key(&full),
                )?;
                if is_over(expires) {
                    self.model.remove(&full);
                }
            }
            10 => {
                let value = json!(self.random.below(1000));
                let added = store.add(&value).await?;
                holds(
                    !self.model.contains_key(&format!("{prefix}{added}")),
                    "add took a key",
                )?;
                self.model.insert(format!("{prefix}{added}"), value);
            }
            11 if clears || self.random.below(4) == 0 => {
                self.log(format!("clear {prefix:?}"));
                store.clear().await?;
                self.model.retain(|key, _| !key.starts_with(prefix));
            }
            12 => {
                self.log(format!("expired {full:?}"));
                self.t.plant_expired(&full).await?;
                self.model.remove(&full);
            }
            13 if self.t.can.prune => {
                store.prune().await?;
            }
            14 => {
                let from = self.key("");
                if let Some(entry) = self.t.store.entry(from).await? {
                    if entry.expiry() != Expiry::Unread {
                        self.log(format!("put {from:?} to {full:?}"));
                        self.model.insert(full, entry.decode()?);
                        store.put(key, entry).await?;
                    }
                } else {
                    store
                        .put(key, Entry::from_json("null", Expiry::Never)?)
                        .await?;
                    self.model.remove(&full);
                }
            }
            15 => {
                let keys = [key, self.key(prefix), "never written"];
                let found = store.get_many::<Value>(keys).await?;
                let under = self.under(prefix);
                let expected: Model = under
                    .into_iter()
                    .filter(|(key, _)| keys.contains(&&key[..]))
                    .collect();
                same(found, expected)?;
            }
            16 => self.read_a_page(&store, prefix).await?,
            17 => {
                let mut keys = store.keys().await?;
                keys.sort();
                same(keys, self.under(prefix).into_keys().collect::<Vec<_>>())?;
            }
            _ => {
                let expected = self.model.get(&full).cloned();
                same(store.has(key).await?, expected.is_some())?;
                if self.t.can.ttl {
                    same(store.ttl(key).await?.is_some(), expected.is_some())?;
                }
                same(store.get::<Value>(key).await?, expected)?;
            }
        }
        Ok(())
    }

    async fn set_many(&mut self, store: &Store, prefix: &str) -> Verdict {
        let count = self.random.below(5);
        let entries: Vec<(&str, Value)> = (0..count)
            .map(|_| (self.key(prefix), self.value()))
            .collect();
        let expires = self.expires();
        self.log(format!("set_many {entries:?} for {expires}"));
        store.set_many(entries.clone()).expires(expires).await?;
        for (key, value) in entries {
            self.write(format!("{prefix}{key}"), value, expires);
        }
        Ok(())
    }

    async fn read_a_page(&mut self, store: &Store, prefix: &str) -> Verdict {
        let (after, limit) = (self.random.pick(&KEYS), self.random.below(5));
        self.log(format!("page of {limit} after {after:?} under {prefix:?}"));
        let mut scan = store.scan(Scan::new().after(after).limit(limit));
        let mut found = Vec::new();
        while let Some((key, entry)) = scan.try_next().await? {
            found.push((key, entry.decode::<Value>()?));
        }
        let rest = self
            .under(prefix)
            .into_iter()
            .filter(|(key, _)| &key[..] > after);
        same(found, rest.take(limit).collect::<Vec<_>>())
    }

    fn under(&self, prefix: &str) -> Model {
        let stripped = self
            .model
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone())));
        stripped.collect()
    }

    async fn compare(&self) -> Verdict {
        let mut listed = self.t.store.entries::<Value>().await?;
        listed.sort_by(|(one, _), (other, _)| one.cmp(other));
        let expected: Vec<(String, Value)> = self
            .model
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        same(listed, expected)
    }
}

fn is_over(expires: Expires) -> bool {
    expires
        .as_duration()
        .is_some_and(|duration| duration.is_zero())
}

/// Random enough, and the same for the same seed: `SplitMix64` (Steele, Lea and Flood,
/// "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or_default()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
