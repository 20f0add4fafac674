//! Servers, each in a process of its own, that say where they listen and end with this program.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, RwLock};

use crate::listen::run;
use crate::load::Load;
use crate::local;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use polystore_server::Server;
use rusqlite::{Connection, OptionalExtension};
use serde::de::IgnoredAny;

/// A server that runs.
pub(crate) struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    /// This program as a server: `ours` of the store `what`, or `bare` of a map or a file.
    pub(crate) fn of_rust(kind: &str, what: &str) -> Option<Self> {
        let mut command = Command::new(std::env::current_exe().ok()?);
        Self::start(command.args(["child", "serve", kind, what]))
    }

    /// The server on Node, of a map or of a file of SQLite. Nothing where Node is missing.
    pub(crate) fn of_node(store: &str) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("npm/server.mjs");
        Self::start(Command::new("node").arg(script).arg(store))
    }

    pub(crate) fn start(command: &mut Command) -> Option<Self> {
        // The pipe closes when this program ends, and the server with it.
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().ok()?;
        let mut address = String::new();
        let mut output = BufReader::new(child.stdout.take()?);
        output.read_line(&mut address).ok()?;
        let address = address.trim().to_owned();
        if address.is_empty() {
            eprintln!("a server did not start: its columns stay empty");
        }
        (!address.is_empty()).then_some(Self { child, address })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// One measurement, by a generator in a process of its own.
    pub(crate) fn load(&self, operation: &str, connections: u32) -> Option<Load> {
        let output = Command::new(std::env::current_exe().ok()?)
            .args(["child", "load", &self.address, &self.child.id().to_string()])
            .args([operation, &connections.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn ours(url: &str) -> io::Result<()> {
    run(|listener| Server::new(local::ours(url)).serve(listener, std::future::pending()))
}

/// What is there under a key: a value that is JSON, or nothing.
fn value(json: Option<impl IntoResponse>) -> Response {
    match json {
        Some(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Puts a value that must be JSON, and answers its key.
fn put_by(put: impl FnOnce(&str, &str), key: &str, body: &[u8]) -> Response {
    let text = str::from_utf8(body).ok();
    match text.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok()) {
        Some(text) => {
            put(key, text);
            value(serde_json::to_string(key).ok())
        }
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

type Key = extract::Path<String>;

type Map = Arc<RwLock<HashMap<String, Bytes>>>;

/// axum with a map, as somebody would write it who needs no more.
pub(crate) fn bare_map() -> io::Result<()> {
    async fn get_value(State(map): State<Map>, extract::Path(key): Key) -> Response {
        let map = map.read().expect("nobody panics");
        value(map.get(&key).cloned())
    }
    async fn put_value(State(map): State<Map>, extract::Path(key): Key, body: Bytes) -> Response {
        let put = |key: &str, _: &str| {
            let mut map = map.write().expect("nobody panics");
            map.insert(key.to_owned(), body.clone());
        };
        put_by(put, &key, &body)
    }
    let router = Router::new()
        .route("/{key}", get(get_value).put(put_value))
        .with_state(Map::default());
    run(|listener| async { axum::serve(listener, router).await })
}

type Database = Arc<Mutex<Connection>>;

/// axum with rusqlite: one connection, cached statements, on the disk when it answers.
pub(crate) fn bare_sqlite(path: &str) -> io::Result<()> {
    async fn get_value(State(database): State<Database>, extract::Path(key): Key) -> Response {
        let database = database.lock().expect("nobody panics");
        let mut select = database
            .prepare_cached("SELECT value FROM kv WHERE id = ?1")
            .expect("it is SQL");
        let text: Option<String> = select
            .query_row([key], |row| row.get(0))
            .optional()
            .expect("it reads");
        value(text)
    }
    async fn put_value(
        State(database): State<Database>,
        extract::Path(key): Key,
        body: Bytes,
    ) -> Response {
        let put = |key: &str, text: &str| {
            let database = database.lock().expect("nobody panics");
            database
                .prepare_cached(
                    "INSERT INTO kv (id, value) VALUES (?1, ?2)
                     ON CONFLICT (id) DO UPDATE SET value = excluded.value",
                )
                .and_then(|mut insert| insert.execute([key, text]))
                .expect("it writes");
        };
        put_by(put, &key, &body)
    }
    let database = Connection::open(path).map_err(io::Error::other)?;
    database
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS kv (id TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER);",
        )
        .map_err(io::Error::other)?;
    let router = Router::new()
        .route("/{key}", get(get_value).put(put_value))
        .with_state(Arc::new(Mutex::new(database)));
    run(|listener| async { axum::serve(listener, router).await })
}
