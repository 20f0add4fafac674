//! The double of Cloudflare's KV answers as Cloudflare does.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use polystore_servers::Cloudflare;

#[test]
fn it_speaks_cloudflares_paths_and_keeps_its_data() {
    let Some(cloudflare) = Cloudflare::start() else {
        return;
    };
    let pairs = r#"[{"key":"a/é","value":"1","expiration_ttl":100,"metadata":{"x":1}},{"key":"b","value":"2"}]"#;
    assert_eq!(cloudflare.api(7, "PUT", "/bulk", pairs).0, 200);
    cloudflare.stop();
    cloudflare.start_again();
    let (status, keys) = cloudflare.api(7, "GET", "/keys?limit=10", "");
    assert_eq!(status, 200);
    assert!(keys.contains(r#""name":"a/é","expiration":"#), "{keys}");
    assert!(
        keys.contains(r#""metadata":{"x":1}},{"name":"b"}]"#),
        "{keys}"
    );
    let (status, value) = cloudflare.api(7, "GET", "/values/a%2F%C3%A9", "");
    assert_eq!((status, value.as_str()), (200, "1"));
    assert_eq!(cloudflare.api(6, "GET", "/values/b", "").0, 404);
    // Its own limits, and those of the runtime behind it.
    let soon = r#"[{"key":"a","value":"1","expiration_ttl":59}]"#;
    assert_eq!(cloudflare.api(7, "PUT", "/bulk", soon).0, 400);
    let soon = r#"[{"key":"a","value":"1","expiration":59}]"#;
    assert_eq!(cloudflare.api(7, "PUT", "/bulk", soon).0, 400);
    let keys = format!("{:?}", vec!["k"; 101]);
    let (status, answer) = cloudflare.api(7, "POST", "/bulk/get", &format!(r#"{{"keys":{keys}}}"#));
    assert_eq!(status, 400, "{answer}");
}
