//! However the process that started servers ends, they end, and their folders go.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use polystore_servers::{Postgres, Redis, RedisCluster};
use tempfile::TempDir;

/// Where the servers make their folders, also those that run as another user than we.
fn scratch() -> TempDir {
    let folder = TempDir::new().unwrap();
    let all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), all).unwrap();
    folder
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

fn is_empty(folder: &TempDir) -> bool {
    fs::read_dir(folder.path()).unwrap().next().is_none()
}

/// What a person runs, with where its servers listen. Nothing if a server is missing here.
fn services(folder: &TempDir) -> Option<(Child, Vec<SocketAddr>)> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_polystore-servers"))
        .env("TMPDIR", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut addresses = Vec::new();
    for line in lines {
        let line = line.unwrap();
        let Some((_, url)) = line.split_once("://") else {
            break; // it says that they run
        };
        let address = url
            .split('/')
            .next()
            .and_then(|part| part.split('@').next_back());
        addresses.push(address.unwrap().parse().unwrap());
    }
    if addresses.len() < 3 {
        let _ = child.kill();
        let _ = child.wait();
        polystore_servers::skip("needs redis-server, postgresql and etcd-server");
        return None;
    }
    Some((child, addresses))
}

fn leaves_no_trace(end: impl Fn(&mut Child)) {
    let folder = scratch();
    let Some((mut child, addresses)) = services(&folder) else {
        return;
    };
    assert!(addresses.iter().all(|address| answers(*address)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    end(&mut child);
    child.wait().unwrap();
    wait_until("the servers end", || {
        !addresses.iter().any(|address| answers(*address))
    });
    wait_until("their folders go", || is_empty(&folder));
}

#[test]
fn after_a_kill_there_is_no_trace() {
    leaves_no_trace(|child| child.kill().unwrap());
}

#[test]
fn after_an_interrupt_there_is_no_trace() {
    leaves_no_trace(|child| {
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-s", "INT", &pid]).status();
        assert!(sent.unwrap().success());
    });
}

#[test]
fn after_the_end_of_input_there_is_no_trace() {
    leaves_no_trace(|child| drop(child.stdin.take()));
}

/// Also the process of the next test, by itself.
#[test]
fn a_shared_server_is_the_same_for_all() {
    let Some(url) = Redis::shared() else { return };
    assert_eq!(Redis::shared().unwrap(), url);
}

#[test]
fn a_server_in_a_static_leaves_no_trace() {
    let folder = scratch();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_shared_server_is_the_same_for_all"])
        .env("TMPDIR", folder.path())
        .env_remove("POLYSTORE_TEST_REDIS_URL")
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    wait_until("its folder goes", || is_empty(&folder));
}

#[test]
fn a_server_that_is_dropped_leaves_no_trace() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let (folder, address) = (postgres.folder().to_owned(), postgres.address());
    assert!(folder.is_dir() && answers(address));
    drop(postgres);
    assert!(!folder.exists() && !answers(address));
}

#[test]
fn a_paused_server_leaves_no_trace() {
    let Some(redis) = Redis::start() else { return };
    let folder = redis.folder().to_owned();
    redis.pause();
    drop(redis);
    assert!(!folder.exists());
}

#[test]
fn a_server_that_exists_is_used() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_shared_server_is_the_same_for_all"])
        // The folder is not there: starting one would fail.
        .env("TMPDIR", "/nowhere")
        .env("POLYSTORE_TEST_REDIS_URL", "redis://127.0.0.1:1")
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[test]
fn a_missing_program_is_a_loud_skip_and_in_ci_a_failure() {
    let run = |ci: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "skipping"])
            .env("CI", ci)
            .env("POLYSTORE_TEST_SKIPPING", "1")
            .output()
            .unwrap()
    };
    let person = run("");
    assert!(person.status.success());
    let said = String::from_utf8(person.stderr).unwrap();
    assert!(said.contains("SKIPPED: needs what is not here"), "{said}");
    assert!(!run("true").status.success());
}

/// Run by the test above.
#[test]
fn skipping() {
    if std::env::var_os("POLYSTORE_TEST_SKIPPING").is_some() {
        polystore_servers::skip("needs what is not here");
    }
}

#[test]
fn a_server_that_does_not_start_says_why() {
    if Redis::start().is_none() {
        return;
    }
    let failed = std::panic::catch_unwind(|| Redis::with(&["no-such-setting 1"])).unwrap_err();
    let message = failed.downcast_ref::<String>().unwrap();
    assert!(message.contains("Bad directive"), "{message}");
}

#[test]
fn the_nodes_of_two_clusters_do_not_meet() {
    let Some(first) = RedisCluster::start() else {
        return;
    };
    let second = RedisCluster::start().unwrap();
    let count = |cluster: &RedisCluster| {
        let nodes = cluster.nodes()[0].command(&["CLUSTER", "NODES"]);
        nodes.lines().count()
    };
    assert_eq!((count(&first), count(&second)), (6, 6));
}
