//! `cargo xtask ci`: what CI runs, stage by stage, the cheap ones first.

use std::time::{Duration, Instant};

use crate::metadata::{self, CORE};
use crate::run::{self, Outcome, cargo};
use crate::suite::{self, Report};
use crate::{browser, hygiene, licences};

pub(crate) fn command() -> Outcome<bool> {
    let mut stages = Stages::default();
    let report = all(&mut stages);
    stages.print(report.as_ref().is_ok_and(Report::is_good));
    Ok(report?.close())
}

fn all(stages: &mut Stages) -> Outcome<Report> {
    stages.time("format", || {
        run::run(&mut cargo(["fmt", "--all", "--check"]))
    })?;
    stages.time("licences", licences::check)?;
    stages.time("hygiene", hygiene::check)?;
    stages.time("clippy", clippy)?;
    stages.time("docs", docs)?;
    stages.time("features", features)?;
    stages.time("wasm", wasm)?;
    stages.time("examples", examples)?;
    stages.time("tests", || suite::run(&[]))
}

fn clippy() -> Outcome {
    let mut command = cargo(["clippy", "--workspace", "--all-targets", "--all-features"]);
    run::run(command.args(DENY_WARNINGS))
}

/// To one package alone: in `RUSTFLAGS` it would compile every dependency once more.
const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

fn docs() -> Outcome {
    let mut command = cargo(["doc", "--workspace", "--no-deps", "--all-features"]);
    run::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Users choose features one by one, and what only compiles beside another would be found by them.
fn features() -> Outcome {
    let members = metadata::members()?;
    let core = members.iter().find(|package| package.name == CORE);
    let core = core.ok_or_else(|| format!("the workspace has no package {CORE}"))?;

    let clippy = |options: &[&str]| {
        let mut command = cargo(["clippy", "--package", CORE]);
        run::run(command.args(options).args(DENY_WARNINGS))
    };
    clippy(&["--no-default-features"])?;
    clippy(&[])?;
    for feature in core.features.iter().filter(|feature| *feature != "default") {
        clippy(&["--no-default-features", "--features", feature])?;
    }
    Ok(())
}

/// In browsers and Workers every feature compiles, and does nothing where it cannot work.
fn wasm() -> Outcome {
    let toolchain = browser::Toolchain::find()?;
    let members = metadata::members()?;
    let core = members.iter().find(|package| package.name == CORE);
    let features = core.map_or(&[][..], |core| &core.features);
    let check = |options: &[&str]| {
        let mut command = toolchain.cargo("rustc");
        command.args(["--package", CORE, "--lib", "--profile", "check"]);
        run::run(command.args(options).args(DENY_WARNINGS))
    };
    check(&["--no-default-features"])?;
    for feature in features {
        check(&["--no-default-features", "--features", feature])?;
    }
    check(&["--all-features"])
}

/// Each by itself, as a newcomer builds it: together they would lend each other features. That it compiles is
/// enough here; the tests run them.
fn examples() -> Outcome {
    let folder = run::root().join("examples");
    for package in metadata::members()?
        .iter()
        .filter(|package| package.manifest.starts_with(&folder))
    {
        run::run(&mut cargo(["check", "--package", &package.name]))?;
    }
    Ok(())
}

#[derive(Default)]
struct Stages {
    times: Vec<(&'static str, Duration)>,
}

impl Stages {
    fn time<T>(&mut self, name: &'static str, stage: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = stage();
        let time = start.elapsed();
        println!("=== {name}: {}", run::spoken(time));
        self.times.push((name, time));
        outcome
    }

    /// A stage that fails is the last, so one word says how they all did.
    fn print(&self, good: bool) {
        println!();
        for (position, (name, time)) in self.times.iter().enumerate() {
            let failed = !good && position + 1 == self.times.len();
            println!(
                "{name:9} {:>12}{}",
                run::spoken(*time),
                if failed { "  failed" } else { "" }
            );
        }
        let total = self.times.iter().map(|(_, time)| *time).sum();
        println!("{:9} {:>12}\n", "all", run::spoken(total));
    }
}
