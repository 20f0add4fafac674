//! The checked-in table of how many properties passed and were skipped.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

const UPDATE: &str = "POLYSTORE_UPDATE_COUNTS";

const HEAD: &str = "# How many conformance tests pass and are skipped on each store.
# Written by: POLYSTORE_UPDATE_COUNTS=1 cargo test --test conformance
# store  passed  skipped
";

/// By the name of the store.
pub(crate) type Counts = BTreeMap<String, Count>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) skipped: u64,
}

impl Count {
    fn total(&self) -> u64 {
        self.passed + self.skipped
    }
}

/// What the table and a run say differently, and what to do about it.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The stores whose counts differ; none where the table itself cannot be used.
    pub(crate) stores: Vec<String>,
    pub(crate) message: String,
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        let stores = Vec::new();
        Self { stores, message }
    }
}

/// Compares the table at `path` with what was `found`, or writes it. Stores that did not
/// take part keep their line.
pub(crate) fn settle(path: &Path, found: &Counts) -> Result<(), Problem> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|error| format!("could not read {}: {error}", path.display()))?,
    };
    let mut kept = parse(&text).map_err(|line| {
        let path = path.display();
        format!("{path}: {line:?} is not a store, how many passed and how many were skipped")
    })?;
    if std::env::var_os(UPDATE).is_some_and(|value| value == "1") {
        kept.extend(found.clone());
        for store in stale(&kept, found) {
            eprintln!("{store}: did not take part, and keeps a line of another number of tests.");
        }
        return fs::write(path, print(&kept))
            .map_err(|error| format!("could not write {}: {error}", path.display()).into());
    }
    let differences = compare(&kept, found);
    if differences.is_empty() {
        return Ok(());
    }
    let (stores, lines): (Vec<_>, Vec<_>) = differences.into_iter().unzip();
    let (lines, path) = (lines.join("\n"), path.display());
    let message = format!(
        "{lines}\nIf that is meant, write it to {path} by running this once more with \
         {UPDATE}=1. A test that is newly skipped may hide a failure."
    );
    Err(Problem { stores, message })
}

/// The stores whose lines are of another number of tests than each that took part had: of before tests came
/// or went, and wrong where they do take part.
fn stale<'a>(kept: &'a Counts, found: &Counts) -> Vec<&'a str> {
    let Some(now) = found.values().map(Count::total).max() else {
        return Vec::new();
    };
    let lines = kept.iter().filter(|(_, count)| count.total() != now);
    lines.map(|(store, _)| store.as_str()).collect()
}

fn parse(text: &str) -> Result<Counts, &str> {
    let lines = text.lines().map(str::trim);
    let rows = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| parse_row(line).ok_or(line)).collect()
}

fn parse_row(line: &str) -> Option<(String, Count)> {
    // The name may hold spaces.
    let mut columns = line.rsplitn(3, char::is_whitespace);
    let skipped = columns.next()?.parse().ok()?;
    let passed = columns.next()?.parse().ok()?;
    let name = columns.next()?.trim().to_owned();
    Some((name, Count { passed, skipped }))
}

fn print(counts: &Counts) -> String {
    let mut text = HEAD.to_owned();
    for (store, Count { passed, skipped }) in counts {
        let _ = writeln!(text, "{store} {passed} {skipped}");
    }
    text
}

/// The stores whose counts are not those on record, each with what to say of it.
fn compare(kept: &Counts, found: &Counts) -> Vec<(String, String)> {
    let differs = |(store, now): (&String, &Count)| {
        let Count { passed, skipped } = now;
        let expected = match kept.get(store) {
            Some(before) if before == now => return None,
            Some(before) => format!(
                "where {} and {} are expected",
                before.passed, before.skipped
            ),
            None => "and nothing is on record".to_owned(),
        };
        let line = format!("{store}: {passed} passed and {skipped} were skipped, {expected}.");
        Some((store.clone(), line))
    };
    found.iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(passed: u64, skipped: u64) -> Count {
        Count { passed, skipped }
    }

    #[test]
    fn what_is_printed_parses_back() {
        let counts = Counts::from([
            ("folder".to_owned(), count(100, 2)),
            ("sqlite in memory".to_owned(), count(90, 12)),
        ]);
        assert_eq!(parse(&print(&counts)), Ok(counts));
        assert_eq!(parse("# a\n\nmemory 1 x\n"), Err("memory 1 x"));
    }

    #[test]
    fn every_difference_is_told_and_absent_stores_are_not() {
        let kept = Counts::from([
            ("folder".to_owned(), count(100, 2)),
            ("memory".to_owned(), count(100, 2)),
        ]);
        let same = Counts::from([("folder".to_owned(), count(100, 2))]);
        assert_eq!(compare(&kept, &same), []);
        let found = Counts::from([
            ("memory".to_owned(), count(99, 3)),
            ("new".to_owned(), count(1, 1)),
        ]);
        let (stores, lines): (Vec<_>, Vec<_>) = compare(&kept, &found).into_iter().unzip();
        assert_eq!(stores, ["memory", "new"]);
        assert!(
            lines[0].contains("memory: 99 passed and 3 were skipped, where 100 and 2"),
            "{lines:?}"
        );
        assert!(lines[1].contains("new: 1 passed"), "{lines:?}");
    }

    #[test]
    fn lines_of_stores_that_were_away_when_tests_came_are_told() {
        let kept = Counts::from([
            ("folder".to_owned(), count(100, 5)),
            ("memory".to_owned(), count(103, 2)),
            ("redis".to_owned(), count(90, 12)),
        ]);
        let found = Counts::from([("memory".to_owned(), count(103, 2))]);
        assert_eq!(stale(&kept, &found), ["redis"]);
        assert!(stale(&kept, &Counts::new()).is_empty());
    }
}
