//! The folder: reading and changing one entry, and walking through all of them.

use std::collections::HashSet;
use std::fs::{self, ReadDir};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind as Io};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::names::{self, Name};
use crate::address::Durability;
use crate::disk::{self, Draft, Lock};
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};

/// What the npm package does not look into: temporary files, the lock, long keys.
const SUBFOLDER: &str = ".polystore";

/// A page of a walk ends after so many entries, or so many bytes of values.
const PAGE: usize = 128;
const PAGE_BYTES: usize = 1 << 20;

pub(super) struct Files {
    root: PathBuf,
    subfolder: PathBuf,
    timeout: Duration,
    durability: Durability,
    leftovers: Once,
    /// Taken before the lock between processes, so that only processes meet there.
    turn: Mutex<()>,
}

/// A change of one entry.
pub(super) enum Change {
    Set(Entry),
    Del,
    Insert(Entry),
    Touch(Expiry),
    Evict(Entry),
}

/// A change with all that can be done before the lock is taken.
pub(super) struct Prepared {
    key: String,
    change: Change,
    draft: Option<Draft>,
}

impl Files {
    pub(super) fn new(root: PathBuf, timeout: Duration, durability: Durability) -> Self {
        Self {
            subfolder: root.join(SUBFOLDER),
            root,
            timeout,
            durability,
            leftovers: Once::new(),
            turn: Mutex::new(()),
        }
    }

    fn remove_leftovers(&self) {
        self.leftovers
            .call_once(|| disk::remove_leftovers(&self.subfolder));
    }

    fn path_of(&self, name: &Name) -> PathBuf {
        match name {
            Name::Short(name) => self.root.join(name),
            Name::Long(name) => self.subfolder.join(name),
        }
    }

    fn raw_path_of(&self, key: &str) -> Option<PathBuf> {
        Some(self.root.join(names::raw_name_of(key)?))
    }

    /// The entry under `key`.
    pub(super) fn read(&self, key: &str) -> Result<Option<Entry>> {
        self.remove_leftovers();
        let name = Name::of(key);
        let path = self.path_of(&name);
        if let Some(text) = read_file(&path)? {
            return parse(text, key, &name).map(Some);
        }
        let Some(raw) = self.raw_path_of(key) else {
            return Ok(None);
        };
        if let Some(text) = read_file(&raw)? {
            return Entry::from_envelope(text).map(Some);
        }
        // A write may just have replaced the raw file by an encoded one.
        match read_file(&path)? {
            Some(text) => parse(text, key, &name).map(Some),
            None => Ok(None),
        }
    }

    fn read_live(&self, key: &str) -> Result<Option<Entry>> {
        // What is not an entry is no reason to refuse a new one in its place.
        match self.read(key) {
            Ok(entry) => Ok(entry.filter(|entry| !entry.is_expired())),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Does what takes long before the lock is taken: writes the new content to the disk.
    pub(super) fn prepare(&self, key: String, change: Change) -> Result<Prepared> {
        fs::create_dir_all(&self.subfolder)
            .map_err(|error| Error::from_io("make the folder", error))?;
        let writable = fs::metadata(&self.root).is_ok_and(|root| !root.permissions().readonly());
        if !writable {
            return Err(Error::new(ErrorKind::ReadOnly, "the folder is read-only"));
        }
        self.remove_leftovers();
        let draft = match &change {
            Change::Set(entry) => Some(self.draft(&key, entry)?),
            Change::Insert(entry) if self.read_live(&key)?.is_none() => {
                Some(self.draft(&key, entry)?)
            }
            _ => None,
        };
        Ok(Prepared { key, change, draft })
    }

    fn draft(&self, key: &str, entry: &Entry) -> Result<Draft> {
        let mut text = entry.to_envelope();
        if matches!(Name::of(key), Name::Long(_)) {
            text.pop();
            text.extend_from_slice(b",\"key\":");
            serde_json::to_writer(&mut text, key).map_err(|error| {
                Error::new(ErrorKind::Encode, "the key has no JSON form").with_source(error)
            })?;
            text.push(b'}');
        }
        Draft::write(&self.subfolder, &text, self.durability)
    }

    /// Makes the changes under one lock, and says of each whether it found what it was for.
    /// They are on the disk when it returns.
    pub(super) fn apply(&self, changes: Vec<Prepared>) -> Result<Vec<Result<bool>>> {
        let outcomes: Vec<Result<bool>> = {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let _lock = Lock::take(&self.subfolder.join("lock"), self.timeout)?;
            changes.into_iter().map(|one| self.apply_one(one)).collect()
        };
        disk::sync_folder(&self.root, self.durability)?;
        disk::sync_folder(&self.subfolder, self.durability)?;
        Ok(outcomes)
    }

    fn apply_one(&self, prepared: Prepared) -> Result<bool> {
        let Prepared { key, change, draft } = prepared;
        match change {
            Change::Set(entry) => self.replace(&key, &entry, draft),
            Change::Del => self.remove(&key),
            Change::Insert(entry) => match self.read_live(&key)? {
                Some(_) => Ok(false),
                None => self.replace(&key, &entry, draft),
            },
            Change::Touch(expiry) => match self.read_live(&key)? {
                Some(entry) => self.replace(&key, &entry.with_expiry(expiry), None),
                None => Ok(false),
            },
            Change::Evict(seen) => match self.read(&key)? {
                Some(entry) if entry == seen => self.remove(&key),
                _ => Ok(false),
            },
        }
    }

    fn replace(&self, key: &str, entry: &Entry, draft: Option<Draft>) -> Result<bool> {
        let path = self.path_of(&Name::of(key));
        let mut draft = match draft {
            Some(draft) => draft,
            None => self.draft(key, entry)?,
        };
        while !draft.rename(&path)? {
            draft = self.draft(key, entry)?;
        }
        // In this order there is always one of them, and the encoded one wins.
        if let Some(raw) = self.raw_path_of(key) {
            remove_file(&raw)?;
        }
        Ok(true)
    }

    fn remove(&self, key: &str) -> Result<bool> {
        // In this order an old raw file never comes back.
        let raw = match self.raw_path_of(key) {
            Some(raw) => remove_file(&raw)?,
            None => false,
        };
        Ok(remove_file(&self.path_of(&Name::of(key)))? || raw)
    }

    /// Begins a walk through the entries whose keys `wanted` says so of.
    pub(super) fn walk(&self) -> Result<Walk> {
        self.remove_leftovers();
        Ok(Walk {
            folders: [open_folder(&self.root)?, open_folder(&self.subfolder)?],
            seen: HashSet::new(),
            hasher: RandomState::new(),
            skipped: 0,
        })
    }
}

/// What is left of a walk. It holds a number for each entry that it has shown, so that
/// none shows twice when its file is replaced meanwhile.
pub(super) struct Walk {
    folders: [Option<ReadDir>; 2],
    seen: HashSet<u64>,
    hasher: RandomState,
    skipped: u64,
}

impl Walk {
    /// The next entries, none of them at the end.
    pub(super) fn page(
        &mut self,
        files: &Files,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, Entry)>> {
        let mut page = Vec::new();
        let mut bytes = 0;
        while page.len() < PAGE && bytes < PAGE_BYTES {
            let Some((key, found)) = self.next(files, &wanted)? else {
                self.report_skipped();
                break;
            };
            match found {
                Ok(Some(entry)) => {
                    bytes += entry.json().len();
                    page.push((key, entry));
                }
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => self.skip(&key, &error),
                Err(error) => return Err(error.with_key(&key)),
            }
        }
        Ok(page)
    }

    /// The next key that is wanted and was not shown yet, with what is there.
    #[expect(clippy::type_complexity, reason = "once, right here")]
    fn next(
        &mut self,
        files: &Files,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<(String, Result<Option<Entry>>)>> {
        loop {
            let Some((name, long)) = self.next_name()? else {
                return Ok(None);
            };
            let (key, found) = if long {
                match files.read_long(&name) {
                    Ok(Some((key, entry))) => (key, Ok(Some(entry))),
                    Ok(None) => continue,
                    Err(error) => (name, Err(error)),
                }
            } else {
                match names::key_of(&name) {
                    Some(key) if wanted(&key) => {
                        let found = files.read(&key);
                        (key.into_owned(), found)
                    }
                    _ => continue,
                }
            };
            if (!long || wanted(&key)) && self.seen.insert(self.hasher.hash_one(&key)) {
                return Ok(Some((key, found)));
            }
        }
    }

    fn next_name(&mut self) -> Result<Option<(String, bool)>> {
        let [root, subfolder] = &mut self.folders;
        for (folder, long) in [(root, false), (subfolder, true)] {
            let Some(names) = folder else { continue };
            for name in names {
                let name = name.map_err(|error| Error::from_io("list the folder", error))?;
                match name.file_name().into_string() {
                    Ok(name) if !long || names::is_long(&name) => return Ok(Some((name, long))),
                    _ => {}
                }
            }
            *folder = None;
        }
        Ok(None)
    }

    fn skip(&mut self, key: &str, error: &Error) {
        self.skipped += 1;
        tracing::debug!(backend = "folder", key, %error, "skipped");
    }

    fn report_skipped(&mut self) {
        let skipped = std::mem::take(&mut self.skipped);
        if skipped > 0 {
            tracing::warn!(
                backend = "folder",
                skipped,
                "a listing left out files that are no entries"
            );
        }
    }
}

impl Files {
    /// The entry in the subfolder's file `name`, with its key.
    fn read_long(&self, name: &str) -> Result<Option<(String, Entry)>> {
        let Some(text) = read_file(&self.subfolder.join(name))? else {
            return Ok(None);
        };
        let key = long_key(&text)?;
        if Name::of(&key) != Name::Long(name.to_owned()) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "the key in the file is not the one that its name stands for",
            ));
        }
        Ok(Some((key, Entry::from_envelope(text)?)))
    }
}

fn parse(text: Bytes, key: &str, name: &Name) -> Result<Entry> {
    if matches!(name, Name::Long(_)) && long_key(&text)? != key {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "the file holds another key: its name was changed, or two keys have one hash",
        ));
    }
    Entry::from_envelope(text)
}

/// The key in the wrapper of a long one.
fn long_key(text: &[u8]) -> Result<String> {
    #[derive(Deserialize)]
    struct LongKey {
        key: String,
    }
    let found: Result<LongKey, _> = serde_json::from_slice(text);
    found.map(|found| found.key).map_err(|_| {
        Error::new(
            ErrorKind::Corrupt,
            "what is stored is not {\"expires\":…,\"value\":…,\"key\":…}",
        )
    })
}

fn read_file(path: &Path) -> Result<Option<Bytes>> {
    let failed = |error: io::Error| match error.kind() {
        Io::NotFound => Ok(None),
        Io::IsADirectory | Io::NotADirectory => Err(not_a_file()),
        _ => Err(Error::from_io("read the file of the key", error)),
    };
    // To open a pipe would wait for its other end.
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(not_a_file()),
        Ok(_) => {}
        Err(error) => return failed(error),
    }
    match fs::read(path) {
        Ok(text) => Ok(Some(Bytes::from(text))),
        Err(error) => failed(error),
    }
}

fn not_a_file() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "what has the key's name is not a file: something else put it there",
    )
}

fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == Io::NotFound => Ok(false),
        Err(_) if path.is_dir() => Err(not_a_file()),
        Err(error) => Err(Error::from_io("remove the file of the key", error)),
    }
}

fn open_folder(path: &Path) -> Result<Option<ReadDir>> {
    match fs::read_dir(path) {
        Ok(names) => Ok(Some(names)),
        Err(error) if error.kind() == Io::NotFound => Ok(None),
        Err(error) => Err(Error::from_io("list the folder", error)),
    }
}
