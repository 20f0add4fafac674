//! `polystore`: the methods of a key-value store as commands.

mod args;
mod exit;
mod groups;
mod input;
mod items;
mod location;
mod ndjson;
mod output;
mod progress;
mod replace;
mod run;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    exit::code(run::run(cli))
}
