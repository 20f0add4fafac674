//! The tests that every backend of [`polystore_kv`] passes: for authors of backends.
//!
//! Each property of the [contract](polystore_kv::backend::Backend) is a test of its own.
//! What a store says it cannot do ([`Capabilities`](polystore_kv::Capabilities)) is not
//! asked of it: those tests are reported as ignored, with the reason, and others check
//! that it says ["unsupported"](polystore_kv::ErrorKind::Unsupported).
//!
//! # How to use it
//!
//! In `Cargo.toml`:
//!
//! ```toml
//! [dev-dependencies]
//! polystore-conformance = "0.1"
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! and in `tests/conformance.rs`:
//!
//! ```no_run
//! use polystore_conformance::Suite;
//! use polystore_kv::kv;
//!
//! fn main() -> std::process::ExitCode {
//!     Suite::new()
//!         .store("mine", || async { kv("memory:") })
//!         .counts("tests/conformance.counts")
//!         .run()
//! }
//! ```
//!
//! `cargo test` then runs it like any other test, with the same arguments: `cargo test
//! --test conformance -- insert` runs the tests with "insert" in their names.
//!
//! # What it does to a store
//!
//! Every test works under a prefix of its own, which begins with `ps` and 14 random
//! characters, and removes what it wrote: the suite can be pointed at a store with data in
//! it, as far as the store's `clear` of a prefix can be trusted. Tests of a whole store, such
//! as clearing all of it, run only on a [disposable](Suite::disposable_store) one.
//!
//! # Counts
//!
//! A capability that a store no longer claims would hide a failure. So the number of tests
//! that passed and were skipped is kept in a [file](Suite::counts) beside the test, and a
//! run that differs from it fails.

#[cfg(not(target_family = "wasm"))]
mod counts;
mod properties;
mod property;
mod runtime;
mod subject;
mod suite;
mod verdict;

pub use properties::{HOSTILE, names as properties};
pub use suite::{Outcome, Suite, Trial};
