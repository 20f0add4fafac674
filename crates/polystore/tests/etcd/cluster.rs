//! Three members, of which some go.

use std::time::{Duration, Instant};

use polystore_kv::{ErrorKind, kv};
use polystore_servers::EtcdCluster;

use super::load::Load;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_killed_under_load_is_replaced_by_another() {
    let Some(cluster) = EtcdCluster::start() else {
        return;
    };
    let store = kv(cluster.url()).unwrap();
    store.set("a", &1).await.unwrap();
    let load = Load::start(&store);
    // Each in turn, so the one that is in use, too, and the leader.
    for member in cluster.members() {
        load.goes_on(50).await;
        member.kill();
        load.goes_on(50).await;
        member.start_again();
        cluster.wait_until_healthy();
    }
    let leader = cluster.leader().unwrap();
    cluster.members()[leader].kill();
    load.goes_on(50).await;
    let errors = load.end().await;
    // Only what is never sent twice may have failed: inserts, and writes after silence.
    for error in &errors {
        let is_insert = error.operation() == Some("insert");
        let is_silence = error.kind() == ErrorKind::Timeout;
        assert!(is_insert || is_silence, "{error:?}");
        assert!(
            error.is_retryable() && error.is_maybe_applied(),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_hangs_is_left_for_another() {
    let Some(cluster) = EtcdCluster::start() else {
        return;
    };
    let store = kv(cluster.url_with("timeout=10s")).unwrap();
    store.set("a", &0).await.unwrap();
    for (member, n) in cluster.members().iter().zip(1..) {
        member.pause();
        let begun = Instant::now();
        // What it was asked it may do when it goes on: over what comes now, had it been done
        // again elsewhere and acknowledged.
        if let Err(error) = store.set("a", &-1).await {
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert!(
                error.is_retryable() && error.is_maybe_applied(),
                "{error:?}"
            );
        }
        // A paused leader takes an election, too.
        store.set("a", &n).await.unwrap();
        assert_eq!(store.get("a").await.unwrap(), Some(n));
        assert!(begun.elapsed() < Duration::from_secs(25));
        member.resume();
        cluster.wait_until_healthy();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_down_from_the_beginning_does_not_matter() {
    let Some(cluster) = EtcdCluster::start() else {
        return;
    };
    cluster.members()[1].kill();
    let [first, .., last] = cluster.members() else {
        unreachable!()
    };
    super::until("the others have a leader", async || {
        first.is_healthy() && last.is_healthy()
    })
    .await;
    // Wherever each begins.
    for n in 0..8 {
        let begun = Instant::now();
        let store = kv(cluster.url()).unwrap();
        store.set("a", &n).await.unwrap();
        assert_eq!(store.get("a").await.unwrap(), Some(n));
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_errors_name_it_until_there_is_one_again() {
    let Some(cluster) = EtcdCluster::start() else {
        return;
    };
    let store = kv(cluster.url_with("timeout=2s")).unwrap();
    store.set("a", &1).await.unwrap();
    let load = Load::start(&store);
    load.goes_on(20).await;
    let [one, other, rest] = cluster.members() else {
        unreachable!()
    };
    one.kill();
    other.kill();
    super::until("the last member knows", async || !rest.is_healthy()).await;

    let begun = Instant::now();
    for error in [
        store.get::<i32>("a").await.unwrap_err(),
        store.set("a", &2).await.unwrap_err(),
        store.keys().await.unwrap_err(),
    ] {
        let kinds = [ErrorKind::Unreachable, ErrorKind::Timeout];
        assert!(
            kinds.contains(&error.kind()) && error.is_retryable(),
            "{error:?}"
        );
    }
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    // Who comes now is told why.
    let new = kv(format!("etcd://{}", rest.address())).unwrap();
    let error = new.get::<i32>("a").await.unwrap_err();
    assert!(error.to_string().contains("leader"), "{error:?}");
    assert!(
        error.is_retryable() && !error.is_maybe_applied(),
        "{error:?}"
    );

    other.start_again();
    load.goes_on(50).await;
    one.start_again();
    assert!(!load.end().await.is_empty());
    assert!(store.get::<i32>("a").await.unwrap().is_some());
}
