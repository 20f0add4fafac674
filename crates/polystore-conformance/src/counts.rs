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

/// Compares the table at `path` with what was `found`, or writes it. Stores that did not
/// take part keep their line.
pub(crate) fn settle(path: &Path, found: &Counts) -> Result<(), String> {
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
        return fs::write(path, print(&kept))
            .map_err(|error| format!("could not write {}: {error}", path.display()));
    }
    let differences = compare(&kept, found);
    if differences.is_empty() {
        return Ok(());
    }
    let path = path.display();
    Err(format!(
        "{differences}If that is meant, write it to {path} by running this once more with \
         {UPDATE}=1. A test that is newly skipped may hide a failure."
    ))
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

fn compare(kept: &Counts, found: &Counts) -> String {
    let mut text = String::new();
    for (store, now) in found {
        let Count { passed, skipped } = now;
        let _ = match kept.get(store) {
            Some(before) if before == now => Ok(()),
            Some(before) => writeln!(
                text,
                "{store}: {passed} passed and {skipped} were skipped, where {} and {} are expected.",
                before.passed, before.skipped
            ),
            None => writeln!(
                text,
                "{store}: {passed} passed and {skipped} were skipped, and nothing is on record."
            ),
        };
    }
    text
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
        assert_eq!(
            compare(&kept, &Counts::from([("folder".to_owned(), count(100, 2))])),
            ""
        );
        let found = Counts::from([
            ("memory".to_owned(), count(99, 3)),
            ("new".to_owned(), count(1, 1)),
        ]);
        let text = compare(&kept, &found);
        assert!(
            text.contains("memory: 99 passed and 3 were skipped, where 100 and 2"),
            "{text}"
        );
        assert!(text.contains("new: 1 passed"), "{text}");
    }
}
