//! How requests are sent: the one place here that knows the HTTP client.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_NONE_MATCH, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};

use super::base::{Base, User};
use super::failure;
use crate::address::invalid;
use crate::error::{Error, ErrorKind, Result};
use crate::remote::TlsFiles;
use crate::remote::web::{self, Clients, Reply, Unread};
use crate::runtime::timed_out;

/// How many redirects are followed for one request.
const REDIRECTS: usize = 5;

/// What is asked.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    /// The form of the reply.
    pub(super) accept: &'static str,
    /// That of the body.
    pub(super) form: Option<&'static str>,
    pub(super) body: Bytes,
    pub(super) only_if_absent: bool,
}

impl Ask {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            accept: super::wire::JSON,
            form: None,
            body: Bytes::new(),
            only_if_absent: false,
        }
    }

    pub(super) fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    pub(super) fn body(self, form: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            form: Some(form),
            body: body.into(),
            ..self
        }
    }

    pub(super) fn only_if_absent(self) -> Self {
        Self {
            only_if_absent: true,
            ..self
        }
    }
}

/// What the server knows us by: the value of the header `authorization`.
pub(super) struct Credential(HeaderValue);

impl Credential {
    pub(super) fn token(token: &str) -> Result<Self> {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let is_right = !token.is_empty() && token.trim() == token;
        Self::of(value.ok().filter(|_| is_right))
    }

    pub(super) fn user(user: &User) -> Result<Self> {
        // Whoever is asked with it: it is never sent.
        let request = Clients::plain()?
            .make()?
            .get("http://localhost")
            .basic_auth(&user.name, user.password.as_deref())
            .build();
        Self::of(
            request
                .ok()
                .and_then(|request| request.headers().get(AUTHORIZATION).cloned()),
        )
    }

    fn of(value: Option<HeaderValue>) -> Result<Self> {
        let mut value = value
            .ok_or_else(|| invalid("a token is text without spaces at its ends, and not empty"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// The clients of one store.
pub(super) struct Transport(Clients);

impl Transport {
    /// Reads the files of `tls`, where they are needed.
    pub(super) fn new(base: &Base, tls: &TlsFiles) -> Result<Self> {
        let clients = match base.is_plain() {
            true => Clients::plain(),
            false => Clients::new(tls),
        };
        clients.map(Self)
    }

    /// The reply to `ask`, as far as it has come, after redirects. The credential goes nowhere but to where
    /// the store is.
    pub(super) async fn send(
        &self,
        ask: &Ask,
        base: &Base,
        credential: Option<&Credential>,
    ) -> Result<Response> {
        let client = self.0.here()?;
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let mut request = client.request(ask.method.clone(), url.clone());
            request = request.header(ACCEPT, HeaderValue::from_static(ask.accept));
            if let Some(form) = ask.form {
                request = request.header(CONTENT_TYPE, HeaderValue::from_static(form));
            }
            if !matches!(ask.method, Method::GET | Method::HEAD) {
                request = request.body(ask.body.clone());
            }
            if ask.only_if_absent {
                request = request.header(IF_NONE_MATCH, HeaderValue::from_static("*"));
            }
            if let Some(Credential(value)) = credential.filter(|_| base.is_origin_of(&url)) {
                request = request.header(AUTHORIZATION, value.clone());
            }
            let response = request.send().await.map_err(web::lost)?;
            match redirect(&ask.method, &url, &response)? {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        Err(Error::new(
            ErrorKind::Unreachable,
            format!("the server redirects more than {REDIRECTS} times"),
        ))
    }
}

/// Where the reply sends us.
fn redirect(method: &Method, from: &Url, response: &Response) -> Result<Option<Url>> {
    let status = response.status();
    let keeps_method = matches!(
        status,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    );
    let changes_method = matches!(
        status,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER
    );
    let location = response.headers().get(LOCATION);
    let (true, Some(location)) = (keeps_method || changes_method, location) else {
        return Ok(None);
    };
    let number = status.as_u16();
    let refused = |why: &str| {
        Err(Error::new(
            ErrorKind::Unreachable,
            format!("the server replied {number}, a redirect {why}"),
        ))
    };
    let target = location.to_str().ok().and_then(|to| from.join(to).ok());
    let Some(mut to) = target.filter(|to| matches!(to.scheme(), "http" | "https")) else {
        return refused("to what is no URL of HTTP");
    };
    // Who we are is not for the server to say. A URL with a host takes both.
    let _ = to.set_username("");
    let _ = to.set_password(None);
    // Its path may be a secret.
    let origin = to.origin().ascii_serialization();
    if to.scheme() != from.scheme() {
        return refused(&format!(
            "to {origin}: if that is right, it is the URL to use for the store"
        ));
    }
    if keeps_method || matches!(*method, Method::GET | Method::HEAD) {
        return Ok(Some(to));
    }
    refused(&format!(
        "of a {method} to {origin}, which would lose it: use the URL that the store has now"
    ))
}

/// The rest of a reply, of at most `most` bytes.
pub(super) async fn read(response: Response, most: usize, is_head: bool) -> Result<Reply> {
    if !is_head {
        check_end(&response)?;
    }
    let read = web::read(response, most).await;
    read.map_err(|unread| match unread {
        Unread::TooLong => failure::too_long(most),
        Unread::Lost(error) => failure::cut_short().with_source(error).with_maybe_applied(),
    })
}

/// Fails if nobody could say whether the reply is whole.
fn check_end(response: &Response) -> Result<()> {
    match web::tells_its_end(response) {
        true => Ok(()),
        false => Err(failure::no_length(response.status())),
    }
}

/// The lines of a reply, as they come.
pub(super) struct Lines {
    response: Response,
    buffer: BytesMut,
    /// No line ends before here.
    searched: usize,
    is_over: bool,
    most: usize,
}

impl Lines {
    /// Of lines of at most `most` bytes.
    pub(super) fn new(response: Response, most: usize) -> Result<Self> {
        check_end(&response)?;
        let buffer = BytesMut::new();
        Ok(Self {
            response,
            buffer,
            searched: 0,
            is_over: false,
            most,
        })
    }

    /// The next line, without its end, or `None` after the last one. Each part of it must come within
    /// `patience`.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Bytes>> {
        loop {
            let rest = &self.buffer[self.searched..];
            if let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at);
                self.buffer.advance(1);
                if line.len() > self.most {
                    return Err(failure::too_long(self.most).not_applied());
                }
                self.searched = 0;
                return Ok(Some(line.freeze()));
            }
            self.searched = self.buffer.len();
            if self.is_over {
                // Each line has an end.
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(failure::cut_short()),
                };
            }
            if self.searched > self.most {
                return Err(failure::too_long(self.most).not_applied());
            }
            let chunk = tokio::time::timeout(patience, self.response.chunk()).await;
            match chunk.map_err(|_| timed_out(patience))? {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => self.is_over = true,
                Err(error) => {
                    return Err(failure::cut_short().with_source(error.without_url()));
                }
            }
        }
    }
}
