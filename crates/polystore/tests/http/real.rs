//! The real server, and how many requests it gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{self, Next};
use futures_util::future::{join_all, try_join_all};
use polystore_kv::{ErrorKind, Scan, Store, kv};
use tokio::net::TcpListener;

use super::fails;

/// How many requests have come.
type Count = Arc<AtomicUsize>;

/// A server on memory, each of whose replies takes a while, and a store there.
async fn served(pause: Duration) -> (Store, Count, Store) {
    let count = Count::default();
    let counted = Arc::clone(&count);
    let behind = kv("memory:").unwrap();
    let counting = middleware::from_fn(move |request: Request, next: Next| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(pause).await;
            next.run(request).await
        }
    });
    let router = polystore_server::router(behind.clone()).layer(counting);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let store = kv(format!("http://{address}/")).unwrap();
    store.capabilities().await.unwrap();
    count.store(0, Ordering::SeqCst);
    (store, count, behind)
}

const SOME: Duration = Duration::from_millis(5);

#[tokio::test]
async fn what_waits_goes_in_a_handful_of_requests() {
    let (store, count, _) = served(SOME).await;
    let keys: Vec<String> = (0..64).map(|n| format!("k{n}")).collect();
    try_join_all(keys.iter().map(|key| store.set(key, key)))
        .await
        .unwrap();
    let sets = count.swap(0, Ordering::SeqCst);
    assert!(sets <= 4, "{sets} requests for 64 sets");
    let got = try_join_all(keys.iter().map(|key| store.get::<String>(key)))
        .await
        .unwrap();
    assert!(
        got.iter()
            .zip(&keys)
            .all(|(got, key)| got.as_ref() == Some(key))
    );
    let gets = count.swap(0, Ordering::SeqCst);
    assert!(gets <= 8, "{gets} requests for 64 gets");
    let same = try_join_all((0..64).map(|_| store.get::<String>("k1")))
        .await
        .unwrap();
    assert!(same.iter().all(|got| got.as_deref() == Some("k1")));
    let gets = count.swap(0, Ordering::SeqCst);
    assert!(gets <= 8, "{gets} requests for 64 gets of one key");
    try_join_all(keys.iter().map(|key| store.del(key)))
        .await
        .unwrap();
    let dels = count.swap(0, Ordering::SeqCst);
    assert!(dels <= 4, "{dels} requests for 64 dels");

    let many: Vec<_> = (0..900).map(|n| (n.to_string(), n)).collect();
    store.set_many(many.clone()).await.unwrap();
    let found = store
        .get_many::<u32>(many.iter().map(|(key, _)| key))
        .await
        .unwrap();
    assert_eq!(found.len(), 900);
    store
        .del_many(many.iter().map(|(key, _)| key))
        .await
        .unwrap();
    assert_eq!(count.swap(0, Ordering::SeqCst), 3);
    assert!(store.keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn writes_to_a_key_keep_their_order() {
    let (store, _, _) = served(SOME).await;
    for round in 0..20 {
        let (set, insert, touch, del, replace, last) = tokio::join!(
            store.set("a", &1),
            store.insert("a", &2),
            store.touch("a", "1h"),
            store.del("a"),
            store.replace("a", &4),
            store.insert("a", &3),
        );
        set.unwrap();
        del.unwrap();
        assert_eq!(
            (
                insert.unwrap(),
                touch.unwrap(),
                replace.unwrap(),
                last.unwrap()
            ),
            (false, true, false, true)
        );
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(3), "{round}");
        let sets = join_all((0..50).map(|n| store.set("a", &n)));
        assert!(sets.await.iter().all(Result::is_ok));
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(49), "{round}");
        store.clear().await.unwrap();
    }
}

#[tokio::test]
async fn one_bad_write_or_read_is_not_the_others_error() {
    let (store, _, behind) = served(SOME).await;
    let long = "x".repeat(10_000);
    let broken = polystore_kv::Entry::from_stored("{no json", polystore_kv::Expiry::Never);
    behind.backend().set("broken", broken).await.unwrap();
    let (a, b, c, d) = tokio::join!(
        store.set("a", &1),
        store.set(&long, &1),
        store.set("b", &2),
        store.set_many([("c", 3)]),
    );
    for result in [a, c, d] {
        result.unwrap();
    }
    fails(b, ErrorKind::InvalidKey);
    let (a, b, broken, long) = tokio::join!(
        store.get::<u8>("a"),
        store.get::<u8>("b"),
        store.get::<u8>("broken"),
        store.get::<u8>(&long),
    );
    assert_eq!((a.unwrap(), b.unwrap()), (Some(1), Some(2)));
    fails(broken, ErrorKind::Corrupt);
    fails(long, ErrorKind::InvalidKey);
}

#[tokio::test]
async fn hostile_keys_and_values_arrive_as_they_are() {
    let (store, _, behind) = served(Duration::ZERO).await;
    let keys = [
        "",
        ".",
        "..",
        "ping",
        "_",
        "/",
        "_/get",
        "a/../b",
        "%2e%2e",
        "?x=1&y",
        "#",
        "+ +",
        "\\",
        "__proto__",
        "\u{0}",
        "\r\n",
        "é",
        "e\u{301}",
        "😀",
        "\"",
        "a;b",
        "..%2f",
        "*'()!~",
    ];
    for key in keys {
        store.set(key, key).await.unwrap();
        assert_eq!(
            store.get::<String>(key).await.unwrap().as_deref(),
            Some(key)
        );
        assert!(store.has(key).await.unwrap(), "{key:?}");
        assert_eq!(
            behind.get::<String>(key).await.unwrap().as_deref(),
            Some(key)
        );
    }
    assert_eq!(store.keys().await.unwrap(), behind.keys().await.unwrap());
    let together = store.get_many::<String>(keys).await.unwrap();
    assert!(together.len() == keys.len() && together.iter().all(|(key, value)| key == value));
    for key in keys {
        let below = store.prefix(key);
        assert_eq!(
            below.keys().await.unwrap(),
            behind.prefix(key).keys().await.unwrap()
        );
        store.del(key).await.unwrap();
    }
    assert!(behind.keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_long_listing_comes_piece_by_piece() {
    let (store, count, behind) = served(Duration::ZERO).await;
    let many = (0..20_000).map(|n| (format!("p:{n:05}"), "x".repeat(200)));
    behind.set_many(many).await.unwrap();
    let mut page = store.prefix("p:").scan(Scan::new().after("00009").limit(3));
    let mut keys = Vec::new();
    while let Some((key, _)) = page.try_next().await.unwrap() {
        keys.push(key);
    }
    assert_eq!(keys, ["00010", "00011", "00012"]);
    let mut all = store.stream::<String>();
    let mut seen = 0;
    while let Some((key, value)) = all.try_next().await.unwrap() {
        assert_eq!((key, value.len()), (format!("p:{seen:05}"), 200));
        seen += 1;
    }
    assert_eq!((seen, count.load(Ordering::SeqCst)), (20_000, 2));
}

#[tokio::test]
async fn closing_waits_for_what_is_under_way() {
    let (store, _, behind) = served(Duration::from_millis(100)).await;
    let (sets, cleared, closed) = tokio::join!(
        join_all((0..5).map(|n| {
            let store = store.prefix("a");
            async move { store.set(&n.to_string(), &n).await }
        })),
        async { store.prefix("b").clear().await },
        async {
            tokio::task::yield_now().await;
            store.close().await
        },
    );
    closed.unwrap();
    cleared.unwrap();
    assert!(sets.iter().all(Result::is_ok), "{sets:?}");
    assert_eq!(behind.keys().await.unwrap().len(), 5);
    fails(store.get::<u8>("a").await, ErrorKind::Closed);
}
