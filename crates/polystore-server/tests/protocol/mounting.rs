//! The router within an application.

use http::HeaderValue;

use super::*;

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[tokio::test]
async fn a_browser_is_sent_to_the_page_and_a_program_told_what_is_wrong() {
    let nested = Router::new().nest_service("/a/kv", memory());
    for (app, path, page) in [
        (memory(), "/", "_/"),
        (memory(), "/_/t/x/", "_/"),
        (nested.clone(), "/a/kv/", "_/"),
        (nested.clone(), "/a/kv", "./kv/_/"),
    ] {
        let sent = ask(&app, &format!("GET {path}"), &[BROWSER], "").await;
        assert_eq!(
            (sent.status.as_u16(), sent.header("location")),
            (303, page),
            "{path}"
        );
        let told = say(&app, &format!("GET {path}")).await;
        assert_eq!(told.kind(), (400, "invalid_key".to_owned()));
        let listed = ask(&app, &format!("GET {path}?prefix="), &[BROWSER], "").await;
        assert_eq!(listed.said(), (200, "{}"));
    }
}

#[tokio::test]
async fn an_application_keeps_its_own_routes_and_middleware() {
    let store = kv("memory:").unwrap();
    let guarded = polystore_server::router(store).layer(axum::middleware::map_response(
        |mut response: axum::response::Response| async {
            let seen = HeaderValue::from_static("yes");
            response.headers_mut().insert("x-seen", seen);
            response
        },
    ));
    let app = Router::new().nest_service("/kv", guarded);
    for what in [
        "PUT /kv/a",
        "GET /kv/a",
        "GET /kv/?prefix=",
        "GET /kv?prefix=",
        "GET /kv/_/store",
        "GET /kv/ping",
    ] {
        let reply = ask(&app, what, &[], "1").await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("x-seen")),
            (200, "yes"),
            "{what}"
        );
    }
}

/// Why the documentation says `nest_service`.
#[tokio::test]
async fn nest_leaves_out_the_path_of_listings() {
    let app = Router::new().nest("/kv", memory());
    assert_eq!(ask(&app, "PUT /kv/a", &[], "1").await.status, 200);
    let request = http::Request::get("/kv/?prefix=")
        .body(Body::empty())
        .unwrap();
    let listed = app.oneshot(request).await.unwrap();
    assert_eq!(listed.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn methods_that_are_not_there_are_told_from_those_that_are() {
    let app = memory();
    for (path, allowed) in [
        ("/", "GET, HEAD, POST, PUT, PATCH, DELETE"),
        ("/?prefix=a", "GET, HEAD, POST, PUT, PATCH, DELETE"),
        ("/a", "GET, HEAD, PUT, PATCH, DELETE"),
        ("/?key=a", "GET, HEAD, PUT, PATCH, DELETE"),
        ("/ping", "GET, HEAD"),
        ("/_/store", "GET, HEAD"),
        ("/_/ready", "GET, HEAD"),
        ("/_/metrics", "GET, HEAD"),
        ("/_/openapi.json", "GET, HEAD"),
        ("/_/", "GET, HEAD"),
        ("/_/get", "POST"),
        ("/_/set", "POST"),
        ("/_/del", "POST"),
        ("/_/prune", "POST"),
        ("/_/evict", "POST"),
    ] {
        let refused = say(&app, &format!("TRACE {path}")).await;
        assert_eq!(refused.kind(), (405, "unsupported".to_owned()));
        assert_eq!(refused.header("allow"), allowed, "{path}");
        let asked = say(&app, &format!("OPTIONS {path}")).await;
        assert_eq!(
            (asked.said(), asked.header("allow")),
            ((204, ""), allowed),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_store_and_the_server_say_what_they_are() {
    let app = memory();
    let info = say(&app, "GET /_/store").await;
    let info: serde_json::Value = serde_json::from_str(&info.text).unwrap();
    assert_eq!(
        (&info["kind"], &info["insert"]),
        (&"memory".into(), &true.into())
    );
    assert_eq!(
        (&info["max_key_bytes"], &info["max_value_bytes"]),
        (&8192.into(), &(32 << 20).into())
    );
    for path in ["/ping", "/_/ready"] {
        assert_eq!(say(&app, &format!("GET {path}")).await.said(), (200, ""));
        assert_eq!(say(&app, &format!("HEAD {path}")).await.said(), (200, ""));
    }
    assert_eq!(say(&app, "HEAD /_/store").await.said(), (200, ""));
}
