//! What a session holds, and what is kept of it.

use std::collections::HashMap;

use serde_json::{Value, json};
use time::macros::datetime;
use tower_sessions::SessionStore;
use tower_sessions::session_store::Error;

use crate::{HOUR, Place, record};

pub(crate) async fn data_come_back_as_they_were(place: Place) {
    let nested = (0..120).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        ("largest", json!(u64::MAX)),
        ("smallest", json!(i64::MIN)),
        ("beyond JavaScript", json!((1_u64 << 53) + 1)),
        ("fraction", json!(0.1 + 0.2)),
        ("least fraction", json!(f64::MIN_POSITIVE)),
        ("whole fraction", json!(1e300)),
        ("null", Value::Null),
        ("text", json!("é\u{0}\n\"\\\u{1F980}")),
        ("", json!("under an empty name")),
        (
            "é\u{1F980}:%*?",
            json!({ "b": { "": [] }, "a": [true, null] }),
        ),
        ("nested", nested),
        ("long", json!("x".repeat(20_000))),
    ];
    let mut session = record(HOUR);
    session.data = HashMap::from(values.map(|(name, value)| (name.to_owned(), value)));
    place.sessions.create(&mut session).await.unwrap();
    let loaded = place.sessions.load(&session.id).await.unwrap();
    assert_eq!(loaded, Some(session.clone()));
    place.sessions.save(&session).await.unwrap();
    assert_eq!(place.sessions.load(&session.id).await.unwrap(), loaded);
}

pub(crate) async fn what_is_kept_is_documented_and_has_no_id(place: Place) {
    let mut session = record(HOUR);
    session.expiry_date = datetime!(2100-01-01 02:00:00.5 +2);
    place.sessions.create(&mut session).await.unwrap();
    let key = session.id.to_string();
    assert_eq!(key.len(), 22);
    assert_eq!(place.keys().await, [&*key]);
    let kept: Value = place.store.get(&key).await.unwrap().unwrap();
    let expected = json!({ "data": { "user": "Ada" }, "expiry_date": "2100-01-01T00:00:00.5Z" });
    assert_eq!(kept, expected);
    // A program that knows the format can write one.
    place.store.set(&key, &expected).await.unwrap();
    assert_eq!(
        place.sessions.load(&session.id).await.unwrap(),
        Some(session)
    );
}

/// An error would meet the visitor with each request until the cookie ends, the login included.
pub(crate) async fn what_is_no_session_counts_as_none(place: Place) {
    for other in [
        json!("hunter2"),
        json!([]),
        json!({}),
        json!({ "data": "hunter2", "expiry_date": "2100-01-01T00:00:00Z" }),
        json!({ "data": {}, "expiry_date": "hunter2" }),
        json!({ "data": {}, "expiry_date": 4_102_444_800_000_u64 }),
    ] {
        let mut session = record(HOUR);
        let key = session.id.to_string();
        place.store.set(&key, &other).await.unwrap();
        let loaded = place.sessions.load(&session.id).await.unwrap();
        assert_eq!(loaded, None, "{other}");
        if place.store.capabilities().await.unwrap().insert {
            // It is somebody's: no new session takes its place.
            place.sessions.create(&mut session).await.unwrap();
            let kept: Option<Value> = place.store.get(&key).await.unwrap();
            assert_eq!(kept, Some(other));
        }
    }
}

pub(crate) async fn what_has_no_json_form_is_an_encode_error(place: Place) {
    let mut session = record(HOUR);
    place.sessions.create(&mut session).await.unwrap();
    let mut deep = session.clone();
    let nested = (0..200).fold(json!("hunter2"), |inner, _| json!([inner]));
    deep.data.insert("nested".to_owned(), nested);
    for result in [
        place.sessions.save(&deep).await,
        place.sessions.create(&mut deep.clone()).await,
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Encode(_)), "{error:?}");
        let said = format!("{error} {error:?}");
        assert!(
            !said.contains(&deep.id.to_string()) && !said.contains("hunter2"),
            "{said}"
        );
    }
    // What was there is there still.
    let loaded = place.sessions.load(&session.id).await.unwrap();
    assert_eq!(loaded, Some(session));
}
