//! What can be said on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use polystore_kv::{Error, Expires};

use crate::serving::Serving;

/// The store that is used when none is named.
pub(crate) const DEFAULT_STORE: &str = "sqlite:polystore.db";

const EXIT_CODES: &str = "\
Exit codes:
  0    done; for has, insert, replace and touch: yes
  1    no: get, ttl, replace and touch found nothing, has says no, insert found
       the key taken, clear was answered with no
  2    the command line, the input or the store's URL is wrong, or the store
       cannot do this
  3    the store or a file failed, or what is stored is broken
  130  stopped by Ctrl-C; the stores are whole (serve ends with 0 at the first)";

/// Reads and writes key-value stores: files, folders, SQLite, LevelDB, Redis, PostgreSQL, etcd, Cloudflare KV, servers over HTTP.
#[derive(Parser, Debug)]
#[command(name = "polystore", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[arg(
        long,
        help = "The store: sqlite:app.db, file:cache.json, file:folder/, redis://localhost …",
        global = true,
        value_name = "URL",
        env = "POLYSTORE_STORE",
        hide_env_values = true,
        default_value = DEFAULT_STORE
    )]
    pub(crate) store: String,

    /// Only the part of the store whose keys begin with this; keys are given and
    /// printed without it.
    #[arg(
        long,
        global = true,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) prefix: String,

    /// Print JSON, one document a line, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Print the value under a key as JSON.
    Get {
        key: String,
        /// Print a text without its quotes and escapes.
        #[arg(long)]
        raw: bool,
    },
    /// Put a value under a key, in place of what was there.
    Set {
        key: String,
        #[command(flatten)]
        value: Value,
        #[command(flatten)]
        expires: Expiring,
    },
    /// Put a value under a new random key and print that key.
    Add {
        #[command(flatten)]
        value: Value,
        #[command(flatten)]
        expires: Expiring,
    },
    /// Put a value under a key only if nothing is there; print whether it did.
    Insert {
        key: String,
        #[command(flatten)]
        value: Value,
        #[command(flatten)]
        expires: Expiring,
    },
    /// Put a value under a key only if something is there; print whether it did.
    Replace {
        key: String,
        #[command(flatten)]
        value: Value,
        #[command(flatten)]
        expires: Expiring,
    },
    /// Print whether there is a value under a key.
    Has { key: String },
    /// Remove keys, if they are there.
    Del {
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Print how many seconds a value stays, or "never" if it does not expire.
    Ttl { key: String },
    /// Give the value under a key another expiry; print whether there was one.
    Touch {
        key: String,
        /// When it expires, from now: 10min, "1h 30m", 1.5 (seconds), never.
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        expires: Expires,
    },
    /// Print the keys, one a line (with --json as JSON texts, safe for any key).
    Keys,
    /// Print the values, one a line.
    Values,
    /// Print {"key":…,"value":…,"expires":milliseconds or null}, one a line.
    Entries,
    /// Print one JSON object of all keys and their values.
    All,
    /// Remove everything (asks first, or wants --yes), or all under --prefix.
    Clear {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Remove what has expired now instead of later; print how many entries went.
    Prune,
    /// Copy the entries of one store to another with their expiries.
    ///
    /// With --prefix, the substore of the one into the same substore of the other.
    /// What the other has besides stays. Can be run again.
    Copy {
        #[arg(value_name = "FROM")]
        from: String,
        #[arg(value_name = "TO")]
        to: String,
        #[command(flatten)]
        expires: Instead,
    },
    /// Write all entries to a file, in the form that import reads.
    Export {
        /// Replaced only once the export is complete; "-" is standard output.
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Put the entries of a file into the store, a line {"key":…,"value":…} each.
    ///
    /// "expires" is milliseconds since 1970; null, or left out, is never. What has
    /// expired is left out, what the store has besides stays. Can be run again.
    Import {
        /// "-" is standard input.
        #[arg(default_value = "-")]
        file: PathBuf,
        #[command(flatten)]
        expires: Instead,
    },
    /// Put the store on the network, over HTTP, with a page to look into it.
    ///
    /// Ctrl-C finishes what is under way and ends with 0; the next one ends at once.
    Serve(Box<Serving>),
    /// Print the completions for a shell.
    Completions { shell: Shell },
}

#[derive(Args, Debug)]
pub(crate) struct Value {
    /// JSON if it is JSON, else text; "-" reads it from standard input.
    #[arg(allow_hyphen_values = true)]
    pub(crate) value: String,
    /// It is text, even if it looks like JSON, and is kept to the last newline.
    #[arg(long)]
    pub(crate) text: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Expiring {
    /// When it expires, from now: 10min, "1h 30m", 1.5 (seconds), never.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) expires: Option<Expires>,
}

#[derive(Args, Debug)]
pub(crate) struct Instead {
    /// When each entry expires, from now, instead of its own expiry: 10min, never.
    #[arg(long, value_name = "TIME", value_parser = in_the_future)]
    pub(crate) expires: Option<Expires>,
}

/// What is over at once would delete: that is no copy.
fn in_the_future(words: &str) -> Result<Expires, String> {
    let expires: Expires = words.parse().map_err(|error: Error| error.to_string())?;
    match expires.as_duration() {
        Some(Duration::ZERO) => Err("it would be over at once".to_owned()),
        _ => Ok(expires),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
