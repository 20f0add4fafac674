//! etcd stores as a program uses them: on real servers and clusters, beside other programs.
#![cfg(all(feature = "etcd", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod access;
mod cluster;
mod failures;
mod layout;
mod leases;
mod limits;
mod load;
mod sharing;

use std::future::Future;
use std::time::{Duration, Instant};

use polystore_kv::{Error, ErrorKind, Result};
use polystore_servers::Etcd;
use serde_json::{Value, json};

/// How long something that has to happen may take on a slow machine.
const SOON: Duration = Duration::from_secs(30);

/// Looks again until it is so.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < SOON, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The error, which must be of this kind and show nothing that is secret.
fn fails<T>(result: Result<T>, kind: ErrorKind) -> Error {
    let Err(error) = result else {
        panic!("that should fail with {kind:?}")
    };
    assert_eq!(error.kind(), kind, "{error:?}");
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("secret"), "{shown}");
    }
    error
}

/// In base64, as etcd's gateway has keys and values.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place <= chunk.len() {
                text.push(char::from(DIGITS[bits >> (18 - 6 * place) & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Puts a key as another program would.
fn put(etcd: &Etcd, key: &[u8], value: &str) {
    let body = json!({"key": base64(key), "value": base64(value.as_bytes())});
    etcd.call("kv/put", &body.to_string());
}

fn ask(etcd: &Etcd, path: &str, body: &Value) -> Value {
    serde_json::from_str(&etcd.call(path, &body.to_string())).unwrap()
}

/// What a key has, in base64.
fn raw(etcd: &Etcd, key: &[u8]) -> Option<Value> {
    let mut range = ask(etcd, "kv/range", &json!({"key": base64(key)}));
    Some(range.get_mut("kvs")?[0].take())
}

/// How many keys there are, expired ones included.
fn count(etcd: &Etcd) -> u64 {
    let all = json!({"key": "AA==", "range_end": "AA==", "count_only": true});
    let range = ask(etcd, "kv/range", &all);
    range["count"]
        .as_str()
        .map_or(0, |count| count.parse().unwrap())
}

#[test]
fn base64_is_that_of_everyone() {
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
    ] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}
