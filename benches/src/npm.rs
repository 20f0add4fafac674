//! The npm package on Node, measured the same way.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    pub(crate) ops_per_sec: Option<f64>,
    pub(crate) ms: Option<f64>,
    pub(crate) entries_per_sec: Option<f64>,
    pub(crate) peak_bytes: Option<f64>,
}

/// A store of the npm package.
pub(crate) struct Npm<'a> {
    store: &'a str,
    url: Option<String>,
}

impl<'a> Npm<'a> {
    /// One in a folder, or in memory.
    pub(crate) fn local(store: &'a str) -> Self {
        Self { store, url: None }
    }

    /// One on a server.
    pub(crate) fn remote(store: &'a str, url: String) -> Self {
        let url = Some(url);
        Self { store, url }
    }

    /// One measurement, or nothing where Node or the package is missing.
    pub(crate) fn run(&self, workload: &str, folder: &Path, seconds: f64) -> Answer {
        let store = self.store;
        let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("npm/bench.mjs");
        let folder = folder.join(format!("npm-{store}-{workload}"));
        if std::fs::create_dir_all(&folder).is_err() {
            return Answer::default();
        }
        let mut command = Command::new("node");
        command
            .arg(script)
            .args(["--store", store, "--workload", workload])
            .args(["--seconds", &seconds.to_string(), "--dir"])
            .arg(&folder);
        if let Some(url) = &self.url {
            command.args(["--url", url]);
        }
        let Ok(output) = command.output() else {
            return Answer::default();
        };
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            eprintln!("npm {store} {workload}: {told}");
        }
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}
