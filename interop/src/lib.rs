//! What the tests beside the npm package `polystore` share: running it, and the keys and
//! values that both sides write.

mod app;
mod both;
mod page;
mod served;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use polystore_servers::skip;
use serde_json::{Value, json};

pub use app::{App, node};
pub use both::{Both, expected, keys, write};
pub use page::{Block, blocks};
pub use served::Served;

/// Where the npm package is installed: `npm ci` puts it there.
#[must_use]
pub fn npm_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("npm")
}

/// Whether the npm package can be run. If not, a person gets a loud skip and CI a failure.
///
/// # Panics
/// If it cannot and `CI` is set.
#[must_use]
pub fn npm_is_there() -> bool {
    let installed = npm_folder().join("node_modules/polystore").exists();
    let node = Command::new("node").arg("--version").output();
    if installed && node.is_ok_and(|node| node.status.success()) {
        return true;
    }
    skip("needs Node and `npm ci` in interop/npm (cargo xtask test does both)");
    false
}

/// A store as the npm package opens it.
#[derive(Clone, Debug)]
pub struct Npm {
    url: String,
}

impl Npm {
    /// The store at `url`: `file:///abs/x.json`, `file:///abs/dir/`, `sqlite:/abs/x.db`, `level:/abs/dir`,
    /// `redis://host:port`, `postgres://user@host:port/database`, `etcd://host:port,host:port` or
    /// `http://host:port/`.
    ///
    /// Of Redis and etcd the npm package has no part of its own: its `clear` without a prefix empties the
    /// whole server, with every database.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self { url }
    }

    /// Sets each of `entries`.
    pub fn write(&self, entries: &[Written]) {
        let lines = entries
            .iter()
            .map(|entry| json!({"key": entry.key, "value": entry.value, "expires": entry.expires}));
        self.run("write", "", lines);
    }

    /// The value under each of `keys`, `null` where there is none.
    #[must_use]
    pub fn get(&self, keys: &[String]) -> Vec<Value> {
        let lines = self.run("get", "", keys.iter().map(|key| json!({ "key": key })));
        lines
            .into_iter()
            .map(|mut line| line["value"].take())
            .collect()
    }

    /// What a listing of `prefix` shows.
    #[must_use]
    pub fn entries(&self, prefix: &str) -> Vec<(String, Value)> {
        let lines = self.run("entries", prefix, []);
        let entry = |mut line: Value| (as_key(&line["key"]), line["value"].take());
        lines.into_iter().map(entry).collect()
    }

    /// The keys that a listing shows.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let lines = self.run("keys", "", []);
        lines.iter().map(|line| as_key(&line["key"])).collect()
    }

    /// Deletes each of `keys`.
    pub fn del(&self, keys: &[String]) {
        self.run("del", "", keys.iter().map(|key| json!({ "key": key })));
    }

    /// Clears everything.
    pub fn clear(&self) {
        self.run("clear", "", []);
    }

    /// What each of `calls` gives: `{"method": "set", "args": ["key", 1], "prefix": ["a:"], "expires": 60}`
    /// is `kv(…).prefix("a:").expires(60).set("key", 1)`. The method `iterate` collects the entries.
    pub fn call(&self, calls: &[Value]) -> Vec<Value> {
        let lines = self.run("call", "", calls.iter().cloned());
        lines
            .into_iter()
            .map(|mut line| line["result"].take())
            .collect()
    }

    fn run(
        &self,
        command: &str,
        prefix: &str,
        lines: impl IntoIterator<Item = Value>,
    ) -> Vec<Value> {
        let input: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
        let mut child = Command::new("node")
            .arg(npm_folder().join("driver.mjs"))
            .args([command, &self.url, prefix])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node was there a moment ago");
        let mut stdin = child.stdin.take().expect("it is piped");
        let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().expect("node ends");
        assert!(output.status.success(), "npm {command} failed, see above");
        writing
            .join()
            .expect("writing does not panic")
            .expect("node reads all of it");
        let text = String::from_utf8(output.stdout).expect("the driver prints JSON");
        text.split_terminator('\n')
            .map(|line| serde_json::from_str(line).expect("the driver prints JSON"))
            .collect()
    }
}

fn as_key(value: &Value) -> String {
    value.as_str().expect("a key is a string").to_owned()
}

/// One entry of the data that both sides write.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Seconds, or never.
    pub expires: Option<f64>,
}

/// 200 entries: hostile keys first, values of every JSON type, every other with an expiry.
#[must_use]
pub fn entries() -> Vec<Written> {
    let mut keys: Vec<String> = HOSTILE.iter().map(ToString::to_string).collect();
    keys.extend([64, 200, 250].map(|length| "k".repeat(length)));
    let plain = 200 - keys.len();
    keys.extend((0..plain).map(|number| format!("user:{number}")));
    let values = [
        json!("text"),
        json!(0),
        json!(-1.5),
        json!(9_007_199_254_740_991_u64),
        json!(true),
        json!(false),
        json!(""),
        json!([]),
        json!({}),
        json!({"id": 1, "tags": ["a", null, {"é😀": "\u{0}\n\"\\"}], "__proto__x": 1}),
        json!("é e\u{301} 😀 \u{2028}"),
    ];
    let written = keys.into_iter().enumerate().map(|(number, key)| Written {
        key,
        value: values[number % values.len()].clone(),
        expires: (number % 2 == 1).then_some(3600.25),
    });
    written.collect()
}

/// Keys that trip stores up. What only one side can write is tested on that side.
const HOSTILE: &[&str] = &[
    "",
    " ",
    ".",
    "..",
    "/",
    "a/b",
    "../x",
    "/etc/passwd",
    "\\",
    "a\\b",
    "%",
    "%41",
    "%2F",
    "100%",
    "_",
    "a_b",
    "ab",
    "a*",
    "a?",
    "[a]",
    "[",
    "]",
    "'",
    "\"",
    ";",
    "=",
    ":",
    "a:b",
    "~",
    "#",
    "&",
    "+",
    "a b",
    " a",
    "a ",
    "\t",
    "\n",
    "a\nb",
    "\r\n",
    "\0",
    "a\0b",
    "\u{7f}",
    "\u{feff}",
    "\u{2028}",
    "toString",
    "constructor",
    "hasOwnProperty",
    "ping",
    "null",
    "undefined",
    "0",
    "10",
    "-1",
    "a",
    "A",
    "USER:1",
    "É",
    "é",
    "e\u{301}",
    "ß",
    "SS",
    "😀",
    "👨\u{200d}👩\u{200d}👧",
    "\u{10ffff}",
    "\u{e000}",
    "CON",
    "nul",
    "a.json",
    ".json",
    ".polystore",
    "{}",
    "$",
    "!'()*",
    "<a>",
    "日本",
    "עב",
];
