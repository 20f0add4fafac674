//! URLs, tokens and TLS.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use polystore_kv::{ErrorKind, HttpStore, kv};
use polystore_servers::{Certificates, Tls};

use super::{Answer, fails, full};

#[test]
fn what_a_url_cannot_say_is_a_usage_error_at_once() {
    for (url, shown) in [
        ("http:host", "host"),
        ("http://host/#secret", "fragment"),
        (
            "http://host/?polystore.nothing=secret",
            "polystore.token_env",
        ),
        ("http://host/?polystore.timeout=secret", "polystore.timeout"),
        ("http://host/?polystore.max_reply=0", "polystore.max_reply"),
        (
            "http://host/?polystore.timeout=1s&polystore.timeout=2s",
            "twice",
        ),
        ("http://host/?polystore.tls_ca=ca.pem", "https"),
        (
            "https://host/?polystore.tls_cert=ca.pem",
            "polystore.tls_key",
        ),
        (
            "http://host/?polystore.token_env=POLYSTORE_NOT_SET",
            "POLYSTORE_NOT_SET",
        ),
        ("http://host/?prefix=secret", "prefix"),
        (
            "http://secret:secret@host/?polystore.token_env=PATH",
            "can be one",
        ),
        ("http://host:99999/", "port"),
    ] {
        let error = fails(kv(url), ErrorKind::InvalidOption);
        assert!(error.to_string().contains(shown), "{url}: {error}");
    }
    for token in ["", "two\nsecret"] {
        fails(
            kv(HttpStore::new("http://host").token(token)),
            ErrorKind::InvalidOption,
        );
    }
    fails(
        kv(HttpStore::new("memory:secret")),
        ErrorKind::InvalidOption,
    );
    let given = HttpStore::new("http://host/secret").token("secret");
    assert!(!format!("{given:?}").contains("secret"));
    let store = kv(given).unwrap();
    assert!(!format!("{store:?}").contains("secret"));
    assert_eq!(store.kind(), "http");
}

#[test]
fn without_a_runtime_it_is_a_usage_error() {
    let store = kv("http://127.0.0.1:1/").unwrap();
    let got = futures_executor::block_on(store.get::<u8>("a"));
    fails(got, ErrorKind::Unsupported);
    fails(
        futures_executor::block_on(store.keys()),
        ErrorKind::Unsupported,
    );
    fails(
        futures_executor::block_on(store.clear()),
        ErrorKind::Unsupported,
    );
    futures_executor::block_on(store.close()).unwrap();
}

#[tokio::test]
async fn a_token_and_a_user_are_told_to_the_server() {
    let server = full(|_| Answer::ours(200, "1"));
    // A variable that there always is stands for one with a token.
    let path = std::env::var("PATH").unwrap();
    for (store, expected) in [
        (
            kv(HttpStore::new(server.url("/")).token("abc")).unwrap(),
            "Bearer abc".to_owned(),
        ),
        (
            kv(server.url("/?polystore.token_env=PATH")).unwrap(),
            format!("Bearer {}", path.trim()),
        ),
        (
            kv(server.url("/").replace("//", "//me:p%40ss@")).unwrap(),
            // me:p@ss
            "Basic bWU6cEBzcw==".to_owned(),
        ),
    ] {
        store.get::<u8>("a").await.unwrap();
        store.keys().await.unwrap_err();
        for request in server.seen().iter().rev().take(3) {
            assert_eq!(request.header("authorization"), Some(&expected[..]));
        }
    }
}

/// What the next client that comes agreed on, if it trusts the server.
fn agreed(tls: Tls, folder: &std::path::Path) -> (u16, thread::JoinHandle<Option<Vec<u8>>>) {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let certificates = Certificates::create(folder);
    let (certificate, key) = tls.server(&certificates);
    let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).ok()?;
        }
        // Until the client has said something, which it does only if it trusts the server.
        let mut said = [0; 3];
        rustls::Stream::new(&mut connection, &mut stream)
            .read_exact(&mut said)
            .ok()?;
        assert_eq!(&said, b"PRI");
        connection.alpn_protocol().map(<[u8]>::to_vec)
    });
    (port, serving)
}

#[tokio::test]
async fn tls_is_checked_and_http2_is_spoken_where_it_is_offered() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let untrusted = folder.path().join("untrusted-ca.pem");
    for (tls, ca, expected) in [
        (Tls::new(), &ca, Some(b"h2".to_vec())),
        (Tls::new(), &untrusted, None),
        (Tls::new().expired(), &ca, None),
        (Tls::new().for_another_host(), &ca, None),
    ] {
        let (port, serving) = agreed(tls, folder.path());
        let ca = ca.display();
        let store = kv(format!("https://localhost:{port}/?polystore.tls_ca={ca}")).unwrap();
        fails(store.get::<u8>("a").await, ErrorKind::Unreachable);
        assert_eq!(serving.join().unwrap(), expected);
    }
    let store = kv("https://localhost:1/?polystore.tls_ca=/not/there.pem").unwrap();
    let error = fails(store.get::<u8>("a").await, ErrorKind::Unreachable);
    assert!(error.to_string().contains("/not/there.pem"), "{error}");
}
