//! Under which licences the dependencies may be used, and that none is compiled twice for a user.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::{self, Package};
use crate::run::Outcome;

/// Licences that ask for nothing more than a notice, so that a program may link the crate under its own.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // For data: Mozilla's list of trusted roots, which only Android links.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(crate) fn check() -> Outcome {
    metadata::check_locks_apart()?;
    let packages = metadata::everything()?;
    let third_party: Vec<&Package> = packages
        .iter()
        .filter(|package| package.third_party)
        .collect();

    let mut problems: Vec<String> = third_party.iter().filter_map(|one| offence(one)).collect();

    let default = metadata::default_dependencies()?;
    let default = default
        .iter()
        .map(|(name, version)| (name.as_str(), version.as_str()));
    problems.extend(repeated(default).into_iter().map(|(name, versions)| {
        format!("the default features compile {name} more than once: {versions}")
    }));

    // Elsewhere a second copy costs only this project's own builds.
    let all = third_party
        .iter()
        .map(|one| (one.name.as_str(), one.version.as_str()));
    for (name, versions) in repeated(all) {
        println!("note: more than one {name} in Cargo.lock: {versions}");
    }

    if problems.is_empty() {
        println!(
            "{} third-party packages, all under an allowed licence",
            third_party.len()
        );
        Ok(())
    } else {
        Err(format!(
            "licences and duplicates:\n  {}",
            problems.join("\n  ")
        ))
    }
}

fn offence(package: &Package) -> Option<String> {
    let Package {
        name,
        version,
        licence,
        ..
    } = package;
    let Some(licence) = licence else {
        return Some(format!("{name} {version} states no licence"));
    };
    match satisfied(licence, is_allowed) {
        Ok(true) => None,
        Ok(false) => Some(format!("{name} {version} is under {licence}")),
        Err(problem) => Some(format!("{name} {version} is under {licence:?}: {problem}")),
    }
}

fn is_allowed(licence: &str) -> bool {
    ALLOWED
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(licence))
}

/// The names that occur with several versions, and those versions.
fn repeated<'a>(packages: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, String)> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, version) in packages {
        versions.entry(name).or_default().insert(version);
    }
    versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| (name, versions.into_iter().collect::<Vec<_>>().join(", ")))
        .collect()
}

/// Whether an SPDX expression can be complied with by what is allowed.
///
/// `AND` binds tighter than `OR`. Old crates write `/` for `OR`.
fn satisfied(expression: &str, allowed: fn(&str) -> bool) -> Outcome<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut parser = Parser {
        words: spaced.split_whitespace().peekable(),
        allowed,
    };
    let verdict = parser.either()?;
    match parser.words.next() {
        None => Ok(verdict),
        Some(word) => Err(format!("{word:?} is one too many")),
    }
}

struct Parser<'a, W: Iterator<Item = &'a str>> {
    words: std::iter::Peekable<W>,
    allowed: fn(&str) -> bool,
}

impl<'a, W: Iterator<Item = &'a str>> Parser<'a, W> {
    fn either(&mut self) -> Outcome<bool> {
        let mut verdict = self.both()?;
        while self.words.next_if_eq(&"OR").is_some() {
            verdict |= self.both()?;
        }
        Ok(verdict)
    }

    fn both(&mut self) -> Outcome<bool> {
        let mut verdict = self.one()?;
        while self.words.next_if_eq(&"AND").is_some() {
            verdict &= self.one()?;
        }
        Ok(verdict)
    }

    fn one(&mut self) -> Outcome<bool> {
        match self.words.next() {
            Some("(") => {
                let verdict = self.either()?;
                self.words
                    .next_if_eq(&")")
                    .ok_or("a parenthesis is not closed")?;
                Ok(verdict)
            }
            Some(word) if is_name(word) => {
                if self.words.next_if_eq(&"WITH").is_some() {
                    // An exception only ever permits more, so what it is does not matter.
                    let exception = self.words.next_if(|word| is_name(word));
                    exception.ok_or("WITH names no exception")?;
                }
                // A trailing `+` means "or a later version": the stated one will do.
                Ok((self.allowed)(word.trim_end_matches('+')))
            }
            Some(word) => Err(format!("a licence was expected where {word:?} stands")),
            None => Err("it ends where a licence was expected".into()),
        }
    }
}

fn is_name(word: &str) -> bool {
    !matches!(word, "(" | ")" | "AND" | "OR" | "WITH")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mit_and_isc(licence: &str) -> bool {
        matches!(licence, "MIT" | "ISC")
    }

    #[test]
    fn expressions_are_judged() {
        let cases = [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("GPL-3.0 / MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT AND ISC", true),
            // AND binds tighter than OR, on either side of it.
            ("MIT OR GPL-3.0 AND X", true),
            ("X AND GPL-3.0 OR MIT", true),
            ("(MIT OR GPL-3.0) AND X", false),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("MIT AND (X OR (ISC OR Y))", true),
            ("((MIT))", true),
            ("MIT+", true),
            ("GPL-3.0 WITH Classpath-exception-2.0 OR MIT", true),
            ("GPL-3.0 WITH Classpath-exception-2.0", false),
            ("MIT WITH LLVM-exception AND ISC", true),
        ];
        for (expression, expected) in cases {
            assert_eq!(
                satisfied(expression, mit_and_isc),
                Ok(expected),
                "{expression}"
            );
        }
    }

    #[test]
    fn what_is_no_expression_is_a_message_and_no_panic() {
        let broken = [
            "",
            " ",
            "OR",
            "MIT OR",
            "AND MIT",
            "MIT ISC",
            "(MIT",
            "MIT)",
            "()",
            "MIT WITH",
            "MIT WITH OR ISC",
            "MIT//ISC",
            "/",
            "((((",
            "WITH",
        ];
        for expression in broken {
            assert!(
                satisfied(expression, mit_and_isc).is_err(),
                "{expression:?}"
            );
        }
    }

    #[test]
    fn the_allowed_ones_are_known_in_any_case() {
        assert!(is_allowed("mit"));
        assert!(is_allowed("Apache-2.0"));
        assert!(!is_allowed("MPL-2.0"));
        assert!(!is_allowed("MI"));
    }

    #[test]
    fn several_versions_of_one_crate_are_found() {
        let packages = [
            ("a", "1.0.0"),
            ("b", "1.0.0"),
            ("a", "2.0.0"),
            ("b", "1.0.0"),
        ];
        assert_eq!(
            repeated(packages.into_iter()),
            [("a", "1.0.0, 2.0.0".to_owned())]
        );
    }
}
