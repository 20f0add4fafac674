//! What tower-sessions asks of a store.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use polystore_tower_sessions::Sessions;
use tower_sessions::session::{Id, Record};
use tower_sessions::{ExpiredDeletion, Session, SessionStore};

use crate::{HOUR, Place, record};

pub(crate) async fn a_session_is_created_saved_loaded_and_deleted(place: Place) {
    let sessions = place.sessions;
    let mut session = record(HOUR);
    let id = session.id;
    assert_eq!(sessions.load(&id).await.unwrap(), None);
    sessions.create(&mut session).await.unwrap();
    assert_eq!(session.id, id, "a free id is taken as it is");
    assert_eq!(sessions.load(&id).await.unwrap(), Some(session.clone()));

    session.data.insert("count".to_owned(), 1.into());
    session.data.remove("user");
    session.expiry_date += HOUR;
    sessions.save(&session).await.unwrap();
    assert_eq!(sessions.load(&id).await.unwrap(), Some(session.clone()));

    session.data.clear();
    sessions.save(&session).await.unwrap();
    assert_eq!(sessions.load(&id).await.unwrap(), Some(session));

    sessions.delete(&id).await.unwrap();
    assert_eq!(sessions.load(&id).await.unwrap(), None);
}

pub(crate) async fn a_taken_id_is_not_overwritten(place: Place) {
    if !place.store.capabilities().await.unwrap().insert {
        // There the 128 random bits stand in for it, as the documentation says.
        return;
    }
    let mut first = record(HOUR);
    place.sessions.create(&mut first).await.unwrap();
    let mut second = Record {
        data: [("user".to_owned(), "Bob".into())].into(),
        ..first.clone()
    };
    place.elsewhere().create(&mut second).await.unwrap();
    assert_ne!(second.id, first.id);
    for session in [first, second] {
        let loaded = place.sessions.load(&session.id).await.unwrap();
        assert_eq!(loaded, Some(session));
    }
}

pub(crate) async fn of_sessions_created_at_once_none_is_lost(place: Place) {
    let has_insert = place.store.capabilities().await.unwrap().insert;
    let same = Id::default();
    let create = |user: u32| {
        let sessions = place.elsewhere();
        async move {
            let mut session = record(HOUR);
            session.data.insert("user".to_owned(), user.into());
            if has_insert {
                session.id = same;
            }
            sessions.create(&mut session).await.unwrap();
            session
        }
    };
    let created = join_all((0..16).map(create)).await;
    let ids: HashSet<Id> = created.iter().map(|session| session.id).collect();
    assert_eq!(ids.len(), 16);
    assert_eq!(ids.contains(&same), has_insert, "one of them got it");
    for session in created {
        let loaded = place.sessions.load(&session.id).await.unwrap();
        assert_eq!(loaded, Some(session));
    }
}

pub(crate) async fn what_was_deleted_is_not_brought_back(place: Place) {
    let sessions = place.sessions;
    let mut session = record(HOUR);
    sessions.create(&mut session).await.unwrap();
    let loaded = sessions.load(&session.id).await.unwrap().unwrap();
    sessions.delete(&session.id).await.unwrap();
    sessions.save(&loaded).await.unwrap();
    assert_eq!(sessions.load(&session.id).await.unwrap(), None);
}

pub(crate) async fn what_another_process_deleted_is_not_brought_back(place: Place) {
    let mut session = record(HOUR);
    place.sessions.create(&mut session).await.unwrap();
    // One that has loaded it, one that has not.
    let (under_way, new) = (place.elsewhere(), place.elsewhere());
    let loaded = under_way.load(&session.id).await.unwrap().unwrap();
    place.elsewhere().delete(&session.id).await.unwrap();
    for other in [under_way, new, place.elsewhere()] {
        other.save(&loaded).await.unwrap();
        assert_eq!(other.load(&session.id).await.unwrap(), None);
    }
    assert_eq!(place.keys().await, [""; 0]);
    if place.store.capabilities().await.unwrap().replace {
        let left = place.store.keys().await.unwrap();
        assert_eq!(left, [""; 0], "not even a mark");
    }
}

pub(crate) async fn of_a_logout_among_many_changes_nothing_is_left(place: Place) {
    for round in 0..8 {
        let mut session = record(HOUR);
        place.sessions.create(&mut session).await.unwrap();
        let (session, other) = (&session, &place.elsewhere());
        let requests = (0..8).map(|number| async move {
            match number {
                _ if number == round => other.delete(&session.id).await.unwrap(),
                _ => other.save(session).await.unwrap(),
            }
        });
        join_all(requests).await;
        let left = place.sessions.load(&session.id).await.unwrap();
        assert_eq!(left, None, "round {round}");
    }
    assert_eq!(place.keys().await, [""; 0]);
}

pub(crate) async fn what_is_found_to_be_gone_is_not_saved_again(place: Place) {
    let mut session = record(HOUR);
    place.sessions.create(&mut session).await.unwrap();
    // Without a word to anybody, as what expires or is evicted.
    place.store.del(&session.id.to_string()).await.unwrap();
    assert_eq!(place.sessions.load(&session.id).await.unwrap(), None);
    place.sessions.save(&session).await.unwrap();
    assert_eq!(place.sessions.load(&session.id).await.unwrap(), None);
}

pub(crate) async fn an_id_that_a_client_made_up_is_not_saved(place: Place) {
    let made_up = record(HOUR);
    assert_eq!(place.sessions.load(&made_up.id).await.unwrap(), None);
    place.sessions.save(&made_up).await.unwrap();
    assert_eq!(place.sessions.load(&made_up.id).await.unwrap(), None);
    assert_eq!(place.keys().await, [""; 0]);
}

pub(crate) async fn tenants_do_not_see_each_other(place: Place) {
    let tenant = |name: &str| Sessions::new(place.store.prefix(name)).unwrap();
    let (shop, blog) = (tenant("shop:"), tenant("blog:"));
    let mut of_shop = record(HOUR);
    let mut of_blog = Record {
        data: [("user".to_owned(), "Bob".into())].into(),
        ..of_shop.clone()
    };
    shop.create(&mut of_shop).await.unwrap();
    assert_eq!(blog.load(&of_shop.id).await.unwrap(), None);
    blog.save(&of_shop).await.unwrap();
    assert_eq!(blog.load(&of_shop.id).await.unwrap(), None);

    blog.create(&mut of_blog).await.unwrap();
    assert_eq!(of_blog.id, of_shop.id, "it is free there");
    blog.delete(&of_shop.id).await.unwrap();
    let loaded = shop.load(&of_shop.id).await.unwrap();
    assert_eq!(loaded.as_ref(), Some(&of_shop));
    assert_eq!(place.keys().await, [format!("shop:{}", of_shop.id)]);
}

pub(crate) async fn deleting_what_is_not_there_leaves_nothing(place: Place) {
    place.sessions.delete(&Id::default()).await.unwrap();
    // Not even a mark, with which anybody could fill the store.
    assert_eq!(place.store.keys().await.unwrap(), [""; 0]);
}

pub(crate) async fn expired_sessions_can_be_deleted_at_once(place: Place) {
    let mut session = record(HOUR);
    place.sessions.create(&mut session).await.unwrap();
    place.sessions.delete_expired().await.unwrap();
    let loaded = place.sessions.load(&session.id).await.unwrap();
    assert_eq!(loaded, Some(session));
}

/// Through tower-sessions itself, which keeps the id of a session that it flushes for what comes next.
pub(crate) async fn what_follows_a_flush_is_another_session(place: Place) {
    let store = Arc::new(place.sessions.clone());
    let session = |id| Session::new(id, store.clone(), None);
    let login = session(None);
    login.insert("user", "Ada").await.unwrap();
    login.save().await.unwrap();
    let id = login.id();

    let under_way = session(id);
    assert_eq!(
        under_way.get::<String>("user").await.unwrap().as_deref(),
        Some("Ada")
    );
    let logout = session(id);
    logout.flush().await.unwrap();
    logout.insert("message", "bye").await.unwrap();
    logout.save().await.unwrap();
    assert_ne!(logout.id(), id);
    under_way.insert("seen", 1).await.unwrap();
    under_way.save().await.unwrap();
    assert_eq!(place.sessions.load(&id.unwrap()).await.unwrap(), None);

    // It lasts, and is nobody's whose cookie was there before.
    let next = session(logout.id());
    next.insert("visits", 1).await.unwrap();
    next.save().await.unwrap();
    let next = session(logout.id());
    assert_eq!(
        next.get::<String>("message").await.unwrap().as_deref(),
        Some("bye")
    );
    assert_eq!(next.get::<u32>("visits").await.unwrap(), Some(1));
}
