//! Every store keeps sessions as tower-sessions' own stores do, and better where those fall short.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "../backends/mod.rs"]
mod backends;
mod expiry;
mod properties;
mod records;

use std::time::{Duration, Instant};

use polystore_kv::Store;
use polystore_tower_sessions::Sessions;
use time::OffsetDateTime;
use tower_sessions::session::{Id, Record};

/// A test of each property on each store. Where a store's server is missing, that is said.
macro_rules! on_every_store {
    ($module:ident: $($property:ident)+) => {
        on_every_store!(@stores $module [$($property)+]
            memory file folder sqlite level redis postgres etcd http http_for_npm cloudflare);
    };
    (@stores $module:ident $properties:tt $($store:ident)+) => {
        mod $module {
            $(mod $store { on_every_store!(@tests $module $store $properties); })+
        }
    };
    (@tests $module:ident $store:ident [$($property:ident)+]) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $property() {
            if let Some(place) = crate::backends::$store().await {
                crate::$module::$property(crate::Place::new(place.store)).await;
            }
        })+
    };
}

// The modules of tests have the names of those with the properties.
mod on {
    on_every_store!(properties:
        a_session_is_created_saved_loaded_and_deleted
        a_taken_id_is_not_overwritten
        of_sessions_created_at_once_none_is_lost
        what_was_deleted_is_not_brought_back
        what_another_process_deleted_is_not_brought_back
        of_a_logout_among_many_changes_nothing_is_left
        what_follows_a_flush_is_another_session
        what_is_found_to_be_gone_is_not_saved_again
        an_id_that_a_client_made_up_is_not_saved
        tenants_do_not_see_each_other
        deleting_what_is_not_there_leaves_nothing
        expired_sessions_can_be_deleted_at_once
    );
    on_every_store!(expiry:
        a_session_is_there_until_its_date_and_not_after
        a_date_that_has_passed_keeps_nothing
        the_far_future_is_a_date_too
        saving_changes_the_date
        what_has_expired_leaves_by_itself
        a_default_expiry_of_the_store_has_no_say
        the_date_counts_where_the_store_keeps_longer
    );
    on_every_store!(records:
        data_come_back_as_they_were
        what_is_kept_is_documented_and_has_no_id
        what_is_no_session_counts_as_none
        what_has_no_json_form_is_an_encode_error
    );
}

/// Where the sessions of one test are.
struct Place {
    sessions: Sessions,
    store: Store,
}

impl Place {
    fn new(store: Store) -> Self {
        let sessions = Sessions::new(&store).expect("it is a store");
        Self { sessions, store }
    }

    /// The same store in another process, as far as this crate can tell.
    fn elsewhere(&self) -> Sessions {
        Sessions::new(&self.store).expect("it is a store")
    }

    /// What is in the store, expired or not.
    async fn raw_keys(&self) -> Vec<String> {
        use futures_util::TryStreamExt;
        use polystore_kv::Scan;

        // Where the store has it, in the same folder of tests: the prefix is this test's own.
        let (marker, key) = ("marker", Id::default().to_string());
        self.store.set(&key, marker).await.expect("it is set");
        let all = self.store.backend().scan(Scan::new().expiries(false));
        let all: Vec<_> = all.try_collect().await.expect("it lists");
        self.store.del(&key).await.expect("it is deleted");
        let full = all.iter().find(|(full, _)| full.ends_with(&key));
        let prefix = full.and_then(|(full, _)| full.strip_suffix(&key));
        let prefix = prefix.expect("it was just set");
        let keys = all.iter().filter_map(|(full, _)| full.strip_prefix(prefix));
        let keys = keys.filter(|it| *it != key && !it.ends_with(".ended"));
        keys.map(str::to_owned).collect()
    }

    /// The sessions that are there.
    async fn keys(&self) -> Vec<String> {
        let mut keys = self.store.keys().await.expect("it lists");
        keys.retain(|key| !key.ends_with(".ended"));
        keys
    }
}

/// A session that lasts for so long.
fn record(lasts: Duration) -> Record {
    Record {
        id: Id::default(),
        data: [("user".to_owned(), "Ada".into())].into(),
        expiry_date: OffsetDateTime::now_utc() + lasts,
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// Waits until `is_so` holds, which it must within a minute.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what} takes too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
