//! `cargo xtask`: the project's commands, the same for a person and for CI.

mod apt;
mod browser;
mod ci;
mod hygiene;
mod licences;
mod links;
mod metadata;
mod node;
mod prepare;
mod python;
mod run;
mod services;
mod size;
mod suite;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  test [ARGS]     run every test of the workspace, the ones against the npm package included;
                  ARGS go to `cargo test` (`-p quickstart` tests that package only)
  ci              what CI runs: format, hygiene, licences, clippy, docs, each feature alone,
                  examples, then `test`; stops at the first stage that fails
  bench [ARGS]    measure in release mode; ARGS go to the benchmark program
  browser build   compile what runs in browsers and Workers, into target/browser
  browser test    run the tests that need a browser or a Worker
  browser example [PORT]
                  build the page of examples/browser and serve it, at port 8080 if none is given
  etcd-proto      make backends/etcd/proto/etcdserverpb.rs out of the etcd.proto beside it; where that
                  changes nothing, what is checked in is up to date
  services        run a Redis, a PostgreSQL and an etcd with empty temporary folders, and print their
                  URLs; Ctrl-C ends them
  help            print this

`test`, `ci` and `bench` need Node 20 or later with npm, Python 3 with venv, C and C++ compilers, and the
servers of Redis, PostgreSQL, PgBouncer and etcd. On Debian and Ubuntu they install what is missing (as root, or by a sudo
that asks for no password), without having the servers run as services. Elsewhere the tests that need them
are left out with a warning, unless CI is set: then that is a failure.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        return misused("no command given");
    };

    let outcome = match (command.as_str(), rest) {
        ("test", [separator, extra @ ..]) if separator == "--" => suite::command(extra),
        ("test", extra) => suite::command(extra),
        ("ci", []) => ci::command(),
        ("bench", [separator, extra @ ..]) if separator == "--" => bench(extra),
        ("bench", extra) => bench(extra),
        ("browser", [what]) if what == "build" => browser::build(),
        ("browser", [what]) if what == "test" => browser::test(),
        ("browser", [what]) if what == "example" => browser::example(None),
        ("browser", [what, port]) if what == "example" => browser::example(Some(port)),
        ("browser", _) => return misused("`browser` takes build, test or example"),
        ("etcd-proto", []) => etcd_proto(),
        ("services", []) => services::serve(),
        ("help" | "--help" | "-h", _) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        ("ci" | "etcd-proto" | "services", [unexpected, ..]) => {
            return misused(&format!("`{command}` does not take {unexpected:?}"));
        }
        _ => return misused(&format!("no command is named {command:?}")),
    };

    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &[String]) -> run::Outcome<bool> {
    let only = arguments.iter().skip_while(|word| *word != "--only").nth(1);
    if only.is_none_or(|only| only.contains("browser")) {
        browser::prepare_bench()?;
    }
    let mut command = run::cargo(["run", "--release", "--package", "polystore-benches", "--"]);
    command
        .args(arguments)
        .envs(prepare::prepare()?.environment);
    run::run(&mut command)?;
    Ok(true)
}

/// By a program that is no member of the workspace: what it needs would slow down every build.
fn etcd_proto() -> run::Outcome<bool> {
    let manifest = run::root().join("xtask/etcd-proto/Cargo.toml");
    let folder = run::root().join("crates/polystore/src/backends/etcd/proto");
    let mut command = run::cargo(["run", "--locked", "--manifest-path"]);
    command.arg(manifest).arg("--target-dir");
    command.arg(run::root().join("target/etcd-proto"));
    run::run(command.arg("--").arg(folder))?;
    Ok(true)
}

fn misused(problem: &str) -> ExitCode {
    eprintln!("error: {problem}\n\n{USAGE}");
    ExitCode::from(2)
}
