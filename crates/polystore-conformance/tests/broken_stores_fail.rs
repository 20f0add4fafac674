//! Stores with one fault each: the suite has to find it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use polystore_conformance::{Outcome, Suite};
use polystore_kv::backend::{Backend, BoxStream, Info, async_trait};
use polystore_kv::{Entry, Expiry, Result, Scan, Timestamp, kv};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    FoldsTheCaseOfPrefixes,
    TakesPrefixesForPatterns,
    TruncatesKeys,
    TrimsKeys,
    EndsKeysAtNul,
    ComparesKeysAsUtf16,
    KeepsTheExpiryOfWhatItOverwrites,
    CutsExpiriesToSeconds,
    InsertsInTwoSteps,
    ReplacesInTwoSteps,
    TouchesInTwoSteps,
    EvictsWhateverIsThere,
    RemovesWhatIsExpiredWhenReading,
    LimitsBeforeItPicks,
    ListsKeysTwice,
    ListsNoMoreThan1000,
    IgnoresAfter,
    ClearsEverything,
    WritesLater,
    GivesBatchesInItsOwnOrder,
    PrunesNothing,
    ForgetsTheLastFloatDigits,
}

/// A store that can do everything, but for its fault.
struct Faulty {
    fault: Fault,
    entries: Mutex<BTreeMap<String, Entry>>,
}

impl Faulty {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries
            .lock()
            .expect("nothing panics while it is held")
    }

    fn name(&self, key: &str) -> String {
        match self.fault {
            Fault::TruncatesKeys => key.chars().take(255).collect(),
            Fault::TrimsKeys => key.trim().to_owned(),
            Fault::EndsKeysAtNul => key.split('\0').next().unwrap_or_default().to_owned(),
            _ => key.to_owned(),
        }
    }

    fn matches(&self, key: &str, prefix: &str) -> bool {
        match self.fault {
            Fault::FoldsTheCaseOfPrefixes => key.to_lowercase().starts_with(&prefix.to_lowercase()),
            Fault::TakesPrefixesForPatterns => {
                let mut rest = key.chars();
                prefix
                    .chars()
                    .all(|p| rest.next().is_some_and(|k| p == '_' || p == k))
            }
            _ => key.starts_with(prefix),
        }
    }

    fn put(&self, key: &str, mut entry: Entry) {
        let mut entries = self.entries();
        let name = self.name(key);
        if self.is(Fault::KeepsTheExpiryOfWhatItOverwrites) && entry.expiry() == Expiry::Never {
            let old = entries.get(&name).filter(|old| !old.is_expired());
            entry = entry.with_expiry(old.map_or(Expiry::Never, Entry::expiry));
        }
        if let (Fault::CutsExpiriesToSeconds, Expiry::At(at)) = (self.fault, entry.expiry()) {
            let cut = Timestamp::from_millis(at.as_millis() / 1000 * 1000);
            entry = entry.with_expiry(Expiry::At(cut));
        }
        if let (Fault::ForgetsTheLastFloatDigits, Ok(number)) = (self.fault, entry.decode::<f64>())
            && number.fract() != 0.0
        {
            let short = format!("{number:.10}");
            entry = Entry::from_stored(short, entry.expiry());
        }
        entries.insert(name, entry);
    }

    fn get_if_live(&self, key: &str) -> Option<Entry> {
        self.entries()
            .get(&self.name(key))
            .filter(|entry| !entry.is_expired())
            .cloned()
    }
}

/// Lets other tasks run.
async fn pause() {
    tokio::time::sleep(Duration::from_micros(200)).await;
}

#[async_trait]
impl Backend for Faulty {
    fn info(&self) -> Info {
        Info::new("faulty").with(|can| {
            can.insert = true;
            can.replace = true;
            can.touch = true;
            can.prune = true;
            can.ordered = true;
        })
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let found = self.entries().get(&self.name(key)).cloned();
        if self.is(Fault::RemovesWhatIsExpiredWhenReading)
            && found.as_ref().is_some_and(Entry::is_expired)
        {
            pause().await;
            self.del(key).await?;
        }
        Ok(found)
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        if self.is(Fault::WritesLater) && entry.json().len() < 5 {
            pause().await;
        }
        self.put(key, entry);
        Ok(())
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.entries().remove(&self.name(key));
        Ok(())
    }

    fn scan(&self, mut scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let mut found: Vec<(String, Entry)> = self
            .entries()
            .iter()
            .filter(|(key, _)| self.matches(key, &scan.prefix))
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        match self.fault {
            Fault::IgnoresAfter => scan.after = None,
            Fault::LimitsBeforeItPicks => found.truncate(scan.limit.unwrap_or(usize::MAX)),
            Fault::ListsNoMoreThan1000 => found.truncate(1000),
            Fault::ListsKeysTwice => {
                let again = found.first().cloned();
                found.extend(again);
            }
            Fault::ComparesKeysAsUtf16 => {
                found.sort_by_cached_key(|(key, _)| key.encode_utf16().collect::<Vec<_>>());
            }
            _ => {}
        }
        if let Some(after) = scan.after.take() {
            found.retain(|(key, _)| *key > after);
        }
        found.truncate(scan.limit.unwrap_or(usize::MAX));
        Scan::new().select(found)
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let entries = self.entries();
        let mut found: Vec<_> = keys
            .iter()
            .map(|key| entries.get(&self.name(key)).cloned())
            .collect();
        if self.is(Fault::GivesBatchesInItsOwnOrder) {
            found.reverse();
        }
        Ok(found)
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        let everything = self.is(Fault::ClearsEverything);
        self.entries()
            .retain(|key, _| !(everything || self.matches(key, prefix)));
        Ok(())
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        if self.is(Fault::InsertsInTwoSteps) {
            if self.get_if_live(key).is_some() {
                return Ok(false);
            }
            pause().await;
            self.put(key, entry);
            return Ok(true);
        }
        let mut entries = self.entries();
        let name = self.name(key);
        if entries.get(&name).is_some_and(|old| !old.is_expired()) {
            return Ok(false);
        }
        entries.insert(name, entry);
        Ok(true)
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        if self.get_if_live(key).is_none() {
            return Ok(false);
        }
        if self.is(Fault::ReplacesInTwoSteps) {
            pause().await;
            self.put(key, entry);
            return Ok(true);
        }
        let mut entries = self.entries();
        let Some(there) = entries
            .get_mut(&self.name(key))
            .filter(|there| !there.is_expired())
        else {
            return Ok(false);
        };
        *there = entry;
        Ok(true)
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        if self.is(Fault::TouchesInTwoSteps) {
            let Some(entry) = self.get_if_live(key) else {
                return Ok(false);
            };
            pause().await;
            self.put(key, entry.with_expiry(expiry));
            return Ok(true);
        }
        let mut entries = self.entries();
        let Some(entry) = entries
            .get_mut(&self.name(key))
            .filter(|entry| !entry.is_expired())
        else {
            return Ok(false);
        };
        *entry = entry.clone().with_expiry(expiry);
        Ok(true)
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        if self.is(Fault::PrunesNothing) {
            return Ok(true);
        }
        if self.is(Fault::EvictsWhateverIsThere) {
            pause().await;
        }
        let mut entries = self.entries();
        let name = self.name(key);
        let unchanged = entries.get(&name) == Some(seen);
        if unchanged || self.is(Fault::EvictsWhateverIsThere) {
            return Ok(entries.remove(&name).is_some());
        }
        Ok(false)
    }
}

fn suite(fault: Fault) -> Suite {
    Suite::new().disposable_store("faulty", move || async move {
        kv(Faulty {
            fault,
            entries: Mutex::default(),
        })
    })
}

/// Each of `properties` fails on a store with `fault`.
#[track_caller]
fn found_by(fault: Fault, properties: &[&str]) {
    let trials = suite(fault).outcomes(|name| properties.contains(&name));
    assert_eq!(trials.len(), properties.len(), "of {properties:?}");
    for trial in trials {
        let name = trial.property;
        assert!(
            matches!(trial.outcome, Outcome::Failed(_)),
            "{fault:?} passes as {name}: {:?}",
            trial.outcome
        );
    }
}

#[test]
fn a_store_without_fault_passes() {
    for trial in suite(Fault::None).outcomes(|name| !name.contains("leaves_by_itself")) {
        assert!(!matches!(trial.outcome, Outcome::Failed(_)), "{trial:#?}");
    }
}

#[test]
fn keys_that_are_mixed_up_are_found() {
    found_by(
        Fault::FoldsTheCaseOfPrefixes,
        &[
            "keys::upper_and_lower_case_differ",
            "keys::hostile_prefixes_list_their_own",
            "prefixes::prefixes_overlap",
        ],
    );
    found_by(
        Fault::TakesPrefixesForPatterns,
        &[
            "keys::hostile_prefixes_list_their_own",
            "keys::hostile_prefixes_clear_their_own_at_the_root",
        ],
    );
    found_by(
        Fault::TruncatesKeys,
        &[
            "keys::hostile_keys_are_written_and_read",
            "keys::hostile_keys_are_deleted_alone_at_the_root",
        ],
    );
    found_by(
        Fault::TrimsKeys,
        &["keys::hostile_keys_are_written_and_read"],
    );
    found_by(
        Fault::EndsKeysAtNul,
        &["keys::hostile_keys_are_listed_once_by_everything"],
    );
    found_by(
        Fault::ComparesKeysAsUtf16,
        &[
            "listing::pages_come_in_the_order_of_bytes",
            "listing::ordered_stores_list_in_the_order_of_bytes",
        ],
    );
}

#[test]
fn lost_expiries_are_found() {
    found_by(
        Fault::KeepsTheExpiryOfWhatItOverwrites,
        &[
            "expiry::set_overwrites_an_expiry",
            "expiry::a_value_set_without_expiry_outlives_the_one_before",
        ],
    );
    found_by(
        Fault::CutsExpiriesToSeconds,
        &[
            "expiry::nothing_expires_early",
            "expiry::the_instant_of_expiry_is_exact",
        ],
    );
}

#[test]
fn what_is_not_atomic_is_found() {
    found_by(
        Fault::InsertsInTwoSteps,
        &[
            "insert::insert_has_one_winner_of_50",
            "insert::insert_over_an_expired_key_has_one_winner_of_50",
        ],
    );
    found_by(
        Fault::ReplacesInTwoSteps,
        &["replace::replace_brings_nothing_back"],
    );
    found_by(
        Fault::TouchesInTwoSteps,
        &["touch::touch_brings_no_old_value_back"],
    );
    found_by(
        Fault::EvictsWhateverIsThere,
        &[
            "expired::evict_leaves_what_was_overwritten",
            "expired::prune_never_takes_what_is_renewed_meanwhile",
        ],
    );
    found_by(
        Fault::RemovesWhatIsExpiredWhenReading,
        &["expired::reading_never_takes_what_is_renewed_meanwhile"],
    );
    found_by(
        Fault::WritesLater,
        &["tasks::writes_to_one_key_keep_their_order"],
    );
}

#[test]
fn wrong_listings_are_found() {
    found_by(
        Fault::LimitsBeforeItPicks,
        &[
            "listing::pages_come_in_the_order_of_bytes",
            "listing::a_page_stays_within_its_prefix",
        ],
    );
    found_by(
        Fault::ListsKeysTwice,
        &[
            "basics::set_makes_a_key_that_is_there",
            "listing::ten_thousand_entries_stream_once_each",
        ],
    );
    found_by(
        Fault::ListsNoMoreThan1000,
        &["listing::ten_thousand_entries_stream_once_each"],
    );
    found_by(
        Fault::IgnoresAfter,
        &[
            "listing::a_page_begins_after_a_key_that_need_not_exist",
            "listing::pages_put_together_are_the_whole",
        ],
    );
}

#[test]
fn other_faults_are_found() {
    found_by(
        Fault::ClearsEverything,
        &[
            "prefixes::clear_of_a_prefix_leaves_the_rest",
            "model::a_store_is_a_map_at_the_root",
        ],
    );
    found_by(
        Fault::GivesBatchesInItsOwnOrder,
        &[
            "batches::get_many_gives_each_key_its_own_value",
            "batches::get_many_leaves_out_what_is_missing",
        ],
    );
    found_by(Fault::PrunesNothing, &["expired::prune_removes_physically"]);
    found_by(
        Fault::ForgetsTheLastFloatDigits,
        &["values::floats_come_back_exactly"],
    );
}
