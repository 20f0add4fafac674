//! Requests that change a resource make void what is kept of it.

use crate::origin::{Origin, get, in_memory, reply, send};
use reqwest_middleware::ClientWithMiddleware;

const METHODS: [&str; 5] = ["POST", "PUT", "PATCH", "DELETE", "PURGE"];

async fn change(client: &ClientWithMiddleware, method: &str, url: &str) {
    let method = method.parse().expect("a method");
    let got = send(client.request(method, url)).await;
    assert_eq!(got.cache, "polystore; fwd=method");
}

/// An origin whose replies are fresh, and that answers changes so.
async fn origin(status: u16, location: &'static str) -> Origin {
    Origin::start(move |seen| match seen.method.as_str() {
        "GET" => reply(
            200,
            &[("cache-control", "max-age=60")],
            seen.before.to_string(),
        ),
        _ if location.is_empty() => reply(status, &[], ""),
        _ => {
            let name = if status == 201 {
                "location"
            } else {
                "content-location"
            };
            reply(status, &[(name, location)], "")
        }
    })
    .await
}

#[tokio::test]
async fn a_change_that_the_origin_made_is_asked_for() {
    for method in METHODS {
        for (status, is_void) in [
            (200, true),
            (204, true),
            (303, true),
            (400, false),
            (500, false),
        ] {
            let origin = origin(status, "").await;
            let (client, url) = (in_memory(), origin.url("/a"));
            get(&client, &url).await;
            change(&client, method, &url).await;
            let got = get(&client, &url).await;
            assert_eq!(got.is_hit(), !is_void, "{method} {status}");
        }
    }
    for method in ["OPTIONS", "TRACE"] {
        let origin = origin(200, "").await;
        let (client, url) = (in_memory(), origin.url("/a"));
        get(&client, &url).await;
        change(&client, method, &url).await;
        assert!(get(&client, &url).await.is_hit(), "{method}");
    }
}

#[tokio::test]
async fn what_the_reply_names_is_void_too_if_it_is_the_same_origins() {
    for (status, location, is_void) in [
        (201, "/b", true),
        (200, "b?", false),
        (200, "b", true),
        (400, "/b", false),
    ] {
        let origin = origin(status, location).await;
        let (client, url) = (in_memory(), origin.url("/b"));
        get(&client, &url).await;
        change(&client, "POST", &origin.url("/a")).await;
        assert_eq!(
            get(&client, &url).await.is_hit(),
            !is_void,
            "{status} {location}"
        );
    }
}

#[tokio::test]
async fn no_origin_makes_void_what_is_kept_of_another() {
    let other = origin(200, "").await;
    let named = other.url("/b");
    let one = Origin::start(move |_| reply(201, &[("location", &named)], "")).await;
    let client = in_memory();
    get(&client, &other.url("/b")).await;
    change(&client, "POST", &one.url("/a")).await;
    assert!(get(&client, &other.url("/b")).await.is_hit());
}

#[tokio::test]
async fn a_change_that_redirects_is_a_change() {
    let origin = Origin::start(|seen| match (seen.method.as_str(), seen.uri.path()) {
        ("POST", _) => reply(303, &[("location", "/done")], ""),
        (_, "/done") => reply(
            404,
            &[("cache-control", "max-age=60")],
            seen.before.to_string(),
        ),
        _ => reply(
            200,
            &[("cache-control", "max-age=60")],
            seen.before.to_string(),
        ),
    })
    .await;
    let (client, url) = (in_memory(), origin.url("/a"));
    get(&client, &url).await;
    change(&client, "POST", &url).await;
    assert_eq!(get(&client, &url).await.text(), "3");
}

#[tokio::test]
async fn a_change_whose_reply_is_lost_may_have_been_made() {
    let mut first = origin(200, "").await;
    let (client, url) = (in_memory(), first.url("/a"));
    get(&client, &url).await;
    first.stop().await;
    client.put(&url).send().await.unwrap_err();
    let kept = send(client.get(&url).header("cache-control", "only-if-cached")).await;
    assert_eq!(kept.status, 504);
}

#[tokio::test]
async fn what_was_asked_for_before_a_change_is_not_kept_after_it() {
    for headers in [
        &[("cache-control", "max-age=60")][..],
        &[("cache-control", "max-age=60"), ("vary", "accept")],
        &[("cache-control", "no-cache, max-age=60"), ("etag", "\"a\"")],
    ] {
        let origin = Origin::counting(headers).await;
        let (client, url) = (in_memory(), origin.url("/"));
        let before = client.get(&url).send().await.unwrap();
        change(&client, "POST", &url).await;
        assert_eq!(before.text().await.unwrap(), "1");
        let after = get(&client, &url).await;
        assert_eq!(
            (after.text(), &*after.cache),
            ("3", "polystore; fwd=uri-miss; stored")
        );
    }
}
