//! Pipes that close, Ctrl-C, terminals, memory: the program among others.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Shell, rest};

on_each_store!(ctrl_c_leaves_whole_entries, a_closed_pipe_is_no_error);

/// With a long key: a pipe and a buffer hold few of them.
fn line(n: usize) -> String {
    let (long, value) = ("-".repeat(100), "x".repeat(50));
    format!("{{\"key\":\"k{n:06}{long}\",\"value\":\"{value}\",\"expires\":null}}\n")
}

fn lines(count: usize) -> String {
    (0..count).map(line).collect()
}

fn interrupt(child: &Child) {
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}

fn ctrl_c_leaves_whole_entries(store: &'static str) {
    let shell = Shell::new(store);
    let mut import = shell
        .command(&["import"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut input = import.stdin.take().expect("stdin");
    let writer = std::thread::spawn(move || {
        // Until the program is gone.
        for n in 0.. {
            if input.write_all(line(n).as_bytes()).is_err() {
                break;
            }
            if n % 20 == 0 {
                sleep(Duration::from_millis(1));
            }
        }
    });
    // More than are ever under way: some of them were counted by then.
    while shell.run(&["keys"]).ok().lines().count() < 300 {
        sleep(Duration::from_millis(20));
    }
    interrupt(&import);
    let asked = Instant::now();
    let status = import.wait().expect("wait");
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(status.code(), Some(130));
    let said = rest(import.stderr.take().expect("stderr"));
    assert!(said.contains("stopped"), "{said}");
    writer.join().expect("the writer ends");

    let kept = shell.run(&["export"]).ok();
    let kept: Vec<&str> = kept.lines().collect();
    for found in &kept {
        let entry: serde_json::Value = serde_json::from_str(found).expect("JSON");
        let key = entry["key"].as_str().expect("key");
        let n: usize = key[1..7].parse().expect("number");
        assert_eq!(found.trim(), line(n).trim());
    }
    let told: usize = said
        .lines()
        .find_map(|line| {
            line.trim()
                .split_once(" entries were imported")?
                .0
                .parse()
                .ok()
        })
        .expect("how many");
    assert!(
        told <= kept.len(),
        "{told} were told, {} are there",
        kept.len()
    );
    shell.pipe(&["import"], lines(300)).ok();
    assert!(shell.run(&["keys"]).ok().lines().count() >= 300);
}

fn a_closed_pipe_is_no_error(store: &'static str) {
    let shell = Shell::new(store);
    shell.pipe(&["import"], lines(3_000)).ok();
    for listing in ["keys", "entries", "all", "export"] {
        let mut child = shell
            .command(&[listing])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("spawn");
        let mut first = [0; 5];
        let mut out = child.stdout.take().expect("stdout");
        out.read_exact(&mut first).expect("some output");
        drop(out);
        let done = child.wait_with_output().expect("wait");
        assert_eq!(done.status.code(), Some(0), "{listing}");
        assert_eq!(String::from_utf8_lossy(&done.stderr), "", "{listing}");
    }
}

#[test]
fn ctrl_c_is_heard_while_standard_output_is_stuck() {
    let shell = Shell::new("file:app.json");
    shell.pipe(&["import"], lines(3_000)).ok();
    let mut child = shell
        .command(&["entries"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut out = BufReader::new(child.stdout.take().expect("stdout"));
    out.read_line(&mut String::new()).expect("a line");
    sleep(Duration::from_millis(100));
    interrupt(&child);
    assert_eq!(child.wait().expect("wait").code(), Some(130));
}

/// `script` of util-linux gives the program a terminal.
#[test]
fn on_a_terminal_clear_asks() {
    let has_script = Command::new("script").arg("--version").output();
    if !has_script.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no util-linux script here");
        return;
    }
    let shell = Shell::new("file:app.json");
    shell.pipe(&["import"], lines(3)).ok();
    for (answer, code, left) in [("n\n", 1, 3), ("\n", 1, 3), ("y\n", 0, 0)] {
        let program = format!("'{}' clear", env!("CARGO_BIN_EXE_polystore"));
        let terminal = shell.command(&[]);
        let mut terminal = Command::new("script")
            .args(["-qec", &program, "/dev/null"])
            .envs(
                terminal
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(shell.path("."))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawn");
        let mut input = terminal.stdin.take().expect("stdin");
        input.write_all(answer.as_bytes()).expect("answer");
        let status = terminal.wait().expect("wait");
        drop(input);
        let said = rest(terminal.stdout.take().expect("stdout"));
        assert!(
            said.contains("Remove all 3 entries of this file store? [y/N]"),
            "{said}"
        );
        assert_eq!(status.code(), Some(code), "{said}");
        let keys = shell.run(&["keys"]).ok();
        assert_eq!(keys.lines().count(), left);
    }
}

/// 60 MB go in and out of a database, and the program never holds much of it.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded() {
    fn peak_megabytes(child: &Child) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.expect("status");
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("VmHWM");
        peak.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<usize>()
            .expect("number")
            / 1024
    }

    let shell = Shell::new("sqlite:app.db");
    let mut import = shell
        .command(&["import"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut input = import.stdin.take().expect("stdin");
    let value = "x".repeat(6_000);
    for n in 0..10_000 {
        writeln!(input, "{{\"key\":\"k{n}\",\"value\":\"{value}\"}}").expect("write");
    }
    let imported = peak_megabytes(&import);
    drop(input);
    assert!(import.wait().expect("wait").success());
    assert!(imported < 40, "{imported} MB");

    let mut export = shell
        .command(&["export"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut out = BufReader::new(export.stdout.take().expect("stdout"));
    let mut line = String::new();
    let mut exported = 0;
    for n in 0..10_000 {
        line.clear();
        out.read_line(&mut line).expect("a line");
        if n % 100 == 0 {
            exported = peak_megabytes(&export);
        }
    }
    assert!(export.wait().expect("wait").success());
    assert!(exported > 0 && exported < 40, "{exported} MB");
}
