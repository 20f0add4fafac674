//! How requests are sent: the one place here that knows the HTTP client.

use std::time::Duration;

use ::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH, LOCATION,
};
use ::http::{HeaderName, Method, StatusCode};
use bytes::{Buf, Bytes, BytesMut};
use url::Url;

use super::base::{Base, User};
use super::failure;
use crate::address::invalid;
use crate::error::{Error, ErrorKind, Result};
use crate::remote::TlsFiles;
use crate::remote::web::{self, Clients, Reply, Request, Response, Unread};
use crate::runtime::{Instant, timed_out, timeout_at};

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
    /// What must be so of any value there: `if-match` or `if-none-match`.
    pub(super) condition: Option<HeaderName>,
}

impl Ask {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            accept: super::wire::JSON,
            form: None,
            body: Bytes::new(),
            condition: None,
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
            condition: Some(IF_NONE_MATCH),
            ..self
        }
    }

    pub(super) fn only_if_present(self) -> Self {
        Self {
            condition: Some(IF_MATCH),
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
        let password = user.password.as_deref().unwrap_or_default();
        let known_by = base64(format!("{}:{password}", user.name).as_bytes());
        Self::of(HeaderValue::try_from(format!("Basic {known_by}")).ok())
    }

    fn of(value: Option<HeaderValue>) -> Result<Self> {
        let mut value = value
            .ok_or_else(|| invalid("a token is text without spaces at its ends, and not empty"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).flat_map(|group| {
        let bits = [16, 8, 0].into_iter().zip(group);
        let bits = bits.fold(0, |bits, (shift, byte)| bits | usize::from(*byte) << shift);
        [18, 12, 6, 0]
            .into_iter()
            .enumerate()
            .map(move |(at, shift)| match at <= group.len() {
                true => char::from(DIGITS[bits >> shift & 63]),
                false => '=',
            })
    });
    groups.collect()
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
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let headers = headers(ask, credential.filter(|_| base.is_origin_of(&url)));
            let response = self.0.send(Request {
                method: ask.method.clone(),
                url: url.clone(),
                headers,
                body: (!matches!(ask.method, Method::GET | Method::HEAD)).then(|| ask.body.clone()),
            });
            let response = response.await?;
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

fn headers(ask: &Ask, credential: Option<&Credential>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(ask.accept));
    if let Some(form) = ask.form {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
    }
    if let Some(condition) = &ask.condition {
        headers.insert(condition, HeaderValue::from_static("*"));
    }
    if let Some(Credential(value)) = credential {
        headers.insert(AUTHORIZATION, value.clone());
    }
    headers
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
            let chunk = timeout_at(Instant::now() + patience, web::chunk(&mut self.response)).await;
            match chunk.map_err(|_| timed_out(patience))? {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => self.is_over = true,
                Err(error) => return Err(failure::cut_short().with_source(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_its_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{3f}\u{7e}\u{ff}", "P37Dvw=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
