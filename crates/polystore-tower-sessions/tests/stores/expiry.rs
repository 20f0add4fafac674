//! A session lasts until its date.

use std::time::Duration;

use polystore_kv::Expires;
use serde_json::json;
use time::macros::datetime;
use time::{Date, Month, OffsetDateTime, Time};
use tower_sessions::SessionStore;
use tower_sessions::session::Record;

use crate::{HOUR, Place, record, until};

pub(crate) async fn a_session_is_there_until_its_date_and_not_after(place: Place) {
    let mut session = record(Duration::from_millis(1500));
    let date = session.expiry_date;
    place.sessions.create(&mut session).await.unwrap();
    loop {
        let asked = OffsetDateTime::now_utc();
        let loaded = place.sessions.load(&session.id).await.unwrap();
        let answered = OffsetDateTime::now_utc();
        assert!(loaded.is_some() || date <= answered, "it went too early");
        assert!(loaded.is_none() || asked < date, "it stayed too long");
        if loaded.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Saving it now would be too late.
    place.sessions.save(&session).await.unwrap();
    assert_eq!(place.sessions.load(&session.id).await.unwrap(), None);
}

pub(crate) async fn a_date_that_has_passed_keeps_nothing(place: Place) {
    let now = OffsetDateTime::now_utc();
    for date in [
        now,
        OffsetDateTime::UNIX_EPOCH,
        datetime!(-9999-01-01 0:00 UTC),
    ] {
        let mut over = record(HOUR);
        over.expiry_date = date;
        place.sessions.create(&mut over).await.unwrap();
        assert_eq!(place.sessions.load(&over.id).await.unwrap(), None);
        place.sessions.save(&over).await.unwrap();
        assert_eq!(place.sessions.load(&over.id).await.unwrap(), None);

        let mut session = record(HOUR);
        place.sessions.create(&mut session).await.unwrap();
        session.expiry_date = date;
        place.sessions.save(&session).await.unwrap();
        assert_eq!(place.sessions.load(&session.id).await.unwrap(), None);
    }
    assert_eq!(place.raw_keys().await, [""; 0]);
}

pub(crate) async fn the_far_future_is_a_date_too(place: Place) {
    let last = Date::from_calendar_date(9999, Month::December, 31).unwrap();
    let last = OffsetDateTime::new_utc(last, Time::from_hms_nano(23, 59, 59, 999_999_999).unwrap());
    let in_a_century = OffsetDateTime::now_utc() + 36_525 * 24 * HOUR;
    for date in [in_a_century, datetime!(2500-01-01 0:00 +5:30), last] {
        let mut session = record(HOUR);
        session.expiry_date = date;
        place.sessions.create(&mut session).await.unwrap();
        let loaded = place.sessions.load(&session.id).await.unwrap();
        assert_eq!(loaded, Some(session.clone()));
        place.sessions.save(&session).await.unwrap();
        assert_eq!(place.sessions.load(&session.id).await.unwrap(), loaded);
    }
}

pub(crate) async fn saving_changes_the_date(place: Place) {
    let mut short = record(Duration::from_secs(2));
    place.sessions.create(&mut short).await.unwrap();
    let mut long = record(HOUR);
    place.sessions.create(&mut long).await.unwrap();
    std::mem::swap(&mut short.expiry_date, &mut long.expiry_date);
    let (renewed, cut) = (short, long);
    place.sessions.save(&renewed).await.unwrap();
    place.sessions.save(&cut).await.unwrap();
    until("expiring", async || {
        place.sessions.load(&cut.id).await.unwrap().is_none()
    })
    .await;
    assert!(cut.expiry_date <= OffsetDateTime::now_utc());
    let loaded = place.sessions.load(&renewed.id).await.unwrap();
    assert_eq!(loaded, Some(renewed));
}

pub(crate) async fn what_has_expired_leaves_by_itself(place: Place) {
    let mut stays = record(HOUR);
    place.sessions.create(&mut stays).await.unwrap();
    for _ in 0..20 {
        let mut session = record(Duration::from_millis(800));
        place.sessions.create(&mut session).await.unwrap();
    }
    // Nobody asks for one of them.
    until("leaving", async || place.raw_keys().await.len() <= 1).await;
    assert_eq!(place.raw_keys().await, [stays.id.to_string()]);
}

pub(crate) async fn a_default_expiry_of_the_store_has_no_say(place: Place) {
    for default in [Expires::from(0), Expires::NEVER] {
        let place = Place::new(place.store.expires(default));
        let mut session = record(HOUR);
        place.sessions.create(&mut session).await.unwrap();
        place.sessions.save(&session).await.unwrap();
        let loaded = place.sessions.load(&session.id).await.unwrap();
        assert_eq!(loaded, Some(session.clone()));
        if place.store.capabilities().await.unwrap().ttl {
            let left = place.store.ttl(&session.id.to_string()).await.unwrap();
            let left = left.and_then(Expires::as_duration).expect("it expires");
            assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
        }
    }
}

/// Another program may have stored it so.
pub(crate) async fn the_date_counts_where_the_store_keeps_longer(place: Place) {
    let Record { id, data, .. } = record(HOUR);
    let kept = json!({ "data": data, "expiry_date": "2020-01-01T00:00:00Z" });
    place.store.set(&id.to_string(), &kept).await.unwrap();
    assert_eq!(place.sessions.load(&id).await.unwrap(), None);
}
