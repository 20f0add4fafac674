//! The protocol, request by request, without a socket.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use polystore_kv::kv;
use tower::ServiceExt;

struct Reply {
    status: StatusCode,
    headers: http::HeaderMap,
    text: String,
}

fn app() -> Router {
    polystore_server::router(kv("memory:").unwrap())
}

/// Sends `METHOD /path header: value …`, and a body.
async fn ask(app: &Router, what: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let (method, path) = what.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Reply {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const LINES: (&str, &str) = ("accept", "application/x-ndjson");

#[tokio::test]
async fn a_key_is_put_read_listed_and_deleted() {
    let app = Router::new().nest_service("/kv", app());
    let put = ask(
        &app,
        "PUT /kv/user%3A1%2F%C3%A9?expires=60",
        &[JSON],
        "{\"a\": 1}",
    )
    .await;
    assert_eq!(
        (put.status, &put.text[..]),
        (StatusCode::OK, "\"user:1/é\"")
    );
    let got = ask(&app, "GET /kv/user%3A1%2F%C3%A9", &[], "").await;
    assert_eq!((got.status, &got.text[..]), (StatusCode::OK, "{\"a\": 1}"));
    let left: f64 = got.headers["polystore-ttl"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(left > 50.0 && left <= 60.0, "{left}");
    assert_eq!(got.headers["polystore-protocol"], "1");
    let all = ask(&app, "GET /kv/?prefix=user%3A", &[], "").await;
    assert_eq!(all.text, "{\"1/é\":{\"a\": 1}}");
    let lines = ask(&app, "GET /kv/?prefix=&ttl=false", &[LINES], "").await;
    assert_eq!(lines.text, "{\"key\":\"user:1/é\",\"value\":{\"a\": 1}}\n");
    let gone = ask(&app, "DELETE /kv/user%3A1%2F%C3%A9", &[], "").await;
    assert_eq!(gone.status, StatusCode::OK);
    let got = ask(&app, "GET /kv/user%3A1%2F%C3%A9", &[], "").await;
    assert_eq!((got.status, &got.text[..]), (StatusCode::NOT_FOUND, ""));
}

#[tokio::test]
async fn many_go_at_once() {
    let app = app();
    let lines = "{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\",\"value\":2,\"expires\":\"1h\"}\n\n{\"key\":\"c\",\"value\":null}";
    let form = ("content-type", "application/x-ndjson");
    let set = ask(&app, "POST /_/set?prefix=p:", &[form], lines).await;
    assert_eq!(set.text, "{\"set\":3}");
    let got = ask(
        &app,
        "POST /_/get",
        &[JSON],
        r#"{"keys":["p:b","p:a","p:c"]}"#,
    )
    .await;
    assert_eq!(got.text, r#"{"p:b":2,"p:a":1}"#);
    let got = ask(
        &app,
        "POST /_/get",
        &[JSON, LINES],
        r#"{"keys":["p:b","p:a"]}"#,
    )
    .await;
    assert_eq!(
        got.text,
        "{\"key\":\"p:b\",\"value\":2}\n{\"key\":\"p:a\",\"value\":1}\n"
    );
    let del = ask(&app, "POST /_/del", &[JSON], r#"{"keys":["p:a","x"]}"#).await;
    assert_eq!(del.text, "{\"del\":2}");
    let all = ask(&app, "GET /?prefix=", &[], "").await;
    assert_eq!(all.text, "{\"p:b\":2}");
}

#[tokio::test]
async fn what_a_path_cannot_carry_is_refused() {
    let app = app();
    for what in [
        "GET /",
        "PUT /",
        "DELETE /",
        "PUT /ping",
        "GET /%2E",
        "GET /..",
        "GET /a/b",
        "GET /x?y=1",
    ] {
        let reply = ask(&app, what, &[], "1").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{what}");
        assert_eq!(
            reply.headers["content-type"], "application/problem+json",
            "{what}"
        );
    }
    for key in ["", ".", "..", "ping"] {
        let put = ask(&app, &format!("PUT /?key={key}"), &[], "1").await;
        assert_eq!(put.status, StatusCode::OK, "{key}");
    }
    let all = ask(&app, "GET /?prefix=", &[], "").await;
    assert_eq!(all.text, r#"{"":1,".":1,"..":1,"ping":1}"#);
}
