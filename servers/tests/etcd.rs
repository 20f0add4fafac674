//! etcd answers, is lost and comes back, alone and as a cluster.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use polystore_servers::{Etcd, Tls};

/// The key `a` and the value `1`, in base64.
const PUT: &str = r#"{"key":"YQ==","value":"MQ=="}"#;
const GET: &str = r#"{"key":"YQ=="}"#;

#[test]
fn what_was_acknowledged_survives_a_kill_and_a_stop() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.call("kv/put", PUT);
    etcd.kill();
    assert!(!etcd.is_running());
    etcd.start_again();
    assert!(etcd.call("kv/range", GET).contains(r#""value":"MQ==""#));
    etcd.stop();
    etcd.start_again();
    assert!(etcd.call("kv/range", GET).contains(r#""value":"MQ==""#));
}

#[test]
fn users_must_prove_who_they_are() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.enable_auth("secret");
    assert!(etcd.try_call("kv/put", PUT, None).is_err());
    let token = etcd.call(
        "auth/authenticate",
        r#"{"name":"root","password":"secret"}"#,
    );
    let (_, token) = token.split_once(r#""token":""#).unwrap();
    let token = token.split('"').next();
    etcd.try_call("kv/put", PUT, token).unwrap();
}

#[test]
fn flags_and_tls_count() {
    let builder = Etcd::builder().flag("--max-txn-ops=7");
    let Some(etcd) = builder.tls(Tls::new().asking_clients()).start() else {
        return;
    };
    assert!(
        etcd.log().contains("client-cert-auth = true"),
        "{}",
        etcd.log()
    );
    assert!(etcd.certificates().unwrap().client_certificate().is_file());
    assert!(etcd.url().ends_with("?tls"));
}

#[test]
fn a_cluster_outlives_its_leader() {
    let Some(cluster) = Etcd::builder().start_cluster() else {
        return;
    };
    let leader = cluster.leader().unwrap();
    cluster.members()[leader].kill();
    cluster.wait_until_healthy();
    let next = cluster.leader().unwrap();
    assert_ne!(next, leader);
    cluster.members()[next].call("kv/put", PUT);
    cluster.members()[leader].start_again();
    let late = cluster.members()[leader].call("kv/range", GET);
    assert!(late.contains(r#""value":"MQ==""#), "{late}");
    // Two of three gone, and there is no leader.
    cluster.members()[next].kill();
    cluster.members()[3 - leader - next].kill();
    assert!(!cluster.members()[leader].is_healthy());
}
