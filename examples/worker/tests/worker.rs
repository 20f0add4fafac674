//! The example in Cloudflare's own runtime, as its readers would use it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::time::{Duration, Instant};

use polystore_servers::{Cloudflare, Reply, Worker, modules};
use serde_json::{Value, json};

const PASSWORDS: &str = r#"{"ann": "apple", "bob": "banana", "a:b": "cherry"}"#;

/// The Worker, and a namespace of its own.
struct World {
    server: Cloudflare,
}

impl World {
    fn start(session: &str) -> Option<Self> {
        let modules = modules("worker")?;
        let worker = Worker::new("links", modules.join("worker"))
            .variable("SESSION", session)
            .variable("PASSWORDS", PASSWORDS)
            .namespace("LINKS", 0);
        let server = Cloudflare::with_workers(1, &[worker])?;
        Some(Self { server })
    }

    fn ask(&self, cookie: &str, method: &str, path: &str, body: &str) -> Reply {
        let headers = [("cookie", cookie)];
        self.server
            .ask_worker("links", method, path, &headers, body)
    }

    fn log_in(&self, form: &str) -> Reply {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.server
            .ask_worker("links", "POST", "/login", &headers, form)
    }

    /// The cookie of somebody who has logged in.
    fn cookie(&self, form: &str) -> String {
        let reply = self.log_in(form);
        assert_eq!(reply.status, 204, "{reply:?}");
        let cookie = reply.header("set-cookie").unwrap();
        for part in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }

    /// The path of a new link.
    fn shorten(&self, cookie: &str, query: &str, url: &str) -> String {
        let reply = self.ask(cookie, "POST", &format!("/{query}"), url);
        assert_eq!(reply.status, 201, "{reply:?}");
        assert_eq!(reply.header("location"), Some(&reply.body[..]));
        let path = reply.body.strip_prefix("https://links.test").unwrap();
        path.to_owned()
    }

    fn keys(&self) -> Vec<String> {
        let (_, listed) = self.server.api(0, "GET", "/keys", "");
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let keys = listed["result"].as_array().unwrap().iter();
        keys.map(|key| key["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[test]
fn links_are_made_followed_listed_and_removed_by_their_owner() {
    let Some(world) = World::start("1 day") else {
        return;
    };
    let ann = world.cookie("name=ann&password=apple");
    let bob = world.cookie("name=bob&password=banana");
    let path = world.shorten(&ann, "", " https://example.org/a b?c=é\n");
    let followed = world.ask("", "GET", &path, "");
    assert_eq!(followed.status, 302);
    assert_eq!(
        followed.header("location"),
        Some("https://example.org/a%20b?c=%C3%A9")
    );

    // Two people do not see each other's links, and cannot remove them.
    let list = |cookie: &str| -> Value {
        let reply = world.ask(cookie, "GET", "/links", "");
        assert_eq!(reply.status, 200, "{reply:?}");
        serde_json::from_str(&reply.body).unwrap()
    };
    let code = &path[1..];
    assert_eq!(
        list(&ann),
        json!({code: "https://example.org/a%20b?c=%C3%A9"})
    );
    assert_eq!(list(&bob), json!({}));
    assert_eq!(world.ask(&bob, "DELETE", &path, "").status, 404);
    assert_eq!(world.ask("", "DELETE", &path, "").status, 401);
    assert_eq!(world.ask("", "GET", &path, "").status, 302);

    assert_eq!(world.ask(&ann, "DELETE", &path, "").status, 204);
    assert_eq!(world.ask("", "GET", &path, "").status, 404);
    assert_eq!(list(&ann), json!({}));
    assert_eq!(world.ask(&ann, "DELETE", &path, "").status, 404);
}

#[test]
fn sessions_end_by_logging_out_and_by_their_time() {
    let Some(world) = World::start("3s") else {
        return;
    };
    let ann = world.cookie("name=ann&password=apple");
    assert_eq!(world.ask(&ann, "GET", "/links", "").status, 200);
    let out = world.ask(&ann, "POST", "/logout", "");
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    // What was written down of it is worth nothing.
    assert_eq!(world.ask(&ann, "GET", "/links", "").status, 401);
    assert_eq!(world.keys(), Vec::<String>::new());

    let ann = world.cookie("name=ann&password=apple");
    let deadline = Instant::now() + Duration::from_secs(20);
    let begun = Instant::now();
    while world.ask(&ann, "GET", "/links", "").status == 200 {
        assert!(Instant::now() < deadline);
    }
    assert!(begun.elapsed() > Duration::from_secs(2));
    assert_eq!(world.ask(&ann, "POST", "/", "https://a.org").status, 401);
}

#[test]
fn links_expire_when_they_should() {
    let Some(world) = World::start("1 day") else {
        return;
    };
    let ann = world.cookie("name=ann&password=apple");
    let path = world.shorten(&ann, "?expires=2s", "https://example.org/");
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.ask("", "GET", &path, "").status == 302 {
        assert!(Instant::now() < deadline);
    }
    // It was put there a moment later.
    while world.ask(&ann, "GET", "/links", "").body != "{}" {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn what_is_wrong_or_hostile_is_refused_and_leaves_nothing() {
    let Some(world) = World::start("1 day") else {
        return;
    };
    for form in [
        "name=ann&password=banana",
        "name=ann&password=",
        "name=eve&password=apple",
        "name=a:b&password=cherry",
        "name=__proto__&password=apple",
    ] {
        assert_eq!(world.log_in(form).status, 401, "{form}");
    }
    for form in ["", "name=ann", "password=apple"] {
        assert_eq!(world.log_in(form).status, 400, "{form}");
    }
    let json = world.ask("", "POST", "/login", r#"{"name":"ann"}"#);
    assert_eq!(json.status, 400);
    for cookie in [
        "",
        "__Host-session=",
        "__Host-session=ann",
        "__Host-session=link:aaaaaaaa",
        "__Host-session=aaaaaaaaaaaaaaaaaaaaaaaa",
        "__Host-session=%00",
        "session=aaaaaaaaaaaaaaaaaaaaaaaa",
        "other=aaaaaaaaaaaaaaaaaaaaaaaa; __Host-session",
    ] {
        let reply = world.ask(cookie, "GET", "/links", "");
        assert_eq!(reply.status, 401, "{cookie}");
    }
    assert_eq!(world.keys(), Vec::<String>::new());

    let ann = world.cookie("name=ann&password=apple");
    let long = format!("https://a.org/{}", "a".repeat(3000));
    for url in [
        "",
        "nothing",
        "/links",
        "//a.org",
        "javascript:alert(1)",
        "data:text/html,hello",
        "file:///etc/passwd",
        "https://",
        &long,
    ] {
        assert_eq!(world.ask(&ann, "POST", "/", url).status, 400, "{url}");
    }
    for query in ["?expires=soon", "?expires=0", "?expires=-5s", "?expires="] {
        let reply = world.ask(&ann, "POST", &format!("/{query}"), "https://a.org");
        assert_eq!(reply.status, 400, "{query}");
    }
    // Nothing of a header's gets into another.
    let path = world.shorten(&ann, "", "https://a.org/\r\nset-cookie: x=y");
    let followed = world.ask("", "GET", &path, "");
    assert_eq!(followed.header("set-cookie"), None);
    for path in [
        "/session:aaaaaaaa",
        "/aaaaaaaa",
        "/aaaaaaa",
        "/..",
        "/links/",
        "/%61aaaaaaa",
        "/links-of:ann",
    ] {
        assert_eq!(world.ask("", "GET", path, "").status, 404, "{path}");
    }
    assert_eq!(world.ask("", "PUT", "/", "").status, 404);
    assert_eq!(world.keys().len(), 3);
}

#[test]
fn no_other_site_logs_people_in_or_gives_them_a_session() {
    let Some(world) = World::start("1 day") else {
        return;
    };
    let form = "name=ann&password=apple";
    let log_in = |origin: &str| {
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", origin),
        ];
        let reply = world
            .server
            .ask_worker("links", "POST", "/login", &headers, form);
        reply.status
    };
    for origin in [
        "https://evil.test",
        "https://links.test.evil.test",
        "http://links.test",
        "null",
    ] {
        assert_eq!(log_in(origin), 403, "{origin}");
    }
    assert_eq!(world.keys(), Vec::<String>::new());
    assert_eq!(log_in("https://links.test"), 204);

    // Who logs in gets a session that nobody has had before, whatever cookie came along.
    let given = format!("__Host-session={}", "a".repeat(24));
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("cookie", &given),
    ];
    let reply = world
        .server
        .ask_worker("links", "POST", "/login", &headers, form);
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-session=") && !cookie.starts_with(&given));
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert_eq!(world.ask(&given, "GET", "/links", "").status, 401);
    // Nor does one of another host's name count.
    let ann = cookie.split(';').next().unwrap();
    let tossed = ann.replace("__Host-", "");
    assert_eq!(world.ask(&tossed, "GET", "/links", "").status, 401);
    let both = format!("session={}; {ann}", "b".repeat(24));
    assert_eq!(world.ask(&both, "GET", "/links", "").status, 200);
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let Some(world) = World::start("1 day") else {
        return;
    };
    let long = "a".repeat(20_000);
    let form = format!("name=ann&password={long}");
    assert_eq!(world.log_in(&form).status, 413);
    assert_eq!(world.ask("", "POST", "/", &long).status, 413);
    assert_eq!(world.keys(), Vec::<String>::new());
    let ann = world.cookie("name=ann&password=apple");
    assert_eq!(world.ask(&ann, "POST", "/", &long).status, 413);
    let most = format!("https://a.org/{}", "a".repeat(2000));
    let path = world.shorten(&ann, "", &most);
    let looked = world.ask("", "HEAD", &path, "");
    assert_eq!(
        (looked.status, looked.header("location")),
        (302, Some(&most[..]))
    );
}

#[test]
fn links_may_expire_within_a_minute_after_it_or_in_ages() {
    let Some(world) = World::start("1 day") else {
        return;
    };
    let ann = world.cookie("name=ann&password=apple");
    for expires in [
        "58s",
        "59s",
        "60s",
        "61s",
        "49years",
        "51years",
        "200000years",
        "never",
    ] {
        let path = world.shorten(&ann, &format!("?expires={expires}"), "https://a.org/");
        assert_eq!(world.ask("", "GET", &path, "").status, 302, "{expires}");
    }
    // Longer than any store can keep.
    for expires in ["1e9years", "1e300years"] {
        let reply = world.ask(
            &ann,
            "POST",
            &format!("/?expires={expires}"),
            "https://a.org/",
        );
        assert_eq!(reply.status, 400, "{expires}");
    }
}
