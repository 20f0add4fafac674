//! The example asks the API as seldom as it may.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// An API that counts how often it is asked.
struct Api {
    url: String,
    count: Arc<AtomicUsize>,
    // What it runs on.
    _runtime: Runtime,
}

impl Api {
    fn start() -> Self {
        let runtime = Runtime::new().expect("threads");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let count = Arc::new(AtomicUsize::new(0));
        let (of_list, of_item) = (Arc::clone(&count), Arc::clone(&count));
        let list = move || async move {
            of_list.fetch_add(1, Ordering::Relaxed);
            ([("cache-control", "max-age=600")], "[1,2,3]")
        };
        let item = move |headers: HeaderMap| async move {
            of_item.fetch_add(1, Ordering::Relaxed);
            let known = headers
                .get("if-none-match")
                .is_some_and(|tag| tag == "\"1\"");
            let said = [("etag", "\"1\""), ("cache-control", "no-cache")];
            match known {
                true => (StatusCode::NOT_MODIFIED, said).into_response(),
                false => (said, r#"{"id":1,"name":"a"}"#).into_response(),
            }
        };
        let router = axum::Router::new()
            .route("/list", get(list))
            .route("/item", get(item));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            count,
            _runtime: runtime,
        }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

fn run(folder: &Path, arguments: &[&str], store: Option<&str>) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cached-client"));
    program
        .current_dir(folder)
        .args(arguments)
        .env_remove("CACHE_STORE");
    if let Some(store) = store {
        program.env("CACHE_STORE", store);
    }
    program.output().expect("the program runs")
}

fn said(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

#[test]
fn the_second_run_is_answered_by_the_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    for (store, kind) in [(None, "sqlite"), (Some("file:elsewhere/"), "folder")] {
        let api = Api::start();
        let (list, item) = (format!("{}/list", api.url), format!("{}/item", api.url));
        let first = run(folder.path(), &[&list, &item], store);
        for line in [
            "  200 OK, 7 bytes, from the origin, to be kept, in ",
            "  a list of 3\n",
            "  200 OK, 19 bytes, from the origin, to be kept, in ",
            "  2 fields: id, name\n",
            &format!("2 in the cache ({kind})\n"),
        ] {
            assert!(said(&first).contains(line), "{line:?} is not in {first:?}");
        }
        assert_eq!(api.count(), 2);

        let second = run(folder.path(), &[&list], store);
        assert!(
            said(&second).contains("7 bytes, from the cache, fresh for "),
            "{second:?}"
        );
        assert_eq!(api.count(), 2);
        let second = run(folder.path(), &[&item], store);
        assert!(
            said(&second).contains("19 bytes, from the cache, confirmed, to be kept, "),
            "{second:?}"
        );
        assert_eq!(api.count(), 3);

        let refreshed = run(folder.path(), &["--refresh", &list], store);
        assert!(
            said(&refreshed).contains("7 bytes, from the origin, to be kept, "),
            "{refreshed:?}"
        );
        assert_eq!(api.count(), 4);
    }
    assert!(folder.path().join("http-cache.db").exists());
    assert!(folder.path().join("elsewhere").is_dir());
}

#[test]
fn a_cache_that_is_away_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = Api::start();
    let list = format!("{}/list", api.url);
    // Nobody listens at this port.
    let away = Some("redis://127.0.0.1:1?timeout=500ms");
    for asked in 1..=2 {
        let output = run(folder.path(), &[&list], away);
        assert!(
            said(&output).contains("  a list of 3\n") && !said(&output).contains(" in the cache"),
            "{output:?}"
        );
        assert_eq!(api.count(), asked);
        let told = String::from_utf8_lossy(&output.stderr);
        for words in [
            "WARN a reply could not be read by the HTTP cache",
            "what is in the cache cannot be counted: redis: ",
        ] {
            assert!(told.contains(words), "{words:?} is not in {told:?}");
        }
    }
}

#[test]
fn what_goes_wrong_is_said_with_its_causes() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, code, words) in [
        (&[][..], 2, &["usage: cached-client"][..]),
        (&["http://127.0.0.1:1/"], 1, &["127.0.0.1:1", "refused"]),
        (
            &["a.example/x"],
            2,
            &["\"a.example/x\" is no URL", "usage: "],
        ),
        (
            &["http://127.0.0.1:1/", "--bogus"],
            2,
            &["\"--bogus\"", "usage: "],
        ),
        (
            &["ftp://127.0.0.1:1/"],
            2,
            &["\"ftp://127.0.0.1:1/\" is no URL of HTTP"],
        ),
    ] {
        let output = run(folder.path(), arguments, None);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        for word in words {
            assert!(told.contains(word), "{word:?} is not in {told:?}");
        }
    }
    let output = run(
        folder.path(),
        &["http://127.0.0.1:1/"],
        Some("redish://localhost"),
    );
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && told.contains("there is no store \"redish\""),
        "{told}"
    );
}
