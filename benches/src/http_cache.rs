//! Hits of an HTTP cache, beside http-cache with its own store in memory, which is a program of its own: see its Cargo.toml.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use polystore_http_cache::HttpCache;
use reqwest_middleware::ClientBuilder;

use crate::hits;
use crate::measure::TASKS;
use crate::report::{Runs, judged, ratio};
use crate::{Bench, apart};

/// What a hit is to reach beside http-cache's.
const MARK: f64 = 0.8;

impl Bench<'_> {
    /// The table, or nothing where none of it is asked for.
    pub(crate) fn http_cache(&self) -> Option<String> {
        let mut peer = None;
        let mut table = String::new();
        for (size, bytes) in [("1 kB", 1000), ("100 kB", 100_000)] {
            for tasks in [1, TASKS] {
                let what = format!("http cache hit of {size} ×{tasks}");
                if !self.options.wants(&what) {
                    continue;
                }
                eprintln!("{what}");
                let peer = peer.get_or_insert_with(|| apart::built("http-cache"));
                let (mut ours, mut theirs) = (Runs::default(), Runs::default());
                for _ in 0..self.options.runs {
                    ours.0.push(of_ours(bytes, tasks));
                    theirs.0.extend(of_peer(peer.as_deref(), bytes, tasks));
                }
                let ratio = judged(ratio(&ours, &theirs), Some(MARK));
                let (ours, theirs) = (ours.show(), theirs.show());
                let _ = writeln!(table, "| {what} | {ours} | {theirs} | {ratio} |");
            }
        }
        (!table.is_empty()).then(|| {
            format!(
                "\n### Hits a second of an HTTP cache in memory\n\n\
                 | | polystore-http-cache | http-cache with moka | of http-cache |\n\
                 |---|---|---|---|\n{table}"
            )
        })
    }
}

fn of_ours(bytes: usize, tasks: u32) -> f64 {
    // The stores here have TLS, so that reqwest wants to know whose.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = ClientBuilder::new(reqwest::Client::new());
    hits::a_second(&client.with(HttpCache::default()).build(), bytes, tasks)
}

fn of_peer(program: Option<&Path>, bytes: usize, tasks: u32) -> Option<f64> {
    let arguments = [bytes.to_string(), tasks.to_string()];
    let output = Command::new(program?).args(arguments).output().ok()?;
    if !output.status.success() {
        eprintln!("http-cache: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
