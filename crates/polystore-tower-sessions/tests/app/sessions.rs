//! Sessions, in a store of each kind.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use polystore_kv::Store;
use time::Duration as Span;
use tower_sessions::session::Id;
use tower_sessions::{CachingSessionStore, Expiry, MemoryStore, SessionStore};

use crate::browser::{Browser, app, app_on, app_with};

macro_rules! on_stores {
    ($($property:ident)+) => { on_stores!(@ [$($property)+] memory sqlite redis postgres); };
    (@ $properties:tt $($store:ident)+) => { $(mod $store { on_stores!(@tests $store $properties); })+ };
    (@tests $store:ident [$($property:ident)+]) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $property() {
            if let Some(place) = crate::backends::$store().await {
                crate::sessions::$property(&place.store).await;
            }
        })+
    };
}

on_stores!(
    somebody_logs_in_comes_back_and_logs_out
    nothing_is_kept_of_who_only_looks
    what_was_removed_stays_away_and_the_session_stays
    inactivity_ends_a_session_and_activity_prolongs_it
    a_new_id_takes_the_data_along_and_the_old_one_is_gone
    two_hundred_requests_of_one_session_at_once
    requests_one_after_another_lose_nothing
    a_logout_is_not_undone_by_a_request_under_way
    tenants_have_sessions_of_their_own
    an_id_that_the_client_made_up_is_never_used
    a_restart_keeps_sessions
    a_cache_in_front_works
);

/// The sessions that are there.
async fn keys(store: &Store) -> Vec<String> {
    let mut keys = store.keys().await.unwrap();
    keys.retain(|key| !key.ends_with(".ended"));
    keys
}

async fn somebody_logs_in_comes_back_and_logs_out(store: &Store) {
    let app = app(store);
    let mut ada = Browser::new(&app);
    assert_eq!(ada.get("/me").await.0, 401);
    assert_eq!(ada.post("/login").await.0, 200);
    for _ in 0..3 {
        assert_eq!(ada.get("/me").await, (200, "Ada".to_owned()));
    }
    let other = &mut Browser::new(&app);
    assert_eq!(other.get("/me").await.0, 401);
    assert_eq!(keys(store).await, [ada.id()]);

    let mut stolen = ada.clone();
    assert_eq!(ada.post("/logout").await.0, 200);
    assert_eq!(ada.cookie, None);
    assert_eq!(stolen.get("/me").await.0, 401);
    assert_eq!(keys(store).await, [""; 0]);
}

async fn nothing_is_kept_of_who_only_looks(store: &Store) {
    let mut visitor = Browser::new(&app(store));
    assert_eq!(visitor.get("/me").await.0, 401);
    assert_eq!(visitor.cookie, None);
    assert_eq!(keys(store).await, [""; 0]);
}

async fn what_was_removed_stays_away_and_the_session_stays(store: &Store) {
    let mut ada = Browser::new(&app(store));
    ada.post("/count").await;
    let id = ada.id();
    for count in ["1", "0"] {
        assert_eq!(ada.post("/forget").await, (200, count.to_owned()));
        assert_eq!(ada.id(), id);
    }
    assert_eq!(keys(store).await, [&*id]);
    assert_eq!(ada.post("/count").await, (200, "1".to_owned()));
}

async fn inactivity_ends_a_session_and_activity_prolongs_it(store: &Store) {
    const LASTS: Duration = Duration::from_secs(2);
    let expiry = Expiry::OnInactivity(Span::seconds(2));
    let app = app_with(store, expiry);
    let mut ada = Browser::new(&app);
    ada.post("/login").await;
    let begun = Instant::now();
    // A change now and then, for longer than a session lasts without one.
    let mut changed = begun;
    while begun.elapsed() < LASTS + LASTS / 2 {
        let asked = Instant::now();
        let (status, user) = ada.get("/me").await;
        // A machine that stops for so long has ended the session.
        assert!(
            status == 200 || changed.elapsed() >= LASTS,
            "{status} {user}"
        );
        ada.post("/count").await;
        changed = asked;
        tokio::time::sleep(LASTS / 10).await;
    }
    while ada.get("/me").await.0 == 200 {
        assert!(changed.elapsed() < LASTS * 3, "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        changed.elapsed() >= LASTS,
        "it ended after {:?}",
        changed.elapsed()
    );
}

async fn a_new_id_takes_the_data_along_and_the_old_one_is_gone(store: &Store) {
    let app = app(store);
    let mut ada = Browser::new(&app);
    ada.post("/count").await;
    let before = ada.clone();
    ada.post("/login").await;
    assert_ne!(ada.id(), before.id());
    let old = ada.clone();
    ada.post("/cycle").await;
    assert_ne!(ada.id(), old.id());
    assert_eq!(ada.get("/me").await, (200, "Ada".to_owned()));
    assert_eq!(ada.post("/count").await, (200, "2".to_owned()));
    for mut old in [before, old] {
        assert_eq!(old.get("/me").await.0, 401);
    }
    assert_eq!(keys(store).await, [ada.id()]);
}

async fn two_hundred_requests_of_one_session_at_once(store: &Store) {
    let app = app(store);
    let mut ada = Browser::new(&app);
    ada.post("/login").await;
    let answers = join_all((0..200).map(|number| {
        let mut ada = ada.clone();
        tokio::spawn(async move {
            let path = if number % 2 == 0 { "/me" } else { "/count" };
            let answer = match path {
                "/me" => ada.get(path).await,
                _ => ada.post(path).await,
            };
            (path, answer, ada.id())
        })
    }));
    for answer in answers.await {
        let (path, (status, said), id) = answer.expect("no task panics");
        assert_eq!(status, 200, "{said}");
        assert_eq!(id, ada.id(), "it is one session");
        match path {
            "/me" => assert_eq!(said, "Ada"),
            // Each loads, adds and saves: the last one that saves wins, in every store of tower-sessions.
            _ => assert!((1..=100).contains(&said.parse::<u32>().unwrap()), "{said}"),
        }
    }
    assert_eq!(keys(store).await, [ada.id()]);
    assert_eq!(ada.get("/me").await, (200, "Ada".to_owned()));
    let (_, count) = ada.post("/count").await;
    assert!(
        (2..=101).contains(&count.parse::<u32>().unwrap()),
        "{count}"
    );
}

async fn requests_one_after_another_lose_nothing(store: &Store) {
    let mut ada = Browser::new(&app(store));
    for count in 1..=100 {
        assert_eq!(ada.post("/count").await, (200, count.to_string()));
    }
}

/// As if one request had loaded the session before the other one ended it.
async fn a_logout_is_not_undone_by_a_request_under_way(store: &Store) {
    let sessions = polystore_tower_sessions::Sessions::new(store).unwrap();
    let app = app_on(sessions.clone(), Expiry::OnInactivity(Span::HOUR));
    let mut ada = Browser::new(&app);
    ada.post("/login").await;
    let id: Id = ada.id().parse().unwrap();
    let under_way = sessions.load(&id).await.unwrap().unwrap();
    let mut stolen = ada.clone();
    ada.post("/logout").await;
    sessions.save(&under_way).await.unwrap();
    assert_eq!(stolen.get("/me").await.0, 401);
}

async fn tenants_have_sessions_of_their_own(store: &Store) {
    let (shop, blog) = (app(&store.prefix("shop:")), app(&store.prefix("blog:")));
    let mut ada = Browser::new(&shop);
    ada.post("/login").await;
    let mut at_blog = ada.at(&blog);
    assert_eq!(at_blog.get("/me").await.0, 401);
    at_blog.cookie = Some(ada.id());
    assert_eq!(at_blog.post("/count").await.0, 200);
    assert_ne!(at_blog.id(), ada.id());
    assert_eq!(at_blog.post("/logout").await.0, 200);
    assert_eq!(ada.get("/me").await, (200, "Ada".to_owned()));
    assert_eq!(keys(store).await, [format!("shop:{}", ada.id())]);
}

async fn an_id_that_the_client_made_up_is_never_used(store: &Store) {
    let app = app(store);
    for path in ["/count", "/login", "/cycle", "/logout", "/claim"] {
        for made_up in [
            &*Id::default().to_string(),
            "AAAAAAAAAAAAAAAAAAAAAA",
            "x",
            "",
        ] {
            let mut mallory = Browser::new(&app);
            mallory.cookie = Some(made_up.to_owned());
            let (status, said) = mallory.post(path).await;
            assert_eq!(status, 200, "{path}: {said}");
            assert!(!store.has(made_up).await.unwrap(), "{path} of {made_up:?}");
            let mut victim = Browser::new(&app);
            victim.cookie = Some(made_up.to_owned());
            assert_eq!(victim.get("/me").await.0, 401, "{path} of {made_up:?}");
        }
    }
}

async fn a_restart_keeps_sessions(store: &Store) {
    let mut ada = Browser::new(&app(store));
    ada.post("/login").await;
    let mut after = ada.at(&app(store));
    assert_eq!(after.get("/me").await, (200, "Ada".to_owned()));
    assert_eq!(after.post("/count").await, (200, "1".to_owned()));
    assert_eq!(after.id(), ada.id());
}

async fn a_cache_in_front_works(store: &Store) {
    let sessions = polystore_tower_sessions::Sessions::new(store).unwrap();
    let cached = CachingSessionStore::new(MemoryStore::default(), sessions);
    let app = app_on(cached, Expiry::OnInactivity(Span::HOUR));
    let mut ada = Browser::new(&app);
    ada.post("/login").await;
    for count in 1..=3 {
        assert_eq!(ada.post("/count").await, (200, count.to_string()));
    }
    // It is in the store too.
    let mut elsewhere = ada.at(&crate::browser::app(store));
    assert_eq!(elsewhere.post("/count").await, (200, "4".to_owned()));
}
