//! What no compiler checks: short files, nothing left to do, statements that are still true.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{self, Outcome};
use crate::{links, metadata};

const LONGEST: usize = 500;

/// Source files that may be longer than [`LONGEST`], each with the reason.
const LONG_FOR_A_REASON: &[(&str, &str)] = &[
    (
        "crates/polystore/src/store.rs",
        "one type, and two thirds of it are its documentation",
    ),
    (
        "crates/polystore/src/backends/etcd/proto/etcdserverpb.rs",
        "generated",
    ),
];

pub(crate) fn check() -> Outcome {
    let root = run::root();
    let mut problems = Vec::new();
    let mut looked_at = 0;
    let mut guides = Vec::new();
    for folder in links::GUIDES {
        let pages = read(&root.join(folder).join("mod.rs"))?;
        guides.push((pages, read(&root.join(folder).join("links.md"))?));
    }

    for path in files(&root)? {
        let name = relative(&path, &root);
        if is_source(&name) {
            let text = read(&path)?;
            problems.extend(source_problems(&name, &text, LONG_FOR_A_REASON));
            looked_at += 1;
        } else if name.ends_with("package-lock.json") {
            problems.extend(lock_problem(&name, &read(&path)?));
            looked_at += 1;
        } else if name.ends_with(".md") && !name.ends_with("/guides/links.md") {
            let text = read(&path)?;
            problems.extend(links::dead(&root, &name, &text));
            for (pages, known) in &guides {
                if pages.contains(&format!("/{name}\"")) {
                    problems.extend(links::unknown_to_rustdoc(&name, &text, known));
                }
            }
            looked_at += 1;
        }
    }
    for (name, _) in LONG_FOR_A_REASON {
        if !root.join(name).exists() {
            problems.push(format!(
                "{name} is allowed to be long in xtask, but is not there"
            ));
        }
    }

    let readme = root.join("README.md");
    if readme.exists() {
        problems.extend(count_problem(&read(&readme)?, || {
            metadata::default_dependencies().map(|dependencies| dependencies.len())
        })?);
        looked_at += 1;
    }

    if problems.is_empty() {
        println!("{looked_at} files looked at");
        Ok(())
    } else {
        Err(format!("hygiene:\n  {}", problems.join("\n  ")))
    }
}

/// `crates/NAME/src/….rs`
fn is_source(name: &str) -> bool {
    let mut parts = name.split('/');
    parts.next() == Some("crates") && parts.nth(1) == Some("src") && name.ends_with(".rs")
}

fn source_problems(name: &str, text: &str, long: &[(&str, &str)]) -> Vec<String> {
    let mut problems = Vec::new();

    let lines = text.lines().count();
    let may_be_long = long.iter().any(|(allowed, _)| *allowed == name);
    if lines > LONGEST && !may_be_long {
        problems.push(format!(
            "{name} has {lines} lines: split it at {LONGEST}, or give the reason in xtask/src/hygiene.rs"
        ));
    }
    if lines <= LONGEST && may_be_long {
        problems.push(format!(
            "{name} needs its leave to be long in xtask/src/hygiene.rs no more"
        ));
    }

    for (number, line) in text.lines().enumerate() {
        if line.contains("todo!(") || line.contains("unimplemented!(") {
            problems.push(format!(
                "{name}:{} is left to do: {}",
                number + 1,
                line.trim()
            ));
        }
    }
    problems
}

fn lock_problem(name: &str, text: &str) -> Option<String> {
    // An address there ties everyone to the registry, or its mirror, of whoever wrote the file.
    text.contains("\"resolved\"").then(|| {
        format!("{name} has \"resolved\" addresses: write it with `npm install --omit-lockfile-registry-resolved`")
    })
}

/// Compares `<!-- default-deps: N -->` in the README, and the sentence beside or below it, with what is so.
fn count_problem(
    readme: &str,
    counted: impl FnOnce() -> Outcome<usize>,
) -> Outcome<Option<String>> {
    let mut lines = (1..).zip(readme.lines());
    let Some((number, line)) = lines.find(|(_, line)| line.contains(MARK)) else {
        return Ok(None);
    };
    let below = lines.next().map_or("", |(_, line)| line);
    let counted = counted()?;
    let is_right = |stated: &str| stated.parse() == Ok(counted);

    let (before, rest) = line.split_once(MARK).unwrap_or_default();
    let (marked, after) = rest.split_once("-->").unwrap_or((rest, ""));
    let beside = format!("{before} {after}");
    let sentence = if beside.trim().is_empty() {
        below
    } else {
        &beside
    };

    let sentence_is_right =
        sentence.trim().is_empty() || sentence.split(|c: char| !c.is_ascii_digit()).any(is_right);
    let all_right = is_right(marked.trim()) && sentence_is_right;
    Ok((!all_right).then(|| {
        format!("README.md:{number} states the number of default dependencies, which is {counted}, differently")
    }))
}

const MARK: &str = "<!-- default-deps:";

/// All files but those that git ignores, and links to others; without asking git, which a fresh machine may not have.
fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let unreadable = |error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let ignored =
            name.to_string_lossy().starts_with('.') || name == "target" || name == "node_modules";
        if ignored {
            continue;
        }
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_dir() {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// With `/` on every platform.
fn relative(path: &Path, root: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sources_of_crates_are_sources() {
        assert!(is_source("crates/polystore/src/lib.rs"));
        assert!(is_source("crates/polystore/src/backends/memory.rs"));
        assert!(!is_source("crates/polystore/tests/all.rs"));
        assert!(!is_source("xtask/src/main.rs"));
        assert!(!is_source("crates/polystore/src/page.html"));
    }

    #[test]
    fn long_files_need_a_reason_and_reasons_a_long_file() {
        let long = "\n".repeat(LONGEST + 1);
        let short = "\n".repeat(LONGEST);
        let allowed = [("a.rs", "generated")];
        assert_eq!(source_problems("a.rs", &short, &[]).len(), 0);
        assert_eq!(source_problems("a.rs", &long, &[]).len(), 1);
        assert_eq!(source_problems("a.rs", &long, &allowed).len(), 0);
        assert_eq!(source_problems("a.rs", &short, &allowed).len(), 1);
    }

    #[test]
    fn what_is_left_to_do_is_found_with_its_line() {
        let text = "fn a() {}\nfn b() { todo!() }\n/// unimplemented!(\"x\")\n";
        let problems = source_problems("a.rs", text, &[]);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].starts_with("a.rs:2 "), "{problems:?}");
        assert!(problems[1].starts_with("a.rs:3 "), "{problems:?}");
    }

    #[test]
    fn lock_files_name_no_addresses() {
        assert!(lock_problem("package-lock.json", r#"{"a":{"version":"1.0.0"}}"#).is_none());
        assert!(lock_problem("package-lock.json", r#"{"a":{"resolved":"https"}}"#).is_some());
    }

    #[test]
    fn the_stated_count_is_compared_in_the_mark_and_in_the_sentence() {
        let wrong = |readme: &str| count_problem(readme, || Ok(21)).unwrap().is_some();
        assert!(!wrong("nothing stated"));
        assert!(!wrong("# A\n<!-- default-deps: 21 -->\n"));
        assert!(!wrong("<!-- default-deps: 21 -->\nIt adds 21 crates.\n"));
        assert!(wrong("<!-- default-deps: 21 -->\nIt adds 20 crates.\n"));
        assert!(!wrong("It adds 21 crates. <!-- default-deps: 21 -->"));
        assert!(wrong("It adds 20 crates. <!-- default-deps: 21 -->"));
        assert!(wrong("It adds 121 crates. <!-- default-deps: 21 -->"));
        assert!(wrong("<!-- default-deps: 20 -->"));
        assert!(wrong("<!-- default-deps: many -->"));
        assert!(wrong("<!-- default-deps:"));
    }
}
