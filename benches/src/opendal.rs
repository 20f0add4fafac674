//! OpenDAL, in a program of its own.

use std::path::PathBuf;
use std::process::Command;

use crate::apart;

/// OpenDAL's service of a server.
pub(crate) struct OpenDal {
    program: PathBuf,
    service: &'static str,
    url: String,
}

impl OpenDal {
    /// `None` where its program cannot be built.
    pub(crate) fn new(service: &'static str, url: String) -> Option<Self> {
        Some(Self {
            program: apart::built("opendal")?,
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
