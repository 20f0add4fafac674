//! `cookie:`: the cookies of a page, by its `document.cookie`.
//!
//! A cookie has its key and the JSON of its value, each as JavaScript's `encodeURIComponent` writes it.

mod attributes;
mod jar;
mod round;

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures_channel::oneshot;
use futures_core::stream::BoxStream;
use futures_util::{TryStreamExt, stream};

use self::attributes::Attributes;
use self::jar::Jar;
use self::round::Job;
use crate::address::{Address, invalid};
use crate::backend::{Backend, Info, Scan};
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};
use crate::opener::Opener;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("cookie", open);

/// What browsers keep of a cookie: bytes of name and value together (RFC 6265, section 6.1).
const ROOM: usize = 4096;
/// What of it the name may take, so that there is always room for a value.
const ROOM_OF_NAMES: usize = 1023;
/// Each byte of a text takes one byte to three.
const ENCODED: usize = 3;
/// How many cookies a page may have for a new one to be written. Chromium removes some, anybody's, when a site has
/// more than 180, and counts those that a page can't see.
const MOST: usize = 150;

fn open(mut address: Address) -> Result<Store> {
    if !address.location().is_empty() {
        return Err(invalid(
            "cookie: has no name: a page has its cookies, and a prefix makes a store of its own of some",
        ));
    }
    let attributes = Attributes::take(&mut address)?;
    address.finish(Attributes::NAMES)?;
    Ok(Store::new(Arc::new(Cookies {
        attributes,
        jar: Jar::default(),
        waiting: Mutex::default(),
    })))
}

struct Cookies {
    attributes: Attributes,
    jar: Jar,
    /// Writes that wait for their round, in order.
    waiting: Mutex<Vec<Job>>,
}

impl Cookies {
    fn read(&self, key: &str) -> Result<Option<Entry>> {
        let text = self.jar.read()?;
        entry_of(&text, key)
    }

    /// Does these writes, together with all that wait by then: the page's cookies are read once before and once after.
    async fn change(&self, changes: Vec<(String, Option<Entry>)>) -> Result<()> {
        let mut jobs = Vec::with_capacity(changes.len());
        let mut answers = Vec::with_capacity(changes.len());
        for (key, entry) in changes {
            let (answer, answered) = oneshot::channel();
            let job = Job::new(&key, entry, answer).map_err(|error| error.with_key(&key))?;
            jobs.push(job);
            answers.push((key, answered));
        }
        self.waiting().extend(jobs);
        let_others_join().await;
        let waiting = std::mem::take(&mut *self.waiting());
        self.do_all(waiting);
        for (key, mut answered) in answers {
            // Whoever took it has done it in one step.
            let outcome = answered.try_recv().ok().flatten();
            let outcome = outcome.unwrap_or_else(|| Err(Error::closed()));
            outcome.map_err(|error| error.with_key(&key))?;
        }
        Ok(())
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Job>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of `key` among a page's cookies. Of several the first counts: browsers put the one of the longest path
/// first, and of those the oldest.
fn entry_of(cookies: &str, key: &str) -> Result<Option<Entry>> {
    let Some(value) = jar::find(cookies, key, &jar::encode(key)) else {
        return Ok(None);
    };
    let Some(json) = jar::decode(value) else {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "what the cookie has is not encoded as a URL's text: something else wrote it",
        ));
    };
    Ok(Some(Entry::from_stored(json, Expiry::Unread)))
}

/// What waits already gets its turn.
async fn let_others_join() {
    let mut has_waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait]
impl Backend for Cookies {
    fn info(&self) -> Info {
        Info::new("cookie").with(|can| {
            can.native_expiry = Some(Duration::from_secs(1));
            can.ttl = false;
            can.max_key_bytes = Some(ROOM_OF_NAMES / ENCODED);
            can.max_value_bytes = Some((ROOM - ROOM_OF_NAMES) / ENCODED);
            can.refused_keys = vec!["".into()];
            can.max_entries = Some(MOST);
        })
    }

    async fn connect(&self) -> Result<()> {
        self.jar.read().map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.read(key)
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Entry>>> {
        Some(self.read(key))
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let text = self.jar.read()?;
        let entry = |key: &String| entry_of(&text, key).map_err(|error| error.with_key(key));
        keys.iter().map(entry).collect()
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        self.change(vec![(key.to_owned(), Some(entry))]).await
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        let changes = entries.into_iter().map(|(key, entry)| (key, Some(entry)));
        self.change(changes.collect()).await
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.change(vec![(key.to_owned(), None)]).await
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        let changes = keys.iter().map(|key| (key.clone(), None));
        self.change(changes.collect()).await
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        let entries = jar::entries(&self.jar.read()?);
        let ours = entries.into_iter().map(|(key, _)| key);
        let keys: Vec<_> = ours.filter(|key| key.starts_with(prefix)).collect();
        self.del_many(&keys).await
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let jar = self.jar.clone();
        // When it is asked for the first.
        let opened = async move {
            let text = jar.read()?;
            Ok::<_, Error>(scan.select(jar::entries(&text)))
        };
        Box::pin(stream::once(opened).try_flatten())
    }
}
