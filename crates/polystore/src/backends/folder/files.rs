//! The folder: reading and changing one entry, and walking through all of them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind as Io};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::names::{self, Name};
use crate::address::Durability;
use crate::disk::lock::{Lock, LockFile};
use crate::disk::{self, Draft};
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};
use crate::json;

/// What the npm package does not look into: temporary files, the lock, long keys.
const SUBFOLDER: &str = ".polystore";

/// How long a listing waits for those who replace files.
const LISTING_WAITS: Duration = Duration::from_secs(2);

/// A page of a walk ends after so many entries, names or bytes of values.
const PAGE: usize = 128;
const PAGE_NAMES: usize = 1000;
const PAGE_BYTES: usize = 1 << 20;

pub(super) struct Files {
    root: PathBuf,
    subfolder: PathBuf,
    timeout: Duration,
    durability: Durability,
    leftovers: Once,
    lock_file: LockFile,
}

/// A change of one entry.
pub(super) enum Change {
    Set(Entry),
    Del,
    Insert(Entry),
    Replace(Entry),
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
            lock_file: LockFile::new(root.join(SUBFOLDER).join("lock")),
            subfolder: root.join(SUBFOLDER),
            root,
            timeout,
            durability,
            leftovers: Once::new(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
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
            return parse(&text, key, &name);
        }
        let Some(raw) = self.raw_path_of(key) else {
            return Ok(None);
        };
        if let Some(text) = read_file(&raw)? {
            return Ok(some_value(Entry::from_envelope(text)?));
        }
        // A write may just have replaced the raw file by an encoded one.
        match read_file(&path)? {
            Some(text) => parse(&text, key, &name),
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
        disk::create_folders(&self.subfolder, self.durability)?;
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
            Change::Replace(entry) if self.read_live(&key)?.is_some() => {
                Some(self.draft(&key, entry)?)
            }
            _ => None,
        };
        Ok(Prepared { key, change, draft })
    }

    fn draft(&self, key: &str, entry: &Entry) -> Result<Draft> {
        let name = Name::of(key);
        let mut text = entry.to_envelope();
        if matches!(name, Name::Long(_)) {
            text.pop();
            text.push_str(",\"key\":");
            text.push_str(&json::string(key));
            text.push('}');
        }
        let old = fs::metadata(self.path_of(&name)).ok();
        let (content, old) = (text.as_bytes(), old.as_ref().filter(|old| old.is_file()));
        Draft::write(&self.subfolder, content, self.durability, old)
    }

    pub(super) fn lock_file(&self) -> &LockFile {
        &self.lock_file
    }

    /// Makes the changes under the lock, and says of each whether it found what it was for.
    /// They are on the disk when it returns.
    pub(super) fn apply(
        &self,
        lock: Lock<'_>,
        changes: Vec<Prepared>,
    ) -> Result<Vec<Result<bool>>> {
        let outcomes = changes.into_iter().map(|one| self.apply_one(one)).collect();
        drop(lock);
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
            Change::Replace(entry) => match self.read_live(&key)? {
                Some(_) => self.replace(&key, &entry, draft),
                None => Ok(false),
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
        // In this order there is always one of them, and the encoded one wins. If the raw one
        // cannot go, it has no say all the same.
        if let Some(raw) = self.raw_path_of(key) {
            let _ = remove_file(&raw);
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

    /// Begins a walk through the entries.
    ///
    /// The names are read at once, under the lock: replacing a file can move its name to
    /// where a reader has been or is still to come.
    pub(super) fn walk(&self) -> Result<Walk> {
        self.remove_leftovers();
        // Without it nobody replaces anything, and who only reads is not to make it. One who
        // holds it for long does not keep others from reading.
        let _lock = if self.lock_file.path().exists() {
            let deadline = Instant::now() + self.timeout.min(LISTING_WAITS);
            self.lock_file.take(deadline).ok()
        } else {
            None
        };
        let short = Names::read(&self.root, names::is_short)?;
        let long = Names::read(&self.subfolder, names::is_long)?;
        Ok(Walk {
            doubles: doubles(&short),
            short,
            long,
            skipped: 0,
        })
    }
}

/// Names of files, one after another in one text: they are many.
#[derive(Default)]
struct Names {
    text: String,
    at: usize,
}

impl Names {
    fn read(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let failed = |error| Error::from_io("list the folder", error);
        let mut names = Self::default();
        let found = match fs::read_dir(folder) {
            Ok(found) => found,
            Err(error) if error.kind() == Io::NotFound => return Ok(names),
            Err(error) => return Err(failed(error)),
        };
        for name in found {
            let name = name.map_err(failed)?.file_name();
            if let Some(name) = name.to_str().filter(|name| wanted(name)) {
                names.text.push_str(name);
                // No name has one.
                names.text.push('\0');
            }
        }
        Ok(names)
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.text.split_terminator('\0')
    }

    fn next(&mut self) -> Option<String> {
        let (name, _) = self.text[self.at..].split_once('\0')?;
        self.at += name.len() + 1;
        Some(name.to_owned())
    }
}

/// The raw names of keys that are there under their encoded names too.
fn doubles(found: &Names) -> HashSet<String> {
    let mut raw: HashMap<String, &str> = HashMap::new();
    for name in found.iter() {
        if let Some(key) = names::key_of(name)
            && let Name::Short(encoded) = Name::of(&key)
            && encoded != name
        {
            raw.insert(encoded, name);
        }
    }
    if raw.is_empty() {
        return HashSet::new();
    }
    let both = found.iter().filter_map(|name| raw.get(name));
    both.map(|name| (*name).to_owned()).collect()
}

/// What is left of a walk.
pub(super) struct Walk {
    short: Names,
    long: Names,
    doubles: HashSet<String>,
    skipped: u64,
}

impl Walk {
    /// The next entries whose keys are `wanted`, maybe none, or `None` at the end.
    pub(super) fn page(
        &mut self,
        files: &Files,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<Vec<(String, Entry)>>> {
        let mut page = Vec::new();
        let mut bytes = 0;
        for looked_at in 0..PAGE_NAMES {
            let found = if let Some(name) = self.short.next() {
                self.short_entry(files, &name, &wanted)
            } else if let Some(name) = self.long.next() {
                files.read_long(&name, &wanted)
            } else if looked_at == 0 {
                self.report_skipped();
                return Ok(None);
            } else {
                break;
            };
            match found {
                Ok(Some((key, entry))) => {
                    bytes += entry.json().len();
                    page.push((key, entry));
                }
                Ok(None) => {}
                // A file that is no entry, or not ours to read, is no reason to stop.
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Denied) => {
                    self.skipped += 1;
                }
                Err(error) => return Err(error),
            }
            if page.len() == PAGE || bytes > PAGE_BYTES {
                break;
            }
        }
        Ok(Some(page))
    }

    fn short_entry(
        &self,
        files: &Files,
        name: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<(String, Entry)>> {
        match names::key_of(name) {
            Some(key) if wanted(&key) && !self.doubles.contains(name) => {
                let entry = files.read(&key).map_err(|error| error.with_key(&key))?;
                Ok(entry.map(|entry| (key.into_owned(), entry)))
            }
            _ => Ok(None),
        }
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
    fn read_long(
        &self,
        name: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<(String, Entry)>> {
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
        if !wanted(&key) {
            return Ok(None);
        }
        Ok(some_value(Entry::from_envelope(text)?).map(|entry| (key, entry)))
    }
}

/// The npm package writes a null for NaN, and takes it for no value too.
fn some_value(entry: Entry) -> Option<Entry> {
    Some(entry).filter(|entry| !entry.is_null())
}

fn parse(text: &[u8], key: &str, name: &Name) -> Result<Option<Entry>> {
    if matches!(name, Name::Long(_)) && long_key(text)? != key {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "the file holds another key: its name was changed, or two keys have one hash",
        ));
    }
    Ok(some_value(Entry::from_envelope(text)?))
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

fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = |error: io::Error| match error.kind() {
        Io::NotFound => Ok(None),
        Io::IsADirectory => Err(not_a_file()),
        Io::NotADirectory => Err(Error::from_io("find the folder: its path is a file", error)),
        // A circle of links, say.
        _ if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) => {
            Err(not_a_file().with_source(error))
        }
        _ => Err(Error::from_io("read the file of the key", error)),
    };
    // To open a pipe would wait for its other end.
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(not_a_file()),
        Ok(_) => {}
        Err(error) => return failed(error),
    }
    fs::read(path).map(Some).or_else(failed)
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
