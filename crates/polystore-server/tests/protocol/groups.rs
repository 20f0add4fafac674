//! Requests about many keys.

use futures_util::stream;

use super::*;

#[tokio::test]
async fn many_are_put_got_and_removed_at_once() {
    let (stores, _folder) = stores();
    for store in stores {
        let app = polystore_server::router(store);
        let lines = "{\"key\":\"a\",\"value\":1}\r\n\n{\"key\":\"b\",\"value\":2,\"expires\":\"1h\"}\n{\"key\":\"c\",\"value\":null}";
        let set = ask(&app, "POST /_/set?prefix=p:", &[LINES_IN], lines).await;
        assert_eq!(set.said(), (200, "{\"set\":3}"));
        let members = r#"{"p:d":[1, 2],"p:e":4,"p:e":5,"p:a":null,"p:f":6}"#;
        let set = ask(&app, "POST /_/set?expires=60", &[JSON], members).await;
        assert_eq!(set.said(), (200, "{\"set\":5}"));

        let keys = r#"{"keys":["f","b","a","b","d","e"]}"#;
        let got = ask(&app, "POST /_/get?prefix=p:", &[JSON], keys).await;
        assert_eq!(got.said(), (200, r#"{"f":6,"b":2,"d":[1, 2],"e":5}"#));
        let got = ask(
            &app,
            "POST /_/get?prefix=p:&values=false",
            &[JSON, LINES],
            keys,
        )
        .await;
        assert_eq!(
            got.text,
            "{\"key\":\"f\"}\n{\"key\":\"b\"}\n{\"key\":\"d\"}\n{\"key\":\"e\"}\n"
        );
        assert_eq!(got.header("content-type"), "application/x-ndjson");
        for (key, at_most) in [("b", 3600.0), ("d", 60.0)] {
            let got = say(&app, &format!("HEAD /{key}?prefix=p:")).await;
            let left: f64 = got.header("polystore-ttl").parse().unwrap();
            assert!(left > at_most - 30.0 && left <= at_most);
        }

        let del = ask(
            &app,
            "POST /_/del?prefix=p:",
            &[JSON],
            r#"{"keys":["b","x","b"]}"#,
        )
        .await;
        assert_eq!(del.said(), (200, "{\"del\":3}"));
        let cleared = say(&app, "DELETE /?prefix=p:d").await;
        assert_eq!(cleared.said(), (200, "\"p:d\""));
        assert_eq!(
            say(&app, "GET /?prefix=").await.text,
            r#"{"p:e":5,"p:f":6}"#
        );
        assert_eq!(say(&app, "DELETE /?prefix=").await.status, 400);
        assert_eq!(say(&app, "DELETE /").await.status, 400);
        assert_eq!(say(&app, "DELETE /?prefix=&all=false").await.status, 400);
        assert_eq!(
            say(&app, "DELETE /?prefix=&all=true").await.said(),
            (200, "\"\"")
        );
        assert_eq!(say(&app, "GET /?prefix=").await.text, "{}");
    }
}

#[tokio::test]
async fn more_keys_than_one_batch_come_in_the_order_given() {
    let app = memory();
    let lines: String = (0..1700)
        .map(|n| format!("{{\"key\":\"{n}\",\"value\":{n}}}\n"))
        .collect();
    let set = ask(&app, "POST /_/set", &[LINES_IN], lines.clone()).await;
    assert_eq!(set.text, "{\"set\":1700}");
    let keys: Vec<_> = (0..2000).map(|n| n.to_string()).collect();
    let keys = serde_json::json!({ "keys": keys }).to_string();
    let got = ask(&app, "POST /_/get", &[JSON, LINES], keys).await;
    assert!(got.text == lines);
}

#[tokio::test]
async fn a_listing_can_be_sent_to_another_server_as_it_is() {
    let (from, to) = (memory(), memory());
    ask(
        &from,
        "PUT /a?expires=1h",
        &[],
        "{\n  \"x\": \"1\\n2\"\r\n}",
    )
    .await;
    ask(&from, "PUT /b", &[], "2").await;
    let listed = ask(&from, "GET /?prefix=", &[LINES], "").await;
    assert_eq!(listed.text.lines().count(), 2, "{}", listed.text);
    let set = ask(&to, "POST /_/set?expires=1d", &[LINES_IN], listed.text).await;
    assert_eq!(set.text, "{\"set\":2}");
    let copied: serde_json::Value = serde_json::from_str(&say(&to, "GET /a").await.text).unwrap();
    assert_eq!(copied, serde_json::json!({"x": "1\n2"}));
    for (key, at_most) in [("a", 3600.0), ("b", 86400.0)] {
        let left: f64 = say(&to, &format!("HEAD /{key}"))
            .await
            .header("polystore-ttl")
            .parse()
            .unwrap();
        assert!(left > at_most - 30.0 && left <= at_most, "{key} {left}");
    }
}

#[tokio::test]
async fn all_before_a_wrong_line_is_put_and_nothing_after_it() {
    for wrong in [
        "{",
        "[\"b\",2]",
        "{\"key\":\"b\"}",
        "{\"value\":2}",
        "{\"key\":1,\"value\":2}",
        "1",
        "\u{feff}{}",
        "{\"key\":\"b\",\"value\":2,\"more\":3}",
        "{\"key\":\"b\",\"value\":2,\"expires\":\"soon\"}",
        "{\"key\":\"b\",\"value\":2,\"expires\":[]}",
        "{\"key\":\"b\",\"value\":2,\"expires\":1,\"ttl\":1}",
        "{\"error\":{\"status\":502}}",
        "{\"key\":\"b\",\"key\":\"b\",\"value\":2}",
        "{\"key\":\"b\",\"value\":2} 3",
    ] {
        let app = memory();
        let lines =
            format!("{{\"key\":\"a\",\"value\":1}}\n\n{wrong}\n{{\"key\":\"c\",\"value\":3}}\n");
        let set = ask(&app, "POST /_/set", &[LINES_IN], lines).await;
        let problem = set.problem();
        assert_eq!(set.status, 400, "{wrong}");
        assert_eq!(problem["maybe_applied"], true);
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("line 3 (the 1 entries before it are put): "),
            "{detail}"
        );
        assert_eq!(say(&app, "GET /?prefix=").await.text, "{\"a\":1}");
    }
    let app = memory();
    let set = ask(
        &app,
        "POST /_/set",
        &[LINES_IN],
        "{\"key\":\"\\ud800\",\"value\":1}",
    )
    .await;
    let problem = set.problem();
    assert_eq!(
        (&problem["maybe_applied"], set.status.as_u16()),
        (&false.into(), 400)
    );
    assert!(problem["detail"].as_str().unwrap().starts_with("line 1: "));
}

#[tokio::test]
async fn lines_are_put_however_they_are_cut_and_the_last_of_a_key_wins() {
    let mut lines = String::new();
    for n in 0..1200 {
        lines += &format!("{{\"key\":\"é{}\",\"value\":\"{n}\"}}\n", n % 7);
    }
    let mut expected = String::from("{");
    for key in 0..7 {
        let last = (0..1200).rev().find(|n| n % 7 == key).unwrap();
        expected += &format!("\"é{key}\":\"{last}\",");
    }
    expected.pop();
    expected.push('}');
    for size in [1, 7, 1000, usize::MAX] {
        let app = memory();
        let pieces: Vec<_> = lines
            .as_bytes()
            .chunks(size)
            .map(|it| Ok::<_, std::io::Error>(it.to_vec()))
            .collect();
        let body = Body::from_stream(stream::iter(pieces));
        let set = ask(&app, "POST /_/set", &[LINES_IN], body).await;
        assert_eq!(set.text, "{\"set\":1200}");
        assert_eq!(say(&app, "GET /?prefix=").await.text, expected);
    }
}

#[tokio::test]
async fn an_entry_is_evicted_only_if_it_is_still_that() {
    let (stores, _folder) = stores();
    for store in stores {
        let app = polystore_server::router(store);
        ask(&app, "PUT /p:a?expires=100", &[], "[1, 2]").await;
        for (seen, is_it) in [
            (r#"{"key":"a","value":[1,2],"ttl":100}"#, false),
            (r#"{"key":"a","value":[1, 2]}"#, false),
            (r#"{"key":"a","value":[1, 2],"ttl":50}"#, false),
            (r#"{"key":"b","value":[1, 2],"ttl":100}"#, false),
            (r#"{"key":"a","value":[1, 2],"ttl":99.5}"#, true),
            (r#"{"key":"a","value":[1, 2],"ttl":99.5}"#, false),
        ] {
            let evicted = ask(&app, "POST /_/evict?prefix=p:", &[JSON], seen).await;
            assert_eq!(
                evicted.said(),
                (200, &format!("{{\"evicted\":{is_it}}}")[..]),
                "{seen}"
            );
        }
        ask(&app, "PUT /a", &[], "1").await;
        let evicted = ask(
            &app,
            "POST /_/evict",
            &[JSON],
            r#"{"key":"a","value":1,"ttl":null}"#,
        )
        .await;
        assert_eq!(evicted.text, "{\"evicted\":true}");
        let pruned = ask(&app, "POST /_/prune?prefix=p", &[JSON], "").await;
        assert_eq!(pruned.said(), (200, "{\"pruned\":0}"));
    }
}

#[tokio::test]
async fn a_body_that_is_no_such_object_is_refused() {
    let app = memory();
    for (path, bodies) in [
        (
            "get",
            &[
                "",
                "{}",
                "[]",
                "[[\"a\"]]",
                "{\"keys\":\"a\"}",
                "{\"keys\":[1]}",
                "{\"keys\":[],\"keys\":[]}",
                "{\"keys\":[],\"x\":1}",
                "\u{feff}{\"keys\":[]}",
            ][..],
        ),
        ("del", &["", "null", "[[\"a\"]]", "{\"keys\":[null]}"]),
        (
            "set",
            &[
                "",
                "null",
                "[]",
                "[[\"a\",1]]",
                "{\"a\"}",
                "{\"a\":1}}",
                "{\"a\":01}",
            ],
        ),
        (
            "evict",
            &[
                "",
                "{}",
                "{\"key\":\"a\"}",
                "[\"a\",1]",
                "{\"key\":\"a\",\"value\":1,\"ttl\":\"1\"}",
            ],
        ),
    ] {
        for body in bodies {
            let refused = ask(&app, &format!("POST /_/{path}"), &[JSON], *body).await;
            assert_eq!(
                refused.kind(),
                (400, "invalid_value".to_owned()),
                "{path} {body}"
            );
        }
    }
    assert_eq!(say(&app, "GET /?prefix=").await.text, "{}");
}

#[tokio::test]
async fn the_number_of_keys_in_a_body_is_bounded() {
    let app = memory();
    let many = |item: &str, count| vec![item; count].join(",");
    for (path, body) in [
        ("get", format!("{{\"keys\":[{}]}}", many("\"\"", 100_001))),
        ("del", format!("{{\"keys\":[{}]}}", many("\"\"", 100_001))),
        ("set", format!("{{{}}}", many("\"\":1", 100_001))),
    ] {
        let refused = ask(&app, &format!("POST /_/{path}"), &[JSON], body).await;
        assert_eq!(refused.kind(), (400, "invalid_value".to_owned()));
        assert!(refused.text.contains("100000"), "{}", refused.text);
    }
    let body = format!("{{\"keys\":[{}]}}", many("\"\"", 100_000));
    assert_eq!(
        ask(&app, "POST /_/get", &[JSON], body).await.said(),
        (200, "{}")
    );
}
