//! A key by path, and a key by `?key=`, is that key and no other.

use polystore_conformance::HOSTILE;
use proptest::prelude::*;

use super::*;

const BY_QUERY_ONLY: [&str; 4] = ["", ".", "..", "ping"];

/// As `encodeURIComponent` does.
fn encoded(key: &str) -> String {
    let mut encoded = String::new();
    for byte in key.bytes() {
        match byte {
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => {
                encoded.push(byte.into());
            }
            _ if byte.is_ascii_alphanumeric() => encoded.push(byte.into()),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

async fn round_trip(app: &Router, key: &str) {
    let by_query = format!("/?key={}", encoded(key));
    let by_path = format!("/{}", encoded(key));
    let paths = match BY_QUERY_ONLY.contains(&key) {
        true => vec![by_query],
        false => vec![by_query, by_path],
    };
    let json = serde_json::to_string(key).unwrap();
    for put in &paths {
        for get in &paths {
            let said = ask(app, &format!("PUT {put}"), &[], json.clone()).await;
            assert_eq!(said.said(), (200, &json[..]), "{key:?}");
            let all = say(app, "GET /?prefix=").await;
            assert_eq!(all.text, format!("{{{json}:{json}}}"), "{key:?}");
            assert_eq!(say(app, &format!("GET {get}")).await.text, json);
            let gone = say(app, &format!("DELETE {get}")).await;
            assert_eq!(gone.text, json);
            assert_eq!(say(app, &format!("GET {put}")).await.status, 404);
        }
    }
}

#[tokio::test]
async fn hostile_keys_are_themselves() {
    let app = memory();
    for key in HOSTILE {
        round_trip(&app, key).await;
    }
    let below = Router::new().nest_service("/kv", memory());
    for key in HOSTILE.iter().filter(|key| !BY_QUERY_ONLY.contains(key)) {
        let path = format!("/kv/{}", encoded(key));
        ask(&below, &format!("PUT {path}"), &[], "1").await;
        assert_eq!(
            say(&below, &format!("GET {path}")).await.text,
            "1",
            "{key:?}"
        );
    }
    let listed = say(&below, "GET /kv/?prefix=").await;
    let listed: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&listed.text).unwrap();
    let by_path = HOSTILE.iter().filter(|key| !BY_QUERY_ONLY.contains(key));
    let unique: std::collections::BTreeSet<_> = by_path.collect();
    assert_eq!(listed.len(), unique.len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]
    #[test]
    fn any_key_is_itself(key in "\\PC{0,20}|[ -~]{0,10}|(?s).{0,20}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(round_trip(&memory(), &key));
    }
}

#[tokio::test]
async fn what_a_path_cannot_carry_is_refused() {
    let app = memory();
    let nested = Router::new().nest_service("/kv", memory());
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE"] {
        for path in [
            "/", "/.", "/..", "/%2E", "/%2e%2E", "/.%2e", "/%70ing", "/ping",
        ] {
            if path == "/ping" && matches!(method, "GET" | "HEAD") {
                continue;
            }
            for (app, base) in [(&app, ""), (&nested, "/kv"), (&app, "/_/t/s3cret")] {
                let what = format!("{method} {base}{path}");
                let reply = ask(app, &what, &[], "1").await;
                assert_eq!(reply.status, 400, "{what}");
                assert!(!reply.text.contains("s3cret"));
                if method != "HEAD" {
                    reply.problem();
                }
            }
        }
    }
    for key in BY_QUERY_ONLY {
        let put = ask(&app, &format!("PUT /?key={key}"), &[], "1").await;
        assert_eq!(put.status, 200, "{key}");
    }
    let all = say(&app, "GET /?prefix=").await;
    assert_eq!(all.text, r#"{"":1,".":1,"..":1,"ping":1}"#);
}

#[tokio::test]
async fn what_is_no_url_of_a_key_is_refused_and_never_another_key() {
    let app = memory();
    for path in [
        "/a/b",
        "/a/",
        "//",
        "//a",
        "/%",
        "/a%",
        "/%a",
        "/%zz",
        "/a%2",
        "/%ff",
        "/%C3",
        "/%ed%a0%80",
        "/?key=%",
        "/?key=%ff",
        "/?prefix=%zz",
        "/?%=1",
        "/?key=a&key=b",
        "/?prefix=a&prefix=b",
        "/a?key=b",
        "/ping?key=b",
        "/x?y=1",
        "/x?KEY=1",
        "/x?limit=1",
        "/x?after=1",
        "/x?values=true",
        "/x?all=true",
        "/?limit=1",
        "/?prefix=&limit=0",
        "/?prefix=&limit=-1",
        "/?prefix=&values=1",
        "/?prefix=&all=true",
        "/?prefix=&ttl=",
        "/x?expires=soon",
        "/x?expires=",
        "/ping?ttl=false",
        "/_/t/",
        "/_/t/s3cret",
        "/_/t//",
        "/_/t//a",
        "/_/t/%ff/a",
        "/_/t/s3cret/..",
        "/_/t/s3cret/a/b",
    ] {
        let reply = say(&app, &format!("GET {path}")).await;
        assert_eq!(reply.status, 400, "{path}: {}", reply.text);
        assert!(!reply.text.contains("s3cret"), "{}", reply.text);
    }
    for path in [
        "/_/nothing",
        "/_/get/",
        "/_/%67et",
        "/_/t",
        "/_/t/s3cret/_/t/OTHER/",
    ] {
        let reply = say(&app, &format!("GET {path}")).await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text);
    }
    assert_eq!(say(&app, "GET /?prefix=").await.text, "{}");
}

#[tokio::test]
async fn a_token_in_the_path_is_no_part_of_the_key() {
    let app = memory();
    ask(&app, "PUT /_/t/a%2Fb/k", &[], "1").await;
    assert_eq!(say(&app, "GET /k").await.text, "1");
    assert_eq!(say(&app, "GET /_/t/x/?prefix=").await.text, "{\"k\":1}");
    assert_eq!(say(&app, "GET /_/t/x/ping").await.status, 200);
}

#[tokio::test]
async fn a_plus_is_a_space_in_a_query_only() {
    let app = memory();
    ask(&app, "PUT /a+b", &[], "1").await;
    ask(&app, "PUT /?key=a+b", &[], "2").await;
    assert_eq!(
        say(&app, "GET /?prefix=").await.text,
        r#"{"a b":2,"a+b":1}"#
    );
}

#[tokio::test]
async fn a_key_is_as_long_as_the_server_takes_and_no_longer() {
    let app = memory();
    let longest = "k".repeat(8 << 10);
    assert_eq!(
        ask(&app, &format!("PUT /{longest}"), &[], "1").await.status,
        200
    );
    for what in [
        format!("PUT /{longest}k"),
        format!("GET /?key={longest}k"),
        format!("GET /{longest}?prefix=p"),
        format!("GET /?prefix={longest}k"),
    ] {
        let refused = ask(&app, &what, &[], "1").await;
        assert_eq!(refused.kind(), (414, "invalid_key".to_owned()));
    }
    for (path, body) in [
        (
            "/_/get?prefix=p",
            format!("{{\"keys\":[\"a\",\"{longest}\"]}}"),
        ),
        ("/_/del", format!("{{\"keys\":[\"{longest}k\"]}}")),
        ("/_/set", format!("{{\"a\":1,\"{longest}k\":1}}")),
        (
            "/_/evict",
            format!("{{\"key\":\"{longest}k\",\"value\":1}}"),
        ),
    ] {
        let refused = ask(&app, &format!("POST {path}"), &[JSON], body).await;
        assert_eq!(refused.kind(), (400, "invalid_key".to_owned()), "{path}");
    }
    let listed = ask(&app, "GET /?prefix=&values=false", &[LINES], "").await;
    assert_eq!(listed.text.lines().count(), 1);
}
