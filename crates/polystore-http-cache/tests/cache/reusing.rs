//! What is fresh is given without asking the origin, and nothing else is.

use crate::origin::{Origin, get, in_memory, reply, send};

#[tokio::test]
async fn a_fresh_reply_is_asked_for_once() {
    let origin = Origin::start(|seen| {
        reply(
            203,
            &[
                ("cache-control", "max-age=60"),
                ("content-type", "text/plain"),
                ("link", "<a>"),
                ("link", "<b>"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
            ],
            format!("{} {}", seen.before, seen.uri),
        )
    })
    .await;
    let client = in_memory();
    let first = get(&client, &origin.url("/a?b#c")).await;
    assert_eq!(first.cache, "polystore; fwd=uri-miss; stored");
    let again = client.get(origin.url("/a?b#d")).send().await.unwrap();
    assert_eq!(again.url().as_str(), origin.url("/a?b#d"));
    assert_eq!(again.version(), reqwest::Version::HTTP_11);
    assert_eq!(again.content_length(), Some(6));
    for url in ["/a?b#c", "/a?b", "/x/../a?b"] {
        let again = get(&client, &origin.url(url)).await;
        assert!(again.is_hit(), "{again:?}");
        assert_eq!((again.status, again.text()), (203, "0 /a?b"));
        assert_eq!(again.headers.get_all("link").iter().count(), 2);
        assert_eq!(again.header("content-type"), "text/plain");
        assert_eq!(again.header("date"), first.header("date"));
        assert!(["0", "1", "2"].contains(&again.header("age")), "{again:?}");
        assert!(!again.headers.contains_key("x-hop"));
    }
    assert_eq!(origin.count(), 1);
    for other in ["/a", "/a?b=", "/A?b"] {
        assert!(!get(&client, &origin.url(other)).await.is_hit(), "{other}");
    }
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn what_must_not_be_kept_is_not() {
    for (status, headers) in [
        (200, &[("cache-control", "no-store")][..]),
        (200, &[("cache-control", "max-age=60, No-Store")]),
        (200, &[("cache-control", "max-age=60, private")]),
        (200, &[("cache-control", "max-age=60"), ("vary", "*")]),
        (
            200,
            &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
        ),
        (
            206,
            &[
                ("cache-control", "max-age=60"),
                ("content-range", "bytes 0-0/9"),
            ],
        ),
        (500, &[("cache-control", "max-age=60")]),
        (418, &[("cache-control", "max-age=60")]),
        (302, &[]),
        // Nothing says how long, and nothing can be confirmed.
        (200, &[]),
        (200, &[("cache-control", "max-age=0")]),
        (200, &[("cache-control", "max-age=60"), ("age", "60")]),
        (200, &[("expires", "0")]),
    ] {
        let origin =
            Origin::start(move |seen| reply(status, headers, seen.before.to_string())).await;
        let client = in_memory();
        for count in 0..2 {
            let got = get(&client, &origin.url("/")).await;
            assert_eq!(got.text(), count.to_string(), "{headers:?}");
            assert_eq!(got.cache, "polystore; fwd=uri-miss", "{headers:?}");
        }
    }
}

#[tokio::test]
async fn what_the_origin_finds_missing_or_elsewhere_is_kept_too() {
    for (status, headers) in [
        (404, &[("cache-control", "max-age=60")][..]),
        (410, &[("cache-control", "max-age=60")]),
        (204, &[("cache-control", "max-age=60")]),
        (301, &[("cache-control", "max-age=60"), ("etag", "\"a\"")]),
        (302, &[("cache-control", "max-age=60")]),
    ] {
        let origin = Origin::start(move |_| reply(status, headers, "")).await;
        let client = in_memory();
        get(&client, &origin.url("/")).await;
        let again = get(&client, &origin.url("/")).await;
        assert!(again.is_hit() && again.status == status, "{again:?}");
        assert_eq!(origin.count(), 1);
    }
}

#[tokio::test]
async fn a_reply_that_came_by_a_redirection_is_not_kept() {
    let origin = Origin::start(|seen| match seen.uri.path() {
        "/from" => reply(302, &[("location", "/to")], ""),
        _ => reply(200, &[("cache-control", "max-age=60")], "there"),
    })
    .await;
    let client = in_memory();
    for _ in 0..2 {
        let got = client.get(origin.url("/from")).send().await.unwrap();
        assert_eq!(got.url().as_str(), origin.url("/to"));
        assert_eq!(got.text().await.unwrap(), "there");
    }
    assert_eq!(origin.count(), 4);
    assert!(!get(&client, &origin.url("/to")).await.is_hit());
    assert!(get(&client, &origin.url("/to")).await.is_hit());
}

#[tokio::test]
async fn a_request_says_how_fresh_it_wants_it() {
    let origin = Origin::counting(&[("cache-control", "max-age=100"), ("age", "50")]).await;
    let (client, url) = (in_memory(), origin.url("/"));
    let ask = |control: &'static str| send(client.get(&url).header("cache-control", control));
    assert_eq!(ask("no-store").await.cache, "polystore; fwd=request");
    let missing = ask("only-if-cached").await;
    assert_eq!(
        (missing.status, &*missing.cache),
        (504, "polystore; fwd=uri-miss; detail=only-if-cached")
    );
    assert_eq!(ask("max-age=10").await.text(), "2");
    for accepted in [
        "",
        "max-age=60",
        "min-fresh=40",
        "only-if-cached",
        "max-stale",
    ] {
        let got = ask(accepted).await;
        assert!(got.is_hit() && got.text() == "2", "{accepted}: {got:?}");
    }
    for (count, refused) in ["no-cache", "max-age=10", "min-fresh=60", "no-store"]
        .iter()
        .enumerate()
    {
        let got = ask(refused).await;
        assert_eq!(got.text(), (count + 3).to_string(), "{refused}");
    }
    let pragma = send(client.get(&url).header("pragma", "no-cache")).await;
    assert_eq!(
        (pragma.text(), &*pragma.cache),
        ("7", "polystore; fwd=request; fwd-status=200; stored")
    );
    // What came last was kept, but for what was not to be.
    assert_eq!(ask("").await.text(), "7");
}

#[tokio::test]
async fn a_stale_reply_is_given_to_those_who_accept_it() {
    let origin = Origin::counting(&[
        ("cache-control", "max-age=10"),
        ("age", "40"),
        ("etag", "\"a\""),
    ])
    .await;
    let (client, url) = (in_memory(), origin.url("/"));
    get(&client, &url).await;
    let ask = |control: &'static str| send(client.get(&url).header("cache-control", control));
    let stale = ask("max-stale=60").await;
    assert!(stale.is_hit() && stale.text() == "1", "{stale:?}");
    assert!(
        stale.cache.starts_with("polystore; hit; ttl=-3"),
        "{stale:?}"
    );
    assert_eq!(ask("max-stale=20").await.text(), "2");
    assert_eq!(ask("").await.text(), "3");
}

#[tokio::test]
async fn a_head_is_answered_by_what_a_get_got() {
    let origin = Origin::counting(&[("cache-control", "max-age=60"), ("x-own", "1")]).await;
    let (client, url) = (in_memory(), origin.url("/"));
    assert_eq!(
        send(client.head(&url)).await.cache,
        "polystore; fwd=uri-miss"
    );
    // A reply without its body answers nobody.
    assert_eq!(get(&client, &url).await.text(), "2");
    let head = send(client.head(&url)).await;
    assert!(
        head.is_hit() && head.body.is_empty() && head.header("x-own") == "1",
        "{head:?}"
    );
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_head_that_shows_another_reply_makes_void_what_is_kept() {
    for (tag, is_void) in [("\"b\"", true), ("\"a\"", false)] {
        let origin = Origin::start(move |seen| match seen.method.as_str() {
            "HEAD" => reply(200, &[("etag", tag)], ""),
            _ => reply(
                200,
                &[("etag", "\"a\""), ("cache-control", "max-age=60")],
                "",
            ),
        })
        .await;
        let (client, url) = (in_memory(), origin.url("/"));
        get(&client, &url).await;
        send(client.head(&url).header("cache-control", "no-cache")).await;
        assert_eq!(get(&client, &url).await.is_hit(), !is_void, "{tag}");
    }
}

#[tokio::test]
async fn parts_and_conditions_of_the_program_go_to_the_origin() {
    let origin = Origin::counting(&[("cache-control", "max-age=60"), ("etag", "\"a\"")]).await;
    let (client, url) = (in_memory(), origin.url("/"));
    get(&client, &url).await;
    for (name, value) in [
        ("range", "bytes=0-0"),
        ("if-none-match", "\"b\""),
        ("if-modified-since", "Fri, 15 Jan 2027 08:00:00 GMT"),
        ("if-match", "\"b\""),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
    ] {
        let before = origin.count();
        let got = send(client.get(&url).header(name, value)).await;
        assert_eq!(got.cache, "polystore; fwd=request", "{name}");
        assert_eq!(origin.count(), before + 1);
        assert_eq!(origin.last().header(name), value);
    }
    assert_eq!(get(&client, &url).await.text(), "1");
    let body = send(client.get(&url).body("a")).await;
    assert_eq!(body.cache, "polystore; fwd=request");
}

#[tokio::test]
async fn what_caches_before_this_one_said_stays() {
    let origin = Origin::counting(&[
        ("cache-control", "max-age=60"),
        ("cache-status", "edge; hit"),
    ])
    .await;
    let client = in_memory();
    for said in ["polystore; fwd=uri-miss; stored", "polystore; hit; ttl=60"] {
        let got = get(&client, &origin.url("/")).await;
        let all: Vec<_> = got.headers.get_all("cache-status").iter().collect();
        assert_eq!(all[0], "edge; hit");
        assert_eq!(all.len(), 2);
        assert!(said.starts_with(&all[1].to_str().unwrap()[..14]), "{all:?}");
    }
}
