//! The file itself: reading it when it has changed, and replacing it.

use std::fs::{self, File};
use std::io::{ErrorKind as Io, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::content::Content;
use super::folder_of;
use crate::address::Durability;
use crate::disk::{self, Draft, Stamp};
use crate::error::{Error, ErrorKind, Result};

/// How long a content that does not parse gets to become whole: the npm package writes
/// in place, and may be at it.
const HALF_WRITTEN: Duration = Duration::from_millis(100);

/// The file, and what is known of it.
pub(super) struct OnDisk {
    pub(super) path: PathBuf,
    pub(super) durability: Durability,
    known: Mutex<Option<Known>>,
}

struct Known {
    content: Arc<Content>,
    stamp: Stamp,
    /// Nobody else can have written a file with this stamp.
    certain: bool,
}

impl OnDisk {
    pub(super) fn new(path: PathBuf, durability: Durability) -> Self {
        Self {
            path,
            durability,
            known: Mutex::new(None),
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        // Nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file holds now.
    pub(super) fn load(&self) -> Result<Arc<Content>> {
        let begun = Instant::now();
        loop {
            match self.try_load() {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    if begun.elapsed() > HALF_WRITTEN || !self.is_being_written() {
                        return Err(error);
                    }
                    std::thread::sleep(HALF_WRITTEN / 10);
                }
                Ok(None) => {}
                Ok(Some(content)) => return Ok(content),
                Err(error) => return Err(error),
            }
        }
    }

    fn is_being_written(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| !Stamp::of(&found).is_settled())
    }

    /// As [`load`](Self::load), or `None` if the file was changed meanwhile.
    fn try_load(&self) -> Result<Option<Arc<Content>>> {
        let failed = |error| Error::from_io("read the file", error);
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == Io::NotFound => return Ok(Some(Arc::default())),
            Err(error) => return Err(failed(error)),
        };
        if !found.is_file() {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "the path of the store is not a file (a folder's URL ends in /)",
            ));
        }
        if let Some(known) = &*self.known()
            && known.certain
            && known.stamp == Stamp::of(&found)
        {
            return Ok(Some(Arc::clone(&known.content)));
        }
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == Io::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let stamp = Stamp::of(&file.metadata().map_err(failed)?);
        let certain = stamp.is_settled();
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        if stamp != Stamp::of(&file.metadata().map_err(failed)?) {
            return Ok(None);
        }
        let content = Arc::new(Content::parse(&text)?);
        *self.known() = Some(Known {
            content: Arc::clone(&content),
            stamp,
            certain,
        });
        Ok(Some(content))
    }

    /// Puts `content` in the file's place. The lock is held.
    pub(super) fn store(&self, target: &Path, content: Content) -> Result<()> {
        let folder = folder_of(target);
        let old = fs::metadata(target).ok();
        let text = content.to_text();
        loop {
            let mut draft = Draft::write(folder, text.as_bytes(), self.durability, old.as_ref())?;
            // This time is finer than a file system's own steps, so that no other
            // content has its stamp.
            let written = draft.set_modified_now();
            if draft.rename(target)? {
                let stamp = Stamp::of(&draft.metadata()?);
                *self.known() = stamp.is_of(written, text.len()).then(|| Known {
                    content: Arc::new(content),
                    stamp,
                    certain: true,
                });
                return disk::sync_folder(folder, self.durability);
            }
        }
    }
}
