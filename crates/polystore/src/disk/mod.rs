//! Files that are replaced whole, and locks between processes.

pub(crate) mod lock;

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind as Io, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::address::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::random;

/// The ending of files that are being written.
const TEMPORARY: &str = ".tmp";

/// How often a write is tried again whose temporary file somebody took away.
const TRIES: u32 = 5;

/// How many symbolic links in a row are followed, as Linux does.
const LINKS: u32 = 40;

/// A file's content on its way to its name.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    path: PathBuf,
    settled: bool,
}

impl Draft {
    /// Writes `content` to a temporary file in `folder`, and to the disk if `durability`
    /// asks for it. It gets the mode and, if allowed, the owner of `old`, the file whose place
    /// it will take. It carries a lock, so that [`remove_leftovers`] tells it from those
    /// of processes that died.
    pub(crate) fn write(
        folder: &Path,
        content: &[u8],
        durability: Durability,
        old: Option<&Metadata>,
    ) -> Result<Self> {
        let failed = |error| Error::from_io("write a temporary file beside the data", error);
        for _ in 0..TRIES {
            let path = folder.join(format!(".{}{TEMPORARY}", random::key()?));
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            if old.is_some() {
                // Until it has the old one's mode, it is nobody else's to read.
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            }
            let file = options.open(&path).map_err(failed)?;
            let draft = Self {
                file,
                path,
                settled: false,
            };
            // A clean-up may take it for a leftover just before it is locked.
            if let Err(TryLockError::WouldBlock) = draft.file.try_lock() {
                continue;
            }
            (&draft.file).write_all(content).map_err(failed)?;
            if let Some(old) = old {
                draft.inherit(old)?;
            }
            if durability == Durability::Full {
                draft.file.sync_data().map_err(failed)?;
            }
            return Ok(draft);
        }
        Err(Error::new(
            ErrorKind::Unreachable,
            "temporary files are taken away as fast as they are made",
        ))
    }

    fn inherit(&self, old: &Metadata) -> Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, fchown};
            // Only root may give files away, and for the others it is their own anyway.
            let _ = fchown(&self.file, Some(old.uid()), Some(old.gid()));
        }
        self.file
            .set_permissions(old.permissions())
            .map_err(|error| Error::from_io("keep the file's permissions", error))
    }

    /// Gives the content its name, in place of what was there. `false` if a clean-up took
    /// the temporary file away.
    pub(crate) fn rename(&mut self, target: &Path) -> Result<bool> {
        match fs::rename(&self.path, target) {
            Ok(()) => {
                self.settled = true;
                Ok(true)
            }
            Err(error) if error.kind() == Io::NotFound && !self.path.exists() => Ok(false),
            Err(_) if target.is_dir() => Err(Error::new(
                ErrorKind::Corrupt,
                "where the file belongs there is a folder: something else put it there",
            )),
            Err(error) => Err(Error::from_io("put the new content in place", error)),
        }
    }

    /// Sets the time of its last change to now, if the file system lets us, and gives it.
    pub(crate) fn set_modified_now(&self) -> Option<SystemTime> {
        let now = SystemTime::now();
        self.file.set_modified(now).ok().map(|()| now)
    }

    pub(crate) fn metadata(&self) -> Result<Metadata> {
        self.file
            .metadata()
            .map_err(|error| Error::from_io("look at the new file", error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.settled {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes `folder` and those around it, and has the disk keep them.
pub(crate) fn create_folders(folder: &Path, durability: Durability) -> Result<()> {
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| Error::from_io("make the folder", error))?;
    let parents = missing.iter().filter_map(|made| made.parent());
    for parent in parents {
        sync_folder(parent, durability)?;
    }
    Ok(())
}

/// Has the disk keep the names in `folder`.
pub(crate) fn sync_folder(folder: &Path, durability: Durability) -> Result<()> {
    if durability == Durability::Normal || !cfg!(unix) {
        return Ok(());
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::from_io("sync the folder", error).with_maybe_applied())
}

/// Removes the temporary files in `folder` whose writers have died.
pub(crate) fn remove_leftovers(folder: &Path) {
    let Ok(names) = fs::read_dir(folder) else {
        return;
    };
    for name in names.flatten() {
        let file_name = name.file_name();
        let is_draft = file_name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.strip_suffix(TEMPORARY))
            .is_some_and(random::is_key);
        if !is_draft {
            continue;
        }
        let path = name.path();
        if let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
            && fs::remove_file(&path).is_ok()
        {
            tracing::debug!(?path, "removed what a process left when it died");
        }
    }
}

/// The file that `path` leads to through symbolic links, whether it exists or not.
pub(crate) fn follow_links(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let is_link = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
        if !is_link {
            return Ok(path);
        }
        let target = fs::read_link(&path)
            .map_err(|error| Error::from_io("follow the symbolic link", error))?;
        path = match path.parent() {
            Some(parent) => parent.join(target),
            None => target,
        };
    }
    Err(Error::new(
        ErrorKind::Unreachable,
        "the path is a circle of symbolic links",
    ))
}

/// Makes `path` independent of later changes of the current folder.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::from_io("find the current folder", error))
}

/// What tells a file from any other that takes its name, where the system says. `None`
/// elsewhere: there a file that is open keeps its name.
pub(crate) type Identity = Option<(u64, u64)>;

pub(crate) fn identity(file: &Metadata) -> Identity {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((file.dev(), file.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        None
    }
}

/// That of the file at `path`, if there is one.
pub(crate) fn identity_at(path: &Path) -> Identity {
    identity(&fs::metadata(path).ok()?)
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    identity: Identity,
    #[cfg(unix)]
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            identity: identity(metadata),
            #[cfg(unix)]
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether it is that of a content of so many bytes, last changed then.
    pub(crate) fn is_of(&self, modified: Option<SystemTime>, bytes: usize) -> bool {
        modified.is_some() && self.modified == modified && self.bytes == bytes as u64
    }

    /// Whether the next change is sure to get another stamp: file systems count time in
    /// steps of a few milliseconds, so that two changes within one look alike.
    pub(crate) fn is_settled(&self) -> bool {
        const STEP: Duration = Duration::from_millis(100);
        let age = self.modified.and_then(|modified| modified.elapsed().ok());
        age.is_some_and(|age| age > STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    pub(super) fn in_folder(test: impl FnOnce(&Path)) {
        let folder = std::env::temp_dir().join(format!("polystore-{}", random::key().unwrap()));
        fs::create_dir(&folder).unwrap();
        test(&folder);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn leftovers_go_but_what_is_being_written_stays() {
        in_folder(|folder| {
            let leftover = folder.join(format!(".{}.tmp", random::key().unwrap()));
            let foreign = folder.join("notes.tmp");
            fs::write(&leftover, "half a val").unwrap();
            fs::write(&foreign, "not ours").unwrap();
            let mut draft = Draft::write(folder, b"new", Durability::Full, None).unwrap();
            remove_leftovers(folder);
            assert!(!leftover.exists() && foreign.exists());
            assert!(draft.rename(&folder.join("target")).unwrap());
            assert_eq!(fs::read(folder.join("target")).unwrap(), b"new");

            drop(Draft::write(folder, b"dropped", Durability::Normal, None).unwrap());
            assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
        });
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_to_their_end_and_circles_are_errors() {
        use std::os::unix::fs::symlink;
        in_folder(|folder| {
            symlink("b", folder.join("a")).unwrap();
            symlink("not/there", folder.join("b")).unwrap();
            assert_eq!(
                follow_links(&folder.join("a")).unwrap(),
                folder.join("not/there")
            );
            symlink("circle", folder.join("circle")).unwrap();
            assert!(
                follow_links(&folder.join("circle"))
                    .unwrap_err()
                    .is_connection()
            );
        });
    }
}
