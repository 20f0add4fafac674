//! One process at a time does the job, and the next one when it was killed.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

fn start(folder: &Path, count: u32, environment: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_job-lock"))
        // A slow disk is not what is tested here.
        .args(["sqlite:locks.db?sync=normal", "invoices"])
        .arg(count.to_string())
        .envs(environment.iter().copied())
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The numbers in the journal, each with the process that wrote it.
fn journal(folder: &Path) -> Vec<(u32, u32)> {
    let text = std::fs::read_to_string(folder.join("invoices")).unwrap();
    let pair = |line: &str| {
        let (number, process) = line.split_once(' ').unwrap();
        (number.parse().unwrap(), process.parse().unwrap())
    };
    text.lines().map(pair).collect()
}

#[test]
fn four_processes_number_without_gaps_and_without_twins() {
    let folder = tempfile::tempdir().unwrap();
    let mut workers: Vec<Child> = (0..4).map(|_| start(folder.path(), 10, &[])).collect();
    for worker in &mut workers {
        assert!(worker.wait().unwrap().success());
    }
    let journal = journal(folder.path());
    let numbers: Vec<u32> = journal.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    for worker in workers {
        let own = journal
            .iter()
            .filter(|(_, process)| *process == worker.id());
        assert_eq!(own.count(), 10);
    }
}

#[test]
fn work_longer_than_the_lease_keeps_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let slow = [("LEASE", "2s"), ("WORK", "3s")];
    let mut workers = [(); 2].map(|()| start(folder.path(), 1, &slow));
    for worker in &mut workers {
        assert!(worker.wait().unwrap().success());
    }
    let numbers: Vec<u32> = journal(folder.path()).iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn the_lock_of_a_killed_process_is_free_when_its_lease_is_over() {
    const LEASE: Duration = Duration::from_secs(3);
    let folder = tempfile::tempdir().unwrap();
    let mut holder = start(folder.path(), 1, &[("LEASE", "3s"), ("WORK", "1h")]);
    let mut said = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "working");
    let killed = Instant::now();
    holder.kill().unwrap();
    holder.wait().unwrap();

    let mut next = start(folder.path(), 1, &[("LEASE", "3s")]);
    assert!(next.wait().unwrap().success());
    let waited = killed.elapsed();
    assert_eq!(journal(folder.path()), [(1, next.id())]);
    // It was taken, or renewed, at most a third of its length before; the rest is for a slow machine.
    assert!(waited > LEASE / 3, "{waited:?}");
    assert!(waited < LEASE * 8, "{waited:?}");
}

/// A process that is stopped for longer than its lease, and goes on while another one is at work.
#[cfg(unix)]
#[test]
fn a_holder_that_comes_back_too_late_neither_writes_nor_releases() {
    fn signal(child: &Child, name: &str) {
        let mut kill = Command::new("kill");
        let kill = kill.args([format!("-{name}"), child.id().to_string()]);
        assert!(kill.status().unwrap().success());
    }
    /// Waits until it does; what it says later is not for us, but has to have somewhere to go.
    fn works(child: &mut Child) -> BufReader<ChildStdout> {
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "working\n");
        said
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut late = start(folder, 1, &[("LEASE", "2s"), ("WORK", "2s")]);
    let _late_says = works(&mut late);
    signal(&late, "STOP");

    let mut next = start(folder, 1, &[("LEASE", "2s"), ("WORK", "4s")]);
    let _next_says = works(&mut next);
    signal(&late, "CONT");
    assert!(!late.wait().unwrap().success());
    // If the late one had released what is not its own, this one would be at work beside the next.
    let mut last = start(folder, 1, &[]);
    assert!(last.wait().unwrap().success());
    assert!(next.wait().unwrap().success());
    assert_eq!(journal(folder), [(1, next.id()), (2, last.id())]);
}

/// A full disk or a crash leaves half a line, and people leave anything.
#[test]
fn a_journal_that_is_not_whole_is_not_continued() {
    for broken in [
        "1 1\n12",
        "1 1\n12 34",
        "18446744073709551615 1\n",
        "\n",
        "x\n",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("invoices");
        std::fs::write(&journal, broken).unwrap();
        let mut worker = start(folder.path(), 1, &[]);
        assert_eq!(worker.wait().unwrap().code(), Some(1), "{broken:?}");
        assert_eq!(std::fs::read_to_string(&journal).unwrap(), broken);
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly_and_leaves_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut unread = Command::new(env!("CARGO_BIN_EXE_job-lock"));
    unread.args(["sqlite:locks.db?sync=normal", "invoices", "3"]);
    unread.env("LEASE", "1h").current_dir(folder.path());
    let output = unread.stdout(writer).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    // What it had begun is done, and not a second one.
    let journal = std::fs::read_to_string(folder.path().join("invoices")).unwrap();
    assert!(
        journal.starts_with("1 ") && journal.lines().count() == 1,
        "{journal:?}"
    );

    // It need not wait for the end of that lease.
    let mut next = start(folder.path(), 1, &[]);
    let mut said = String::new();
    let mut stdout = next.stdout.take().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, "working\ninvoice 2\n");
    assert!(next.wait().unwrap().success());
}
