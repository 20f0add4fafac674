//! Stores of ours, and what somebody would write by hand instead where there is no server.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, mpsc};

use polystore_kv::{Store, kv};
use rusqlite::Connection;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::subject::{Subject, User, Wrapper, from_json, to_json, unwrap, wrap};

/// A store of ours.
pub(crate) fn ours(url: &str) -> Store {
    kv(url).expect("the URL is right")
}

impl Subject for Store {
    async fn get(&self, key: &str) -> Option<User> {
        self.get(key).await.expect("the store works")
    }
    async fn set(&self, key: &str, user: &User) {
        self.set(key, user).await.expect("the store works");
    }
    async fn get_many(&self, keys: &[String]) -> usize {
        let users = self.get_many::<User>(keys).await;
        users.expect("the store works").len()
    }
}

/// A plain map with the same JSON work, shared as plainly as it can be.
#[derive(Clone, Default)]
pub(crate) struct BareMap(Arc<RwLock<HashMap<String, Vec<u8>>>>);

impl Subject for BareMap {
    async fn get(&self, key: &str) -> Option<User> {
        let map = self.0.read().expect("nobody panics");
        map.get(key).map(|json| from_json(json))
    }
    async fn set(&self, key: &str, user: &User) {
        let json = to_json(user);
        let mut map = self.0.write().expect("nobody panics");
        map.insert(key.to_owned(), json);
    }
}

/// Hand-written rusqlite: one connection, cached statements, the same pragmas.
#[derive(Clone)]
pub(crate) struct BareSqlite(Arc<Mutex<Connection>>);

impl BareSqlite {
    pub(crate) fn open(path: PathBuf, synchronous: &str) -> Self {
        let connection = Connection::open(path).expect("it opens");
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
                 CREATE TABLE IF NOT EXISTS kv (id TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER);
                 CREATE INDEX IF NOT EXISTS idx_kv_expires_at ON kv (expires_at);"
            ))
            .expect("it sets up");
        Self(Arc::new(Mutex::new(connection)))
    }
}

impl Subject for BareSqlite {
    async fn get(&self, key: &str) -> Option<User> {
        let connection = self.0.lock().expect("nobody panics");
        let mut select = connection
            .prepare_cached("SELECT value, expires_at FROM kv WHERE id = ?1")
            .expect("it is SQL");
        let mut rows = select.query([key]).expect("it reads");
        let row = rows.next().expect("it reads")?;
        let value = row.get_ref(0).and_then(|value| Ok(value.as_str()?));
        Some(from_json(value.expect("it is text").as_bytes()))
    }
    async fn set(&self, key: &str, user: &User) {
        let json = serde_json::to_string(user).expect("a user is JSON");
        let connection = self.0.lock().expect("nobody panics");
        connection
            .prepare_cached(
                "INSERT INTO kv (id, value, expires_at) VALUES (?1, ?2, NULL)
                 ON CONFLICT (id) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
            )
            .and_then(|mut insert| insert.execute([key, &json]))
            .expect("it writes");
    }
}

/// Replaces the file `path` with `content`, on the disk if `full`.
fn replace(path: &PathBuf, content: &[u8], full: bool) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{number}.tmp"));
    let mut file = File::create(&temporary).expect("it creates");
    file.write_all(content).expect("it writes");
    if full {
        file.sync_data().expect("it syncs");
    }
    fs::rename(&temporary, path).expect("it renames");
    if full {
        let folder = path.parent().expect("it is in a folder");
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .expect("it syncs");
    }
}

/// A JSON file that each read parses and each write replaces, on tokio's blocking threads.
#[derive(Clone)]
pub(crate) struct BareFile {
    pub(crate) path: PathBuf,
    pub(crate) full: bool,
    pub(crate) writing: Arc<tokio::sync::Mutex<()>>,
}

type Items<'a> = BTreeMap<String, &'a RawValue>;

impl Subject for BareFile {
    async fn get(&self, key: &str) -> Option<User> {
        let (path, key) = (self.path.clone(), key.to_owned());
        blocking(move || {
            let text = fs::read(path).ok()?;
            let items: Items<'_> = serde_json::from_slice(&text).expect("it is JSON");
            let wrapper: Wrapper<User> = serde_json::from_str(items.get(&key)?.get()).ok()?;
            Some(wrapper.value)
        })
        .await
    }
    async fn set(&self, key: &str, user: &User) {
        let _turn = self.writing.lock().await;
        let (path, full, key) = (self.path.clone(), self.full, key.to_owned());
        let wrapper = Wrapper {
            expires: None,
            value: user.clone(),
        };
        blocking(move || {
            let text = fs::read(&path).unwrap_or_else(|_| b"{}".to_vec());
            let wrapped = serde_json::value::to_raw_value(&wrapper).expect("it is JSON");
            let mut items: Items<'_> = serde_json::from_slice(&text).expect("it is JSON");
            items.insert(key, &wrapped);
            replace(
                &path,
                &serde_json::to_vec(&items).expect("it is JSON"),
                full,
            );
        })
        .await;
    }
}

/// A file for each key, on tokio's blocking threads.
#[derive(Clone)]
pub(crate) struct BareFolder {
    pub(crate) folder: PathBuf,
    pub(crate) full: bool,
}

impl BareFolder {
    fn path(&self, key: &str) -> PathBuf {
        self.folder
            .join(format!("{}.json", key.replace(':', "%3A")))
    }
}

impl Subject for BareFolder {
    async fn get(&self, key: &str) -> Option<User> {
        let path = self.path(key);
        blocking(move || {
            let text = fs::read(path).ok()?;
            Some(unwrap(&text))
        })
        .await
    }
    async fn set(&self, key: &str, user: &User) {
        let (path, full) = (self.path(key), self.full);
        let user = user.clone();
        blocking(move || replace(&path, &wrap(&user), full)).await;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("it does not panic")
}

/// rusty-leveldb as it is meant to be used: on a thread of its own, which gets one job at a time.
/// It waits for no disk, whatever it is told.
#[derive(Clone)]
pub(crate) struct BareLevel(mpsc::Sender<Job>);

enum Job {
    Get(Vec<u8>, oneshot::Sender<Option<User>>),
    Set(Vec<u8>, Vec<u8>, oneshot::Sender<()>),
}

impl BareLevel {
    pub(crate) fn open(folder: PathBuf) -> Self {
        let (sender, jobs) = mpsc::channel();
        std::thread::spawn(move || {
            let options = rusty_leveldb::Options::default();
            let mut database = rusty_leveldb::DB::open(folder, options).expect("it opens");
            for job in jobs {
                match job {
                    Job::Get(key, answer) => {
                        let user = database.get(&key).map(|json| unwrap(&json));
                        let _ = answer.send(user);
                    }
                    Job::Set(key, json, answer) => {
                        database.put(&key, &json).expect("it writes");
                        let _ = answer.send(());
                    }
                }
            }
        });
        Self(sender)
    }
}

impl Subject for BareLevel {
    async fn get(&self, key: &str) -> Option<User> {
        let (answer, receiver) = oneshot::channel();
        let job = Job::Get(key.as_bytes().to_vec(), answer);
        self.0.send(job).expect("the thread runs");
        receiver.await.expect("the thread answers")
    }
    async fn set(&self, key: &str, user: &User) {
        let (answer, receiver) = oneshot::channel();
        let job = Job::Set(key.as_bytes().to_vec(), wrap(user), answer);
        self.0.send(job).expect("the thread runs");
        receiver.await.expect("the thread answers");
    }
}
