//! Where redirects lead, and what goes along.

use polystore_kv::{ErrorKind, HttpStore, Store, kv};

use super::{Answer, Fake, Request, fails, full};

fn with_token(server: &Fake) -> Store {
    kv(HttpStore::new(server.url("/from/?polystore.timeout=3s")).token("my secret")).unwrap()
}

/// A server that sends what comes to `/from/` on to `to`.
fn sending_on(status: u16, to: String) -> Fake {
    full(move |request| match request.target.strip_prefix("/from/") {
        Some(rest) => {
            let location = format!("{to}{rest}");
            let headers = [("location", &location[..]), ("polystore-protocol", "1")];
            Answer::new(status, &headers, "")
        }
        None => Answer::ours(200, "7"),
    })
}

fn last(server: &Fake) -> Request {
    server.seen().pop().unwrap()
}

#[tokio::test]
async fn reads_follow_and_carry_the_token_where_the_store_is() {
    for status in [301, 302, 303, 307, 308] {
        let server = sending_on(status, "/to/".to_owned());
        let store = with_token(&server);
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7), "{status}");
        assert_eq!(last(&server).line(), "GET /to/a?ttl=false");
        assert_eq!(
            last(&server).header("authorization"),
            Some("Bearer my secret")
        );
        assert!(store.has("a").await.unwrap());
        assert_eq!(last(&server).line(), "HEAD /to/a?ttl=false");
    }
}

#[tokio::test]
async fn another_origin_never_gets_the_token() {
    let other = full(|_| Answer::ours(200, "7"));
    for to in [other.url("/to/"), other.elsewhere("/to/")] {
        let server = sending_on(307, to);
        let store = with_token(&server);
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7));
        assert_eq!(
            last(&server).header("authorization"),
            Some("Bearer my secret")
        );
        store.set("a", &1).await.unwrap();
        assert_eq!(
            (&last(&other).line()[..], &last(&other).body[..]),
            ("PUT /to/a", "1")
        );
    }
    // Another name of the same machine is another origin, too.
    let here = sending_on(302, String::new());
    let target = here.elsewhere("/to/");
    let server = sending_on(302, target);
    assert_eq!(with_token(&server).get::<u8>("a").await.unwrap(), Some(7));
    for request in other.seen().iter().chain(&here.seen()) {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
}

#[tokio::test]
async fn who_we_are_is_not_for_a_redirect_to_say() {
    let other = full(|_| Answer::ours(200, "7"));
    let authority = other.url("").replace("http://", "");
    for (to, expected) in [
        (format!("//{authority}/to/"), None),
        (format!("http://evil:evil@{authority}/to/"), None),
        (format!(r"\\evil:evil@{authority}/to/"), None),
    ] {
        let server = sending_on(307, to);
        let store = with_token(&server);
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7));
        store.set("a", &1).await.unwrap();
        for request in other.seen() {
            assert_eq!(request.header("authorization"), expected, "{request:?}");
        }
    }
    assert_eq!(other.lines().len(), 6);
    // Nor at the same place.
    let own = sending_on(307, "/to/".to_owned());
    let there = own.url("/to/").replace("//", "//evil:evil@");
    let server = full(move |request| match request.target.strip_prefix("/from/") {
        Some(rest) => Answer::new(307, &[("location", &format!("{there}{rest}"))], ""),
        None => Answer::ours(200, "7"),
    });
    assert_eq!(with_token(&server).get::<u8>("a").await.unwrap(), Some(7));
    assert_eq!(last(&own).header("authorization"), None);
}

#[tokio::test]
async fn a_write_goes_on_only_where_it_stays_one() {
    for status in [301, 302, 303] {
        let server = sending_on(status, "/secret/".to_owned());
        let error = fails(
            with_token(&server).set("a", &1).await,
            ErrorKind::Unreachable,
        );
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert!(
            !error.is_retryable() && !error.is_maybe_applied(),
            "{error:?}"
        );
        assert_eq!(server.lines(), ["PUT /from/a"]);
    }
    for status in [307, 308] {
        let server = sending_on(status, "/to/".to_owned());
        with_token(&server).set("a", &[1]).await.unwrap();
        assert_eq!(last(&server).line(), "PUT /to/a");
        assert_eq!(last(&server).body, "[1]");
    }
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_errors() {
    for (to, shown) in [
        ("/from/".to_owned(), "redirects more than"),
        ("https://127.0.0.1:1/".to_owned(), "https://127.0.0.1:1"),
        ("ftp://127.0.0.1/".to_owned(), "no URL of HTTP"),
        ("http://[/".to_owned(), "no URL of HTTP"),
    ] {
        let server = sending_on(302, to);
        let error = fails(
            with_token(&server).get::<u8>("a").await,
            ErrorKind::Unreachable,
        );
        assert!(error.to_string().contains(shown), "{error}");
    }
}
