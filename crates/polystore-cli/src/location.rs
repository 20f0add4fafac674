//! Opening the store that a URL names, without littering.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use polystore_kv::{Store, kv};

use crate::exit::{Failure, say};

/// A store to write to: made if it is not there.
pub(crate) fn to_write(url: &str) -> Result<Store, Failure> {
    Ok(kv(url)?)
}

/// A store to read or to remove from: one that is not there is empty and is not made.
pub(crate) fn to_read(url: &str) -> Result<Store, Failure> {
    let store = kv(url)?;
    if !is_missing(url) {
        return Ok(store);
    }
    let kind = store.kind();
    say(&format!("polystore: this {kind} store does not exist yet"));
    Ok(kv("memory:")?)
}

/// A store to take everything from: it has to be there, or a typing error would pass
/// for an empty backup.
pub(crate) fn to_take(url: &str) -> Result<Store, Failure> {
    let store = kv(url)?;
    if is_missing(url) {
        let kind = store.kind();
        return Err(Failure::store(format!("this {kind} store does not exist")));
    }
    Ok(store)
}

/// Whether two URLs are one store, as far as they tell.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let options = |url: &str| url.split_once('?').map(|(_, options)| options.to_owned());
    // The options of a LevelDB folder say nothing of what is in it.
    let is_level = is_of(one, "level") && is_of(other, "level");
    one == other
        || (is_level || options(one) == options(other))
            && path(other).is_some_and(|path| is_at(one, &path))
}

/// Whether the store is in this file or folder.
pub(crate) fn is_at(url: &str, file: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    path(url).is_some_and(|path| real(&path).is_some() && real(&path) == real(file))
}

fn is_missing(url: &str) -> bool {
    let begins_at = |path: PathBuf| {
        // Any folder is one for a file in each key, but LevelDB's has a beginning.
        if is_of(url, "level") {
            path.join("CURRENT")
        } else {
            path
        }
    };
    path(url).is_some_and(|path| matches!(begins_at(path).try_exists(), Ok(false)))
}

fn is_of(url: &str, kind: &str) -> bool {
    url.split_once(':')
        .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(kind))
}

/// The file or folder of a store that is one.
fn path(url: &str) -> Option<PathBuf> {
    let (_, rest) = url.split_once(':')?;
    let (location, _) = rest.split_once('?').unwrap_or((rest, ""));
    let is_on_disk = ["file", "sqlite", "level"]
        .iter()
        .any(|kind| is_of(url, kind));
    if !is_on_disk || is_of(url, "sqlite") && location == ":memory:" {
        return None;
    }
    let written = match location.strip_prefix("//") {
        None => location,
        Some(rest) => &rest[rest.find('/')?..],
    };
    let path = percent_decode_str(written).decode_utf8().ok()?;
    // file:///C:/dir: the drive comes after the slash.
    let path = match path.strip_prefix('/') {
        Some(drive) if cfg!(windows) => drive,
        _ => &path,
    };
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stores_in_files_have_a_path() {
        for (url, expected) in [
            ("sqlite:a%20b.db?table=kv", Some("a b.db")),
            ("SQLITE:///abs/app.db", Some("/abs/app.db")),
            ("file:dir/", Some("dir/")),
            ("file://localhost/a.json", Some("/a.json")),
            ("level:some/dir?sync=normal", Some("some/dir")),
            ("LEVEL:///abs/a%20b", Some("/abs/a b")),
            ("sqlite::memory:", None),
            ("memory:", None),
            ("redis://user:secret@host/", None),
            ("nonsense", None),
        ] {
            assert_eq!(path(url), expected.map(PathBuf::from), "{url}");
        }
    }
}
