//! The program in a folder of its own.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder and a store in it.
pub(crate) struct Shell {
    folder: TempDir,
    store: &'static str,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// Standard output of a command that went well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

impl Shell {
    pub(crate) fn new(store: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, store }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder");
        entries
            .map(|entry| {
                entry
                    .expect("entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polystore"));
        command
            .current_dir(self.folder.path())
            .env("POLYSTORE_STORE", self.store)
            .args(args)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        finish(self.command(args))
    }

    /// With `input` as standard input.
    pub(crate) fn pipe(&self, args: &[&str], input: impl AsRef<[u8]>) -> Done {
        let mut file: File = tempfile::tempfile().expect("a temporary file");
        file.write_all(input.as_ref()).expect("write");
        file.rewind().expect("rewind");
        let mut command = self.command(args);
        command.stdin(file);
        finish(command)
    }
}

fn finish(mut command: Command) -> Done {
    let output = command.output().expect("the program runs");
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// All that is left in `from`.
pub(crate) fn rest(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).expect("read");
    text
}

/// Each test function for each store that keeps what is written.
#[macro_export]
macro_rules! on_each_store {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        mod sqlite {
            $($(#[$attribute])* #[test] fn $name() { super::$name("sqlite:app.db"); })*
        }
        mod file {
            $($(#[$attribute])* #[test] fn $name() { super::$name("file:app.json"); })*
        }
        mod folder {
            $($(#[$attribute])* #[test] fn $name() { super::$name("file:app/"); })*
        }
    };
}

/// Keys and values that have broken programs.
pub(crate) const HOSTILE: &[&str] = &[
    "",
    " ",
    "%",
    "_",
    "*",
    "?",
    "[a]",
    "\\",
    "'",
    "\"",
    ";",
    "=",
    ":",
    "/",
    "..",
    "../x",
    "~",
    "#",
    "&",
    "a\nb",
    "a\r\n",
    "\t",
    "__proto__",
    "toString",
    "ping",
    "😀",
    "é",
    "e\u{301}",
    "K",
    "k",
    "-",
    "--",
    "-x",
    "--json",
    "null",
    "{\"a\":1}",
    "$(id)",
    "\u{1b}[31m",
    "\u{7f}",
];
