//! What actix-session asks of a store, on every one.

use std::collections::HashMap;
use std::time::{Duration as StdDuration, Instant};

use actix_session::storage::{LoadError, SessionKey, SessionStore};
use actix_web::cookie::time::Duration;
use polystore_actix_session::Sessions;
use polystore_kv::{Expires, Store};

use super::places::{again, everywhere, key, until};

const HOUR: Duration = Duration::HOUR;

const MINUTE: Duration = Duration::MINUTE;

const SHORT: Duration = Duration::milliseconds(300);

type State = HashMap<String, String>;

fn state(words: &[(&str, &str)]) -> State {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    words.iter().map(own).collect()
}

fn some() -> State {
    state(&[("user", "\"Ada\""), ("visits", "3")])
}

/// Runs it on every store, all of them at the same time.
async fn on_all(property: impl AsyncFn(&str, Sessions, Store)) {
    let places = everywhere();
    let running = places.iter().map(|place| {
        let sessions = Sessions::new(&place.store).unwrap();
        property(place.name, sessions, place.store.clone())
    });
    futures_util::future::join_all(running).await;
}

async fn opens(sessions: &Sessions, key: &SessionKey) -> bool {
    sessions.load(key).await.unwrap().is_some()
}

async fn until_over(name: &str, sessions: &Sessions, key: &SessionKey) {
    let is_over = async || !opens(sessions, key).await;
    until(&format!("{name}: it is over"), is_over).await;
}

async fn assert_lives_an_hour(name: &str, store: &Store, key: &SessionKey) {
    let left = store.ttl(key.as_ref()).await.unwrap().unwrap();
    let left = left.as_duration().unwrap();
    assert!(left > StdDuration::from_secs(3400), "{name}: {left:?}");
}

#[actix_web::test]
async fn what_is_saved_loads_until_it_is_deleted() {
    on_all(async |name, sessions, _| {
        let states = [
            some(),
            state(&[]),
            state(&[("", ""), ("\u{0}\"\\/ \u{1F980} e\u{301}", "{\"a\":null}")]),
            state(&[("long", &"x".repeat(200_000))]),
        ];
        for state in states {
            let key = sessions.save(state.clone(), &HOUR).await.unwrap();
            let loaded = sessions.load(&key).await.unwrap();
            assert_eq!(loaded, Some(state), "{name}");
            sessions.delete(&key).await.unwrap();
            assert!(!opens(&sessions, &key).await, "{name}");
            // Once more does no harm.
            sessions.delete(&key).await.unwrap();
        }
    })
    .await;
}

#[actix_web::test]
async fn ids_are_new_each_time_and_cannot_be_guessed() {
    on_all(async |name, sessions, _| {
        let (one, other) = (sessions.save(some(), &HOUR), sessions.save(some(), &HOUR));
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert_ne!(one, other, "{name}");
        for key in [one, other] {
            assert_eq!(key.as_ref().len(), 64, "{name}");
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
            assert!(key.as_ref().bytes().all(is_plain), "{name}");
        }
    })
    .await;
}

#[actix_web::test]
async fn an_update_replaces_the_state_and_the_lifetime() {
    on_all(async |name, sessions, store| {
        let key = sessions.save(some(), &MINUTE).await.unwrap();
        let changed = state(&[("other", "1")]);
        let same = sessions.update(again(&key), changed.clone(), &HOUR).await;
        assert_eq!(same.unwrap(), key, "{name}");
        let loaded = sessions.load(&key).await.unwrap();
        assert_eq!(loaded, Some(changed), "{name}");
        assert_lives_an_hour(name, &store, &key).await;

        let same = sessions.update(again(&key), some(), &SHORT).await.unwrap();
        assert_eq!(same, key, "{name}");
        until_over(name, &sessions, &key).await;
    })
    .await;
}

#[actix_web::test]
async fn a_session_ends_after_its_lifetime_and_not_before() {
    on_all(async |name, sessions, _| {
        let before = Instant::now();
        let key = sessions.save(some(), &Duration::seconds(1)).await.unwrap();
        while opens(&sessions, &key).await {
            assert!(before.elapsed() < StdDuration::from_secs(30), "{name}");
            tokio::time::sleep(StdDuration::from_millis(10)).await;
        }
        // Clocks of two programs on one machine differ by less.
        let lived = before.elapsed() + StdDuration::from_millis(5);
        assert!(lived >= StdDuration::from_secs(1), "{name}: {lived:?}");
    })
    .await;
}

#[actix_web::test]
async fn update_ttl_gives_more_time_and_less() {
    on_all(async |name, sessions, store| {
        let key = sessions.save(some(), &MINUTE).await.unwrap();
        sessions.update_ttl(&key, &HOUR).await.unwrap();
        assert_lives_an_hour(name, &store, &key).await;
        assert_eq!(sessions.load(&key).await.unwrap(), Some(some()), "{name}");
        sessions.update_ttl(&key, &SHORT).await.unwrap();
        until_over(name, &sessions, &key).await;
        // It does not bring back what is over.
        sessions.update_ttl(&key, &HOUR).await.unwrap();
        assert!(!opens(&sessions, &key).await, "{name}");
    })
    .await;
}

#[actix_web::test]
async fn lifetimes_that_are_over_or_without_end_are_taken_at_their_word() {
    let over = [Duration::ZERO, Duration::seconds(-5), Duration::MIN];
    on_all(async |name, sessions, store| {
        for ttl in over {
            let key = sessions.save(some(), &ttl).await.unwrap();
            assert!(!opens(&sessions, &key).await, "{name}: save {ttl}");

            let key = sessions.save(some(), &HOUR).await.unwrap();
            let same = sessions.update(again(&key), some(), &ttl).await.unwrap();
            assert!(!opens(&sessions, &same).await, "{name}: update {ttl}");
            assert!(!opens(&sessions, &key).await, "{name}: update {ttl}");

            let key = sessions.save(some(), &HOUR).await.unwrap();
            sessions.update_ttl(&key, &ttl).await.unwrap();
            assert!(!opens(&sessions, &key).await, "{name}: update_ttl {ttl}");
        }
        assert_eq!(store.keys().await.unwrap(), [""; 0], "{name}");

        for ttl in [Duration::MAX, Duration::weeks(53 * 1000)] {
            let key = sessions.save(some(), &ttl).await.unwrap();
            let kept = store.ttl(key.as_ref()).await.unwrap();
            assert_eq!(kept, Some(Expires::NEVER), "{name}: save {ttl}");
            sessions.update_ttl(&key, &ttl).await.unwrap();
            let same = sessions.update(again(&key), some(), &ttl).await.unwrap();
            assert_eq!(same, key, "{name}: update {ttl}");
            let kept = store.ttl(key.as_ref()).await.unwrap();
            assert_eq!(kept, Some(Expires::NEVER), "{name}: update {ttl}");
        }
        // Longer than some stores' own clocks can tell.
        for ttl in [Duration::weeks(52 * 999), Duration::weeks(52 * 300)] {
            let key = sessions.save(some(), &ttl).await.unwrap();
            sessions.update_ttl(&key, &ttl).await.unwrap();
            assert!(opens(&sessions, &key).await, "{name}: {ttl}");
            let same = sessions.update(again(&key), some(), &ttl).await.unwrap();
            assert!(opens(&sessions, &same).await, "{name}: {ttl}");
        }
        let key = sessions.save(some(), &Duration::NANOSECOND).await.unwrap();
        until_over(name, &sessions, &key).await;
    })
    .await;
}

#[actix_web::test]
async fn the_lifetime_of_the_store_has_no_say() {
    on_all(async |name, _, store| {
        let sessions = Sessions::new(store.expires("never")).unwrap();
        let key = sessions.save(some(), &SHORT).await.unwrap();
        until_over(name, &sessions, &key).await;
        let sessions = Sessions::new(store.expires(0)).unwrap();
        let key = sessions.save(some(), &HOUR).await.unwrap();
        assert!(opens(&sessions, &key).await, "{name}");
    })
    .await;
}

#[actix_web::test]
async fn a_key_that_no_session_has_opens_nothing_and_is_no_error() {
    let mut texts: Vec<String> = [
        "unknown",
        "",
        "\u{0}",
        "a\u{0}b",
        " ",
        ".",
        "..",
        "/",
        "../../etc/passwd",
        "ping",
        "_/",
        "*",
        "%",
        "a%00b",
        "user:1",
        "a\nb",
        "a\r\nset x 1",
        "'; drop table kv; --",
        "é",
        "\u{1F980}",
        "\u{FFFD}",
        "{\"user\":\"1\"}",
        "con",
        "NUL",
        "a?b=c",
        "a#b",
    ]
    .map(String::from)
    .to_vec();
    texts.extend(["a", "é", "/"].map(|text| text.repeat(4064 / text.len())));
    on_all(async |name, sessions, store| {
        let known = sessions.save(some(), &HOUR).await.unwrap();
        sessions.delete(&known).await.unwrap();
        // The mark of a logout is no session either.
        let mark = format!("{}.ended", known.as_ref());
        let before = store.keys().await.unwrap();
        assert_eq!(before, [mark.as_str()], "{name}");
        for text in texts.iter().chain([&mark]) {
            let key = key(text);
            assert_eq!(sessions.load(&key).await.unwrap(), None, "{name}: {text:?}");
            sessions.update_ttl(&key, &HOUR).await.unwrap();
            let new = sessions.update(again(&key), some(), &HOUR).await.unwrap();
            assert_ne!(new, key, "{name}: {text:?}");
            assert_eq!(sessions.load(&new).await.unwrap(), Some(some()), "{name}");
            assert!(!opens(&sessions, &key).await, "{name}: {text:?}");
            store.del(new.as_ref()).await.unwrap();
            if text != "unknown" && text != "con" && text != "NUL" && text != "ping" {
                sessions.delete(&key).await.unwrap();
            }
        }
        assert_eq!(store.keys().await.unwrap(), before, "{name}");
    })
    .await;
}

#[actix_web::test]
async fn what_is_no_state_is_a_deserialization_error_that_shows_nothing_of_it() {
    on_all(async |name, sessions, store| {
        let key = sessions.save(some(), &HOUR).await.unwrap();
        let id = key.as_ref();
        store.set(id, &[("hunter2", 7)]).await.unwrap();
        let error = sessions.load(&key).await.unwrap_err();
        let LoadError::Deserialization(error) = error else {
            panic!("{name}: {error:?}");
        };
        let cause = error.downcast_ref::<polystore_kv::Error>().unwrap();
        assert!(cause.is_data(), "{name}: {cause:?}");
        assert_eq!(cause.key(), None, "{name}");
        for text in [format!("{error:#}"), format!("{error:?}")] {
            assert!(!text.contains(id), "{name}: {text}");
            assert!(!text.contains("hunter2"), "{name}: {text}");
            assert!(text.contains("get"), "{name}: {text}");
        }
        // The next change puts it right.
        let same = sessions.update(again(&key), some(), &HOUR).await.unwrap();
        assert_eq!(same, key, "{name}");
        assert_eq!(sessions.load(&key).await.unwrap(), Some(some()), "{name}");
    })
    .await;
}

#[actix_web::test]
async fn tenants_by_prefix_know_nothing_of_each_other() {
    on_all(async |name, _, store| {
        let [one, other] = ["one:", "one:other:"].map(|prefix| {
            let store = store.prefix(prefix);
            Sessions::new(store).unwrap()
        });
        let key = one.save(some(), &HOUR).await.unwrap();
        assert!(!opens(&other, &key).await, "{name}");
        let new = other.update(again(&key), state(&[]), &HOUR).await.unwrap();
        assert_ne!(new, key, "{name}");
        other.update_ttl(&key, &Duration::ZERO).await.unwrap();
        other.delete(&key).await.unwrap();
        assert_eq!(one.load(&key).await.unwrap(), Some(some()), "{name}");
        assert!(!opens(&one, &new).await, "{name}");
    })
    .await;
}

#[actix_web::test]
async fn the_default_is_a_memory_of_its_own_that_clones_share() {
    let (one, other) = (Sessions::default(), Sessions::default());
    let key = one.save(some(), &HOUR).await.unwrap();
    assert!(opens(&one.clone(), &key).await);
    assert!(!opens(&other, &key).await);
    assert_eq!(
        format!("{:?}", Sessions::new("redis://:hunter2@host/1").unwrap()),
        "Sessions { kind: \"redis\", .. }"
    );
    let error = Sessions::new("redish://:hunter2@host").unwrap_err();
    assert!(error.is_usage() && !format!("{error:?}").contains("hunter2"));
}

/// The store may be given to threads, which actix-web does not ask for, but a program may.
#[test]
fn what_it_does_may_move_between_threads() {
    fn is_send(_: &(impl Send + Sync)) {}
    let sessions = Sessions::default();
    is_send(&sessions);
}
