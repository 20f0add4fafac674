//! The protocol of `docs/http.md`, request by request.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod bodies;
mod errors;
mod groups;
mod items;
mod keys;
mod listings;
mod mounting;
mod wire;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use polystore_kv::{Store, kv};
use tower::ServiceExt;

const JSON: (&str, &str) = ("content-type", "application/json");
const LINES_IN: (&str, &str) = ("content-type", "application/x-ndjson");
const LINES: (&str, &str) = ("accept", "application/x-ndjson");

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
    /// Whether the body ended as it should.
    is_whole: bool,
}

impl Reply {
    /// The status and the body.
    fn said(&self) -> (u16, &str) {
        (self.status.as_u16(), &self.text)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }

    fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(&self.text).unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        problem
    }

    fn kind(&self) -> (u16, String) {
        let problem = self.problem();
        (
            self.status.as_u16(),
            problem["kind"].as_str().unwrap().to_owned(),
        )
    }
}

fn memory() -> Router {
    polystore_server::router(kv("memory:").unwrap())
}

/// Memory and SQLite.
fn stores() -> (Vec<Store>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite:{}", folder.path().join("kv.db").display());
    let stores = vec![kv("memory:").unwrap(), kv(sqlite.as_str()).unwrap()];
    (stores, folder)
}

/// Sends `METHOD /path`, headers and a body.
async fn ask(app: &Router, what: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
    let (method, path) = what.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, mut body) = response.into_parts();
    let (mut bytes, mut is_whole) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Err(_) => is_whole = false,
        }
    }
    assert_eq!(parts.headers["polystore-protocol"], "1", "{what}");
    Reply {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(bytes).unwrap(),
        is_whole,
    }
}

/// Sends a request without a body.
async fn say(app: &Router, what: &str) -> Reply {
    ask(app, what, &[], "").await
}
