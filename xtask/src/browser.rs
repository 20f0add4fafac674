//! `cargo xtask browser`: what runs in browsers and Workers, compiled to WebAssembly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{self, Outcome, answer, command};
use crate::{apt, metadata, size, suite};

const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler with the standard library as source, for where rustup has not the target.
const DEBIANS: [&str; 5] = [
    "cargo-web",
    "lld-22",
    "rust-web-llvm",
    "rust-web-src",
    "rustc-web",
];

/// The package of `examples/browser`.
const EXAMPLE: &str = "browser-notes";

/// The port of its page, where none is given.
const PORT: &str = "8080";

/// The profile of what people would load, which takes long to build.
const SMALL: &str = "wasm-small";

/// That of what is tried: quickly built, and a panic has words there.
const TESTED: &str = "wasm-test";

/// What is built.
struct Module {
    package: &'static str,
    /// Its folder in `target/browser`, and what its files begin with.
    name: &'static str,
    /// In the workspace's Cargo.toml.
    profile: &'static str,
    /// What a Worker begins with, which comes beside it.
    worker: Option<&'static str>,
}

const MODULES: [Module; 4] = [
    Module {
        package: EXAMPLE,
        name: EXAMPLE,
        profile: TESTED,
        worker: None,
    },
    Module {
        package: "polystore-wasm-conformance",
        name: "conformance",
        profile: TESTED,
        worker: Some("wasm/conformance/worker.mjs"),
    },
    Module {
        package: "polystore-wasm-store",
        name: "store",
        profile: SMALL,
        worker: None,
    },
    Module {
        package: "link-shortener",
        name: "worker",
        profile: TESTED,
        worker: Some("examples/worker/worker.mjs"),
    },
];

/// The packages whose tests load them.
const TRIED_BY: [&str; 4] = [
    EXAMPLE,
    "link-shortener",
    "polystore-interop",
    "polystore-kv",
];

/// Whether tests of the package need what is built here.
pub(crate) fn is_tried_by(package: &str) -> bool {
    // Cargo takes patterns and versions (`polystore-kv@0.1.0`) too.
    let name = package.split('@').next().unwrap_or(package);
    TRIED_BY.contains(&name) || name.contains(['*', '?', '['])
}

/// What is measured: as a program is built that is to be fast.
const MEASURED: [Module; 1] = [Module {
    package: "polystore-wasm-bench",
    name: "bench",
    profile: "release",
    worker: None,
}];

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

/// `cargo xtask browser example [PORT]`: builds the page of `examples/browser`, and serves it.
pub(crate) fn example(port: Option<&str>) -> Outcome<bool> {
    make(MODULES.iter().filter(|module| module.name == EXAMPLE))?;
    let mut pages = run::cargo(["run", "--package", "polystore-servers"]);
    pages.args(["--features", "browser", "--bin", "pages", "--"]);
    pages.arg(port.unwrap_or(PORT));
    pages.args([
        "/program=target/browser/browser-notes",
        "/=examples/browser/page",
    ]);
    run::run(&mut pages)?;
    Ok(true)
}

/// Builds the modules, with the JavaScript that loads them, into `target/browser/NAME`.
pub(crate) fn prepare() -> Outcome {
    make(&MODULES)
}

/// Builds what `cargo xtask bench` measures.
pub(crate) fn prepare_bench() -> Outcome {
    make(&MEASURED)
}

fn make<'a>(modules: impl IntoIterator<Item = &'a Module>) -> Outcome {
    let toolchain = Toolchain::find()?;
    let bindgen = bindgen()?;
    for module in modules {
        let mut cargo = toolchain.cargo("build");
        if module.profile == SMALL {
            toolchain.shrink(&mut cargo);
        }
        run::run(cargo.args(["--package", module.package, "--profile", module.profile]))?;
        let folder = Toolchain::folder().join(TARGET).join(module.profile);
        let file = folder.join(module.package.replace('-', "_") + ".wasm");
        let out = run::root().join("target/browser").join(module.name);
        let mut bind = command(&bindgen);
        bind.args(["--target", "web", "--no-typescript", "--out-name"]);
        bind.args([
            module.name,
            "--remove-name-section",
            "--remove-producers-section",
        ]);
        run::run(bind.arg("--out-dir").arg(&out).arg(file))?;
        if module.profile == SMALL {
            size::make_small(module.name, &out)?;
        }
        if let Some(worker) = module.worker {
            let copied = fs::copy(run::root().join(worker), out.join("worker.mjs"));
            copied.map_err(|problem| format!("{worker}: {problem}"))?;
        }
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

    /// Has it built as small as can be. A compiler that compiles the standard library too can leave out what a
    /// panic says and where it was: it still ends the module.
    fn shrink(self, cargo: &mut Command) {
        if let Self::Debians = self {
            cargo.args([
                "-Zbuild-std-features=optimize_for_size",
                "-Zpanic-immediate-abort",
                "--config",
            ]);
            cargo.arg(format!("profile.{SMALL}.panic='immediate-abort'"));
            cargo.env("RUSTFLAGS", "-Zlocation-detail=none");
        }
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
    // Its test runner alone needs an HTTP client; and so few optimizations do for the program, in half the time.
    install.args(["--no-default-features", "--bin", "wasm-bindgen", "--debug"]);
    install.args([
        "--config",
        "profile.dev.opt-level=1",
        "--config",
        "profile.dev.debug=false",
    ]);
    // Of the lock file that it comes with, some versions cannot be compiled any more.
    run::run(install.env("CARGO_TARGET_DIR", folder.join("build")))?;
    Ok(program)
}
