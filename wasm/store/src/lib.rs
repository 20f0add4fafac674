//! The stores of browsers, with every method, as a module of JavaScript: what its size is measured by, and what
//! pages of tests and benchmarks use.

#![cfg(target_family = "wasm")]

pub use polystore_wasm_kv::Kv;
