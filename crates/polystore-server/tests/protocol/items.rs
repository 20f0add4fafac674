//! Requests about one key.

use super::*;

#[tokio::test]
async fn a_key_is_put_read_touched_and_deleted() {
    let (stores, _folder) = stores();
    for store in stores {
        let app = Router::new().nest_service("/kv", polystore_server::router(store));
        let path = "/kv/user%3A1%2F%C3%A9";
        let put = ask(
            &app,
            &format!("PUT {path}?expires=60"),
            &[],
            " {\"a\": 1}\n",
        )
        .await;
        assert_eq!(put.said(), (200, "\"user:1/é\""));
        assert_eq!(put.header("content-type"), "application/json");
        let got = say(&app, &format!("GET {path}")).await;
        assert_eq!(got.said(), (200, "{\"a\": 1}"));
        assert_eq!(got.header("cache-control"), "no-store");
        let left: f64 = got.header("polystore-ttl").parse().unwrap();
        assert!(left > 50.0 && left <= 60.0, "{left}");

        let touched = say(&app, &format!("PATCH {path}?expires=never")).await;
        assert_eq!(touched.said(), (200, "\"user:1/é\""));
        let had = say(&app, &format!("HEAD {path}")).await;
        assert_eq!(had.said(), (200, ""));
        assert_eq!(had.header("polystore-ttl"), "never");
        assert_eq!(had.header("content-length"), "8");
        let got = say(&app, &format!("GET {path}?ttl=false")).await;
        assert_eq!(got.said(), (200, "{\"a\": 1}"));
        assert!(!got.headers.contains_key("polystore-ttl"));
        let had = say(&app, &format!("HEAD {path}?ttl=false")).await;
        assert_eq!(had.said(), (200, ""));
        assert!(!had.headers.contains_key("content-length"));

        for _ in 0..2 {
            let gone = say(&app, &format!("DELETE {path}")).await;
            assert_eq!(gone.said(), (200, "\"user:1/é\""));
        }
        for what in ["GET", "HEAD"] {
            for ttl in ["true", "false"] {
                let missing = say(&app, &format!("{what} {path}?ttl={ttl}")).await;
                assert_eq!(missing.said(), (404, ""));
            }
        }
        let touched = say(&app, &format!("PATCH {path}?expires=1h")).await;
        assert_eq!(touched.kind(), (404, "not_found".to_owned()));
    }
}

#[tokio::test]
async fn a_null_and_an_expiry_that_is_over_delete() {
    let app = memory();
    for (query, body) in [
        ("", "null"),
        ("", " null\n"),
        ("?expires=0", "2"),
        ("?expires=-1", "2"),
    ] {
        ask(&app, "PUT /a", &[], "1").await;
        let put = ask(&app, &format!("PUT /a{query}"), &[], body).await;
        assert_eq!(put.said(), (200, "\"a\""));
        assert_eq!(say(&app, "GET /a").await.status, 404, "{query} {body}");
    }
    // What is no value deletes nothing.
    ask(&app, "PUT /a", &[], "1").await;
    assert_eq!(ask(&app, "PUT /a?expires=0", &[], "{").await.status, 400);
    assert_eq!(say(&app, "GET /a").await.said(), (200, "1"));
}

#[tokio::test]
async fn only_one_puts_where_nothing_was() {
    let app = memory();
    let only = ("if-none-match", "*");
    assert_eq!(ask(&app, "PUT /a", &[only], "1").await.status, 200);
    let second = ask(&app, "PUT /a", &[only], "2").await;
    assert_eq!(second.kind(), (412, "precondition_failed".to_owned()));
    assert_eq!(say(&app, "GET /a").await.text, "1");
    let null = ask(&app, "PUT /b", &[only], "null").await;
    assert_eq!(null.kind(), (400, "invalid_value".to_owned()));
}

#[tokio::test]
async fn what_is_put_only_if_something_is_there_makes_nothing() {
    let app = memory();
    let only = ("if-match", "*");
    let absent = ask(&app, "PUT /a", &[only], "1").await;
    assert_eq!(absent.kind(), (412, "precondition_failed".to_owned()));
    assert_eq!(say(&app, "GET /a").await.status, 404);
    ask(&app, "PUT /a", &[], "1").await;
    let replaced = ask(&app, "PUT /a?expires=60", &[only], "2").await;
    assert_eq!(replaced.said(), (200, "\"a\""));
    let got = say(&app, "GET /a?ttl=true").await;
    assert_eq!(got.text, "2");
    let left: f64 = got.header("polystore-ttl").parse().unwrap();
    assert!((30.0..=60.0).contains(&left), "{left}");
    let null = ask(&app, "PUT /a", &[only], "null").await;
    assert_eq!(null.kind(), (400, "invalid_value".to_owned()));
    let over = ask(&app, "PUT /a?expires=0", &[only], "3").await;
    assert_eq!(over.status, 200);
    assert_eq!(say(&app, "GET /a").await.status, 404);
}

#[tokio::test]
async fn conditions_that_are_not_known_are_refused_for_writes() {
    let app = memory();
    for header in [
        ("if-none-match", "\"etag\""),
        ("if-match", "\"etag\""),
        ("if-unmodified-since", "Sat, 29 Oct 1994 19:43:31 GMT"),
        ("content-range", "bytes 0-1/2"),
    ] {
        for what in [
            "PUT /a",
            "DELETE /a",
            "PATCH /a?expires=1",
            "DELETE /?prefix=a",
        ] {
            let refused = ask(&app, what, &[header], "").await;
            assert_eq!(refused.status, 400, "{what} {header:?}");
        }
        ask(&app, "PUT /b", &[], "1").await;
        assert_eq!(ask(&app, "GET /b", &[header], "").await.said(), (200, "1"));
    }
    let twice = [("if-none-match", "*"), ("if-none-match", "*")];
    assert_eq!(ask(&app, "PUT /a", &twice, "1").await.status, 400);
    let both = [("if-none-match", "*"), ("if-match", "*")];
    assert_eq!(ask(&app, "PUT /a", &both, "1").await.status, 400);
    for what in ["DELETE /a", "PATCH /a?expires=1", "DELETE /?prefix=a"] {
        let known = [("if-match", "*")];
        assert_eq!(ask(&app, what, &known, "").await.status, 400, "{what}");
    }
    assert_eq!(say(&app, "GET /a").await.status, 404);
}

#[tokio::test]
async fn a_new_key_is_where_location_says() {
    let app = Router::new().nest_service("/kv", memory());
    for (path, base) in [
        ("/kv", "/"),
        ("/kv/", "/kv/"),
        ("/kv/?prefix=%C3%A9%2F", "/kv/"),
    ] {
        let added = ask(&app, &format!("POST {path}"), &[JSON], "[1]").await;
        assert_eq!(added.status, 201);
        let key: String = serde_json::from_str(&added.text).unwrap();
        assert_eq!(key.len(), 24);
        let location = added.header("location").trim_start_matches("./");
        let got = say(&app, &format!("GET {base}{location}")).await;
        assert_eq!(got.said(), (200, "[1]"), "{path} {location}");
    }
    let null = ask(&app, "POST /kv/", &[JSON], "null").await;
    assert_eq!(null.kind(), (400, "invalid_value".to_owned()));
}

#[tokio::test]
async fn the_prefix_goes_with_every_request() {
    let app = memory();
    let put = ask(&app, "PUT /a?prefix=p%3A&expires=60", &[], "1").await;
    assert_eq!(put.said(), (200, "\"a\""));
    assert_eq!(say(&app, "GET /p%3Aa").await.text, "1");
    assert_eq!(say(&app, "GET /a?prefix=p:").await.text, "1");
    assert_eq!(
        say(&app, "GET /?key=a&prefix=p:&expires=1h").await.text,
        "1"
    );
    assert_eq!(say(&app, "HEAD /a?prefix=p:").await.status, 200);
    assert_eq!(
        say(&app, "PATCH /a?prefix=p:&expires=9").await.text,
        "\"a\""
    );
    assert_eq!(say(&app, "GET /a").await.status, 404);
    assert_eq!(say(&app, "DELETE /a?prefix=p:").await.text, "\"a\"");
    assert_eq!(say(&app, "GET /?prefix=").await.text, "{}");
}
