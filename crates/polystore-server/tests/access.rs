//! Who may do what: tokens, names, origins.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use axum::Router;
use common::ask;
use http::StatusCode;
use polystore_kv::kv;
use polystore_server::{Server, Tokens};

const ALL: &str = "all-0123456789abcdef";
const READER: &str = "reader-0123456789abcdef";
const SHOP: &str = "shop-0123456789abcdef";

const JSON: (&str, &str) = ("content-type", "application/json");
const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

fn tokens() -> Tokens {
    format!("{ALL} read-write\n{READER} read-only\n{SHOP} read-write shop:\n")
        .parse()
        .unwrap()
}

fn server() -> Server {
    Server::new(kv("memory:").unwrap()).tokens(tokens())
}

async fn status(app: &Router, token: &str, what: &str, body: &str) -> StatusCode {
    let bearer = format!("Bearer {token}");
    let form = if body.starts_with("{\"key\":") && what.contains("/_/set") {
        LINES
    } else {
        JSON
    };
    ask(app, what, &[("authorization", &bearer), form], body)
        .await
        .status
}

#[tokio::test]
async fn without_a_known_token_only_what_tells_nothing_is_answered() {
    let app = server().router();
    for (what, expected) in [
        ("GET /ping", 200),
        ("GET /a", 401),
        ("PUT /a", 401),
        ("GET /?prefix=", 401),
        ("POST /_/get", 401),
        ("GET /_/store", 401),
        ("GET /_/ready", 401),
        ("GET /_/metrics", 401),
    ] {
        for headers in [
            &[][..],
            &[("authorization", "Bearer wrong-0123456789abcdef")],
            &[("authorization", "Basic YWxsOmFsbA==")],
            &[("x-api-key", "all-0123456789abcdeF")],
            &[("x-api-key", "")],
        ] {
            let reply = ask(&app, what, headers, "").await;
            assert_eq!(reply.status.as_u16(), expected, "{what} {headers:?}");
            if expected == 401 {
                assert_eq!(reply.headers["www-authenticate"], "Bearer");
                assert!(!reply.text.contains("0123456789"), "{}", reply.text);
            }
        }
    }
}

#[tokio::test]
async fn a_token_comes_in_either_header_or_in_the_path_where_that_is_said() {
    let app = server().router();
    for header in [
        ("authorization", format!("Bearer {ALL}")),
        ("authorization", format!("bearer {ALL}")),
        ("x-api-key", ALL.to_owned()),
    ] {
        let reply = ask(&app, "GET /a", &[(header.0, &header.1)], "").await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{}", header.0);
    }
    let path = format!("GET /_/t/{ALL}/a");
    assert_eq!(
        ask(&app, &path, &[], "").await.status,
        StatusCode::UNAUTHORIZED
    );
    let app = server().path_tokens().router();
    assert_eq!(
        ask(&app, &path, &[], "").await.status,
        StatusCode::NOT_FOUND
    );
    let wrong = "GET /_/t/wrong-0123456789abcdef/a";
    assert_eq!(
        ask(&app, wrong, &[], "").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_reader_changes_nothing() {
    let app = server().router();
    assert_eq!(status(&app, ALL, "PUT /a", "1").await, StatusCode::OK);
    for (what, body) in [
        ("GET /a", ""),
        ("GET /?prefix=", ""),
        ("POST /_/get", r#"{"keys":["a"]}"#),
        ("GET /_/store", ""),
        ("GET /_/ready", ""),
        ("GET /_/metrics", ""),
    ] {
        assert_eq!(
            status(&app, READER, what, body).await,
            StatusCode::OK,
            "{what}"
        );
    }
    for (what, body) in [
        ("PUT /a", "2"),
        ("PATCH /a?expires=1", ""),
        ("DELETE /a", ""),
        ("POST /", "2"),
        ("DELETE /?prefix=&all=true", ""),
        ("POST /_/set", r#"{"a":2}"#),
        ("POST /_/set", "{\"key\":\"a\",\"value\":2}"),
        ("POST /_/del", r#"{"keys":["a"]}"#),
        ("POST /_/prune", ""),
        ("POST /_/evict", r#"{"key":"a","value":1}"#),
    ] {
        assert_eq!(
            status(&app, READER, what, body).await,
            StatusCode::FORBIDDEN,
            "{what}"
        );
    }
    assert_eq!(status(&app, READER, "GET /a", "").await, StatusCode::OK);
}

#[tokio::test]
async fn a_token_of_a_prefix_reaches_nothing_else() {
    let app = server().router();
    assert_eq!(status(&app, ALL, "PUT /other", "1").await, StatusCode::OK);
    for (what, body) in [
        ("PUT /shop%3Aa", "1"),
        ("GET /a?prefix=shop:", ""),
        ("GET /op%3Aa?prefix=sh", ""),
        ("GET /?key=shop:a", ""),
        ("GET /?prefix=shop:", ""),
        ("GET /?prefix=shop:x", ""),
        ("POST /_/get", r#"{"keys":["shop:a"]}"#),
        ("POST /_/get?prefix=shop:", r#"{"keys":["a","other"]}"#),
        ("POST /_/set", r#"{"shop:b":1}"#),
        (
            "POST /_/set",
            "{\"key\":\"shop:b\",\"value\":2}\n{\"key\":\"shop:c\",\"value\":2}",
        ),
        ("POST /_/set?prefix=shop:", "{\"key\":\"b\",\"value\":2}"),
        ("POST /_/del", r#"{"keys":["shop:b"]}"#),
        ("POST /_/evict", r#"{"key":"shop:a","value":1}"#),
        ("POST /_/prune?prefix=shop:", ""),
        ("DELETE /?prefix=shop:", ""),
        ("GET /_/store", ""),
    ] {
        assert_eq!(
            status(&app, SHOP, what, body).await,
            StatusCode::OK,
            "{what} {body}"
        );
    }
    assert_eq!(
        status(&app, SHOP, "POST /?prefix=shop:", "1").await,
        StatusCode::CREATED
    );
    for (what, body) in [
        ("GET /other", ""),
        ("HEAD /other", ""),
        ("PUT /shop", "1"),
        ("PUT /Shop%3Aa", "1"),
        ("GET /shop%3Aa?prefix=x", ""),
        ("GET /?key=other", ""),
        ("GET /?prefix=", ""),
        ("GET /?prefix=sho", ""),
        ("POST /", "1"),
        ("POST /?prefix=sho", "1"),
        ("DELETE /?prefix=&all=true", ""),
        ("DELETE /?prefix=s", ""),
        ("DELETE /other", ""),
        ("PATCH /other?expires=1", ""),
        ("POST /_/prune", ""),
        ("POST /_/get", r#"{"keys":["shop:a","other"]}"#),
        ("POST /_/set", r#"{"shop:b":1,"other":2}"#),
        (
            "POST /_/set",
            "{\"key\":\"shop:b\",\"value\":2}\n{\"key\":\"other\",\"value\":2}",
        ),
        ("POST /_/set", "{\"key\":\"other\",\"value\":2}\n"),
        ("POST /_/del", r#"{"keys":["other"]}"#),
        ("POST /_/evict", r#"{"key":"other","value":1}"#),
    ] {
        assert_eq!(
            status(&app, SHOP, what, body).await,
            StatusCode::FORBIDDEN,
            "{what} {body}"
        );
    }
    let left = ask(&app, "GET /other", &[("x-api-key", ALL)], "").await;
    assert_eq!(left.text, "1");
}

#[tokio::test]
async fn tokens_are_replaced_while_it_runs() {
    let tokens = tokens();
    let app = Server::new(kv("memory:").unwrap())
        .tokens(tokens.clone())
        .router();
    tokens.replace(&"next-0123456789abcdef read-only".parse().unwrap());
    assert_eq!(
        status(&app, ALL, "GET /a", "").await,
        StatusCode::UNAUTHORIZED
    );
    let status = status(&app, "next-0123456789abcdef", "GET /a", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn other_names_are_refused_where_names_are_given() {
    let any = polystore_server::router(kv("memory:").unwrap());
    let evil = [("host", "evil.example")];
    assert_eq!(
        ask(&any, "GET /a", &evil, "").await.status,
        StatusCode::NOT_FOUND
    );
    let app = Server::new(kv("memory:").unwrap())
        .host("Store.example")
        .router();
    for (host, expected) in [
        ("store.example", 404),
        ("STORE.example:8080", 404),
        ("localhost:3000", 404),
        ("127.0.0.1:3000", 404),
        ("[::1]:3000", 404),
        ("evil.example", 421),
        ("store.example.evil.example", 421),
        ("", 421),
    ] {
        let reply = ask(&app, "GET /a", &[("host", host)], "").await;
        assert_eq!(reply.status.as_u16(), expected, "{host}");
    }
    assert_eq!(ask(&app, "GET /a", &[], "").await.status.as_u16(), 421);
    // Of two, what stands in front may have looked at the other.
    let two = [("host", "store.example"), ("host", "evil.example")];
    for app in [app, any] {
        let reply = ask(&app, "GET /a", &two, "").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text);
    }
}

#[tokio::test]
async fn a_page_elsewhere_learns_nothing_by_embedding_a_reply() {
    let app = polystore_server::router(kv("memory:").unwrap());
    assert_eq!(
        ask(&app, "PUT /there", &[], "1").await.status,
        StatusCode::OK
    );
    // Else `<script src>` tells by `onload` and `onerror` which keys there are.
    for what in ["GET /there", "GET /missing", "GET /?prefix=", "GET /x/y"] {
        let reply = ask(&app, what, &[], "").await;
        let policy = &reply.headers["cross-origin-resource-policy"];
        assert_eq!(policy, "same-origin", "{what}");
    }
}

#[tokio::test]
async fn pages_of_named_origins_may_ask() {
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "PUT"),
    ];
    let closed = ask(&server().router(), "OPTIONS /a", &preflight, "").await;
    assert!(!closed.headers.contains_key("access-control-allow-origin"));

    let app = server()
        .cors_origin("https://app.example")
        .unwrap()
        .router();
    let open = ask(&app, "OPTIONS /a", &preflight, "").await;
    assert_eq!(open.status, StatusCode::NO_CONTENT);
    assert_eq!(
        open.headers["access-control-allow-origin"],
        "https://app.example"
    );
    let list = |name: &str| open.headers[name].to_str().unwrap().to_owned();
    for method in ["PUT", "PATCH", "DELETE", "POST"] {
        assert!(list("access-control-allow-methods").contains(method));
    }
    for header in [
        "authorization",
        "x-api-key",
        "content-type",
        "if-match",
        "if-none-match",
        "accept",
    ] {
        assert!(list("access-control-allow-headers").contains(header));
    }
    // As long as Chromium remembers one at most.
    assert_eq!(list("access-control-max-age"), "7200");
    // The request itself needs its token, and what it is told can be read.
    let asked = ask(&app, "GET /a", &[preflight[0]], "").await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        asked.headers["access-control-allow-origin"],
        "https://app.example"
    );
    let exposed = asked.headers["access-control-expose-headers"]
        .to_str()
        .unwrap();
    for header in [
        "polystore-ttl",
        "polystore-protocol",
        "retry-after",
        "location",
    ] {
        assert!(exposed.contains(header), "{exposed}");
    }
    assert_eq!(asked.headers["vary"], "origin");
    let other = ask(
        &app,
        "GET /a",
        &[("origin", "https://app.example.evil")],
        "",
    )
    .await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
}
