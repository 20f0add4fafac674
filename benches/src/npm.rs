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

/// One measurement, or nothing where Node or the package is missing.
pub(crate) fn run(store: &str, workload: &str, folder: &Path, seconds: f64) -> Answer {
    let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("npm/bench.mjs");
    let folder = folder.join(format!("npm-{store}-{workload}"));
    if std::fs::create_dir_all(&folder).is_err() {
        return Answer::default();
    }
    let output = Command::new("node")
        .arg(script)
        .args(["--store", store, "--workload", workload])
        .args(["--seconds", &seconds.to_string(), "--dir"])
        .arg(&folder)
        .output();
    let Ok(output) = output else {
        return Answer::default();
    };
    if !output.status.success() {
        eprintln!(
            "npm {store} {workload}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}
