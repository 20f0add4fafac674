//! OpenDAL, in a program of its own: see its Cargo.toml for why.

use std::path::{Path, PathBuf};
use std::process::Command;

/// OpenDAL's service of a server.
pub(crate) struct OpenDal {
    program: PathBuf,
    service: &'static str,
    url: String,
}

impl OpenDal {
    /// Builds the program, if it is not up to date. `None` where that fails.
    pub(crate) fn new(service: &'static str, url: String) -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("opendal");
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--target-dir",
                "target",
            ])
            .current_dir(&folder)
            .status();
        if !built.is_ok_and(|status| status.success()) {
            eprintln!("OpenDAL could not be built: its columns stay empty");
            return None;
        }
        Some(Self {
            program: folder.join("target/release/polystore-bench-opendal"),
            service,
            url,
        })
    }

    /// Operations a second.
    pub(crate) fn run(&self, operation: &str, tasks: u32) -> Option<f64> {
        let output = Command::new(&self.program)
            .args([self.service, &self.url, operation, &tasks.to_string()])
            .output()
            .ok()?;
        if !output.status.success() {
            eprintln!("OpenDAL: {}", String::from_utf8_lossy(&output.stderr));
        }
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    }
}
