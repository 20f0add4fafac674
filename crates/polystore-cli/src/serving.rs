//! What can be said of `serve`.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use polystore_kv::{Error, Expires};

const TOKENS: &str = "\
Tokens are lines TOKEN read-only|read-write [PREFIX] in a file or in POLYSTORE_TOKENS:
  3f9c0d5be1a84c27 read-write
  b81d3e6fa02745cc read-only shop:
SIGHUP has the files of --tokens, --tls-cert and --tls-key read again.";

#[derive(Args, Clone, Debug)]
#[command(after_help = TOKENS)]
pub(crate) struct Serving {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(crate) listen: SocketAddr,
    /// A file of tokens; without tokens anyone who reaches the server may do everything.
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,
    /// Take tokens in the path too, /_/t/TOKEN/KEY, for clients that send no headers.
    #[arg(long)]
    pub(crate) path_tokens: bool,
    /// Serve without tokens where other machines can reach it.
    #[arg(long, conflicts_with = "tokens")]
    pub(crate) allow_anonymous: bool,
    /// A name that requests may address; then no other but localhost (several times).
    #[arg(long, value_name = "NAME", value_parser = host)]
    pub(crate) host: Vec<String>,
    /// Let pages of this origin ask, such as `https://app.example` (several times).
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors_origin: Vec<String>,
    /// The certificate in PEM, to serve https.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The longest body, or line of one in lines.
    #[arg(long, value_name = "BYTES", default_value = "32M", value_parser = bytes)]
    pub(crate) max_body: usize,
    /// The longest key with its prefix.
    #[arg(long, value_name = "BYTES", default_value = "8K", value_parser = bytes)]
    pub(crate) max_key: usize,
    /// The longest request line and headers together.
    #[arg(long, value_name = "BYTES", default_value = "64K", value_parser = bytes)]
    pub(crate) max_headers: usize,
    /// How many requests may be under way; beyond, 429.
    #[arg(long, value_name = "COUNT", default_value = "2048", value_parser = count)]
    pub(crate) max_requests: usize,
    /// How many connections there may be.
    #[arg(long, value_name = "COUNT", default_value = "4096", value_parser = count)]
    pub(crate) max_connections: usize,
    /// How long a request may take.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) request_time: Duration,
    /// How long the headers of a request, or a TLS handshake, may take.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) header_time: Duration,
    /// How long a connection may be idle, or a client of a list or a body in lines stuck.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) idle_time: Duration,
    /// How long what is under way may take after Ctrl-C or SIGTERM.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) drain: Duration,
    /// What to log on standard error (with --json as JSON): each request, what fails, nothing.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub(crate) log: Log,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Log {
    Info,
    Warn,
    Off,
}

/// A number, with K, M or G for so many times 1024.
fn bytes(text: &str) -> Result<usize, String> {
    let shift = match text.as_bytes().last() {
        Some(b'K' | b'k') => 10,
        Some(b'M' | b'm') => 20,
        Some(b'G' | b'g') => 30,
        _ => 0,
    };
    let digits = &text[..text.len() - usize::from(shift > 0)];
    count(digits)
        .ok()
        .and_then(|it| it.checked_mul(1 << shift))
        .ok_or_else(|| "a number of bytes is as 4096, 512K or 32M, and above zero".to_owned())
}

fn count(text: &str) -> Result<usize, String> {
    // A semaphore has no more.
    let most = usize::MAX >> 3;
    let parsed = text.parse().ok().filter(|it| (1..=most).contains(it));
    parsed.ok_or_else(|| "it is a whole number above zero".to_owned())
}

/// As it is compared with the header: what could be no name there would have everyone refused.
fn host(name: &str) -> Result<String, String> {
    let v6 = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_v6 = v6.is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    match is_v6 || is_name {
        true => Ok(name.to_owned()),
        false => Err(
            "a name is as store.example, 10.0.0.7 or [fd00::7]: without a scheme or a port, and not in \
             other letters than ASCII (xn--…)"
                .to_owned(),
        ),
    }
}

fn time(words: &str) -> Result<Duration, String> {
    let expires: Expires = words.parse().map_err(|error: Error| error.to_string())?;
    expires
        .as_duration()
        .filter(|it| *it >= Duration::from_millis(1))
        .ok_or_else(|| "it is a time such as 500ms, 10s or 2min".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_as_the_header_has_it() {
        for name in ["store.example", "a_b", "10.0.0.7", "[fd00::7]", "LOCALHOST"] {
            assert_eq!(host(name), Ok(name.to_owned()));
        }
        for wrong in [
            "",
            "a:80",
            "https://a",
            "a/",
            "*",
            "bücher.example",
            "fd00::7",
            "[a]",
        ] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_are_counted_in_powers_of_two() {
        assert_eq!(bytes("1"), Ok(1));
        assert_eq!(bytes("8K"), Ok(8192));
        assert_eq!(bytes("2g"), Ok(2 << 30));
        for wrong in ["", "K", "0", "-1", "1.5M", "1T", "99999999999G", "M1"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
