//! A client of JSON APIs that asks each of them as seldom as it may: what it got is in a SQLite file, and the next run
//! takes it from there, as long as the API allows, or has it confirmed.
//!
//! ```sh
//! cargo run -p cached-client -- https://api.github.com/repos/rust-lang/rust
//! cargo run -p cached-client -- https://api.github.com/repos/rust-lang/rust   # from the cache
//! cargo run -p cached-client -- --refresh https://api.github.com/repos/rust-lang/rust
//! CACHE_STORE=redis://localhost cargo run -p cached-client -- https://…       # shared with others
//! ```
//!
//! A store that fails is no reason to fail: standard error says so, and the API is asked.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use polystore_http_cache::HttpCache;
use polystore_kv::{Store, kv};
use reqwest::Url;
use reqwest::header::{CACHE_CONTROL, USER_AGENT};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde_json::Value;
use tracing_subscriber::filter::LevelFilter;

const USAGE: &str = "usage: cached-client [--refresh] URL…";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let refresh = arguments.iter().any(|argument| argument == "--refresh");
    arguments.retain(|argument| argument != "--refresh");
    let urls = match urls(&arguments) {
        Ok(urls) if !urls.is_empty() => urls,
        Ok(_) => return wrong(USAGE),
        Err(error) => return wrong(&format!("{error}\n{USAGE}")),
    };
    // What the cache has to tell: its store's failures, which the replies do not show.
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(LevelFilter::WARN)
        .with_target(false)
        .without_time()
        .init();
    match run(urls, refresh).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn wrong(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(2)
}

/// All of them, before the first one is asked.
fn urls(arguments: &[String]) -> Result<Vec<Url>, String> {
    let url = |argument: &String| {
        let url =
            Url::parse(argument).map_err(|error| format!("{argument:?} is no URL: {error}"))?;
        match url.scheme() {
            "http" | "https" => Ok(url),
            _ => Err(format!("{argument:?} is no URL of HTTP")),
        }
    };
    arguments.iter().map(url).collect()
}

async fn run(urls: Vec<Url>, refresh: bool) -> Result<(), Box<dyn Error>> {
    let store = kv(env::var("CACHE_STORE").unwrap_or_else(|_| "sqlite:http-cache.db".to_owned()))?;
    let client = client(&store)?;
    for url in urls {
        show(&client, url, refresh).await?;
    }
    let kind = store.kind();
    match store.prefix("http:").keys().await {
        Ok(kept) => writeln!(io::stdout(), "{} in the cache ({kind})", kept.len())?,
        Err(error) => eprintln!("what is in the cache cannot be counted: {}", chain(&error)),
    }
    store.close().await?;
    Ok(())
}

/// Keys are hashes of URLs: what else is in the store has other prefixes.
fn client(store: &Store) -> Result<ClientWithMiddleware, Box<dyn Error>> {
    // Whose cryptography reqwest uses; with its default features it brings one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30));
    let cache = HttpCache::new(store.prefix("http:"))?
        .max_body_bytes(1 << 20)
        .keep_stale("1 week")?;
    Ok(ClientBuilder::new(client.build()?).with(cache).build())
}

/// Gets a URL, and says what it is and where it came from.
async fn show(
    client: &ClientWithMiddleware,
    url: Url,
    refresh: bool,
) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let mut request = client
        .get(url.clone())
        .header(USER_AGENT, "polystore-cached-client");
    if refresh {
        // Whatever is kept: ask whether it still holds.
        request = request.header(CACHE_CONTROL, "no-cache");
    }
    let reply = request.send().await?;
    let status = reply.status();
    let said = reply.headers().get_all("cache-status").iter().next_back();
    let source = source(said.and_then(|said| said.to_str().ok()).unwrap_or_default());
    // Only then it is kept, if the store takes it.
    let body = reply.bytes().await?;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    let mut out = io::stdout();
    writeln!(
        out,
        "{url}\n  {status}, {} bytes, {source}, in {took:.1} ms",
        body.len()
    )?;
    match serde_json::from_slice(&body) {
        Ok(Value::Array(items)) => writeln!(out, "  a list of {}", items.len())?,
        Ok(Value::Object(fields)) => {
            let names: Vec<_> = fields.keys().take(5).map(String::as_str).collect();
            let dots = if fields.len() > names.len() {
                ", …"
            } else {
                ""
            };
            writeln!(out, "  {} fields: {}{dots}", fields.len(), names.join(", "))?;
        }
        Ok(value) => writeln!(out, "  {value}")?,
        Err(_) => writeln!(out, "  no JSON")?,
    }
    Ok(())
}

/// What `Cache-Status` says, in words (RFC 9211). It is there before the body is, so it tells what is to come:
/// `stored` is no proof that the store took it.
fn source(said: &str) -> String {
    let has = |part: &str| said.split("; ").any(|it| it == part);
    if has("hit") {
        let ttl = said
            .split("ttl=")
            .nth(1)
            .and_then(|rest| rest.split(';').next());
        return format!("from the cache, fresh for {} s", ttl.unwrap_or("0"));
    }
    let kept = if has("stored") {
        "to be kept"
    } else {
        "not to be kept"
    };
    if has("fwd-status=304") {
        return format!("from the cache, confirmed, {kept}");
    }
    format!("from the origin, {kept}")
}

/// Whether whoever reads what is printed has had enough, such as `head`.
fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error and all its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line += &format!(": {error}");
        cause = error.source();
    }
    line
}
