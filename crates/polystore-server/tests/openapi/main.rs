//! The `OpenAPI` document, the server and the page of documentation say the same.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use axum::body::Body;
use http::Request;
use polystore_kv::kv;
use polystore_server::Server;
use serde_json::Value;
use tokio::net::TcpListener;
use tower::ServiceExt;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn document() -> Value {
    serde_json::from_str(include_str!("../../src/openapi.json")).unwrap()
}

/// A program of the environment that `cargo xtask` makes, unless there is none.
fn program(name: &str) -> Option<Command> {
    let path = root().join("target/python/bin").join(name);
    if !path.exists() {
        polystore_servers::skip("no Python packages: `cargo xtask test` gets them");
        return None;
    }
    Some(Command::new(path))
}

/// A server of an empty store in memory, until the runtime ends; its port.
async fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server::new(kv("memory:").unwrap());
    tokio::spawn(server.serve(listener, std::future::pending()));
    port
}

async fn passes(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let stdout = text(&output.stdout);
    assert!(
        output.status.success(),
        "{}\n{}",
        stdout,
        text(&output.stderr)
    );
    stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_valid() {
    if let Some(mut command) = program("openapi-spec-validator") {
        command.args(["--schema", "3.1"]);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/openapi.json"));
        passes(command).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_does_what_its_document_says() {
    let Some(mut command) = program("st") else {
        return;
    };
    let base = format!("http://127.0.0.1:{}", start().await);
    let scratch = tempfile::tempdir().unwrap();
    command.current_dir(scratch.path());
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/schemathesis.toml");
    command.arg("--config-file").arg(config);
    // The seed and the number of examples bound it; a request that hangs is a failure.
    let bounds = ["--request-timeout", "20"];
    command
        .args(["run", &format!("{base}/_/openapi.json"), "--url", &base])
        .args(bounds);
    let report = passes(command).await;
    let document = document();
    let paths = document["paths"].as_object().unwrap().values();
    let requests: usize = paths
        .map(|methods| methods.as_object().unwrap().len())
        .sum();
    let tested = format!("Tested: {requests}");
    assert!(
        requests > 20 && report.contains(&tested),
        "{tested}: {report}"
    );
}

#[tokio::test]
async fn only_what_wants_a_token_is_documented_to_be_401() {
    let tokens = "0123456789abcdef read-write".parse().unwrap();
    let app = Server::new(kv("memory:").unwrap()).tokens(tokens).router();
    let document = document();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let path = match &**path {
                "/" if method == "put" || method == "patch" => "/?key=a".to_owned(),
                "/" => "/?prefix=a".to_owned(),
                path => path.replace("{key}", "a"),
            };
            let request = Request::builder().method(&*method.to_uppercase());
            let request = request.uri(&path).body(Body::empty()).unwrap();
            let status = app.clone().oneshot(request).await.unwrap().status();
            let responses = operation["responses"].as_object().unwrap();
            let is_documented = responses.contains_key(status.as_str());
            assert!(is_documented, "{method} {path}: {status}");
            let wants_one = status == 401;
            assert_eq!(responses.contains_key("401"), wants_one, "{method} {path}");
            // The names that the server answers to go with every request.
            assert!(responses.contains_key("421"), "{method} {path}");
        }
    }
}

#[test]
fn the_fields_of_the_store_are_on_the_page() {
    let page = std::fs::read_to_string(root().join("docs/http.md")).unwrap();
    let rows = page.lines().skip_while(|line| *line != "### The store");
    let rows = rows.take_while(|line| !line.starts_with("## "));
    let on_page: BTreeSet<&str> = rows
        .filter_map(|row| Some(row.strip_prefix("| `")?.split_once("` |")?.0))
        .flat_map(|names| names.split("`, `"))
        .collect();
    let document = document();
    let fields = document["components"]["schemas"]["store"]["required"].as_array();
    let fields: BTreeSet<&str> = fields
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    assert_eq!(on_page, fields);
}

/// `GET /_/store`, for each request that the page shows.
fn requests_of_the_page() -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("docs/http.md")).unwrap();
    let rows = page.lines().skip_while(|line| *line != "## Requests");
    let rows = rows.take_while(|line| !line.starts_with("### "));
    rows.filter_map(|row| row.strip_prefix("| `")?.split_once('`'))
        .map(|(request, _)| {
            let (method, path) = request.split_once(" BASE").unwrap();
            let path = path.split(['?', ' ']).next().unwrap();
            let path = path.replace("KEY", "{key}");
            format!("{method} {path}")
        })
        .collect()
}

#[test]
fn the_page_and_the_document_have_the_same_requests() {
    let document = document();
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            documented.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let page = requests_of_the_page();
    assert!(page.len() > 15, "{page:?}");
    let only_on_page: Vec<_> = page.difference(&documented).collect();
    assert!(only_on_page.is_empty(), "{only_on_page:?}");
    // The page says once that HEAD is where GET is, and that ?key= takes what a key's path takes.
    let is_said_once = |request: &&String| {
        let (method, path) = request.split_once(' ').unwrap();
        match method {
            "HEAD" => page.contains(&format!("GET {path}")),
            _ => path == "/" && page.contains(&format!("{method} /{{key}}")),
        }
    };
    let only_in_document = documented.difference(&page).filter(|it| !is_said_once(it));
    assert_eq!(only_in_document.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_page_and_the_document_have_the_same_kinds_of_errors() {
    let page = std::fs::read_to_string(root().join("docs/http.md")).unwrap();
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| status"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let of_page: BTreeSet<&str> = rows
        .flat_map(|row| row.split('|').nth(2).unwrap().split('`').skip(1).step_by(2))
        .collect();
    let document = document();
    let kinds = &document["components"]["schemas"]["problem"]["properties"]["kind"]["enum"];
    let of_document: BTreeSet<&str> = kinds
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| kind.as_str().unwrap())
        .collect();
    assert_eq!(of_page, of_document);
}
