//! `http:` over the browser's `fetch`, from a page of another origin than the server's.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fake::{Answer, Fake, Request};
use crate::full::Page;

/// What a server that speaks the whole protocol says of itself.
const INFO: &str = r#"{"kind":"memory","insert":true,"touch":true,"prune":true,"ordered":true}"#;

/// Lets every page ask, and read all of the reply.
fn for_pages(answer: Answer) -> Answer {
    answer
        .with("access-control-allow-origin", "*")
        .with("access-control-allow-methods", "PUT, PATCH, DELETE")
        .with(
            "access-control-allow-headers",
            "authorization, content-type, if-none-match",
        )
        .with(
            "access-control-expose-headers",
            "polystore-protocol, retry-after",
        )
}

/// A server that speaks the whole protocol as far as `answer` does, to pages too.
fn full(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Fake {
    Fake::start(move |request| {
        for_pages(match &request.method[..] {
            "OPTIONS" => Answer::status(204),
            _ if request.target.contains("/_/store") => Answer::ours(200, INFO),
            _ => answer(request),
        })
    })
}

/// What it was asked for, but for what browsers and the client find out first.
fn asked(server: &Fake) -> Vec<Request> {
    let mut seen = server.seen();
    seen.retain(|it| it.method != "OPTIONS" && !it.target.contains("/_/store"));
    seen
}

fn get(url: &str) -> (&'static str, Value) {
    ("return await new Kv(given[0]).get('key')", json!(url))
}

async fn get_fails(page: &Page, url: &str) -> (String, String) {
    let (script, url) = get(url);
    page.fails(script, &[url]).await
}

#[tokio::test]
async fn a_server_that_lets_no_page_ask_cannot_be_told_from_none() {
    let Some(page) = Page::open().await else {
        return;
    };
    let closed = Fake::start(|_| Answer::ours(200, INFO));
    let gone = Fake::start(|_| Answer::nothing());
    for server in [&closed, &gone] {
        let (kind, words) = get_fails(&page, &server.url("/")).await;
        assert_eq!(kind, "Unreachable", "{words}");
        assert!(
            words.contains("CORS") && words.contains(&page.origin),
            "{words}"
        );
    }
    // A server of the page's own origin needs to let nobody in: there it is no cause.
    let (kind, words) = get_fails(&page, &page.origin).await;
    assert!(!words.contains("CORS"), "{kind}: {words}");
    page.browser.end().await;
}

#[tokio::test]
async fn the_server_knows_a_page_by_its_token_or_its_user() {
    let Some(page) = Page::open().await else {
        return;
    };
    let server = full(|_| Answer::ours(200, "1"));
    let given = "return await withToken(given[0], given[1]).get('key')";
    let token = [json!(server.url("/")), json!("a-token-é")];
    assert_eq!(
        page.run(&format!("const given = arguments; {given}"), &token)
            .await,
        1
    );
    let url = server.url("/").replace("//", "//ada:p%40ss@");
    let user = "return await new Kv(arguments[0]).get('key')";
    assert_eq!(page.run(user, &[json!(url)]).await, 1);
    let asked = asked(&server);
    let said: Vec<_> = asked.iter().map(|it| it.header("authorization")).collect();
    assert_eq!(said, [Some("Bearer a-token-é"), Some("Basic YWRhOnBAc3M=")]);
    page.browser.end().await;
}

#[tokio::test]
async fn a_redirect_takes_neither_token_nor_write_anywhere() {
    let Some(page) = Page::open().await else {
        return;
    };
    let target = full(|_| Answer::ours(200, "\"from elsewhere\""));
    for status in [301, 302, 303, 307, 308] {
        let to = target.elsewhere("/key");
        let first = full(move |_| Answer::ours(status, "").with("location", &to));
        for operation in ["get('key')", "set('key', 1)", "del('key')", "keys()"] {
            let script = format!("return await withToken(given[0], 'secret').{operation}");
            let (kind, words) = page.fails(&script, &[json!(first.url("/"))]).await;
            assert_eq!(kind, "Unreachable", "{status} {operation}: {words}");
            assert!(words.contains("redirects"), "{status} {operation}: {words}");
        }
        assert_eq!(asked(&first).len(), 4, "{status}");
    }
    assert!(target.seen().is_empty());
    page.browser.end().await;
}

#[tokio::test]
async fn a_dropped_operation_ends_its_request() {
    let Some(page) = Page::open().await else {
        return;
    };
    let server = full(|_| Answer::raw("HTTP/1.1 200 X\r\n").hanging());
    let begin = "const until = new Promise((stop) => window.stop = stop);
      window.abandoned = abandon(arguments[0], 'key', until);";
    page.run(begin, &[json!(server.url("/"))]).await;
    until(|| asked(&server).len() == 1).await;
    assert_eq!(server.left(), 0);
    let ended = page.run("stop(); return await abandoned;", &[]).await;
    assert_eq!(ended, true);
    until(|| server.left() == 1).await;
    page.browser.end().await;
}

async fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "that never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_listing_comes_while_it_is_sent() {
    let Some(page) = Page::open().await else {
        return;
    };
    let server = full(|_| {
        let lines = (0..10_000).map(|n| format!("{{\"key\":\"{n}\",\"value\":{n}}}\n"));
        let lines: String = lines.collect();
        let first = format!("{:x}\r\n{lines}\r\n", lines.len());
        // The end never comes.
        let head = "HTTP/1.1 200 X\r\npolystore-protocol: 1\r\ntransfer-encoding: chunked\r\n\r\n";
        Answer::raw(format!("{head}{first}")).hanging()
    });
    let stream = "let count = 0;
      return await new Promise((all, failed) => {
        const each = () => { if (++count === 10_000) all(count); };
        new Kv(arguments[0]).stream(each).then(failed, failed);
      });";
    assert_eq!(page.run(stream, &[json!(server.url("/"))]).await, 10_000);
    page.browser.end().await;
}

#[tokio::test]
async fn what_a_server_refuses_is_an_error_of_its_kind() {
    let Some(page) = Page::open().await else {
        return;
    };
    for (status, expected) in [
        (401, "Denied"),
        (403, "Denied"),
        (405, "Unsupported"),
        (413, "InvalidValue"),
        (414, "InvalidKey"),
        (429, "Throttled"),
        (500, "Unreachable"),
        (507, "Full"),
    ] {
        let server = full(move |_| Answer::ours(status, "").with("retry-after", "60"));
        let (kind, words) = get_fails(&page, &server.url("/")).await;
        assert_eq!(kind, expected, "{status}: {words}");
        assert!(words.contains(&status.to_string()), "{status}: {words}");
        // It asks for more time than there is.
        assert_eq!(asked(&server).len(), 1, "{status}");
    }
    page.browser.end().await;
}

#[tokio::test]
async fn half_a_reply_is_none_and_no_reply_is_waited_for_for_ever() {
    let Some(page) = Page::open().await else {
        return;
    };
    let cut = "HTTP/1.1 200 X\r\npolystore-protocol: 1\r\ncontent-length: 9\r\n\r\n1234";
    for (answer, options, kind, said) in [
        (
            Answer::raw(cut).closing(),
            // It is not to be waited for: a slow machine has the time to say so.
            "timeout=20s",
            "Unreachable",
            "cut short",
        ),
        (
            Answer::raw(cut).hanging(),
            "timeout=500ms",
            "Timeout",
            "500ms",
        ),
        (
            Answer::ours(200, "123456789"),
            "max_reply=8",
            "Unreachable",
            "polystore.max_reply",
        ),
    ] {
        let server = full(move |_| answer.clone());
        let url = server.url(&format!("/?polystore.{options}"));
        let (failed, words) = get_fails(&page, &url).await;
        assert_eq!(failed, kind, "{words}");
        assert!(words.contains(said), "{words}");
    }
    page.browser.end().await;
}
