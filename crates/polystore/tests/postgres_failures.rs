//! What a PostgreSQL store does when its server, the network or the URL fails.
#![cfg(all(feature = "deadpool-postgres-0_14", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use polystore_kv::{Error, ErrorKind, Result, Store, kv};
use polystore_servers::{Certificates, PgBouncer, Postgres, Proxy, Tls};

const PASSWORD: &str = "hunter2secret";

fn fails<T>(result: Result<T>) -> Error {
    let error = match result {
        Ok(_) => panic!("that should fail"),
        Err(error) => error,
    };
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert!(!shown.contains("postgres://"), "{shown}");
    error
}

/// Tasks that each write their own keys, one after another, until they are told to stop. Gives what was
/// acknowledged: a number for each task.
async fn load(store: &Store, trouble: impl AsyncFnOnce()) -> Vec<(u32, u32)> {
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = (0..16_u32).map(|task| {
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut acknowledged, mut failed) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let number: u32 = acknowledged + 1;
                match store.set(&format!("{task}:{number}"), &number).await {
                    Ok(()) => acknowledged = number,
                    Err(error) => {
                        assert!(error.is_connection() && error.is_retryable(), "{error:?}");
                        failed += 1;
                    }
                }
                match store.get::<u32>(&format!("{task}:{acknowledged}")).await {
                    Ok(found) => assert_eq!(found, (acknowledged > 0).then_some(acknowledged)),
                    Err(error) => assert!(error.is_retryable(), "{error:?}"),
                }
            }
            (acknowledged, failed)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    trouble().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    for (task, (acknowledged, _)) in done.iter().enumerate() {
        assert!(*acknowledged > 0, "task {task} did nothing");
        for number in 1..=*acknowledged {
            let found = store.get::<u32>(&format!("{task}:{number}")).await.unwrap();
            assert_eq!(found, Some(number), "{task}:{number} was acknowledged");
        }
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_and_starts_loses_nothing_acknowledged() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let store = kv(server.url_with("sslmode=disable&timeout=20s")).unwrap();
    load(&store, async || {
        server.stop();
        server.start_again();
    })
    .await;
    load(&store, async || {
        server.kill();
        server.start_again();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_under_load_are_replaced() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let proxy = Proxy::to(server.address());
    let store = kv(proxy.url(&server.url_with("sslmode=disable"))).unwrap();
    let done = load(&store, async || {
        for round in 0..20 {
            if round % 2 == 0 {
                proxy.cut();
            } else {
                proxy.cut_after(100 * round);
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    })
    .await;
    let failed: u32 = done.iter().map(|(_, failed)| failed).sum();
    assert_eq!(failed, 0, "writes that can be repeated are");

    // A listing goes on where it was.
    let mut stream = Box::pin(store.keys());
    let keys = tokio::time::timeout(Duration::from_secs(20), &mut stream).await;
    assert!(!keys.unwrap().unwrap().is_empty());
}

/// Whether anything goes through.
async fn is_busy(proxy: &Proxy) -> bool {
    let before = proxy.counts();
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.counts().requests != before.requests
}

#[tokio::test]
async fn an_insert_that_was_cut_in_its_reply_is_not_repeated() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let proxy = Proxy::to(server.address());
    let store = kv(proxy.url(&server.url_with("sslmode=disable"))).unwrap();
    assert!(store.insert("warm", &1).await.unwrap());
    // The search for what has expired, which a first write begins, is over.
    let deadline = Instant::now() + Duration::from_secs(20);
    while proxy.open_connections() < 2 || is_busy(&proxy).await {
        assert!(Instant::now() < deadline, "it is not quiet");
    }
    proxy.cut_after(8);
    let error = fails(store.insert("a", &1).await);
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(
        error.is_maybe_applied() && error.is_retryable(),
        "{error:?}"
    );
    assert!(
        !store.insert("a", &2).await.unwrap(),
        "the first one was done"
    );
    assert_eq!(store.get("a").await.unwrap(), Some(1));
    proxy.cut_after(8);
    store.set("a", &3).await.unwrap();
    assert!(store.replace("a", &4).await.unwrap());
    proxy.cut_after(8);
    assert!(store.replace("a", &3).await.unwrap());
    proxy.cut_after(8);
    assert_eq!(store.get("a").await.unwrap(), Some(3));
}

#[tokio::test]
async fn a_black_hole_ends_in_a_timeout() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let proxy = Proxy::to(server.address());
    let url = proxy.url(&server.url_with("sslmode=disable&timeout=500ms"));
    let store = kv(&url).unwrap();
    store.set("a", &1).await.unwrap();
    store.get::<u32>("a").await.unwrap();
    store.keys().await.unwrap();
    proxy.black_hole();
    let begun = Instant::now();
    let error = fails(store.get::<u32>("a").await);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(!error.is_maybe_applied());
    let error = fails(store.set("a", &2).await);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.is_maybe_applied() && error.is_retryable());
    let error = fails(store.keys().await);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let error = fails(store.clear().await);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let new = kv(&url).unwrap();
    assert_eq!(fails(new.get::<u32>("a").await).kind(), ErrorKind::Timeout);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    proxy.pass();
    assert!(store.get::<u32>("a").await.unwrap().is_some());
    store.set("a", &3).await.unwrap();
    assert_eq!(store.keys().await.unwrap(), ["a"]);
    assert_eq!(new.get("a").await.unwrap(), Some(3));
}

#[tokio::test]
async fn what_waits_for_a_lock_is_given_up_by_the_server_too() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let store = kv(server.url_with("sslmode=disable&timeout=700ms")).unwrap();
    store.set("a", &1).await.unwrap();
    let (client, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("begin; update kv set value = '5' where id = 'a'")
        .await
        .unwrap();
    let error = fails(store.set("a", &2).await);
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.sql(waiting) != ["0"] {
        assert!(Instant::now() < deadline, "it still waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.batch_execute("commit").await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(5));
    store.set("a", &3).await.unwrap();
}

#[tokio::test]
async fn a_wrong_address_user_password_or_database_is_told_at_once() {
    let Some(server) = Postgres::builder().password(PASSWORD).start() else {
        return;
    };
    let at = server.address();
    let good = kv(server.url_with("sslmode=disable")).unwrap();
    good.set("a", &1).await.unwrap();
    for (url, kind) in [
        (
            format!("postgres://postgres:{PASSWORD}x@{at}/postgres"),
            ErrorKind::Denied,
        ),
        (
            format!("postgres://postgres@{at}/postgres"),
            ErrorKind::Denied,
        ),
        (
            format!("postgres://nobody:{PASSWORD}@{at}/postgres"),
            ErrorKind::Denied,
        ),
        (
            format!("postgres://postgres:{PASSWORD}@{at}/absent"),
            ErrorKind::Unreachable,
        ),
        (
            format!("postgres://postgres:{PASSWORD}@127.0.0.1:1/x"),
            ErrorKind::Unreachable,
        ),
        (
            format!("postgres://postgres:{PASSWORD}@no-such-host.invalid/x"),
            ErrorKind::Unreachable,
        ),
    ] {
        let begun = Instant::now();
        let store = kv(format!("{url}?sslmode=disable")).unwrap();
        let error = fails(store.set("a", &1).await);
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(!error.is_maybe_applied());
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(fails(store.keys().await).kind(), kind);
    }
}

#[tokio::test]
async fn one_of_several_hosts_may_be_down() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let at = server.address();
    let store = kv(format!(
        "postgres://postgres@127.0.0.1:1,{at}/postgres?target_session_attrs=read-write"
    ))
    .unwrap();
    store.set("a", &1).await.unwrap();
    let socket = server.folder().to_string_lossy().replace('/', "%2F");
    let port = at.port();
    for url in [
        format!("postgres://postgres@{socket}:{port}/postgres"),
        format!("postgresql:///postgres?user=postgres&host={socket}&port={port}"),
    ] {
        let store = kv(url).unwrap();
        assert_eq!(store.get("a").await.unwrap(), Some(1));
    }
}

#[tokio::test]
async fn tls_checks_what_sslmode_says() {
    let Some(server) = Postgres::builder()
        .password(PASSWORD)
        .tls(Tls::new())
        .start()
    else {
        return;
    };
    let (ca, untrusted) = {
        let files: &Certificates = server.certificates().unwrap();
        (files.ca(), files.untrusted_ca())
    };
    let (ca, untrusted) = (ca.display(), untrusted.display());
    for query in [
        String::new(),
        "sslmode=prefer".into(),
        "sslmode=require".into(),
        format!("sslmode=require&sslrootcert={ca}"),
        format!("sslmode=verify-ca&sslrootcert={ca}"),
        format!("sslmode=verify-full&sslrootcert={ca}"),
        format!("sslrootcert={ca}"),
    ] {
        let store = kv(server.url_with(&query)).unwrap();
        store.set("a", &1).await.unwrap();
        let encrypted = "select count(*) > 0 from pg_stat_ssl where ssl";
        assert_eq!(server.sql(encrypted), ["t"], "{query}");
        store.close().await.unwrap();
    }
    for query in [
        format!("sslmode=require&sslrootcert={untrusted}"),
        format!("sslmode=verify-ca&sslrootcert={untrusted}"),
        format!("sslrootcert={untrusted}"),
        "sslmode=verify-full".into(),
    ] {
        let store = kv(server.url_with(&query)).unwrap();
        let error = fails(store.set("a", &1).await);
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{query}: {error:?}");
        assert!(!error.is_retryable(), "{query}: {error:?}");
        assert!(
            error.to_string().contains("certificate"),
            "{query}: {error}"
        );
    }

    let Some(plain) = Postgres::start() else {
        return;
    };
    let error = fails(
        kv(plain.url_with("sslmode=require"))
            .unwrap()
            .set("a", &1)
            .await,
    );
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    assert!(error.to_string().contains("TLS"), "{error}");
    kv(plain.url()).unwrap().set("a", &1).await.unwrap();
}

#[tokio::test]
async fn the_name_in_a_certificate_is_only_for_verify_full() {
    let tls = Tls::new().for_another_host();
    let Some(server) = Postgres::builder().tls(tls).start() else {
        return;
    };
    let ca = server.certificates().unwrap().ca();
    let ca = ca.display();
    let store = kv(server.url_with(&format!("sslmode=verify-ca&sslrootcert={ca}"))).unwrap();
    store.set("a", &1).await.unwrap();
    let store = kv(server.url_with(&format!("sslmode=verify-full&sslrootcert={ca}"))).unwrap();
    assert_eq!(
        fails(store.set("a", &1).await).kind(),
        ErrorKind::Unreachable
    );
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_asked_for() {
    let Some(server) = Postgres::builder().tls(Tls::new().asking_clients()).start() else {
        return;
    };
    let files = server.certificates().unwrap();
    let (ca, certificate, key) = (files.ca(), files.client_certificate(), files.client_key());
    let (ca, certificate, key) = (ca.display(), certificate.display(), key.display());
    let query = format!("sslrootcert={ca}&sslcert={certificate}&sslkey={key}");
    kv(server.url_with(&query))
        .unwrap()
        .set("a", &1)
        .await
        .unwrap();
    let without = kv(server.url_with(&format!("sslrootcert={ca}"))).unwrap();
    let error = fails(without.set("a", &1).await);
    assert!(error.is_connection() && !error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_server_that_can_only_be_read_says_so() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.url_with("sslmode=disable");
    let store = kv(&url).unwrap();
    store.set("a", &1).await.unwrap();
    let only = kv(format!(
        "{url}&options=-c%20default_transaction_read_only%3Don"
    ))
    .unwrap();
    assert_eq!(only.get("a").await.unwrap(), Some(1));
    assert_eq!(only.keys().await.unwrap(), ["a"]);
    for error in [
        fails(only.set("a", &2).await),
        fails(only.insert("b", &2).await),
        fails(only.replace("a", &2).await),
        fails(only.clear().await),
    ] {
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
        assert!(
            !error.is_retryable() && !error.is_maybe_applied(),
            "{error:?}"
        );
    }
    assert_eq!(store.get("a").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_server_without_connections_or_rights_says_so() {
    let server = Postgres::builder()
        .setting("max_connections", "8")
        .setting("superuser_reserved_connections", "3");
    let Some(server) = server.start() else { return };
    server.sql("create role ada login password 'x'");
    server
        .sql("create table kv (id text primary key, value text not null, expires_at timestamptz)");
    server.sql("grant select on kv to ada");
    let url = format!(
        "{}?sslmode=disable&timeout=700ms",
        server.url_as("ada", "x")
    );
    let store = kv(&url).unwrap();
    assert_eq!(store.get::<u32>("a").await.unwrap(), None);
    let error = fails(store.set("a", &1).await);
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(!error.is_maybe_applied());

    let config: tokio_postgres::Config = server.url_as("ada", "x").parse().unwrap();
    let mut held = Vec::new();
    while let Ok((client, connection)) = config.connect(tokio_postgres::NoTls).await {
        held.push((client, tokio::spawn(connection)));
    }
    let other = kv(&url).unwrap();
    let error = fails(other.get::<u32>("a").await);
    assert_eq!(error.kind(), ErrorKind::Throttled, "{error:?}");
    assert!(error.is_retryable());
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(20);
    while other.get::<u32>("a").await.is_err() {
        assert!(Instant::now() < deadline, "it never came back");
    }
}

#[tokio::test]
async fn a_pooler_that_lost_its_server_is_a_connection_error_that_passes() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let Some(pooler) = PgBouncer::start(&server, "transaction") else {
        return;
    };
    let store = kv(pooler.url_with("pooler=transaction&timeout=20s")).unwrap();
    load(&store, async || {
        server.stop();
        server.start_again();
    })
    .await;
}

#[tokio::test]
async fn what_the_server_says_becomes_a_kind_and_what_passes_is_tried_again() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let store = kv(server.url_with("sslmode=disable")).unwrap();
    store.capabilities().await.unwrap();
    server.sql("create sequence tries");
    server.sql(
        "create function fail() returns trigger language plpgsql as $$ begin \
         if new.id like 'code %' then raise exception 'no' using errcode = substr(new.id, 6); end if; \
         if new.id = 'raise' then raise exception 'not %', new.value; end if; \
         if new.id = 'twice' and nextval('tries') < 3 then raise exception 'no' using errcode = '40001'; end if; \
         return new; end $$",
    );
    server.sql("create trigger fail before insert on kv for each row execute function fail()");
    for (code, kind, retryable) in [
        ("53100", ErrorKind::Full, false),
        ("53200", ErrorKind::Full, false),
        ("42501", ErrorKind::Denied, false),
        ("25006", ErrorKind::ReadOnly, false),
        ("54000", ErrorKind::InvalidValue, false),
        ("23514", ErrorKind::Corrupt, false),
        ("XX000", ErrorKind::Unreachable, false),
    ] {
        let error = fails(store.set(&format!("code {code}"), &1).await);
        assert_eq!(error.kind(), kind, "{code}: {error:?}");
        assert_eq!(error.is_retryable(), retryable, "{code}");
        assert!(!error.is_maybe_applied(), "{code}: it was undone");
    }
    // What functions of users raise may quote a value.
    fails(store.set("raise", PASSWORD).await);
    store.set("twice", &1).await.unwrap();
    assert_eq!(server.sql("select last_value from tries"), ["3"]);
    assert_eq!(store.keys().await.unwrap(), ["twice"]);
}
