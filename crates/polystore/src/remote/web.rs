//! Stores behind an HTTP API: a client with our TLS, replies in bounded memory, errors in our words.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Version};
use rustls::ClientConfig;

use super::TlsFiles;
use crate::address::invalid;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime;

/// How long a connection that nobody uses is kept. Less than what servers and proxies keep them
/// for, so that a request is rarely sent on one that is being closed.
const IDLE: Duration = Duration::from_secs(30);

/// How long a connection of HTTP/2 is silent before it is asked whether it still is there, and how
/// long that may take.
const PING: Duration = Duration::from_secs(10);

/// The clients of one store: one for each runtime, as a connection moves only while the runtime does on which
/// it was made.
///
/// They follow no redirects and have no time limit of their own: both are for those who know what is asked.
pub(crate) struct Clients {
    config: ClientConfig,
    /// The one that was used last is first.
    made: Mutex<Vec<(runtime::Id, Client)>>,
}

/// For how many runtimes a client is kept: those that have ended are not told from others.
const MOST_RUNTIMES: usize = 8;

impl Clients {
    /// Reads the files of `tls`.
    pub(crate) fn new(tls: &TlsFiles) -> Result<Self> {
        Ok(Self::with(tls.read()?.client_config()?))
    }

    /// The same for `http:` only: they trust nobody, and need no certificates on this system.
    #[cfg(feature = "http")]
    pub(crate) fn plain() -> Result<Self> {
        let pem = super::Pem {
            roots: None,
            identity: None,
        };
        let config = pem.client_config_with(rustls::RootCertStore::empty())?;
        Ok(Self::with(config))
    }

    fn with(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
        let made = Mutex::default();
        Self { config, made }
    }

    /// The one for the runtime of the caller.
    pub(crate) fn here(&self) -> Result<Client> {
        let id = runtime::current()?.id();
        // Nothing panics while it is held.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match made.iter().position(|(of, _)| *of == id) {
            Some(place) => made[..=place].rotate_right(1),
            None => {
                made.insert(0, (id, self.make()?));
                made.truncate(MOST_RUNTIMES);
            }
        }
        Ok(made[0].1.clone())
    }

    /// Another one.
    pub(crate) fn make(&self) -> Result<Client> {
        let client = Client::builder()
            .tls_backend_preconfigured(self.config.clone())
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .pool_idle_timeout(IDLE)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING)
            .user_agent(concat!("polystore-kv/", env!("CARGO_PKG_VERSION")));
        client.build().map_err(|error| {
            Error::new(ErrorKind::InvalidOption, "the HTTP client cannot be made")
                .with_source(error.without_url())
        })
    }
}

/// A whole reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why a reply is not whole.
pub(crate) enum Unread {
    TooLong,
    /// As [`lost`].
    Lost(Error),
}

/// Reads what is left of a reply, of at most `most` bytes.
pub(crate) async fn read(mut response: Response, most: usize) -> Result<Reply, Unread> {
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let mut body = BytesMut::new();
    let failed = |error| Unread::Lost(lost(error));
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > most {
            return Err(Unread::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    let body = body.freeze();
    Ok(Reply {
        status,
        headers,
        body,
    })
}

/// Whether a reply says where it ends. One that does not is as long as the connection stays: then what was
/// cut off looks like a whole one.
pub(crate) fn tells_its_end(response: &Response) -> bool {
    let headers = response.headers();
    let chunked = |codings: &HeaderValue| {
        let last = codings.to_str().ok().and_then(|all| all.rsplit(',').next());
        last.is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked"))
    };
    let codings = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    response.version() > Version::HTTP_11
        || codings.map_or_else(|| headers.contains_key(CONTENT_LENGTH), chunked)
        || matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
}

/// The token in the environment variable that the option `option` names.
pub(crate) fn token_in(variable: &str, option: &str) -> Result<String> {
    // What does not look like the name of one may be the token itself.
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let shown = match variable.starts_with(|c: char| !c.is_ascii_digit())
        && variable.chars().all(is_name)
    {
        true => format!("the environment variable {variable}, which {option} names,"),
        false => format!("the environment variable that {option} names"),
    };
    let token = std::env::var(variable).unwrap_or_default();
    match token.trim() {
        "" => Err(invalid(format!("{shown} has no token in it"))),
        token => Ok(token.to_owned()),
    }
}

/// The error of a request without a whole reply. A write that could not even be sent was
/// [not applied](Error::is_maybe_applied).
pub(crate) fn lost(error: reqwest::Error) -> Error {
    let never_sent = error.is_connect() || error.is_builder();
    let message = match () {
        () if error.is_connect() => "the server cannot be reached",
        () if error.is_builder() => "the request cannot be made",
        () => "the connection to the server was lost",
    };
    // The URL may hold a password or a token.
    let lost = Error::new(ErrorKind::Unreachable, message)
        .retryable(!error.is_builder())
        .with_source(error.without_url());
    match never_sent {
        true => lost,
        false => lost.with_maybe_applied(),
    }
}

/// How long the server asks to wait: seconds, or a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than a number here can be is long enough.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}
