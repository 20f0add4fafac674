//! Programs in JavaScript, given as their source, with the packages that are installed for the tests.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::npm_folder;

fn command(source: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new("node");
    command
        .current_dir(npm_folder())
        .args(["--input-type=module", "--eval", source])
        .envs(environment.iter().copied())
        .stdout(Stdio::piped());
    command
}

/// What the program prints.
///
/// # Panics
/// If it fails, or prints what is not text.
pub fn node(source: &str, environment: &[(&str, &str)]) -> String {
    let output = command(source, environment).stdin(Stdio::null()).output();
    let output = output.expect("node was there a moment ago");
    assert!(output.status.success(), "the program failed, see above");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// A program that serves until this is dropped, or the test's process ends.
#[derive(Debug)]
pub struct App {
    child: Child,
    url: String,
    /// Open, so that the program can go on to print.
    stdout: BufReader<ChildStdout>,
}

impl App {
    /// Starts the program, which gets the variable `PORT` (zero: any that is free) and prints
    /// `listening on http://…` when it serves.
    ///
    /// # Panics
    /// If it ends without that.
    #[must_use]
    pub fn start(source: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = command(source, environment);
        command.args(["--import", "./parent.mjs"]);
        command.env("PORT", "0").stdin(Stdio::piped());
        let mut child = command.spawn().expect("node was there a moment ago");
        let output = child.stdout.take().expect("it is piped");
        let mut app = Self {
            child,
            url: String::new(),
            stdout: BufReader::new(output),
        };
        let mut line = String::new();
        drop(app.stdout.read_line(&mut line));
        let url = line.trim_end().strip_prefix("listening on ");
        url.expect("the program says where it listens, or why not above")
            .clone_into(&mut app.url);
        app
    }

    /// `http://…`, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for App {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
