//! A store that goes down, and comes back.

use std::time::{Duration, Instant};

use polystore_kv::kv;
use polystore_servers::{Proxy, Redis};

use crate::browser::{Browser, app};

const PATHS: [&str; 5] = ["/count", "/login", "/cycle", "/logout", "/claim"];

/// Each request is an error, but those that need no store; and when the store is back, so is the session.
async fn fails_and_comes_back(ada: &mut Browser, down: impl FnOnce(), up: impl FnOnce()) {
    let other = ada.clone();
    let before = ada.post("/count").await.1;
    down();
    for path in PATHS {
        let mut tab = other.clone();
        let (status, said) = tab.post(path).await;
        assert_eq!(status, 500, "{path}: {said}");
        assert!(!said.contains(&ada.id()), "{path}: {said}");
        assert_eq!(tab.cookie, ada.cookie, "{path}");
    }
    let (status, said) = ada.get("/me").await;
    assert_eq!(status, 500, "{said}");
    assert!(said.starts_with("redis: get: "), "{said}");
    // Who has no session notices nothing until one is to be kept.
    let mut visitor = other.clone();
    visitor.cookie = None;
    assert_eq!(visitor.get("/me").await.0, 401);
    assert_eq!(visitor.post("/count").await.0, 500);
    assert_eq!(visitor.cookie, None);
    up();
    let deadline = Instant::now() + Duration::from_secs(30);
    while ada.get("/me").await.0 != 200 {
        assert!(Instant::now() < deadline, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ada.get("/me").await, (200, "Ada".to_owned()));
    let count = before.parse::<u32>().expect("a number") + 1;
    let id = ada.id();
    let counted = ada.post("/count").await;
    assert_eq!(ada.id(), id, "it is the same session");
    assert_eq!(counted, (200, count.to_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_killed_is_an_error_until_it_is_back() {
    // What it has answered is on the disk. With less, a busy disk may lose the last second of it.
    let Some(redis) = Redis::with(&["appendfsync always"]) else {
        return;
    };
    let store = kv(redis.url_with("timeout=1s")).unwrap().prefix("session:");
    let mut ada = Browser::new(&app(&store));
    assert_eq!(ada.post("/login").await.0, 200);
    for _ in 0..2 {
        fails_and_comes_back(&mut ada, || redis.kill(), || redis.start_again()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallows_everything_is_an_error_until_it_is_mended() {
    let Some(redis) = Redis::start() else { return };
    let proxy = Proxy::to(redis.address());
    let url = proxy.url(&redis.url_with("timeout=300ms"));
    let store = kv(url).unwrap().prefix("session:");
    let mut ada = Browser::new(&app(&store));
    assert_eq!(ada.post("/login").await.0, 200);
    fails_and_comes_back(&mut ada, || proxy.black_hole(), || proxy.pass()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_starts_before_its_store_serves_sessions_when_it_is_there() {
    let Some(redis) = Redis::start() else { return };
    redis.stop();
    let store = kv(redis.url_with("timeout=300ms")).unwrap();
    let mut ada = Browser::new(&app(&store));
    assert_eq!(ada.post("/login").await.0, 500);
    redis.start_again();
    assert_eq!(ada.post("/login").await.0, 200);
    assert_eq!(ada.get("/me").await, (200, "Ada".to_owned()));
}
