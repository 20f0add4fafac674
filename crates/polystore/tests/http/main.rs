//! The client of stores over HTTP: what it sends, and what it makes of what comes back, from servers that
//! say anything; and the real one.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod access;
mod fake;
mod finding_out;
mod real;
mod redirects;
mod replies;
mod requests;
mod runtimes;
mod trust;

use polystore_kv::{Error, ErrorKind, Result, Store, kv};

use self::fake::{Answer, Fake, Request};

/// What a server that speaks the whole protocol says of itself.
const INFO: &str = r#"{"kind":"memory","insert":true,"touch":true,"prune":true,"ordered":true}"#;

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

/// A server that speaks the whole protocol as far as `answer` does.
fn full(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Fake {
    Fake::start(move |request| match request.target.contains("/_/store") {
        true => Answer::ours(200, INFO),
        false => answer(request),
    })
}

/// One that speaks what the npm package does.
fn npm(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Fake {
    Fake::start(move |request| match request.target.contains("/_/store") {
        true => Answer::status(404),
        false => answer(request),
    })
}

/// A store there, whose operations give up soon.
fn store(server: &Fake) -> Store {
    kv(server.url("/?polystore.timeout=3s")).unwrap()
}
