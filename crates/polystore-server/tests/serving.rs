//! From start to stop: addresses, names, TLS, the end.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]
#![cfg(unix)]

mod common;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{run, until_closed};
use polystore_kv::kv;
use polystore_server::{Limits, Server, Tls};
use polystore_servers::Certificates;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn server() -> Server {
    Server::new(kv("memory:").unwrap())
}

#[tokio::test]
async fn others_reach_it_only_with_tokens_or_if_that_is_said() {
    let listener = async || TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = server()
        .serve(listener().await, std::future::pending())
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    let tokens = "0123456789abcdef read-only".parse().unwrap();
    for server in [server().allow_anonymous(), server().tokens(tokens)] {
        server
            .serve(listener().await, std::future::ready(()))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn without_tokens_no_other_name_is_answered() {
    let running = run(server()).await;
    let ask = |host: &str| format!("GET /a HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    assert!(
        running
            .tell(&ask("127.0.0.1"))
            .await
            .starts_with("HTTP/1.1 404")
    );
    assert!(
        running
            .tell(&ask("rebound.example"))
            .await
            .starts_with("HTTP/1.1 421")
    );
    let named = run(server().host("kv.internal")).await;
    assert!(
        named
            .tell(&ask("kv.internal:80"))
            .await
            .starts_with("HTTP/1.1 404")
    );
}

#[tokio::test]
async fn it_finishes_what_is_under_way() {
    let running = run(server()).await;
    let mut idle = running.connect().await;
    idle.write_all(b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    idle.read_exact(&mut [0; 12]).await.unwrap();
    let mut stream = running.connect().await;
    let head =
        b"PUT /a HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    stream.write_all(head).await.unwrap();
    // It waits for the body now.
    stream.read_exact(&mut [0; 12]).await.unwrap();
    running.stop.send(()).unwrap();
    until_closed(&mut idle).await;
    let address = running.address;
    common::eventually("nobody is let in", async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    stream.write_all(b"\"x\"").await.unwrap();
    assert!(until_closed(&mut stream).await.contains("HTTP/1.1 200 OK"));
    running.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn it_waits_for_nobody_longer_than_it_says() {
    let mut limits = Limits::default();
    limits.drain_time = Duration::from_millis(200);
    let running = run(server().limits(limits)).await;
    let mut stream = running.connect().await;
    let head =
        b"PUT /a HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    stream.write_all(head).await.unwrap();
    stream.read_exact(&mut [0; 12]).await.unwrap();
    let told = Instant::now();
    running.stop.send(()).unwrap();
    running.ended.await.unwrap().unwrap();
    assert!(
        told.elapsed() < Duration::from_secs(5),
        "{:?}",
        told.elapsed()
    );
}

fn trusting(certificates: &Certificates) -> reqwest::Client {
    let pem = std::fs::read(certificates.ca()).unwrap();
    let ca = reqwest::Certificate::from_pem(&pem).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    drop(ca);
    for der in rustls::pki_types::pem::PemObject::pem_slice_iter(&pem) {
        roots.add(der.unwrap()).unwrap();
    }
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .build()
        .unwrap()
}

fn tls(folder: &std::path::Path, name: &str) -> Tls {
    let read = |end: &str| std::fs::read(folder.join(format!("{name}.{end}"))).unwrap();
    Tls::from_pem(&read("pem"), &read("key")).unwrap()
}

#[tokio::test]
async fn by_tls_it_speaks_http_2_and_a_bad_handshake_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::create(folder.path());
    let mut limits = Limits::default();
    limits.header_time = Duration::from_millis(500);
    limits.idle_time = Duration::from_secs(1);
    let shown = tls(folder.path(), "server");
    let running = run(server().limits(limits).tls(shown.clone())).await;
    let mut stuck = Vec::new();
    for _ in 0..50 {
        let mut stream = running.connect().await;
        stream.write_all(&[0x16, 3, 1]).await.unwrap();
        stuck.push(stream);
    }
    let client = trusting(&certificates);
    let url = format!("https://localhost:{}/a", running.address.port());
    let put = client.put(&url).body("\"x\"").send().await.unwrap();
    assert_eq!(
        (put.status().as_u16(), put.version()),
        (200, http::Version::HTTP_2)
    );
    let got = client.get(&url).send().await.unwrap();
    assert_eq!(got.text().await.unwrap(), "\"x\"");
    for mut stream in stuck {
        until_closed(&mut stream).await;
    }
    // Plain HTTP is no handshake.
    assert!(!running.get("/ping").await.contains("200"));
    // A renewed certificate is shown to the next connection.
    shown.replace(&tls(folder.path(), "expired"));
    assert!(trusting(&certificates).get(&url).send().await.is_err());
    running.stop.send(()).unwrap();
    running.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn over_http_2_who_does_not_read_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::create(folder.path());
    let store = kv("memory:").unwrap();
    let value = "x".repeat(1 << 20);
    let entries: Vec<(String, &str)> = (0..20).map(|n| (n.to_string(), &*value)).collect();
    store.set_many(entries).await.unwrap();
    let mut limits = Limits::default();
    limits.idle_time = Duration::from_secs(1);
    let server = Server::new(store)
        .limits(limits)
        .tls(tls(folder.path(), "server"));
    let running = run(server).await;
    let base = format!("https://localhost:{}/", running.address.port());
    let client = trusting(&certificates);
    let mut stuck = client.get(format!("{base}?prefix=")).send().await.unwrap();
    assert_eq!(stuck.version(), http::Version::HTTP_2);
    let asking = trusting(&certificates);
    common::eventually("it is dropped", async || {
        let told = asking.get(format!("{base}_/metrics")).send().await.unwrap();
        told.text()
            .await
            .unwrap()
            .contains("polystore_requests_in_flight 1\n")
    })
    .await;
    let mut read = 0;
    let ended = loop {
        match stuck.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(ended.is_err() && read < 20 << 20, "{read} bytes were sent");
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_without_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::create(folder.path());
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let (pem, key) = (read("server.pem"), read("server.key"));
    let other = std::fs::read(certificates.client_key()).unwrap();
    for (pem, key) in [
        (&b""[..], &key[..]),
        (&pem, b"secret"),
        (&pem, &other),
        (b"secret", &key),
    ] {
        let error = Tls::from_pem(pem, key).unwrap_err();
        assert!(
            error.is_usage() && !format!("{error:?}").contains("secret"),
            "{error:?}"
        );
    }
    // What openssl makes of a key with a password.
    for key in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nsecret\n",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nsecret\n",
    ] {
        let error = Tls::from_pem(&pem, key.as_bytes()).unwrap_err();
        assert!(error.message().contains("encrypted"), "{error:?}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}
