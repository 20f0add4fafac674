//! The HTTP client of servers: with our TLS, and its own connections.

use std::time::Duration;

use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use reqwest::RequestBuilder;
use reqwest::redirect::Policy;

use super::{Reply, read};
use crate::error::{Error, ErrorKind, Result};
use crate::remote::{Pem, TlsFiles};

/// How long a connection that nobody uses is kept. Less than what servers and proxies keep them
/// for, so that a request is rarely sent on one that is being closed.
const IDLE: Duration = Duration::from_secs(30);

/// How long a connection of HTTP/2 is silent before it is asked whether it still is there, and how
/// long that may take.
const PING: Duration = Duration::from_secs(10);

/// A client for all requests of one store. Reads the files of `tls`.
///
/// It follows no redirects and has no time limit of its own: both are for those who know what is asked.
pub(crate) fn client(tls: &TlsFiles) -> Result<reqwest::Client> {
    client_with(tls.read()?.client_config()?)
}

/// The same for `http:` only: it trusts nobody, and needs no certificates on this system.
#[cfg(feature = "http")]
fn plain_client() -> Result<reqwest::Client> {
    let pem = Pem {
        roots: None,
        identity: None,
    };
    client_with(pem.client_config_with(rustls::RootCertStore::empty())?)
}

fn client_with(mut config: rustls::ClientConfig) -> Result<reqwest::Client> {
    config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
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

/// Sends the request, and reads a reply of at most `most` bytes.
///
/// # Errors
/// As [`lost`], and [`ErrorKind::Unreachable`] if the reply is longer.
#[cfg(feature = "cloudflare")]
pub(crate) async fn send(request: RequestBuilder, most: usize) -> Result<Reply> {
    let response = request.send().await.map_err(lost)?;
    read(Response(response), most).await
}

/// What sends the requests of one store.
#[cfg(feature = "http")]
pub(crate) struct Client(reqwest::Client);

#[cfg(feature = "http")]
impl Client {
    /// For `http:` only if it `is_plain`. Reads the files of `tls`, where they are needed.
    pub(crate) fn new(is_plain: bool, tls: &TlsFiles) -> Result<Self> {
        let client = match is_plain {
            true => plain_client(),
            false => client(tls),
        };
        client.map(Self)
    }

    /// The reply, as far as it has come. It may be a redirect.
    ///
    /// # Errors
    /// As [`lost`].
    pub(crate) async fn send(&self, request: super::Request) -> Result<Response> {
        let mut sent = reqwest::Request::new(request.method, request.url);
        *sent.headers_mut() = request.headers;
        *sent.body_mut() = request.body.map(Into::into);
        let response = self.0.execute(sent).await;
        response.map(Response).map_err(lost)
    }
}

/// A reply as it comes.
pub(crate) struct Response(reqwest::Response);

impl Response {
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    pub(super) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(self.0.headers_mut())
    }

    /// Whether one that is cut off would be told from a whole one.
    #[cfg(feature = "http")]
    pub(crate) fn tells_its_end(&self) -> bool {
        use ::http::Version;
        use ::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

        let headers = self.headers();
        self.0.version() > Version::HTTP_11
            || headers.contains_key(CONTENT_LENGTH)
            || headers.contains_key(TRANSFER_ENCODING)
            || matches!(
                self.status(),
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            )
    }

    /// The next part of the body, or `None` after the last one.
    ///
    /// # Errors
    /// As [`lost`].
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.0.chunk().await.map_err(lost)
    }
}

/// The error of a request without a whole reply. A write that could not even be sent was
/// [not applied](Error::is_maybe_applied).
fn lost(error: reqwest::Error) -> Error {
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
