//! Redis in each of its forms answers, is lost and comes back.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use polystore_servers::{Redis, RedisCluster, RedisSentinel, Tls};

#[test]
fn what_was_acknowledged_survives_a_kill_and_a_stop() {
    let Some(redis) = Redis::start() else { return };
    assert_eq!(redis.command(&["SET", "a", "1"]), "OK");
    let address = redis.address();
    redis.kill();
    assert!(!redis.is_running());
    assert!(redis.try_command(&["GET", "a"]).is_err());
    redis.start_again();
    assert_eq!(redis.command(&["GET", "a"]), "1");
    redis.stop();
    redis.start_again();
    assert_eq!(redis.command(&["GET", "a"]), "1");
    assert_eq!(redis.address(), address);
}

#[test]
fn lines_of_the_configuration_count() {
    let Some(redis) = Redis::with(&["maxmemory 2mb", "requirepass secret"]) else {
        return;
    };
    let memory = redis.command(&["CONFIG", "GET", "maxmemory"]);
    assert_eq!(memory, "maxmemory\n2097152");
    assert!(redis.url().starts_with("redis://:secret@127.0.0.1:"));
}

#[test]
fn a_replica_follows_its_primary_and_is_read_only() {
    let Some(primary) = Redis::with(&["requirepass secret"]) else {
        return;
    };
    let replica = Redis::replica_of(&primary).unwrap();
    assert_eq!(primary.command(&["SET", "a", "1"]), "OK");
    assert_eq!(primary.command(&["WAIT", "1", "10000"]), "1");
    assert_eq!(replica.command(&["GET", "a"]), "1");
    let refused = replica.try_command(&["SET", "a", "2"]).unwrap_err();
    assert!(refused.starts_with("READONLY"), "{refused}");
}

#[test]
fn tls_is_spoken_with_the_certificates_that_are_shown() {
    let tls = Tls::new().asking_clients();
    let Some(redis) = Redis::builder().password("secret").tls(tls).start() else {
        return;
    };
    assert!(redis.url().starts_with("rediss://:secret@"));
    assert!(redis.certificates().unwrap().client_key().is_file());
}

#[test]
fn a_cluster_outlives_one_of_its_masters() {
    let Some(cluster) = RedisCluster::start() else {
        return;
    };
    assert_eq!(cluster.masters(), [0, 1, 2]);
    let master = cluster.master_of("a");
    assert_eq!(cluster.nodes()[master].command(&["SET", "a", "1"]), "OK");
    assert_eq!(
        cluster.nodes()[master].command(&["WAIT", "1", "10000"]),
        "1"
    );
    cluster.nodes()[master].kill();
    cluster.wait_for_failover();
    assert_eq!(cluster.master_of("a"), master + 3);
    assert_eq!(cluster.nodes()[master + 3].command(&["GET", "a"]), "1");
    cluster.nodes()[master].start_again();
    cluster.wait_until_whole();
    assert_eq!(cluster.masters().len(), 3);
}

#[test]
fn sentinels_make_the_replica_the_primary() {
    let Some(sentinels) = RedisSentinel::start(3) else {
        return;
    };
    let [primary, replica] = sentinels.servers();
    assert_eq!(sentinels.primary(), Some(primary.address()));
    primary.kill();
    sentinels.wait_for_failover();
    assert_eq!(sentinels.primary(), Some(replica.address()));
    assert_eq!(replica.command(&["SET", "a", "1"]), "OK");
}

#[test]
fn valkey_is_the_same_from_outside() {
    let Some(valkey) = Redis::valkey() else {
        return;
    };
    assert_eq!(valkey.command(&["SET", "a", "1"]), "OK");
    valkey.kill();
    valkey.start_again();
    assert_eq!(valkey.command(&["GET", "a"]), "1");
    let info = valkey.command(&["INFO", "server"]);
    assert!(info.contains("valkey_version:"), "{info}");
}
