//! A server, and what is known of it.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};

use super::base::Base;
use super::failure;
use super::transport::{self, Ask, Credential, Lines, Transport};
use super::wire;
use crate::backend::Info;
use crate::error::{Error, ErrorKind, Result};
use crate::link::Link;
use crate::remote::TlsFiles;
use crate::remote::web::Reply;

/// In every reply of a server that speaks the whole protocol.
const VERSION: HeaderName = HeaderName::from_static("polystore-protocol");

/// What a URL, and a program, say of a store.
pub(super) struct Config {
    pub(super) base: Base,
    pub(super) credential: Option<Credential>,
    pub(super) tls: TlsFiles,
    pub(super) timeout: Duration,
    pub(super) most: usize,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Full,
    /// That of the npm package: single keys and listings.
    Npm,
}

/// A server that was asked what it speaks.
pub(super) struct Connection {
    config: Arc<Config>,
    transport: Transport,
    pub(super) protocol: Protocol,
    pub(super) info: Info,
}

pub(super) struct Server {
    pub(super) config: Arc<Config>,
    link: Link<Connection>,
    /// What the server said last.
    known: Mutex<Info>,
    /// Replies in the whole protocol since it was last found out that the server does not speak it.
    news: AtomicUsize,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            link: Link::default(),
            known: Mutex::new(wire::info()),
            news: AtomicUsize::new(0),
        }
    }

    /// The server, asked what it speaks if nobody knows yet.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>> {
        if let Some(connection) = self.link.now() {
            return Ok(connection);
        }
        let config = Arc::clone(&self.config);
        let connection = self.link.get(|| Connection::make(config)).await?;
        if connection.is_full() {
            self.news.store(0, Relaxed);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone_from(&connection.info);
        Ok(connection)
    }

    pub(super) fn info(&self) -> Info {
        let known = self.known.lock();
        known.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether what failed so may succeed a little later. A server that was never there may be
    /// a mistake in the URL: that is told at once.
    pub(super) fn is_transient(&self, error: &Error) -> bool {
        let may_pass = match error.kind() {
            ErrorKind::Throttled => true,
            ErrorKind::Unreachable => self.link.was_connected() || error.retry_after().is_some(),
            _ => false,
        };
        may_pass && error.is_retryable()
    }

    /// A whole reply, of whichever status.
    pub(super) async fn ask(&self, to: &Arc<Connection>, ask: &Ask) -> Result<Reply> {
        let response = to.send(ask).await?;
        let is_ours = self.is_ours(to, &response)?;
        let reply = transport::read(response, self.config.most, ask.method == Method::HEAD).await?;
        self.check(to, is_ours, &reply)?;
        Ok(reply)
    }

    /// The lines of a reply that is no error.
    pub(super) async fn lines(&self, to: &Arc<Connection>, ask: &Ask) -> Result<Lines> {
        let response = to.send(ask).await?;
        let is_ours = self.is_ours(to, &response)?;
        if response.status() == StatusCode::OK && is_ours {
            return Lines::new(response, self.config.most);
        }
        let reply = transport::read(response, self.config.most, false).await?;
        self.check(to, is_ours, &reply)?;
        Err(failure::of_reply(&reply, is_ours))
    }

    /// Whether a reply is in the words of the whole protocol. Where that is news, the next one who needs
    /// the server asks again what it is.
    fn is_ours(&self, to: &Arc<Connection>, response: &Response) -> Result<bool> {
        let is_ours = speaks(response);
        let is_news = match (&is_ours, to.protocol) {
            (Err(_), _) => true,
            // What stands in front of it may never let the question pass: it is asked less and less.
            (Ok(true), Protocol::Npm) => (self.news.fetch_add(1, Relaxed) + 1).is_power_of_two(),
            (Ok(true), Protocol::Full) | (Ok(false), _) => false,
        };
        if is_news {
            self.link.lose(to);
        }
        is_ours
    }

    /// Fails if it is not the server that it was.
    fn check(&self, to: &Arc<Connection>, is_ours: bool, reply: &Reply) -> Result<()> {
        if is_ours || to.protocol == Protocol::Npm {
            return Ok(());
        }
        // What stands in front of it may say no or not now; what says anything else is another one.
        let status = reply.status;
        if matches!(
            status.as_u16(),
            401 | 403 | 407 | 408 | 413 | 414 | 429 | 431 | 500..
        ) {
            return Err(failure::of_reply(reply, false));
        }
        self.link.lose(to);
        Err(failure::not_the_server(status))
    }

    /// Lets the connections go, one of which may be dead.
    pub(super) fn give_up(&self) {
        self.link.drop_connection();
    }

    pub(super) async fn close(&self) {
        self.link.close().await;
    }
}

impl Connection {
    async fn make(config: Arc<Config>) -> Result<Self> {
        let transport = Transport::new(&config.base, &config.tls)?;
        let mut connection = Self {
            config,
            transport,
            protocol: Protocol::Npm,
            info: wire::npm_info(),
        };
        let url = connection.config.base.service("store", &[])?;
        let asked = connection.find_out(Ask::new(Method::GET, url)).await;
        // It was only asked a question.
        if let Some(info) = asked.map_err(Error::not_applied)? {
            connection.protocol = Protocol::Full;
            connection.info = info;
        }
        Ok(connection)
    }

    /// What the server says of its store, or `None` if it is one that does not know the question.
    async fn find_out(&self, ask: Ask) -> Result<Option<Info>> {
        let response = self.send(&ask).await?;
        let is_ours = speaks(&response)?;
        let status = response.status().as_u16();
        if !is_ours && matches!(status, 200..400 | 400 | 404 | 405 | 406 | 501) {
            return Ok(None);
        }
        let reply = transport::read(response, self.config.most, false).await?;
        match reply.status.is_success() {
            true => wire::info_in(&reply.body).map(Some),
            false => Err(failure::of_reply(&reply, is_ours)),
        }
    }

    async fn send(&self, ask: &Ask) -> Result<Response> {
        let config = &self.config;
        let credential = config.credential.as_ref();
        self.transport.send(ask, &config.base, credential).await
    }

    /// Whether what it replies is in the words of the whole protocol.
    pub(super) fn is_full(&self) -> bool {
        self.protocol == Protocol::Full
    }

    /// A request about `key`.
    pub(super) fn about(
        &self,
        method: Method,
        key: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Ask> {
        let url = self.config.base.item(key, parameters)?;
        Ok(self.as_npm_does(Ask::new(method, url)))
    }

    /// A request about the whole store, or a prefix of it.
    pub(super) fn about_all(&self, method: Method, parameters: &[(&str, &str)]) -> Result<Ask> {
        let url = self.config.base.root(parameters)?;
        Ok(self.as_npm_does(Ask::new(method, url)))
    }

    pub(super) fn post(
        &self,
        service: &str,
        parameters: &[(&str, &str)],
        form: &'static str,
        body: impl Into<Bytes>,
    ) -> Result<Ask> {
        let url = self.config.base.service(service, parameters)?;
        Ok(Ask::new(Method::POST, url).body(form, body))
    }

    /// The npm package says what form its bodies have when it sends none, too.
    fn as_npm_does(&self, ask: Ask) -> Ask {
        let form = (!self.is_full()).then_some(wire::JSON);
        Ask { form, ..ask }
    }

    /// Fails if the store cannot hold `key`.
    pub(super) fn check_key(&self, key: &str) -> Result<()> {
        let can = &self.info.capabilities;
        if can.accepts_key(key) {
            return Ok(());
        }
        let message = match can.max_key_bytes {
            Some(most) if key.len() > most => format!("a key has at most {most} bytes here"),
            _ => "the server's store cannot hold this key".to_owned(),
        };
        Err(Error::new(ErrorKind::InvalidKey, message).with_key(key))
    }

    /// Fails if the store cannot hold a value of so many bytes.
    pub(super) fn check_value(&self, bytes: usize) -> Result<()> {
        match self.info.capabilities.max_value_bytes {
            Some(most) if bytes > most => Err(Error::new(
                ErrorKind::InvalidValue,
                format!("a value has at most {most} bytes of JSON here"),
            )),
            _ => Ok(()),
        }
    }
}

/// Whether it is a reply in the whole protocol.
fn speaks(response: &Response) -> Result<bool> {
    match response.headers().get(VERSION).map(HeaderValue::as_bytes) {
        None => Ok(false),
        Some(b"1") => Ok(true),
        Some(_) => Err(failure::another_version()),
    }
}
