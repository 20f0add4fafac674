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
mod serve;
mod serving;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match args::Cli::try_parse() {
        Ok(cli) => exit::code(run::run(cli)),
        Err(error) => exit::wrong_words(&error, std::env::args_os()),
    }
}
