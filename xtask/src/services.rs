//! The servers that tests and benchmarks start, and `cargo xtask services` for a person.

use std::path::Path;

use crate::prepare::is_there;
use crate::run::{self, Outcome};
use crate::{apt, prepare};

/// Each program, with Debian's package of it and the service that the package would have running.
const SERVERS: [(&str, &str, &str); 4] = [
    ("redis-server", "redis-server", "redis-server"),
    ("postgres", "postgresql", "postgresql"),
    ("pgbouncer", "pgbouncer", "pgbouncer"),
    ("etcd", "etcd-server", "etcd"),
];

/// Installs those that are missing.
pub(crate) fn prepare() -> Outcome {
    let missing = SERVERS
        .iter()
        .filter(|(program, ..)| !is_installed(program));
    let (packages, units): (Vec<&str>, Vec<&str>) =
        missing.map(|(_, package, unit)| (*package, *unit)).unzip();
    if packages.is_empty() {
        return Ok(());
    }
    apt::install_without_starting(&packages, &units)
}

/// `polystore-servers` finds them in the same places.
fn is_installed(program: &str) -> bool {
    let of_version = |folder: std::fs::DirEntry| folder.path().join("bin").join(program).is_file();
    is_there(program)
        || Path::new("/usr/sbin").join(program).is_file()
        || std::fs::read_dir("/usr/lib/postgresql")
            .is_ok_and(|versions| versions.flatten().any(of_version))
}

/// `cargo xtask services`: runs them until Ctrl-C or the end of standard input.
pub(crate) fn command() -> Outcome<bool> {
    if let Err(problem) = prepare() {
        prepare::warn(&problem);
    }
    run::run(&mut run::cargo([
        "run",
        "--quiet",
        "--package",
        "polystore-servers",
    ]))?;
    Ok(true)
}
