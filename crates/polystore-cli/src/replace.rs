//! A file that appears whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A new content for a file, in a temporary file beside it until it is complete.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: File,
    /// Where the temporary file is and where it goes. `None`: what is written to is no
    /// regular file (a pipe, /dev/null) and is written directly.
    paths: Option<(PathBuf, PathBuf)>,
}

impl Replacement {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        // The file that a link leads to is replaced, not the link.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&target) {
            Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(there) if !there.is_file() => {
                let file = File::options().write(true).open(&target)?;
                return Ok(Self { file, paths: None });
            }
            _ => {}
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = target.with_file_name(name);
        let file = File::create(&temporary)?;
        Ok(Self {
            file,
            paths: Some((temporary, target)),
        })
    }

    pub(crate) fn writer(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Puts what was written in the file's place.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        if let Some((temporary, target)) = &self.paths {
            if let Ok(there) = fs::metadata(target) {
                fs::set_permissions(temporary, there.permissions())?;
            }
            self.file.sync_all()?;
            fs::rename(temporary, target)?;
            self.paths = None;
        }
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.paths {
            let _ = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_not_committed_changes_nothing() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("export.ndjson");
        fs::write(&path, "old")?;
        let replacement = Replacement::of(&path)?;
        replacement.writer()?.write_all(b"half")?;
        drop(replacement);
        assert_eq!(fs::read(&path)?, b"old");

        let replacement = Replacement::of(&path)?;
        replacement.writer()?.write_all(b"new")?;
        replacement.commit()?;
        assert_eq!(fs::read(&path)?, b"new");
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }
}
