//! What tests and benchmarks need that is not Rust.

use std::collections::BTreeSet;
use std::ffi::OsString;

use crate::run::{Outcome, in_ci};
use crate::{apt, browser, node, python, services};

/// A `PATH`, where the one that tests and benchmarks were started with will not do.
pub(crate) type Environment = Vec<(&'static str, OsString)>;

#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) environment: Environment,
    /// Why some of it can't run here.
    pub(crate) lacking: Vec<String>,
}

/// Makes sure of everything that is not Rust, installing what is missing where that is possible.
pub(crate) fn prepare() -> Outcome<Prepared> {
    prepare_for(&[])
}

/// The same for the tests of some packages, or of all if none is named: what runs in browsers takes minutes to compile.
pub(crate) fn prepare_for(packages: &[&str]) -> Outcome<Prepared> {
    let is_tried = packages.is_empty() || packages.iter().any(|name| browser::is_tried_by(name));
    let mut prepared = Prepared::default();
    let environment = install_missing(&TOOLS).and_then(|()| node::prepare());
    // A person may well do without; CI would never notice.
    for problem in [
        environment.map(|found| prepared.environment = found).err(),
        python::prepare().err(),
        services::prepare().err(),
        install_missing(&BROWSER).err(),
        is_tried
            .then(browser::prepare)
            .and_then(std::result::Result::err),
    ] {
        match problem {
            Some(problem) if in_ci() => return Err(problem),
            Some(problem) => {
                warn(&problem);
                prepared.lacking.push(problem);
            }
            None => {}
        }
    }
    Ok(prepared)
}

/// Says loudly that not everything runs.
pub(crate) fn warn(problem: &str) {
    let rule = "!".repeat(80);
    eprintln!("{rule}\nNOT EVERYTHING CAN RUN HERE: {problem}\n{rule}");
}

/// SQLite is C, npm's binding to it C++ that is built by make and Python; tests interrupt by `kill`, and run what
/// the pages show for `curl`.
const TOOLS: [(&str, &str); 6] = [
    ("cc", "build-essential"),
    ("c++", "build-essential"),
    ("make", "build-essential"),
    ("python3", "python3"),
    ("kill", "procps"),
    ("curl", "curl"),
];

/// The server's page is clicked through.
const BROWSER: [(&str, &str); 2] = [
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
];

fn install_missing(programs: &[(&str, &'static str)]) -> Outcome {
    let missing: BTreeSet<&str> = programs
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    apt::install(&Vec::from_iter(missing))
}

/// Whether `PATH` has the program. Asking it for its version would not do: not every system's `kill` has one.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
