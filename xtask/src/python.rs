//! The Python packages that the server's `OpenAPI` document is held against.

use std::fs;

use crate::apt;
use crate::run::{self, Outcome, answer, command};

/// An environment in `target/python` with exactly the packages of `interop/python/requirements.txt`.
pub(crate) fn prepare() -> Outcome {
    let requirements = run::root().join("interop/python/requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .map_err(|error| format!("{}: {error}", requirements.display()))?;
    let version = answer(command("python3").arg("--version")).unwrap_or_default();
    let wanted = format!("{version}\n{wanted}");

    let folder = run::root().join("target").join("python");
    let installed = folder.join(".xtask");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    // Debian's Python comes without.
    if answer(command("python3").args(["-c", "import ensurepip, venv"])).is_none() {
        apt::install(&["python3-venv"])?;
    }
    run::run(
        command("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )?;
    run::run(
        command(folder.join("bin").join("pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )?;
    fs::write(&installed, wanted).map_err(|error| format!("{}: {error}", installed.display()))
}
