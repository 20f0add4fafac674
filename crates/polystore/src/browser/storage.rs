//! What keeps wrapped entries in a web storage, `localStorage` or `sessionStorage`: as texts
//! `{"expires":…,"value":…}`, each under its key.
//!
//! Everything in it is one synchronous step of the page's thread. The storage of a tab belongs to that thread
//! alone; of what all tabs of a site share, the standard says that there is no lock (HTML, section 12.2.1).

use std::borrow::Cow;
use std::future::ready;
use std::sync::OnceLock;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use send_wrapper::SendWrapper;
use web_sys::Storage;

use super::failed;
use crate::backend::{Backend, Info, Scan};
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};
use crate::pages::{self, Page};
use crate::scan::PAGE;

/// How much every browser lets a site keep: five million characters, a little more in most.
const ROOM: usize = 5_000_000;

/// Whose storage it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// The site's, for all tabs: `localStorage`.
    Local,
    /// The tab's: `sessionStorage`.
    Session,
}

impl Area {
    fn name(self) -> &'static str {
        match self {
            Self::Local => "localStorage",
            Self::Session => "sessionStorage",
        }
    }

    /// The storage itself. A page whose site has none of its own (a sandboxed frame, `data:`) may not have it, and a
    /// person can deny it.
    pub(crate) fn open(self) -> Result<Storage> {
        let Some(window) = web_sys::window() else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "there is no {} but in a page: workers have none",
                    self.name()
                ),
            ));
        };
        let found = match self {
            Self::Local => window.local_storage(),
            Self::Session => window.session_storage(),
        };
        match found {
            Ok(Some(storage)) => Ok(storage),
            Ok(None) => Err(Error::new(
                ErrorKind::Denied,
                format!("the browser denies this page {}", self.name()),
            )),
            Err(thrown) => Err(failed(&format!("open {}", self.name()), &thrown)),
        }
    }
}

/// The entries of a storage whose keys there begin with `front`, which is no part of their keys here.
#[derive(Clone)]
pub(crate) struct WebStorage {
    kind: &'static str,
    area: Area,
    front: Cow<'static, str>,
    storage: OnceLock<SendWrapper<Storage>>,
}

impl WebStorage {
    pub(crate) fn new(kind: &'static str, area: Area, front: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            area,
            front: front.into(),
            storage: OnceLock::new(),
        }
    }

    /// In a storage that the program has.
    pub(crate) fn of(kind: &'static str, area: Area, storage: Storage) -> Self {
        let opened = Self::new(kind, area, "");
        // It is new.
        let _ = opened.storage.set(SendWrapper::new(storage));
        opened
    }

    fn storage(&self) -> Result<&Storage> {
        if let Some(storage) = self.storage.get() {
            return Ok(storage);
        }
        let storage = self.area.open()?;
        Ok(self.storage.get_or_init(|| SendWrapper::new(storage)))
    }

    /// As the storage has it.
    fn full<'k>(&self, key: &'k str) -> Cow<'k, str> {
        match &*self.front {
            "" => Cow::Borrowed(key),
            front => Cow::Owned(format!("{front}{key}")),
        }
    }

    fn read(&self, key: &str) -> Result<Option<String>> {
        let text = self.storage()?.get_item(&self.full(key));
        text.map_err(|thrown| failed("read the entry", &thrown))
    }

    fn remove(&self, key: &str) -> Result<()> {
        let removed = self.storage()?.remove_item(&self.full(key));
        removed.map_err(|thrown| failed("remove the entry", &thrown))
    }

    /// The entry under `key`, if it is live. One that has expired goes: it was read in this very step.
    fn live(&self, key: &str) -> Result<Option<Entry>> {
        let Some(text) = self.read(key)? else {
            return Ok(None);
        };
        let entry = Entry::from_envelope(text)?;
        if entry.is_expired() {
            self.remove(key)?;
            return Ok(None);
        }
        Ok(Some(entry))
    }

    fn write(&self, key: &str, entry: &Entry) -> Result<()> {
        let (full, text) = (self.full(key), entry.to_envelope());
        let storage = self.storage()?;
        let Err(thrown) = storage.set_item(&full, &text) else {
            return Ok(());
        };
        let error = failed("write the entry", &thrown);
        // What has expired and was never met takes room too.
        if error.kind() != ErrorKind::Full || self.sweep("")? == 0 {
            return Err(error);
        }
        let again = storage.set_item(&full, &text);
        again.map_err(|thrown| failed("write the entry", &thrown))
    }

    /// The keys that begin with `prefix`, each once and in the order of their bytes: there is no other way to look
    /// at all entries while others write, as what is at a place in the storage may move.
    ///
    /// JavaScript has strings that are not Unicode (lone surrogates). What is under one is listed here by another
    /// key, under which there is nothing, or what is listed anyhow.
    fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let unread = |thrown| failed("list the keys", &thrown);
        let storage = self.storage()?;
        let prefix = self.full(prefix);
        let mut keys = Vec::new();
        for place in 0..storage.length().map_err(unread)? {
            let Some(mut key) = storage.key(place).map_err(unread)? else {
                break;
            };
            if key.starts_with(&*prefix) {
                keys.push(key.split_off(self.front.len()));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Removes the entries that begin with `prefix` and of which `goes` holds, and says how many went.
    fn remove_if(&self, prefix: &str, goes: impl Fn(&Entry) -> bool) -> Result<u64> {
        let mut gone = 0;
        for key in self.keys(prefix)? {
            let Some(Ok(entry)) = self.read(&key)?.map(Entry::from_envelope) else {
                continue;
            };
            if goes(&entry) {
                self.remove(&key)?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    fn sweep(&self, prefix: &str) -> Result<u64> {
        self.remove_if(prefix, Entry::is_expired)
    }

    /// Fails where others may write between two steps of this thread's code.
    fn check_alone(&self, what: &'static str) -> Result<()> {
        match self.area {
            Area::Session => Ok(()),
            Area::Local => Err(Error::unsupported(what)),
        }
    }

    /// The next `most` of `keys` that are live, and what is left of them.
    fn page(
        &self,
        mut keys: std::vec::IntoIter<String>,
        most: usize,
    ) -> Result<Page<std::vec::IntoIter<String>>> {
        let mut page = Page::default();
        while page.entries.len() < most {
            let Some(key) = keys.next() else {
                return Ok(page);
            };
            match self.live(&key) {
                Ok(Some(entry)) => page.entries.push((key, entry)),
                Ok(None) => {}
                Err(error) if error.is_data() => page.skipped += 1,
                Err(error) => return Err(error),
            }
        }
        page.next = Some(keys);
        Ok(page)
    }
}

#[async_trait]
impl Backend for WebStorage {
    fn info(&self) -> Info {
        let is_alone = self.area == Area::Session;
        Info::new(self.kind).with(|can| {
            can.insert = is_alone;
            can.replace = is_alone;
            can.touch = is_alone;
            can.prune = true;
            can.max_total_bytes = Some(ROOM);
            can.persistent = !is_alone;
        })
    }

    async fn connect(&self) -> Result<()> {
        self.storage().map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.live(key)
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Entry>>> {
        Some(self.live(key))
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let read = |key: &String| self.live(key).map_err(|error| error.with_key(key));
        keys.iter().map(read).collect()
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        self.write(key, &entry)
    }

    fn set_now(&self, key: &str, entry: Entry) -> Result<Result<()>, Entry> {
        Ok(self.write(key, &entry))
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        for (key, entry) in entries {
            let written = self.write(&key, &entry);
            written.map_err(|error| error.with_key(&key))?;
        }
        Ok(())
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.remove(key)
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let storage = self.clone();
        let opened = async move {
            let mut keys = storage.keys(&scan.prefix)?;
            keys.retain(|key| scan.wants(key));
            let read = move |keys, most| ready(storage.page(keys, most));
            Ok::<_, Error>(pages::list(keys.into_iter(), scan.limit, PAGE, read))
        };
        stream::once(opened).try_flatten().boxed()
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        self.remove_if(prefix, |_| true).map(drop)
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        self.check_alone("insert: another tab may write between a look and a write")?;
        let is_vacant = self.live(key)?.is_none();
        if is_vacant {
            self.write(key, &entry)?;
        }
        Ok(is_vacant)
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        self.check_alone("replace: another tab may write between a look and a write")?;
        let is_there = self.live(key)?.is_some();
        if is_there {
            self.write(key, &entry)?;
        }
        Ok(is_there)
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.check_alone("touch: another tab may write between a look and a write")?;
        let Some(entry) = self.live(key)? else {
            return Ok(false);
        };
        self.write(key, &entry.with_expiry(expiry))?;
        Ok(true)
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        let now = self.read(key)?.map(Entry::from_envelope);
        let is_unchanged = matches!(now, Some(Ok(entry)) if entry == *seen);
        if is_unchanged {
            self.remove(key)?;
        }
        Ok(is_unchanged)
    }

    async fn prune(&self, prefix: &str) -> Result<u64> {
        self.sweep(prefix)
    }
}
