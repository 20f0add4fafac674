//! PostgreSQL stores as a program uses them: from several tasks, runtimes and clients.
#![cfg(all(feature = "deadpool-postgres-0_14", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use polystore_kv::{Error, ErrorKind, Result, Scan, Store, kv};
use polystore_servers::{Postgres, Proxy};

/// One server for all of these tests; each has tables of its own.
fn server() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
    SERVER.get_or_init(Postgres::start).as_ref()
}

fn store(server: &Postgres, query: &str) -> Store {
    kv(server.url_with(&format!("sslmode=disable&{query}"))).unwrap()
}

fn fails<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("that should fail"),
        Err(error) => error,
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not after 30 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn tasks_that_wait_share_statements() {
    let Some(server) = server() else { return };
    let proxy = Proxy::to(server.address());
    let store = kv(proxy.url(&server.url_with("sslmode=disable&table=shared"))).unwrap();
    let keys: Vec<String> = (0..64).map(|n| format!("key {n}")).collect();
    store
        .set_many(keys.iter().map(|key| (key, 1)))
        .await
        .unwrap();
    // What is done once a connection (logging in, preparing) is not what is measured.
    store.get::<u32>("key 1").await.unwrap();
    store.set("key 1", &1).await.unwrap();
    store.get_many::<u32>(&keys).await.unwrap();
    store.keys().await.unwrap();
    store.del_many(&["not there", "nor this"]).await.unwrap();

    let requests = || proxy.counts().requests;
    let before = requests();
    let found = join_all(keys.iter().map(|key| store.get::<u32>(key))).await;
    assert!(found.into_iter().all(|found| found.unwrap() == Some(1)));
    let gets = requests() - before;
    assert!(gets <= 6, "64 gets took {gets} requests");

    let before = requests();
    try_join_all(keys.iter().map(|key| store.set(key, &2).into_future()))
        .await
        .unwrap();
    let sets = requests() - before;
    assert!(sets <= 8, "64 sets took {sets} requests");

    let before = requests();
    assert_eq!(store.get_many::<u32>(&keys).await.unwrap().len(), 64);
    assert_eq!(store.keys().await.unwrap().len(), 64);
    store.del_many(&keys).await.unwrap();
    let group = requests() - before;
    // One by one they would be 192; what else the store sends meanwhile (a connection more, the
    // rows that have expired) is a few.
    assert!(group <= 24, "three group methods took {group} requests");
}

#[tokio::test]
async fn a_nul_is_refused_before_anything_is_sent() {
    // No server: nothing is sent.
    let store = kv("postgres://u@127.0.0.1:1/db?sslmode=disable").unwrap();
    assert_eq!(
        fails(store.set("a\0b", &1).await).kind(),
        ErrorKind::InvalidKey
    );
    assert_eq!(
        fails(store.get::<u32>("a\0b").await).kind(),
        ErrorKind::InvalidKey
    );
    assert_eq!(fails(store.del("a\0b").await).kind(), ErrorKind::InvalidKey);
    let Some(server) = server() else { return };
    let store = self::store(server, "table=nul");
    store.set("a", "nul: \0").await.unwrap();
    assert_eq!(store.get::<String>("a").await.unwrap().unwrap(), "nul: \0");
    assert_eq!(store.prefix("a\0").keys().await.unwrap().len(), 0);
    store.prefix("\0").clear().await.unwrap();
    let after = store
        .scan(Scan::new().after("a\0"))
        .try_next()
        .await
        .unwrap();
    assert!(after.is_none());
    let after = store
        .scan(Scan::new().after("A\0"))
        .try_next()
        .await
        .unwrap();
    assert_eq!(after.unwrap().0, "a");
}

#[tokio::test]
async fn expired_rows_leave_at_rest_and_only_in_a_store_that_writes() {
    let Some(server) = server() else { return };
    let store = store(server, "table=resting");
    assert_eq!(store.get::<u32>("x").await.unwrap(), None);
    server.sql("insert into resting select 'old' || n, '1', now() - interval '1 day' from generate_series(1, 1200) n");
    assert_eq!(store.keys().await.unwrap().len(), 0);
    assert_eq!(server.sql("select count(*) from resting"), ["1200"]);
    store.set("short", &1).expires("50ms").await.unwrap();
    store.set("long", &1).expires("1h").await.unwrap();
    until("all but one are gone", || {
        server.sql("select count(*) from resting") == ["1"]
    })
    .await;
    // What is locked by others is left to them.
    server.sql("insert into resting values ('late', '1', now() - interval '1 day')");
    assert_eq!(store.prune().await.unwrap(), 1);
}

#[tokio::test]
async fn given_clients_are_stores() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let mut config: tokio_postgres::Config = server.url().parse().unwrap();
    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
    let by_config = kv(config.clone()).unwrap();
    by_config.set("a", &1).await.unwrap();

    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let by_client = kv(client).unwrap();
    assert_eq!(by_client.get("a").await.unwrap(), Some(1));
    by_client.set("b", &2).expires("1h").await.unwrap();
    assert!(by_client.insert("c", &3).await.unwrap());
    assert_eq!(by_client.keys().await.unwrap(), ["a", "b", "c"]);

    let manager = deadpool_postgres::Manager::new(config, tokio_postgres::NoTls);
    let pool = deadpool_postgres::Pool::builder(manager)
        .max_size(1)
        .build()
        .unwrap();
    let by_pool = kv(pool.clone()).unwrap();
    let found = join_all((0..100).map(|_| by_pool.get::<u32>("b"))).await;
    assert!(found.into_iter().all(|found| found.unwrap() == Some(2)));
    let mut listing = by_pool.stream::<u32>();
    by_pool.set("d", &4).await.unwrap();
    assert!(listing.try_next().await.unwrap().is_some());
    let is_back = || pool.status().available == 1;
    until("the connection is given back", is_back).await;

    driver.abort();
    let error = loop {
        match by_client.get::<u32>("a").await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let error = fails(by_client.set("a", &2).await);
    assert!(error.to_string().contains("given"), "{error}");
    assert!(!error.is_retryable() && !error.is_maybe_applied());
    assert_eq!(by_config.get("a").await.unwrap(), Some(1));
}

#[test]
fn a_store_goes_from_one_runtime_to_another_and_needs_one() {
    let Some(server) = server() else { return };
    let store = store(server, "table=runtimes");
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    for round in 0..3 {
        let runtime = runtime();
        runtime.block_on(async {
            store.set("a", &round).expires("1h").await.unwrap();
            assert_eq!(store.get("a").await.unwrap(), Some(round));
            assert_eq!(store.keys().await.unwrap(), ["a"]);
        });
    }
    let error = fails(futures_executor::block_on(
        store.get::<u32>("a").into_future(),
    ));
    assert!(error.is_usage(), "{error:?}");
    let error = fails(futures_executor::block_on(store.keys()));
    assert!(error.is_usage(), "{error:?}");
}

#[tokio::test]
async fn close_finishes_what_is_under_way_and_ends_the_connections() {
    let Some(server) = server() else { return };
    let store = store(server, "table=closing&application_name=closing");
    store.set("warm", &1).expires("1h").await.unwrap();
    store.get::<u32>("warm").await.unwrap();
    store.keys().await.unwrap();
    let sets = (0..200).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.set(&n.to_string(), &n).await })
    });
    let sets: Vec<_> = sets.collect();
    tokio::task::yield_now().await;
    store.close().await.unwrap();
    let mut written = 1;
    for set in sets {
        match set.await.unwrap() {
            Ok(()) => written += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
        }
    }
    let open = "select count(*) from pg_stat_activity where application_name = 'closing'";
    until("no connection is left", || server.sql(open) == ["0"]).await;
    assert_eq!(
        server.sql("select count(*) from closing"),
        [written.to_string()]
    );
}

#[tokio::test]
async fn dropped_futures_leave_the_connection_usable_and_the_entry_old_or_new() {
    let Some(server) = server() else { return };
    let store = store(server, "table=dropped");
    store.set("a", &0).await.unwrap();
    let mut possible = vec![0_u32];
    for round in 1..200_u32 {
        let limit = Duration::from_micros(u64::from(round % 20) * 40);
        let done = tokio::time::timeout(limit, store.set("a", &round).into_future()).await;
        match done {
            Ok(done) => {
                done.unwrap();
                possible = vec![round];
            }
            Err(_) => possible.push(round),
        }
        let _ = tokio::time::timeout(limit, store.get::<u32>("a").into_future()).await;
        let _ = tokio::time::timeout(limit, store.keys()).await;
        let found = store.get::<u32>("a").await.unwrap().unwrap();
        assert!(possible.contains(&found), "{found} is none of {possible:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_write_the_same_keys_end() {
    let Some(server) = server() else { return };
    let stores: Vec<Store> = (0..4).map(|_| store(server, "table=contended")).collect();
    let tasks = stores.iter().enumerate().map(|(who, store)| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..20 {
                let keys: Vec<String> = (0..100)
                    .map(|n| format!("{}", (n * (who + 1) * 37 + round) % 100))
                    .collect();
                let sets = keys.iter().map(|key| async {
                    if key.ends_with('7') {
                        store.del(key).await
                    } else {
                        store.set(key, &round).expires("1h").await
                    }
                });
                try_join_all(sets).await?;
                store.set_many(keys.iter().map(|key| (key, round))).await?;
                store.del_many(&keys[..30]).await?;
            }
            Ok::<_, Error>(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_write_remove_and_touch_the_same_keys_do_not_deadlock() {
    let Some(server) = server() else { return };
    server.sql("create database crowd");
    let url = server.database_url("crowd");
    let stores: Vec<Store> = (0..4).map(|_| kv(url.as_str()).unwrap()).collect();
    stores[0].set("first", &1).await.unwrap();
    let work = stores.iter().enumerate().map(|(number, store)| async move {
        for round in 0..60 {
            // The same keys, each time beginning elsewhere.
            let begin = round * 7 + number * 13;
            let keys: Vec<String> = (0..50).map(|at| ((begin + at) % 60).to_string()).collect();
            match (round + number) % 3 {
                0 => {
                    let entries = keys.iter().map(|key| (key, round));
                    store.set_many(entries).await.unwrap();
                }
                1 => store.del_many(&keys).await.unwrap(),
                _ => {
                    let touched = join_all(keys.iter().map(|key| store.touch(key, "1h"))).await;
                    assert!(touched.iter().all(Result::is_ok));
                }
            }
        }
        store.close().await.unwrap();
    });
    join_all(work).await;
    // The server counts them when a connection has ended.
    let connected = "select count(*) from pg_stat_activity where datname = 'crowd'";
    until("the connections end", || server.sql(connected) == ["0"]).await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = 'crowd'";
    assert_eq!(server.sql(deadlocks), ["0"]);
}
