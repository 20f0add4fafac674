//! The code of `docs/javascript/`, as it stands there, in applications of Express and Hono and with `fetch`.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::time::{Duration, Instant};

use polystore_interop::{App, Served, blocks, node, npm_is_there};
use polystore_kv::{Store, kv};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SECRET: &str = "only for the tests, and 32 characters long";

/// The program that a page shows.
fn program(page: &str) -> String {
    let blocks = blocks(&format!("javascript/{page}"));
    let block = blocks.into_iter().find(|block| block.language == "js");
    block.unwrap().text
}

/// A visitor with a browser's cookie jar for one name.
struct Visitor<'a> {
    app: &'a App,
    cookie: Option<String>,
}

impl<'a> Visitor<'a> {
    fn new(app: &'a App) -> Self {
        Self { app, cookie: None }
    }

    async fn ask(&mut self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.app.url());
        // Another test may have done so already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut request = reqwest::Client::new()
            .request(method, url)
            .header("content-type", "application/json")
            .body(body.to_owned());
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let reply = request.send().await.unwrap();
        // Of two for one name a browser takes the last.
        if let Some(cookie) = reply.headers().get_all("set-cookie").iter().next_back() {
            let cookie = cookie.to_str().unwrap();
            self.cookie = cookie.split(';').next().map(ToOwned::to_owned);
        }
        let status = reply.status();
        let text = reply.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn get(&mut self, path: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, path, "").await
    }

    async fn log_in(&mut self, tenant: &str, user: &str) {
        let body = json!({ "user": user }).to_string();
        let (status, _) = self
            .ask(Method::POST, &format!("/{tenant}/login"), &body)
            .await;
        assert_eq!(status, StatusCode::OK);
    }

    async fn is(&mut self, tenant: &str, user: Option<&str>) {
        let (status, reply) = self.get(&format!("/{tenant}/")).await;
        assert_eq!(reply["user"].as_str(), user, "{reply}");
        let expected = match user {
            Some(_) => StatusCode::OK,
            None => StatusCode::UNAUTHORIZED,
        };
        assert_eq!(status, expected);
    }
}

/// A store, the server of it, and what an application on top of that needs to know.
struct Place {
    store: Store,
    served: Served,
}

impl Place {
    fn new() -> Option<Self> {
        if !npm_is_there() {
            return None;
        }
        let store = kv("memory:").unwrap();
        let served = Served::new(store.clone());
        Some(Self { store, served })
    }

    fn app(&self, page: &str, seconds: &str) -> App {
        let url = self.served.url();
        let environment = [
            ("STORE", &url[..]),
            ("SESSION_SECRET", SECRET),
            ("SESSION_SECONDS", seconds),
        ];
        App::start(&program(page), &environment)
    }

    async fn left(&self, key: &str) -> Duration {
        let left = self.store.ttl(key).await.unwrap().unwrap();
        left.as_duration().unwrap()
    }

    /// The one session of a tenant.
    async fn session(&self, tenant: &str) -> String {
        let keys = self
            .store
            .prefix(format!("session:{tenant}:"))
            .keys()
            .await
            .unwrap();
        assert_eq!(keys.len(), 1, "{keys:?}");
        format!("session:{tenant}:{}", keys[0])
    }
}

/// What must hold of the applications of both pages.
async fn sessions(place: &Place, page: &str) {
    let app = place.app(page, "1800");
    let mut ada = Visitor::new(&app);
    ada.is("acme", None).await;
    ada.log_in("acme", "Ada").await;
    ada.is("acme", Some("Ada")).await;
    let mut other = Visitor::new(&app);
    other.is("acme", None).await;

    // The id of one tenant is nothing to another.
    other.cookie.clone_from(&ada.cookie);
    other.is("globex", None).await;
    other.log_in("globex", "Grace").await;
    other.is("globex", Some("Grace")).await;
    ada.is("acme", Some("Ada")).await;
    assert_eq!(ada.get("/unknown/").await.0, StatusCode::NOT_FOUND);
    let keys = place.store.keys().await.unwrap();
    assert!(
        keys.iter()
            .all(|key| key.starts_with("session:acme:") || key.starts_with("session:globex:"))
    );

    // Another process of the application knows her.
    let cookie = ada.cookie.clone();
    drop(app);
    let app = place.app(page, "1800");
    let mut ada = Visitor { app: &app, cookie };
    ada.is("acme", Some("Ada")).await;

    // Logged out she is gone, from the store as well, and the other tenant's are not.
    let before = place
        .store
        .prefix("session:globex:")
        .all::<Value>()
        .await
        .unwrap();
    let (status, _) = ada.ask(Method::POST, "/acme/logout", "{}").await;
    assert_eq!(status, StatusCode::OK);
    let all = place
        .store
        .prefix("session:acme:")
        .all::<Value>()
        .await
        .unwrap();
    assert!(!json!(all).to_string().contains("Ada"), "{all:?}");
    ada.is("acme", None).await;
    let after = place
        .store
        .prefix("session:globex:")
        .all::<Value>()
        .await
        .unwrap();
    assert_eq!(after, before);
}

/// A session ends by itself, in the application and in the store, and not before its time.
async fn expiry(place: &Place, page: &str) {
    let app = place.app(page, "2.5");
    let mut ada = Visitor::new(&app);
    let begun = Instant::now();
    ada.log_in("acme", "Ada").await;
    // It was put anew at the end of the request, with whole seconds.
    let key = place.session("acme").await;
    let left = place.left(&key).await;
    assert!(left <= Duration::from_secs(3), "{left:?}");
    loop {
        let mut again = Visitor::new(&app);
        again.cookie.clone_from(&ada.cookie);
        if !place.store.has(&key).await.unwrap() {
            assert!(begun.elapsed() >= Duration::from_millis(2500));
            again.is("acme", None).await;
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn express_sessions_are_kept_shared_and_destroyed() {
    let Some(place) = Place::new() else { return };
    sessions(&place, "express.md").await;
}

#[tokio::test]
async fn express_sessions_end_with_their_cookies() {
    let Some(place) = Place::new() else { return };
    expiry(&place, "express.md").await;
}

#[tokio::test]
async fn express_sessions_last_as_long_as_their_cookie_from_the_last_request_on() {
    let Some(place) = Place::new() else { return };
    let app = place.app("express.md", "1800");
    let mut ada = Visitor::new(&app);
    ada.log_in("acme", "Ada").await;
    let key = place.session("acme").await;
    let stored = place.store.get::<Value>(&key).await.unwrap().unwrap();
    assert_eq!(stored["user"], json!("Ada"));
    assert_eq!(stored["cookie"]["originalMaxAge"], json!(1_800_000));
    let left = place.left(&key).await;
    assert!(left <= Duration::from_secs(1800) && left > Duration::from_secs(1700));

    // As if half an hour were almost over: the next request touches it.
    assert!(place.store.touch(&key, 60).await.unwrap());
    ada.is("acme", Some("Ada")).await;
    assert_eq!(place.session("acme").await, key);
    // The reply is sent before the touch is done.
    let begun = Instant::now();
    while place.left(&key).await < Duration::from_secs(1700) {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn express_lists_and_clears_the_sessions_of_one_tenant() {
    let Some(place) = Place::new() else { return };
    let app = place.app("express.md", "1800");
    let mut visitors = Vec::new();
    for (tenant, user) in [("acme", "Ada"), ("acme", "Alan"), ("globex", "Grace")] {
        let mut visitor = Visitor::new(&app);
        visitor.log_in(tenant, user).await;
        visitors.push(visitor);
    }
    let (_, mut all) = Visitor::new(&app).get("/acme/sessions").await;
    all.as_array_mut().unwrap().sort_by_key(ToString::to_string);
    assert_eq!(all, json!(["Ada", "Alan"]));

    let (status, _) = Visitor::new(&app)
        .ask(Method::DELETE, "/acme/sessions", "")
        .await;
    assert_eq!(status, StatusCode::OK);
    visitors[0].is("acme", None).await;
    visitors[1].is("acme", None).await;
    visitors[2].is("globex", Some("Grace")).await;
    assert_eq!(Visitor::new(&app).get("/acme/sessions").await.1, json!([]));
}

/// What the package does by itself, also with a cookie that has no `maxAge`.
#[tokio::test]
async fn the_express_store_takes_the_lifetime_of_the_cookie() {
    let Some(place) = Place::new() else { return };
    node(
        r#"import expressStore from "polystore/express";
           import { promisify } from "node:util";
           const store = expressStore(process.env.STORE).prefix("session:");
           const call = (method, ...args) => promisify(store[method].bind(store))(...args);
           const lasting = (originalMaxAge) => ({ cookie: { originalMaxAge }, n: 1 });
           await call("set", "long", lasting(3_599_001));
           await call("set", "endless", lasting(null));
           await call("set", "touched", lasting(null));
           await call("touch", "touched", lasting(60_000));
           await call("set", "over", lasting(60_000));
           await call("set", "over", lasting(-5_000));
           await call("set", "gone", lasting(60_000));
           await call("destroy", "gone");"#,
        &[("STORE", &place.served.url())],
    );
    let keys = place.store.keys().await.unwrap();
    assert_eq!(keys, ["session:endless", "session:long", "session:touched"]);
    let long = place.left("session:long").await;
    assert!(long <= Duration::from_secs(3600) && long > Duration::from_secs(3500));
    let touched = place.left("session:touched").await;
    assert!(touched <= Duration::from_secs(60));
    let endless = place.store.ttl("session:endless").await.unwrap().unwrap();
    assert_eq!(endless.as_duration(), None);
}

#[tokio::test]
async fn hono_sessions_are_kept_shared_and_destroyed() {
    let Some(place) = Place::new() else { return };
    sessions(&place, "hono.md").await;
}

#[tokio::test]
async fn hono_sessions_end_by_themselves() {
    let Some(place) = Place::new() else { return };
    expiry(&place, "hono.md").await;
}

#[tokio::test]
async fn hono_sessions_last_as_long_as_they_say_from_the_last_request_on() {
    let Some(place) = Place::new() else { return };
    let app = place.app("hono.md", "1800");
    let mut ada = Visitor::new(&app);
    // Before she logs in she has a session already, of another id.
    ada.is("acme", None).await;
    let first = place.session("acme").await;
    ada.log_in("acme", "Ada").await;
    let key = place.session("acme").await;
    assert_ne!(key, first);
    let stored = place.store.get::<Value>(&key).await.unwrap().unwrap();
    assert_eq!(stored["_data"]["user"]["value"], json!("Ada"));
    assert!(stored["_expire"].is_string());
    let left = place.left(&key).await;
    assert!(left <= Duration::from_secs(1800) && left > Duration::from_secs(1700));

    assert!(place.store.touch(&key, 60).await.unwrap());
    ada.is("acme", Some("Ada")).await;
    assert!(place.left(&key).await > Duration::from_secs(1700));
    let renewed = place.store.get::<Value>(&key).await.unwrap().unwrap();
    assert!(renewed["_expire"].as_str() > stored["_expire"].as_str());

    // All of a tenant are ended as the page says.
    node(
        r#"import kv from "polystore";
           await kv(process.env.STORE).prefix("session:acme:").clear();"#,
        &[("STORE", &place.served.url())],
    );
    ada.is("acme", None).await;
}

/// What the package does by itself.
#[tokio::test]
async fn the_hono_store_takes_the_lifetime_that_the_session_says() {
    let Some(place) = Place::new() else { return };
    node(
        r#"import honoStore from "polystore/hono-sessions";
           import assert from "node:assert/strict";
           const store = honoStore(process.env.STORE).prefix("session:");
           const data = (ms) => ({ _data: {}, _expire: ms && new Date(Date.now() + ms).toISOString() });
           await store.createSession("endless", data(null));
           await store.createSession("renewed", data(3_600_000));
           await store.persistSessionData("renewed", data(60_000));
           await store.createSession("gone", data(60_000));
           assert.deepEqual((await store.getSessionById("gone"))._data, {});
           await store.deleteSession("gone");
           assert.equal(await store.getSessionById("gone"), null);
           assert.equal(await store.getSessionById(""), null);"#,
        &[("STORE", &place.served.url())],
    );
    let keys = place.store.keys().await.unwrap();
    assert_eq!(keys, ["session:endless", "session:renewed"]);
    assert!(place.left("session:renewed").await <= Duration::from_secs(60));
    let endless = place.store.ttl("session:endless").await.unwrap().unwrap();
    assert_eq!(endless.as_duration(), None);
}

/// Hit, miss, expiry and skip, counted where the replies come from.
#[tokio::test]
async fn get_replies_are_cached() {
    let Some(place) = Place::new() else { return };
    let test = r#"
        import assert from "node:assert/strict";
        import { createServer } from "node:http";
        let asked = 0;
        const api = createServer((req, res) => {
          asked++;
          if (req.url === "/broken") res.statusCode = 500;
          res.end(req.url === "/null" ? "null" : JSON.stringify({ url: req.url, asked }));
        });
        await new Promise((done) => api.listen(0, "127.0.0.1", done));
        const base = `http://127.0.0.1:${api.address().port}`;

        // A miss, then hits.
        const first = await getJson(`${base}/users?q=1`);
        assert.deepEqual(first, { url: "/users?q=1", asked: 1 });
        assert.deepEqual(await getJson(`${base}/users?q=1`), first);
        assert.deepEqual(await getJson(new URL(`${base}/users?q=1`)), first);
        assert.equal(asked, 1);
        assert.equal((await getJson(`${base}/users?q=2`)).asked, 2);

        // Skipped both ways.
        assert.equal((await getJson(`${base}/users?q=1`, { cache: null })).asked, 3);
        assert.deepEqual(await getJson(`${base}/users?q=1`), first);
        assert.equal((await getJson(`${base}/now`, { cache: null })).asked, 4);
        assert.equal((await getJson(`${base}/now`)).asked, 5);

        // A reply of null is a reply; a failure is none.
        assert.equal(await getJson(`${base}/null`), null);
        assert.equal(await getJson(`${base}/null`), null);
        assert.equal(asked, 6);
        await assert.rejects(getJson(`${base}/broken`), /500/);
        await assert.rejects(getJson(`${base}/broken`), /500/);
        assert.equal(asked, 8);

        // Expired, and not before.
        const began = performance.now();
        const brief = await getJson(`${base}/prices`, { cache: briefly });
        assert.equal(brief.asked, 9);
        let again = brief;
        while (again.asked === 9) again = await getJson(`${base}/prices`, { cache: briefly });
        assert.ok(performance.now() - began >= 499);
        assert.equal(again.asked, 10);

        await forget(`${base}/users?q=1`);
        assert.equal((await getJson(`${base}/users?q=1`)).asked, 11);
        console.log(base);
        api.closeAllConnections();
        api.close();
    "#;
    let url = place.served.url();
    let environment = [("STORE", &url[..]), ("BRIEF_SECONDS", "0.5")];
    let base = node(
        &format!("{}{test}", program("fetch-cache.md")),
        &environment,
    );

    let key = format!("replies:{}/users?q=1", base.trim());
    let kept = place.store.get::<Value>(&key).await.unwrap().unwrap();
    assert_eq!(kept["body"]["asked"], json!(11));
    let left = place.left(&key).await;
    assert!(left <= Duration::from_secs(3600) && left > Duration::from_secs(3500));
    // What the page calls with is what it has.
    let uses = &blocks("javascript/fetch-cache.md")[1].text;
    for call in ["getJson(\"", "{ cache: null }", "{ cache: briefly }"] {
        assert!(uses.contains(call), "{call}");
    }
}
