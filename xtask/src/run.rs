//! Running other programs, and saying how long that took.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// What went wrong is only ever shown to a person, so a message is enough.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    // Cargo's word at run time comes first: a checkout that was moved keeps its compiled xtask.
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent()
        .map_or_else(|| here.clone(), Path::to_path_buf)
}

/// Whether nobody is there to answer a question or to read a warning.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// A command that runs in the workspace's folder.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    if in_ci() {
        command.stdin(Stdio::null());
    }
    // `cargo run` describes xtask to its child in these. Build scripts that watch them (ring's does)
    // would be run anew each time that a person changes between `cargo xtask` and plain `cargo`.
    for (name, _) in std::env::vars_os() {
        let described = name.to_string_lossy();
        if described.starts_with("CARGO_PKG_") || described.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The cargo that runs xtask, with these arguments.
pub(crate) fn cargo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Runs to the end, with its output where ours goes.
pub(crate) fn run(command: &mut Command) -> Outcome {
    println!("$ {}", shown(command));
    let status = command
        .status()
        .map_err(|error| unstarted(command, &error))?;
    expect_success(command, status)
}

/// Runs to the end and gives what it wrote to standard output.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| unstarted(command, &error))?;
    expect_success(command, output.status)?;
    String::from_utf8(output.stdout)
        .map_err(|_| format!("`{}` wrote something that is not UTF-8", shown(command)))
}

/// What a program that may not exist answers; nothing where it doesn't exist or fails.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let answered = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(answered)
}

/// Runs to the end and hands over each line as it comes, standard error's among them.
pub(crate) fn stream(command: &mut Command, mut line: impl FnMut(&str)) -> Outcome<ExitStatus> {
    println!("$ {}", shown(command));
    let broken = |error: std::io::Error| format!("reading a child's output: {error}");

    // One pipe for both: two would lose which of cargo's "Running …" a test's line came after.
    let (reader, writer) = std::io::pipe().map_err(broken)?;
    command
        .stdout(writer.try_clone().map_err(broken)?)
        .stderr(writer);
    let spawned = command.spawn();
    // `command` holds the pipe's writing ends: while it does, the reader never sees an end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = spawned.map_err(|error| unstarted(command, &error))?;

    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).map_err(broken)? > 0 {
        let text = String::from_utf8_lossy(&bytes);
        line(text.trim_end_matches(['\r', '\n']));
        bytes.clear();
    }
    child.wait().map_err(broken)
}

/// The command as one could type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words: Vec<String> = command
        .get_envs()
        .filter(|(name, _)| *name != "PATH")
        .filter_map(|(name, value)| Some((name.to_string_lossy(), value?.to_string_lossy())))
        .map(|(name, value)| format!("{name}={}", quoted(&value)))
        .collect();
    let program = Path::new(command.get_program());
    words.push(
        program
            .file_name()
            .map_or("?".into(), |name| name.to_string_lossy().into_owned()),
    );
    words.extend(
        command
            .get_args()
            .map(|argument| quoted(&argument.to_string_lossy())),
    );
    words.join(" ")
}

/// "0.4 s", "1 min 05 s".
pub(crate) fn spoken(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

pub(crate) fn expect_success(command: &Command, status: ExitStatus) -> Outcome {
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}` failed ({status})", shown(command)))
    }
}

fn unstarted(command: &Command, error: &std::io::Error) -> String {
    format!("`{}` could not be started: {error}", shown(command))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_could_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command
            .args(["doc", "a b", ""])
            .env("RUSTDOCFLAGS", "-D warnings")
            .env("PATH", "/long");
        assert_eq!(
            shown(&command),
            "RUSTDOCFLAGS='-D warnings' cargo doc 'a b' ''"
        );
    }

    #[test]
    fn times_are_spoken() {
        assert_eq!(spoken(Duration::from_millis(420)), "0.4 s");
        assert_eq!(spoken(Duration::from_secs(65)), "1 min 05 s");
    }

    #[test]
    fn a_program_that_is_missing_is_a_message() {
        let mut missing = command("no-such-program-anywhere");
        let message = run(&mut missing).unwrap_err();
        assert!(
            message.starts_with("`no-such-program-anywhere` could not be started"),
            "{message}"
        );
        assert_eq!(answer(&mut missing), None);
    }

    #[test]
    #[cfg(unix)]
    fn lines_of_both_outputs_come_in_order() {
        let mut lines = Vec::new();
        let mut shell = command("sh");
        shell.args(["-c", "echo one; echo two >&2; echo three; exit 3"]);
        let status = stream(&mut shell, |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
        assert_eq!(status.code(), Some(3));
    }
}
