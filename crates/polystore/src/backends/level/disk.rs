//! The files of a database, for rusty-leveldb: its own way of writing them waits for no
//! disk, and its own way of reading them takes a damaged part for an absent one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rusty_leveldb::env::{Env, FileLock, Logger, RandomAccess};
use rusty_leveldb::{Result, Status, StatusCode};

use super::checksums;
use super::failure::{Faults, damaged_log, of_damage, of_file};
use crate::address::Durability;
use crate::disk;
use crate::error::Error;

/// A block longer than this holds a large value.
const LARGE_BLOCK: usize = 32 << 10;

/// What a database's files have in common, for them and for who uses the database.
#[derive(Debug)]
pub(super) struct Shared {
    folder: PathBuf,
    pub(super) faults: Faults,
    /// Whether the next batch waits for the disk.
    syncs_log: AtomicBool,
    /// Whether there are names in the folder that the disk may not have.
    has_new_names: AtomicBool,
    /// How often the list of tables was changed.
    edits: AtomicUsize,
    /// Bytes of large blocks that were read: they stay in a cache that counts blocks.
    large_blocks: AtomicUsize,
    /// How often the disk was waited for.
    syncs: AtomicUsize,
}

impl Shared {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            faults: Faults::default(),
            syncs_log: AtomicBool::new(true),
            has_new_names: AtomicBool::new(false),
            edits: AtomicUsize::new(0),
            large_blocks: AtomicUsize::new(0),
            syncs: AtomicUsize::new(0),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn sync_log(&self, syncs: bool) {
        self.syncs_log.store(syncs, Ordering::Relaxed);
    }

    pub(super) fn take_edits(&self) -> usize {
        self.edits.swap(0, Ordering::Relaxed)
    }

    pub(super) fn large_blocks(&self) -> usize {
        self.large_blocks.load(Ordering::Relaxed)
    }

    pub(super) fn forget_large_blocks(&self) {
        self.large_blocks.store(0, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn syncs(&self) -> usize {
        self.syncs.load(Ordering::Relaxed)
    }

    fn fail(&self, error: Error) -> Status {
        self.faults.note(error);
        Status::new(StatusCode::IOError, "")
    }

    /// Nothing is changed any more after a fault.
    fn check(&self) -> Result<()> {
        if self.faults.is_any() {
            return Err(Status::new(StatusCode::IOError, ""));
        }
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn sync_names(&self) -> std::result::Result<(), Error> {
        if self.has_new_names.load(Ordering::Relaxed) {
            disk::sync_folder(&self.folder, Durability::Full)?;
            self.has_new_names.store(false, Ordering::Relaxed);
            self.syncs.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// What a file is for, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Log,
    /// The list of tables.
    Manifest,
    Other,
}

impl Kind {
    fn of(path: &Path) -> Self {
        let name = path.file_name().and_then(|name| name.to_str());
        match name {
            Some(name) if name.starts_with("MANIFEST-") => Self::Manifest,
            Some(name) if name.ends_with(".log") => Self::Log,
            _ => Self::Other,
        }
    }
}

pub(super) struct Disk(pub(super) Arc<Shared>);

impl Disk {
    fn create(&self, path: &Path, options: &OpenOptions) -> Result<Box<dyn Write>> {
        self.0.check()?;
        let file = options
            .open(path)
            .map_err(|error| self.0.fail(of_file("make a file", path, error)))?;
        self.0.has_new_names.store(true, Ordering::Relaxed);
        Ok(Box::new(Output {
            shared: Arc::clone(&self.0),
            kind: Kind::of(path),
            path: path.to_owned(),
            file,
            is_dirty: false,
        }))
    }

    fn rename_synced(&self, old: &Path, new: &Path) -> std::result::Result<(), Error> {
        let failed = |error| of_file("put a file in its place", new, error);
        // CURRENT is written after each change of the list of tables, mostly as it was.
        if let Ok(content) = fs::read(new)
            && fs::read(old).is_ok_and(|same| same == content)
        {
            return fs::remove_file(old).map_err(failed);
        }
        let file = File::open(old).map_err(failed)?;
        self.0.sync(&file).map_err(failed)?;
        fs::rename(old, new).map_err(failed)?;
        self.0.has_new_names.store(true, Ordering::Relaxed);
        self.0.sync_names()
    }
}

impl Env for Disk {
    /// The log and the list of tables without what a crash left of their last record.
    fn open_sequential_file(&self, path: &Path) -> Result<Box<dyn Read>> {
        let mut content = match fs::read(path) {
            Ok(content) => content,
            // Only of a new database.
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_current(path) => {
                return Err(Status::new(StatusCode::NotFound, ""));
            }
            Err(error) => return Err(self.0.fail(of_file("read a file", path, error))),
        };
        if Kind::of(path) != Kind::Other {
            match checksums::whole_records(&content) {
                Some(whole) => content.truncate(whole),
                None => return Err(self.0.fail(damaged_log(path))),
            }
        }
        Ok(Box::new(Cursor::new(content)))
    }

    fn open_random_access_file(&self, path: &Path) -> Result<Box<dyn RandomAccess>> {
        let open = || {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) =
            open().map_err(|error| self.0.fail(of_file("open a table", path, error)))?;
        Ok(Box::new(Table {
            shared: Arc::clone(&self.0),
            path: path.to_owned(),
            file,
            length,
        }))
    }

    fn open_writable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        let mut options = OpenOptions::new();
        self.create(path, options.write(true).create(true).truncate(true))
    }

    fn open_appendable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        self.create(path, OpenOptions::new().append(true).create(true))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(path.exists())
    }

    fn children(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let names = || {
            let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
            Ok(entries.into_iter().map(|entry| entry.file_name()))
        };
        let names =
            names().map_err(|error| self.0.fail(of_file("list the folder", path, error)))?;
        // rusty-leveldb takes it for granted that they are text; its own are.
        let texts = names.filter(|name| name.to_str().is_some());
        Ok(texts.map(PathBuf::from).collect())
    }

    fn size_of(&self, path: &Path) -> Result<usize> {
        let size = fs::metadata(path)
            .and_then(|found| usize::try_from(found.len()).map_err(io::Error::other))
            .map_err(|error| self.0.fail(of_file("find a table", path, error)))?;
        // Nothing that it asks for can be shorter than a table's footer.
        match checksums::least_table(size) {
            Ok(()) => Ok(size),
            Err(damage) => Err(self.0.fail(of_damage(path, damage))),
        }
    }

    fn delete(&self, path: &Path) -> Result<()> {
        self.0.check()?;
        Ok(fs::remove_file(path)?)
    }

    fn mkdir(&self, path: &Path) -> Result<()> {
        Ok(fs::create_dir_all(path)?)
    }

    fn rmdir(&self, path: &Path) -> Result<()> {
        Ok(fs::remove_dir(path)?)
    }

    fn rename(&self, old: &Path, new: &Path) -> Result<()> {
        self.0.check()?;
        self.rename_synced(old, new)
            .map_err(|error| self.0.fail(error))
    }

    /// The folder is locked by who opens the database.
    fn lock(&self, _: &Path) -> Result<FileLock> {
        Ok(FileLock { id: String::new() })
    }

    fn unlock(&self, _: FileLock) -> Result<()> {
        Ok(())
    }

    fn new_logger(&self, _: &Path) -> Result<Logger> {
        Ok(Logger::new(Box::new(io::sink())))
    }

    fn micros(&self) -> u64 {
        static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let since = BEGIN.get_or_init(Instant::now).elapsed();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn sleep_for(&self, micros: u32) {
        std::thread::sleep(Duration::from_micros(micros.into()));
    }
}

fn is_current(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "CURRENT")
}

/// A file that is being written.
struct Output {
    shared: Arc<Shared>,
    kind: Kind,
    path: PathBuf,
    file: File,
    is_dirty: bool,
}

impl Output {
    fn failed(&self, error: Error) -> io::Error {
        self.shared.faults.note(error);
        io::Error::other("the disk failed")
    }
}

impl Write for Output {
    /// All of it or an error: the log is written by who does not look how much it was.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.shared.faults.is_any() {
            return Err(io::Error::other("the disk failed before"));
        }
        self.is_dirty = true;
        match self.file.write_all(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => Err(self.failed(of_file("write a file", &self.path, error))),
        }
    }

    /// Where LevelDB waits for the disk, rusty-leveldb calls this.
    fn flush(&mut self) -> io::Result<()> {
        if self.shared.faults.is_any() {
            return Err(io::Error::other("the disk failed before"));
        }
        let is_asked = self.kind != Kind::Log || self.shared.syncs_log.load(Ordering::Relaxed);
        if !self.is_dirty || !is_asked {
            return Ok(());
        }
        // The list names tables, and what is in a log without a name is nowhere.
        if self.kind != Kind::Other {
            self.shared
                .sync_names()
                .map_err(|error| self.failed(error))?;
        }
        if let Err(error) = self.shared.sync(&self.file) {
            return Err(self.failed(of_file("sync a file", &self.path, error)));
        }
        self.is_dirty = false;
        if self.kind == Kind::Manifest {
            self.shared.edits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A table that is read.
struct Table {
    shared: Arc<Shared>,
    path: PathBuf,
    file: File,
    length: u64,
}

impl Table {
    fn read_all(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, offset);
        #[cfg(not(unix))]
        {
            use std::io::{Seek, SeekFrom};
            let mut file = &self.file;
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(bytes)
        }
    }
}

impl RandomAccess for Table {
    fn read_at(&self, offset: usize, bytes: &mut [u8]) -> Result<usize> {
        let offset = offset as u64;
        self.read_all(offset, bytes)
            .map_err(|error| self.shared.fail(of_file("read a table", &self.path, error)))?;
        let after = || {
            let mut after = [0; 5];
            // What cannot be read does not match.
            let _ = self.read_all(offset + bytes.len() as u64, &mut after);
            after
        };
        checksums::check_table(bytes, offset, self.length, after)
            .map_err(|damage| self.shared.fail(of_damage(&self.path, damage)))?;
        if bytes.len() > LARGE_BLOCK {
            self.shared
                .large_blocks
                .fetch_add(bytes.len(), Ordering::Relaxed);
        }
        Ok(bytes.len())
    }
}
