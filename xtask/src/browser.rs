//! `cargo xtask browser`: what runs in browsers and Workers, compiled to WebAssembly.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{self, Outcome, answer, command};
use crate::{apt, metadata, suite};

const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler with the standard library as source, for where rustup has not the target.
const DEBIANS: [&str; 5] = [
    "cargo-web",
    "lld-22",
    "rust-web-llvm",
    "rust-web-src",
    "rustc-web",
];

/// What is built: a package, and the profile in the workspace's Cargo.toml.
const MODULES: [(&str, &str); 2] = [
    ("polystore-wasm-conformance", "wasm-test"),
    ("polystore-wasm-store", "wasm-small"),
];

/// What is measured: as a program is built that is to be fast.
const MEASURED: [(&str, &str); 1] = [("polystore-wasm-bench", "release")];

/// `cargo xtask browser build`.
pub(crate) fn build() -> Outcome<bool> {
    prepare()?;
    Ok(true)
}

/// `cargo xtask browser test`: the tests that need a browser or a Worker.
pub(crate) fn test() -> Outcome<bool> {
    let arguments = [
        "--test",
        "conformance",
        "--test",
        "browser",
        "--",
        "in a browser",
        "in a worker",
    ];
    suite::command(&arguments.map(str::to_owned))
}

/// Builds the modules, with the JavaScript that loads them, into `target/browser/NAME`.
pub(crate) fn prepare() -> Outcome {
    make(&MODULES)
}

/// Builds what `cargo xtask bench` measures.
pub(crate) fn prepare_bench() -> Outcome {
    make(&MEASURED)
}

fn make(modules: &[(&str, &str)]) -> Outcome {
    let toolchain = Toolchain::find()?;
    let bindgen = bindgen()?;
    for (package, profile) in modules {
        let mut cargo = toolchain.cargo("build");
        run::run(cargo.args(["--package", package, "--profile", profile]))?;
        let folder = Toolchain::folder().join(TARGET).join(profile);
        let module = folder.join(package.replace('-', "_") + ".wasm");
        let name = package.trim_start_matches("polystore-wasm-");
        let out = run::root().join("target/browser").join(name);
        let mut bind = command(&bindgen);
        bind.args(["--target", "web", "--no-typescript", "--out-name", name]);
        run::run(bind.arg("--out-dir").arg(out).arg(module))?;
    }
    Ok(())
}

/// What compiles to WebAssembly here.
#[derive(Clone, Copy)]
pub(crate) enum Toolchain {
    /// The one that runs this: it has the target.
    Own,
    /// Debian's, which has to compile the standard library too.
    Debians,
}

impl Toolchain {
    /// Finds one; on Debian and Ubuntu it installs one where there is none.
    pub(crate) fn find() -> Outcome<Self> {
        let root = answer(command("rustc").args(["--print", "sysroot"])).unwrap_or_default();
        if Path::new(&root).join("lib/rustlib").join(TARGET).is_dir() {
            return Ok(Self::Own);
        }
        let parts = ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/bin/rust-lld"];
        let source = Path::new("/usr/lib/rustlib/src/rust/library/std");
        if !source.is_dir() || !parts.iter().all(|part| Path::new(part).exists()) {
            apt::install(&DEBIANS).map_err(|problem| {
                format!(
                    "`rustup target add {TARGET}` is needed for what runs in browsers ({problem})"
                )
            })?;
        }
        Ok(Self::Debians)
    }

    /// Where it builds. Apart from cargo's own folder: it may be another compiler.
    fn folder() -> PathBuf {
        run::root().join("target/wasm")
    }

    /// `cargo SUBCOMMAND` for WebAssembly.
    pub(crate) fn cargo(self, subcommand: &str) -> Command {
        let mut cargo = match self {
            Self::Own => run::cargo([subcommand]),
            Self::Debians => {
                let mut cargo = command("/usr/bin/cargo");
                cargo.args([subcommand, "-Zbuild-std=std,panic_abort"]);
                // What it compiles the library by is not for everyone's use yet.
                cargo
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", "/usr/bin/rustc");
                // What rustup says is of its own compiler.
                for name in [
                    "LD_LIBRARY_PATH",
                    "RUSTUP_TOOLCHAIN",
                    "RUSTDOC",
                    "RUSTC_WRAPPER",
                ] {
                    cargo.env_remove(name);
                }
                cargo
            }
        };
        cargo.args(["--target", TARGET]);
        cargo.env("CARGO_TARGET_DIR", Self::folder());
        cargo
    }
}

/// `wasm-bindgen`, in the version that Cargo.lock has of the library: they understand each other only then.
fn bindgen() -> Outcome<PathBuf> {
    let version = metadata::locked_version("wasm-bindgen")?;
    let folder = run::root().join("target/wasm-bindgen");
    let program = folder.join("bin/wasm-bindgen");
    let is_there = answer(command(&program).arg("--version"));
    if is_there.is_some_and(|said| said.split(' ').nth(1) == Some(&version)) {
        return Ok(program);
    }
    let mut install = run::cargo(["install", "wasm-bindgen-cli", "--version", &version]);
    install.arg("--root").arg(&folder);
    // Of the lock file that it comes with, some versions cannot be compiled any more.
    run::run(install.env("CARGO_TARGET_DIR", folder.join("build")))?;
    Ok(program)
}
