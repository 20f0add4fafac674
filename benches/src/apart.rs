//! Programs with a Cargo.lock of their own: see their Cargo.toml for why.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program of the folder `name`, built if it is not up to date. `None` where that fails.
pub(crate) fn built(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target-dir",
            "target",
        ])
        .current_dir(&folder)
        .status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("{name} could not be built: its columns stay empty");
        return None;
    }
    Some(folder.join(format!("target/release/polystore-bench-{name}")))
}
