//! What was compiled to WebAssembly.

use std::path::{Path, PathBuf};

use crate::skip;

/// The folder with every module that `cargo xtask browser build` makes, if it has made `name`: there is
/// `NAME/NAME.js`, which loads it. Nothing where it is missing.
///
/// # Panics
/// If it is missing in CI.
#[must_use]
pub fn modules(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/browser");
    if folder.join(name).join(format!("{name}.js")).is_file() {
        return Some(folder);
    }
    skip("needs `cargo xtask browser build`");
    None
}
