//! Users, passwords and certificates.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use polystore_kv::{ErrorKind, Store, kv};
use polystore_servers::{Etcd, Tls};
use serde_json::json;

use super::{base64, fails};

#[test]
fn urls_are_checked_and_hide_their_passwords() {
    for url in [
        "etcd:",
        "etcd://",
        "etcd:localhost",
        "etcd://ada:secret@",
        "etcd://ada:secret@localhost/path",
        "etcd://:secret@localhost",
        "etcd://ada:secret@local host",
        "etcd://ada:secret@local%2Fhost",
        "etcd://ada:secret@a%40secret",
        "etcd://ada:secret@localhost?table=a",
        "etcd://ada:secret@localhost?tls=maybe",
        "etcd://ada:secret@localhost?tls_cert=a.pem",
        "etcd://ada:secret@localhost?timeout=never",
    ] {
        let error = fails(kv(url), ErrorKind::InvalidOption);
        assert!(error.is_usage(), "{url}");
    }
    let store = kv("etcd://ada:secret@a,b:2379,[::1]:2379/?timeout=5s&tls").unwrap();
    assert!(!format!("{store:?}").contains("secret"));
}

#[tokio::test]
async fn users_prove_who_they_are() {
    let Some(etcd) = Etcd::start() else { return };
    // As long as there are no users, a name does no harm.
    let early = kv(etcd.url_as("root", "secret")).unwrap();
    let nobody = kv(etcd.url()).unwrap();
    early.set("a", &1).await.unwrap();
    nobody.set("b", &1).await.unwrap();

    etcd.enable_auth("secret");
    let root = kv(etcd.url_as("root", "secret")).unwrap();
    assert_eq!(root.get("a").await.unwrap(), Some(1));
    root.set("a", &2).expires("1h").await.unwrap();
    // The next connection is that of the user.
    let _ = early.get::<i32>("a").await;
    assert_eq!(early.get("a").await.unwrap(), Some(2));

    let begun = Instant::now();
    let error = fails(nobody.get::<i32>("a").await, ErrorKind::Denied);
    assert!(error.to_string().contains("user"), "{error}");
    let wrong = kv(etcd.url_as("root", "secret2")).unwrap();
    for _ in 0..2 {
        let error = fails(wrong.set("a", &3).await, ErrorKind::Denied);
        assert!(
            !error.is_retryable() && !error.is_maybe_applied(),
            "{error:?}"
        );
    }
    let unknown = kv(etcd.url_as("ada", "secret")).unwrap();
    fails(unknown.keys().await, ErrorKind::Denied);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(root.get("a").await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_login_that_etcd_forgets_is_made_again() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.enable_auth("secret");
    let root = kv(etcd.url_as("root", "secret")).unwrap();
    root.set("a", &1).await.unwrap();
    // Every change of the users makes older logins too old to write.
    let token = etcd.call(
        "auth/authenticate",
        r#"{"name":"root","password":"secret"}"#,
    );
    let token: serde_json::Value = serde_json::from_str(&token).unwrap();
    let token = token["token"].as_str();
    etcd.try_call("auth/role/add", r#"{"name":"new"}"#, token)
        .unwrap();
    root.set("a", &2).await.unwrap();
    assert!(root.insert("b", &2).await.unwrap());
    // A server that starts again knows none of them.
    etcd.stop();
    etcd.start_again();
    assert_eq!(root.get("a").await.unwrap(), Some(2));
    assert!(root.insert("c", &2).await.unwrap());
}

#[tokio::test]
async fn a_user_of_some_keys_is_denied_the_others_alone() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.call("auth/role/add", r#"{"name":"app"}"#);
    etcd.call("auth/user/add", r#"{"name":"ada","password":"secret"}"#);
    etcd.call("auth/user/grant", r#"{"user":"ada","role":"app"}"#);
    let permission =
        json!({"permType": "READWRITE", "key": base64(b"app:"), "range_end": base64(b"app;")});
    let grant = json!({"name": "app", "perm": permission});
    etcd.call("auth/role/grant", &grant.to_string());
    etcd.enable_auth("secret");

    let store = kv(etcd.url_as("ada", "secret")).unwrap();
    let app = store.prefix("app:");
    app.set("a", &0).await.unwrap();
    let write = async |n: i32| {
        let key = if n % 4 == 0 {
            format!("other:{n}")
        } else {
            format!("app:{n}")
        };
        let set = store.set(&key, &n).expires("1h").await;
        (
            n,
            set,
            store.get::<i32>(&key).await,
            store.insert(&format!("{key}:new"), &n).await,
        )
    };
    for (n, set, got, inserted) in join_all((0..40).map(write)).await {
        if n % 4 == 0 {
            let error = fails(set, ErrorKind::Denied);
            assert!(
                !error.is_retryable() && !error.is_maybe_applied(),
                "{error:?}"
            );
            fails(got, ErrorKind::Denied);
            fails(inserted, ErrorKind::Denied);
        } else {
            set.unwrap();
            assert_eq!(got.unwrap(), Some(n));
            assert!(inserted.unwrap());
        }
    }
    fails(store.keys().await, ErrorKind::Denied);
    assert_eq!(app.keys().await.unwrap().len(), 61);
    app.clear().await.unwrap();
    assert!(app.keys().await.unwrap().is_empty());
}

async fn works(store: &Store) {
    store.set("a", &1).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(1));
}

#[tokio::test]
async fn tls_trusts_whom_it_is_told_to() {
    let Some(etcd) = Etcd::builder().tls(Tls::new()).start() else {
        return;
    };
    let files = etcd.certificates().unwrap();
    let ca = files.ca();
    works(&kv(etcd.url_with(&format!("tls_ca={}", ca.display()))).unwrap()).await;
    let implied = format!("etcd://{}?tls_ca={}", etcd.address(), ca.display());
    works(&kv(implied).unwrap()).await;
    let named = format!(
        "etcd://localhost:{}?tls_ca={}",
        etcd.address().port(),
        ca.display()
    );
    works(&kv(named).unwrap()).await;

    let begun = Instant::now();
    let untrusted = files.untrusted_ca();
    let other = etcd.url_with(&format!("tls_ca={}", untrusted.display()));
    for url in [other, etcd.url()] {
        let error = fails(
            kv(url).unwrap().get::<i32>("a").await,
            ErrorKind::Unreachable,
        );
        assert!(error.to_string().contains("certificate"), "{error:?}");
        assert!(!error.is_retryable(), "{error:?}");
    }
    let plain = kv(format!("etcd://{}", etcd.address())).unwrap();
    let error = plain.get::<i32>("a").await.unwrap_err();
    assert!(error.is_connection(), "{error:?}");
    let missing = kv(etcd.url_with("tls_ca=/nowhere/ca.pem")).unwrap();
    let error = missing.get::<i32>("a").await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );

    let Some(plain) = Etcd::start() else { return };
    let tls = kv(plain.url_with(&format!("tls_ca={}", ca.display()))).unwrap();
    let error = tls.get::<i32>("a").await.unwrap_err();
    assert!(error.is_connection(), "{error:?}");
}

#[tokio::test]
async fn certificates_that_are_no_good_are_refused() {
    for tls in [Tls::new().expired(), Tls::new().for_another_host()] {
        let Some(etcd) = Etcd::builder().tls(tls).start() else {
            return;
        };
        let ca = etcd.certificates().unwrap().ca();
        let store = kv(etcd.url_with(&format!("tls_ca={}", ca.display()))).unwrap();
        let error = fails(store.get::<i32>("a").await, ErrorKind::Unreachable);
        assert!(error.to_string().contains("certificate"), "{error:?}");
    }
}

#[tokio::test]
async fn clients_show_their_certificates() {
    let Some(etcd) = Etcd::builder().tls(Tls::new().asking_clients()).start() else {
        return;
    };
    let files = etcd.certificates().unwrap();
    let ca = format!("tls_ca={}", files.ca().display());
    let with = |certificate: std::path::PathBuf, key: std::path::PathBuf| {
        let (certificate, key) = (certificate.display(), key.display());
        kv(etcd.url_with(&format!("{ca}&tls_cert={certificate}&tls_key={key}"))).unwrap()
    };
    works(&with(files.client_certificate(), files.client_key())).await;

    let (certificate, key) = files.untrusted_client();
    for store in [with(certificate, key), kv(etcd.url_with(&ca)).unwrap()] {
        let begun = Instant::now();
        // Whether the server gets to say why it hangs up is a matter of luck.
        let error = store.get::<i32>("a").await.unwrap_err();
        let kinds = [ErrorKind::Denied, ErrorKind::Unreachable];
        assert!(kinds.contains(&error.kind()), "{error:?}");
        assert!(error.to_string().contains("tls_cert"), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    let mixed = with(files.client_certificate(), files.untrusted_client().1);
    fails(mixed.get::<i32>("a").await, ErrorKind::InvalidOption);
}
