//! Servers show the certificates that they were told to, and ask for those that they were told to.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use polystore_servers::{Certificates, Etcd, Postgres, Redis, Tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Identity<'a> = Option<(&'a Path, &'a Path)>;

/// What a client that trusts `ca` gets to hear after saying `hello`, or why it does not.
fn talk(
    server: SocketAddr,
    begin: &[u8],
    ca: &Path,
    identity: Identity<'_>,
    hello: &[u8],
) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_file(certificate).unwrap();
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(server).unwrap();
    if !begin.is_empty() {
        socket.write_all(begin).unwrap();
        let mut answer = [0];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"S", "the server speaks no TLS");
    }
    let mut stream = StreamOwned::new(client, socket);
    let mut talk = || {
        stream.write_all(hello)?;
        let mut buffer = [0; 64];
        let length = stream.read(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    talk().map_err(|error: std::io::Error| error.to_string())
}

/// A client with a good certificate is heard, those with none or an untrusted one are not.
fn asks_clients(
    server: SocketAddr,
    begin: &[u8],
    certificates: &Certificates,
    (hello, answer): (&[u8], &str),
) {
    let ca = certificates.ca();
    let (certificate, key) = (certificates.client_certificate(), certificates.client_key());
    let good = talk(server, begin, &ca, Some((&certificate, &key)), hello);
    assert!(
        good.as_ref().is_ok_and(|good| good.starts_with(answer)),
        "{good:?}"
    );

    let none = talk(server, begin, &ca, None, hello);
    assert!(!none.is_ok_and(|heard| heard.starts_with(answer)));
    let (certificate, key) = certificates.untrusted_client();
    let untrusted = talk(server, begin, &ca, Some((&certificate, &key)), hello);
    assert!(!untrusted.is_ok_and(|heard| heard.starts_with(answer)));
}

fn redis(tls: Tls) -> Option<Redis> {
    Redis::builder().tls(tls).start()
}

fn ping(redis: &Redis) -> Result<String, String> {
    let ca = redis.certificates().unwrap().ca();
    talk(redis.address(), b"", &ca, None, b"PING\r\n")
}

#[test]
fn a_good_certificate_is_trusted_by_who_trusts_the_ca() {
    let Some(redis) = redis(Tls::new()) else {
        return;
    };
    assert_eq!(ping(&redis).unwrap(), "+PONG\r\n");
    let other = redis.certificates().unwrap().untrusted_ca();
    let refused = talk(redis.address(), b"", &other, None, b"PING\r\n").unwrap_err();
    // Both CAs could have signed it by their name; the signature tells.
    assert!(
        refused.contains("UnknownIssuer") || refused.contains("BadSignature"),
        "{refused}"
    );
}

#[test]
fn an_expired_certificate_is_expired() {
    let Some(redis) = redis(Tls::new().expired()) else {
        return;
    };
    let refused = ping(&redis).unwrap_err();
    assert!(refused.contains("expired"), "{refused}");
}

#[test]
fn another_hosts_certificate_is_not_for_here() {
    let Some(redis) = redis(Tls::new().for_another_host()) else {
        return;
    };
    let refused = ping(&redis).unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
}

#[test]
fn redis_asks_clients_for_theirs() {
    let Some(redis) = redis(Tls::new().asking_clients()) else {
        return;
    };
    let certificates = redis.certificates().unwrap();
    asks_clients(redis.address(), b"", certificates, (b"PING\r\n", "+PONG"));
}

#[test]
fn postgres_asks_clients_for_theirs() {
    let builder = Postgres::builder().tls(Tls::new().asking_clients());
    let Some(postgres) = builder.start() else {
        return;
    };
    let certificates = postgres.certificates().unwrap();
    // The request for TLS, and in it the beginning of a session, which is answered by a kind `R`.
    let begin = [0, 0, 0, 8, 4, 210, 22, 47];
    let hello = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";
    assert_eq!(hello[3] as usize, hello.len());
    asks_clients(postgres.address(), &begin, certificates, (hello, "R"));
}

#[test]
fn etcd_asks_clients_for_theirs() {
    let builder = Etcd::builder().tls(Tls::new().asking_clients());
    let Some(etcd) = builder.start() else { return };
    let certificates = etcd.certificates().unwrap();
    let hello = b"GET /version HTTP/1.0\r\n\r\n";
    asks_clients(etcd.address(), b"", certificates, (hello, "HTTP/1.0 200"));
}
