//! Listings and their pages.

use std::time::{Duration, Instant};

use super::*;

#[tokio::test]
async fn a_listing_comes_whole_and_in_pages_and_in_both_forms() {
    let (stores, _folder) = stores();
    for store in stores {
        let app = polystore_server::router(store);
        ask(
            &app,
            "POST /_/set",
            &[JSON],
            r#"{"p%":1,"p%a":1,"p%b":{"x":2},"p%c":"3","p%é":4,"q":5}"#,
        )
        .await;
        ask(&app, "PUT /p%25d?expires=0.001", &[], "1").await;
        ask(&app, "PATCH /p%25b?expires=100", &[], "").await;
        let deadline = Instant::now() + Duration::from_secs(10);
        while say(&app, "GET /p%25d").await.status != 404 {
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        let whole = say(&app, "GET /?prefix=p%25").await;
        assert_eq!(
            whole.said(),
            (200, r#"{"":1,"a":1,"b":{"x":2},"c":"3","é":4}"#)
        );
        assert_eq!(whole.header("content-type"), "application/json");
        let had = say(&app, "HEAD /?prefix=p%25").await;
        assert_eq!(had.said(), (200, ""));
        let lines = ask(&app, "GET /?prefix=p%25&ttl=false", &[LINES], "").await;
        assert_eq!(
            lines.text,
            "{\"key\":\"\",\"value\":1}\n{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\",\"value\":{\"x\":2}}\n{\"key\":\"c\",\"value\":\"3\"}\n{\"key\":\"é\",\"value\":4}\n"
        );
        let page = say(&app, "GET /?prefix=p%25&limit=2&after=a").await;
        assert_eq!(page.text, r#"{"b":{"x":2},"c":"3"}"#);
        let page = ask(
            &app,
            "GET /?prefix=p%25&limit=1&after=a&values=false",
            &[LINES],
            "",
        )
        .await;
        let line: serde_json::Value = serde_json::from_str(&page.text).unwrap();
        let left = line["ttl"].as_f64().unwrap();
        assert!(left > 60.0 && left <= 100.0, "{line}");
        assert_eq!(line.as_object().unwrap().len(), 2, "{line}");
        assert_eq!(say(&app, "GET /?prefix=none").await.said(), (200, "{}"));
        assert_eq!(
            ask(&app, "GET /?prefix=none", &[LINES], "").await.said(),
            (200, "")
        );
        assert_eq!(say(&app, "GET /?prefix=&values=false").await.status, 400);
        assert_eq!(
            ask(&app, "GET /?prefix=", &[("accept", "image/png")], "")
                .await
                .kind(),
            (406, "unsupported".to_owned())
        );
    }
}

#[tokio::test]
async fn a_long_listing_comes_whole_by_any_limit() {
    let app = memory();
    let key = |n: usize| format!("{n:05}");
    let lines: String = (0..25_000)
        .map(|n| format!("{{\"key\":\"{}\",\"value\":{n}}}\n", key(n)))
        .collect();
    ask(&app, "POST /_/set", &[LINES_IN], lines.clone()).await;
    let all = ask(&app, "GET /?prefix=", &[LINES], "").await;
    assert!(all.text == lines);
    for limit in [
        1,
        9_999,
        10_000,
        10_001,
        20_000,
        24_999,
        25_000,
        25_001,
        usize::MAX,
    ] {
        let page = ask(&app, &format!("GET /?prefix=&limit={limit}"), &[LINES], "").await;
        let expected: Vec<&str> = lines.lines().take(limit).collect();
        assert!(page.text.lines().eq(expected.iter().copied()), "{limit}");
    }
    let rest = ask(
        &app,
        &format!("GET /?prefix=&limit=12000&after={}", key(14_999)),
        &[LINES],
        "",
    )
    .await;
    assert_eq!(rest.text.lines().count(), 10_000);
}
