//! What a body may be.

use futures_util::stream;

use super::*;

#[tokio::test]
async fn what_is_not_one_json_value_is_refused() {
    let app = memory();
    for body in [
        &b""[..],
        b" \n",
        b"{",
        b"1 2",
        b"nul",
        b"'a'",
        b"\xff",
        b"\"\xff\"",
        b"\xef\xbb\xbf1",
        b"NaN",
        b"\x0c1",
        b"\"\n\"",
    ] {
        for (what, headers) in [
            ("PUT /a", &[][..]),
            ("PUT /a?expires=0", &[]),
            ("PUT /a", &[("if-none-match", "*")]),
            ("PUT /a", &[("if-match", "*")]),
            ("POST /", &[JSON]),
        ] {
            let refused = ask(&app, what, headers, body).await;
            assert_eq!(
                refused.kind(),
                (400, "invalid_value".to_owned()),
                "{what} {body:?}"
            );
        }
    }
    assert_eq!(say(&app, "GET /?prefix=").await.text, "{}");
    assert!(ask(&app, "PUT /a", &[], "").await.text.contains("empty"));
}

#[tokio::test]
async fn values_stay_as_they_are_written() {
    let app = memory();
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    for json in [
        "1e400",
        "123456789012345678901234567890",
        "0.1000",
        "{\"__proto__\":1,\"__proto__\":2}",
        "\"\\ud800\"",
        "{ }",
        &deep,
    ] {
        let put = ask(&app, "PUT /a", &[], json.to_owned()).await;
        assert_eq!(put.status, 200, "{json}");
        assert_eq!(say(&app, "GET /a").await.text, json);
        assert_eq!(
            say(&app, "GET /?prefix=").await.text,
            format!("{{\"a\":{json}}}")
        );
    }
}

#[tokio::test]
async fn a_post_says_what_its_body_is() {
    let app = memory();
    for what in [
        "POST /",
        "POST /_/get",
        "POST /_/set",
        "POST /_/del",
        "POST /_/prune",
        "POST /_/evict",
    ] {
        let text = ("content-type", "text/plain");
        let form = ("content-type", "application/x-www-form-urlencoded");
        for headers in [
            &[][..],
            &[text],
            &[form],
            &[JSON, ("content-encoding", "gzip")],
        ] {
            let refused = ask(&app, what, headers, "{}").await;
            assert_eq!(
                refused.kind(),
                (415, "unsupported".to_owned()),
                "{what} {headers:?}"
            );
        }
        if what != "POST /_/set" {
            let refused = ask(&app, what, &[LINES_IN], "{}").await;
            assert_eq!(refused.status, 415, "{what}");
        }
    }
    let charset = ("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(ask(&app, "POST /", &[charset], "1").await.status, 201);
    let gzip = [("content-encoding", "gzip")];
    assert_eq!(ask(&app, "PUT /a", &gzip, "1").await.status, 415);
    assert_eq!(
        ask(&app, "PUT /a", &[("content-encoding", "identity")], "1")
            .await
            .status,
        200
    );
    assert_eq!(
        ask(&app, "PUT /a", &[("content-type", "text/plain")], "1")
            .await
            .status,
        200
    );
    assert_eq!(ask(&app, "PATCH /a?expires=9", &[], "{}").await.status, 400);
    assert_eq!(ask(&app, "PATCH /a", &[], "").await.status, 400);
}

/// A body of so many bytes whose length nobody says, in pieces.
fn unsaid(bytes: usize) -> Body {
    let pieces = bytes.div_ceil(1 << 16);
    let piece = |_| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]);
    Body::from_stream(stream::iter((0..pieces).map(piece)))
}

#[tokio::test]
async fn a_body_is_as_long_as_the_server_takes_and_no_longer() {
    const MOST: usize = 32 << 20;
    let app = memory();
    let text = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
    assert_eq!(ask(&app, "PUT /a", &[], text(MOST)).await.status, 200);
    let too_long = (413, "invalid_value".to_owned());
    assert_eq!(
        ask(&app, "PUT /b", &[], text(MOST + 1)).await.kind(),
        too_long
    );
    for what in [
        "PUT /b",
        "POST /",
        "POST /_/get",
        "POST /_/set",
        "POST /_/evict",
        "POST /_/prune",
    ] {
        let refused = ask(&app, what, &[JSON], unsaid(MOST + 1)).await;
        assert_eq!(refused.kind(), too_long, "{what}");
    }
    // Of lines only each is that short.
    let refused = ask(&app, "POST /_/set", &[LINES_IN], unsaid(MOST + 1)).await;
    assert_eq!(refused.kind(), too_long);
    let line = format!("{{\"key\":\"a\",\"value\":\"{}\"}}\n", "x".repeat(8 << 20));
    let set = ask(&app, "POST /_/set", &[LINES_IN], line.repeat(5)).await;
    assert_eq!(set.text, "{\"set\":5}");
    let listed = ask(&app, "GET /?prefix=&values=false&ttl=false", &[LINES], "").await;
    assert_eq!(listed.text, "{\"key\":\"a\"}\n");
}

#[tokio::test]
async fn a_body_that_breaks_off_puts_nothing() {
    let app = memory();
    let broken = || {
        let pieces = [Ok("\"abc\"\n"), Err(std::io::Error::other("gone"))];
        Body::from_stream(stream::iter(pieces))
    };
    assert_eq!(ask(&app, "PUT /a", &[], broken()).await.status, 400);
    assert_eq!(ask(&app, "POST /", &[JSON], broken()).await.status, 400);
    assert_eq!(
        ask(&app, "POST /_/set", &[LINES_IN], broken()).await.status,
        400
    );
    assert_eq!(say(&app, "GET /?prefix=").await.text, "{}");
}
