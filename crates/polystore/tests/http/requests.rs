//! What is sent.

use std::time::Duration;

use polystore_kv::{ErrorKind, Expires, Scan, kv};

use super::{Answer, Fake, fails, full, npm, store};

/// What the npm package's server says to it.
fn as_npm() -> Fake {
    npm(|request| match &request.method[..] {
        "GET" if request.target.contains("prefix=") => Answer::json(r#"{"1":1,"é/":2}"#),
        "GET" if request.target.contains("missing") => Answer::status(404),
        "GET" => Answer::json("{\"a\": [1.50]}"),
        _ => Answer::json("\"k\""),
    })
}

#[tokio::test]
async fn a_server_of_the_npm_package_gets_what_that_package_sends() {
    let server = as_npm();
    let store = store(&server);
    store.set("a", "b").await.unwrap();
    let hour = Duration::from_secs(3600);
    store.set("user:1/é", &1).expires(hour).await.unwrap();
    store.set("gone", &()).await.unwrap();
    assert_eq!(store.get::<u8>("missing").await.unwrap(), None);
    assert!(store.has("x").await.unwrap());
    assert!(!store.has("missing").await.unwrap());
    let users = store.prefix("p:&");
    assert_eq!(users.keys().await.unwrap(), ["1", "é/"]);
    assert_eq!(users.all::<u8>().await.unwrap().len(), 2);
    store.keys().await.unwrap();

    let seen = server.seen();
    let lines = server.lines();
    let (with_expiry, rest) = lines[1].split_once("?expires=").unwrap();
    let rest: f64 = rest.parse().unwrap();
    assert!(rest > 3590.0 && rest <= 3600.0, "{rest}");
    assert_eq!(with_expiry, "PUT /user%3A1%2F%C3%A9");
    assert_eq!((&lines[0][..], &seen[1].body[..]), ("PUT /a", "\"b\""));
    assert_eq!(
        lines[2..],
        [
            "DELETE /gone",
            "GET /missing",
            "GET /x",
            "GET /missing",
            "GET /?prefix=p%3A%26",
            "GET /?prefix=p%3A%26",
            "GET /?prefix=",
        ]
    );
    for request in &seen[1..] {
        for header in ["accept", "content-type"] {
            assert_eq!(
                request.header(header),
                Some("application/json"),
                "{request:?}"
            );
        }
    }
}

#[tokio::test]
async fn clearing_at_a_server_of_the_npm_package_deletes_what_it_lists() {
    let server = as_npm();
    store(&server).prefix("p:").clear().await.unwrap();
    let mut lines = server.lines();
    lines.sort();
    assert_eq!(
        lines,
        [
            "DELETE /p%3A%C3%A9%2F",
            "DELETE /p%3A1",
            "GET /?prefix=p%3A"
        ]
    );
}

#[tokio::test]
async fn what_a_server_of_the_npm_package_cannot_do_is_not_sent() {
    let server = as_npm();
    let store = store(&server);
    let can = store.capabilities().await.unwrap();
    assert!(!can.insert && !can.touch && !can.prune && !can.ttl && !can.ordered);
    for key in ["", ".", "..", "ping"] {
        fails(store.set(key, &1).await, ErrorKind::InvalidKey);
        fails(store.get::<u8>(key).await, ErrorKind::InvalidKey);
        fails(store.has(key).await, ErrorKind::InvalidKey);
        fails(store.del(key).await, ErrorKind::InvalidKey);
        let batch = store.set_many([("fine", 1), (key, 2)]).await;
        fails(batch, ErrorKind::InvalidKey);
    }
    fails(store.insert("a", &1).await, ErrorKind::Unsupported);
    fails(store.replace("a", &1).await, ErrorKind::Unsupported);
    fails(store.touch("a", 1).await, ErrorKind::Unsupported);
    fails(store.prune().await, ErrorKind::Unsupported);
    fails(store.ttl("a").await, ErrorKind::Unsupported);
    // The time that is left was asked for: the value came without it.
    assert_eq!(server.lines(), ["GET /a"]);
}

#[tokio::test]
async fn a_path_and_a_query_of_the_url_go_with_every_request() {
    let server = full(|request| match &request.method[..] {
        "GET" if request.target.contains("prefix=") => Answer::ours(200, ""),
        "POST" => Answer::ours(200, r#"{"set":2,"pruned":0}"#),
        _ => Answer::ours(200, "1"),
    });
    let url = server.url("/a%2Fb/?x=%2f&polystore.timeout=3s&x=+&y");
    let store = kv(url).unwrap();
    store.get::<u8>("k").await.unwrap();
    store.set("..", &1).await.unwrap();
    store.has("k").await.unwrap();
    store.set_many([("a", 1), ("b", 2)]).await.unwrap();
    store.prefix("p").keys().await.unwrap();
    store.prefix("p").clear().await.unwrap();
    store.clear().await.unwrap();
    store.prune().await.unwrap();
    assert_eq!(
        server
            .seen()
            .iter()
            .map(super::Request::line)
            .collect::<Vec<_>>(),
        [
            "GET /a%2Fb/_/store?x=%2f&x=+&y",
            "GET /a%2Fb/k?x=%2f&x=+&y&ttl=false",
            "PUT /a%2Fb/?x=%2f&x=+&y&key=..",
            "HEAD /a%2Fb/k?x=%2f&x=+&y&ttl=false",
            "POST /a%2Fb/_/set?x=%2f&x=+&y",
            "GET /a%2Fb/?x=%2f&x=+&y&prefix=p&values=false&ttl=false",
            "DELETE /a%2Fb/?x=%2f&x=+&y&prefix=p",
            "DELETE /a%2Fb/?x=%2f&x=+&y&prefix=&all=true",
            "POST /a%2Fb/_/prune?x=%2f&x=+&y&prefix=",
        ]
    );
}

#[tokio::test]
async fn the_whole_protocol_is_used_where_it_is_spoken() {
    let server = full(|request| match &request.method[..] {
        "GET" if request.target.contains("prefix=") => Answer::ours(
            200,
            "{\"key\":\"b\",\"value\":1,\"ttl\":9.5}\n{\"key\":\"c\",\"value\":2}\n",
        ),
        "PUT" if request.header("if-none-match").is_some() => Answer::ours(412, "{}"),
        "PUT" if request.header("if-match").is_some() => Answer::ours(412, "{}"),
        "PATCH" => Answer::ours(404, r#"{"kind":"not_found"}"#),
        "POST" if request.target == "/_/get" => Answer::ours(200, "{\"key\":\"a\",\"value\":1}\n"),
        "POST" => Answer::ours(200, r#"{"del":2,"evicted":true}"#),
        _ => Answer::ours(200, "1"),
    });
    let store = store(&server);
    assert!(!store.insert("a", &1).await.unwrap());
    assert!(!store.replace("a", &1).await.unwrap());
    assert!(!store.touch("a", Expires::NEVER).await.unwrap());
    let found = store.get_many::<u8>(["a", "b"]).await.unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [("a".to_owned(), 1)]);
    store.del_many(["a", "b"]).await.unwrap();
    let mut page = store.prefix("p:").scan(Scan::new().after("a").limit(2));
    let (key, entry) = page.try_next().await.unwrap().unwrap();
    assert_eq!((&key[..], entry.json()), ("b", "1"));
    assert!(entry.expiry().as_millis().is_some());
    let (_, entry) = page.try_next().await.unwrap().unwrap();
    assert_eq!(entry.expiry(), polystore_kv::Expiry::Never);
    assert!(page.try_next().await.unwrap().is_none());
    assert!(store.evict("a", &entry).await.unwrap());
    let seen = server.seen();
    assert_eq!(
        server.lines(),
        [
            "PUT /a",
            "PUT /a",
            "PATCH /a?expires=never",
            "POST /_/get",
            "POST /_/del",
            "GET /?prefix=p%3A&after=a&limit=2",
            "POST /_/evict",
        ]
    );
    assert_eq!(seen[4].body, r#"{"keys":["a","b"]}"#);
    assert_eq!(seen[4].header("accept"), Some("application/x-ndjson"));
    assert_eq!(seen[6].header("accept"), Some("application/x-ndjson"));
    assert_eq!(seen[7].body, r#"{"key":"a","value":2}"#);
}
