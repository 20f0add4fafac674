//! How small a module of WebAssembly gets.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::node;
use crate::run::{self, Outcome, command};

/// What a module is to stay below, in bytes as they go over the network.
const MARKS: [(&str, usize); 1] = [("store", 80_000)];

/// Has `wasm-opt` shrink the module `NAME_bg.wasm` in the folder, where there is one, and prints the sizes.
pub(crate) fn make_small(name: &str, folder: &Path) -> Outcome {
    let module = folder.join(format!("{name}_bg.wasm"));
    let raw = bytes(&module)?;
    let unpacked = gzipped(&module)?;
    match node::wasm_opt() {
        Ok(mut optimise) => {
            optimise.args(["-Oz", "--converge"]);
            // Whoever reads the module meanwhile gets a whole one.
            let smaller = module.with_extension("smaller");
            run::run(optimise.arg(&module).arg("-o").arg(&smaller))?;
            let renamed = fs::rename(&smaller, &module);
            renamed.map_err(|error| format!("{}: {error}", smaller.display()))?;
        }
        Err(problem) => println!("warning: it could be smaller, without wasm-opt: {problem}"),
    }
    let small = gzipped(&module)?;
    println!(
        "{name}: {raw} bytes, {unpacked} gzipped; optimised {} bytes, {small} gzipped; its JavaScript {} gzipped",
        bytes(&module)?,
        gzipped(&folder.join(format!("{name}.js")))?,
    );
    if let Some((_, mark)) = MARKS.iter().find(|(of, _)| *of == name) {
        let how = if small < *mark { "below" } else { "NOT below" };
        println!("{name}: {small} gzipped is {how} its mark, {mark}");
    }
    Ok(())
}

fn bytes(file: &Path) -> Outcome<u64> {
    let metadata = fs::metadata(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(metadata.len())
}

fn gzipped(file: &Path) -> Outcome<usize> {
    let mut gzip = command("gzip");
    gzip.args(["-9", "--no-name", "--stdout"]).arg(file);
    let output = gzip.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("gzip: {error}"))?;
    match output.status.success() {
        true => Ok(output.stdout.len()),
        false => Err(format!("gzip of {}: {}", file.display(), output.status)),
    }
}
