//! Every test of the workspace, and how many there were.

use std::io::{IsTerminal, Write};

use crate::prepare;
use crate::run::{self, Outcome};

/// `cargo xtask test`: whether all passed.
pub(crate) fn command(extra: &[String]) -> Outcome<bool> {
    Ok(run(extra)?.close())
}

/// Runs the tests and prints how each test program did.
pub(crate) fn run(extra: &[String]) -> Outcome<Report> {
    let packages = packages(extra);
    let prepared = prepare::prepare_for(&packages)?;

    let mut command = run::cargo(["test", "--all-features", "--no-fail-fast"]);
    // Beside `--workspace`, cargo would pay no heed to `-p`.
    if packages.is_empty() {
        command.arg("--workspace");
    }
    // Cargo refuses to be told twice, and would say so only now.
    let told = |word: &&String| ["--all-features", "--no-fail-fast"].contains(&word.as_str());
    command.args(extra.iter().filter(|word| !told(word)));
    command.envs(prepared.environment);
    // Cargo writes to our pipe and can't see whose terminal is behind it.
    if std::io::stdout().is_terminal() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }

    let mut report = Report {
        lacking: prepared.lacking,
        ..Report::default()
    };
    let status = run::stream(&mut command, |line| {
        // A closed pipe (`| head`) must not end the tests by a panic.
        let _ = writeln!(std::io::stdout(), "{line}");
        report.read(line);
    })?;
    report.problem = run::expect_success(&command, status).err();
    report.print_table();
    Ok(report)
}

/// The packages that cargo's arguments name, by `-p NAME`, `-pNAME`, `--package NAME` or `--package=NAME`.
fn packages(extra: &[String]) -> Vec<&str> {
    let mut words = extra
        .iter()
        .map(String::as_str)
        .take_while(|word| *word != "--");
    let mut packages = Vec::new();
    while let Some(word) = words.next() {
        match word.strip_prefix("--package").or(word.strip_prefix("-p")) {
            Some("") => packages.extend(words.next()),
            Some(name) => packages.push(name.trim_start_matches('=')),
            None => {}
        }
    }
    packages
}

#[derive(Default)]
pub(crate) struct Report {
    programs: Vec<Program>,
    failures: Vec<String>,
    problem: Option<String>,
    /// Why some tests could not do their work.
    lacking: Vec<String>,
}

#[derive(Default)]
struct Program {
    name: String,
    /// Nothing where the program ended before it could say (a crash, or a harness of its own kind).
    counts: Option<Counts>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Report {
    /// Whether there were tests and all of them passed.
    pub(crate) fn is_good(&self) -> bool {
        let total = self.total();
        self.problem.is_none() && total.failed == 0 && total.passed > 0
    }

    /// Prints what was wrong, then the count; nothing may be printed after it, as CI reads the last line.
    pub(crate) fn close(&self) -> bool {
        let total = self.total();
        for failure in &self.failures {
            eprintln!("failed: {failure}");
        }
        if let Some(problem) = &self.problem {
            for program in self.programs.iter().filter(|one| one.counts.is_none()) {
                eprintln!("failed: {} ended without a count", program.name);
            }
            eprintln!("error: {problem}");
        }
        if total.passed == 0 && total.failed == 0 {
            eprintln!("error: no test ran");
        }
        for lacking in &self.lacking {
            prepare::warn(lacking);
        }
        println!(
            "{} passed, {} failed, {} skipped",
            total.passed, total.failed, total.ignored
        );
        self.is_good()
    }

    fn read(&mut self, line: &str) {
        let line = without_colours(line);
        if let Some(name) = program_name(&line) {
            self.programs.push(Program { name, counts: None });
        } else if let Some(counts) = result_line(&line) {
            // Doctests end with a line for those that were merged and one for the others.
            match self.programs.last_mut() {
                Some(program) => {
                    program.counts = Some(program.counts.unwrap_or_default().plus(counts));
                }
                None => self.programs.push(Program {
                    name: "?".into(),
                    counts: Some(counts),
                }),
            }
        } else if let Some(test) = line
            .strip_prefix("test ")
            .and_then(|test| test.strip_suffix(" ... FAILED"))
        {
            let program = self.programs.last().map_or("?", |program| &program.name);
            self.failures
                .push(format!("{program}: {}", test.trim_end()));
        }
    }

    fn total(&self) -> Counts {
        // A program that crashed took its count with it, and must not pass for none failed.
        let silent = Counts {
            failed: u64::from(self.problem.is_some()),
            ..Counts::default()
        };
        let counts = self
            .programs
            .iter()
            .map(|program| program.counts.unwrap_or(silent));
        counts.fold(Counts::default(), Counts::plus)
    }

    fn print_table(&self) {
        if self.programs.is_empty() {
            return;
        }
        let width = self
            .programs
            .iter()
            .map(|program| program.name.len())
            .max()
            .unwrap_or(0);
        println!("\n{:width$}  passed  failed  ignored", "");
        for Program { name, counts } in &self.programs {
            match counts {
                Some(Counts {
                    passed,
                    failed,
                    ignored,
                }) => {
                    println!("{name:width$}  {passed:6}  {failed:6}  {ignored:7}");
                }
                None => println!("{name:width$}  ended without a count"),
            }
        }
        println!();
    }
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            ignored: self.ignored + other.ignored,
        }
    }
}

/// The test program that cargo says it starts: "Running tests/a.rs (target/debug/deps/a-0123456789abcdef)".
fn program_name(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(library) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{library} (documentation)"));
    }
    let (source, path) = line
        .strip_prefix("Running ")?
        .strip_suffix(')')?
        .split_once(" (")?;
    let file = path.rsplit(['/', '\\']).next()?;
    let (program, _) = file.rsplit_once('-')?;
    Some(format!(
        "{program} ({})",
        source.trim_start_matches("unittests ")
    ))
}

/// "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s"
fn result_line(line: &str) -> Option<Counts> {
    let (_verdict, counted) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        let mut parts = counted.split("; ");
        parts.find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    Some(Counts {
        passed: count("passed")?,
        failed: count("failed")?,
        ignored: count("ignored")?,
    })
}

fn without_colours(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or(piece, |(_code, text)| text));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_those_that_cargo_is_told() {
        let told = |words: &str| {
            packages(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            told("-p a -pb --package c --package=d --test x"),
            ["a", "b", "c", "d"]
        );
        assert!(told("--lib -- -p a").is_empty());
        assert!(told("-p").is_empty());
    }

    /// As cargo 1.95 prints it.
    const OUTPUT: &str = "\
   Compiling polystore-kv v0.1.0 (/home/ada/crates/polystore)
    Finished `test` profile [unoptimized + debuginfo] target(s) in 0.31s
     Running unittests src/lib.rs (target/debug/deps/polystore_kv-3f8e0f7f2d0a5b11)

running 2 tests
test expires::tests::words ... ok
test result_that_is_none ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

\u{1b}[1m\u{1b}[92m     Running\u{1b}[0m tests/crash_consistency.rs (target/debug/deps/crash_consistency-9bb28d9b7d1c2b3f)
test kill_file ... FAILED
test result: \u{1b}[31mFAILED\u{1b}[0m. 3 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 1.20s
   Doc-tests polystore_kv
test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
all doctests ran in 0.50s; merged doctests compilation took 0.40s
     Running tests/crashed.rs (target/debug/deps/crashed-0123456789abcdef)
";

    fn report(output: &str, problem: Option<&str>) -> Report {
        let mut report = Report {
            problem: problem.map(str::to_owned),
            ..Report::default()
        };
        output.lines().for_each(|line| report.read(line));
        report
    }

    #[test]
    fn the_lines_of_all_programs_are_summed() {
        let report = report(OUTPUT, None);
        let rows: Vec<_> = report
            .programs
            .iter()
            .map(|one| (one.name.as_str(), one.counts))
            .collect();
        let counts = |passed, failed, ignored| {
            Some(Counts {
                passed,
                failed,
                ignored,
            })
        };
        let expected = [
            ("polystore_kv (src/lib.rs)", counts(2, 0, 0)),
            (
                "crash_consistency (tests/crash_consistency.rs)",
                counts(3, 1, 4),
            ),
            ("polystore_kv (documentation)", counts(6, 0, 1)),
            ("crashed (tests/crashed.rs)", None),
        ];
        assert_eq!(rows, expected);
        assert_eq!(
            report.total(),
            Counts {
                passed: 11,
                failed: 1,
                ignored: 5
            }
        );
        assert_eq!(
            report.failures,
            ["crash_consistency (tests/crash_consistency.rs): kill_file"]
        );
        assert!(!report.is_good());
    }

    #[test]
    fn a_program_that_crashed_counts_as_failed() {
        assert_eq!(report(OUTPUT, Some("cargo failed")).total().failed, 2);
    }

    #[test]
    fn nothing_run_is_not_good() {
        assert!(!report("", None).is_good());
        let line = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert!(report(line, None).is_good());
        assert!(!report(line, Some("cargo failed")).is_good());
    }

    #[test]
    fn other_lines_are_no_results() {
        for line in [
            "test result: ok",
            "test result: ok. x passed",
            "a test result: ok. 1 passed",
            "",
        ] {
            assert_eq!(result_line(line), None, "{line}");
        }
        for line in [
            "Running",
            "Running fast",
            "Running tests/a.rs (target/debug/deps/a",
            "Running a ()",
        ] {
            assert_eq!(program_name(line), None, "{line}");
        }
    }
}
