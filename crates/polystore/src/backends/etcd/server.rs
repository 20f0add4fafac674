//! The cluster: which members there are, and the connection to one of them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::failure::{Cause, Failure, after_handshake, of_connecting};
use super::proto::auth_client::AuthClient;
use super::proto::kv_client::KvClient;
use super::proto::lease_client::LeaseClient;
use super::proto::maintenance_client::MaintenanceClient;
use super::proto::{
    AuthenticateRequest, LeaseGrantRequest, PutRequest, RangeRequest, RangeResponse, StatusRequest,
    TxnRequest, TxnResponse,
};
use crate::address::invalid;
use crate::error::{Error, Result};
use crate::link::Link;
use crate::remote::{Authority, Host, TlsFiles};
use crate::runtime::{timed_out, timeout};

/// How many operations a transaction may have, unless the server is started with another limit.
pub(super) const MOST_OPS: usize = 128;

/// How long a member may take to connect before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(300);

/// When to ask whether the other side is still there. etcd takes it amiss more often than every 5 s.
const KEEP_ALIVE: Duration = Duration::from_secs(6);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a URL says.
pub(super) struct Config {
    members: Vec<(String, Endpoint)>,
    user: Option<(String, String)>,
    tls: Option<TlsFiles>,
    timeout: Duration,
}

impl Config {
    pub(super) fn new(
        authority: Authority,
        tls: Option<TlsFiles>,
        timeout: Duration,
    ) -> Result<Self> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let members = authority.hosts.iter().map(|host| {
            let endpoint = endpoint(scheme, host, timeout)?;
            Ok((host.name.clone(), endpoint))
        });
        let members: Vec<_> = members.collect::<Result<_>>()?;
        if members.is_empty() {
            return Err(invalid("an etcd: URL names a server: etcd://HOST:2379"));
        }
        if !authority.path.is_empty() {
            return Err(invalid(
                "an etcd: URL has no path: for a part of the keys, use a prefix of the store",
            ));
        }
        let user = match (authority.user, authority.password) {
            (Some(user), password) => Some((user, password.unwrap_or_default())),
            (None, Some(_)) => return Err(invalid("an etcd: URL has a password and no user")),
            (None, None) => None,
        };
        Ok(Self {
            members,
            user,
            tls,
            timeout,
        })
    }

    /// A connection to the first member that answers, beginning with that of number `first`. One that
    /// is slow does not hold up the others.
    async fn connect(self: Arc<Self>, first: usize) -> Result<Connection, Failure> {
        let count = self.members.len();
        let mut others = (0..count).map(|next| first.wrapping_add(next) % count);
        let mut attempts = FuturesUnordered::new();
        let mut failed: Option<Failure> = None;
        loop {
            if let Some(number) = others.next() {
                attempts.push(self.connect_to(number));
            }
            let patience = if others.len() > 0 {
                HEAD_START
            } else {
                self.timeout
            };
            match timeout(patience, attempts.next()).await {
                Ok(Some(Ok(connection))) => return Ok(connection),
                Ok(Some(Err(failure))) => {
                    // What would be the same next time says more than who is down.
                    if failed.is_none() || !failure.error.is_retryable() {
                        failed = Some(failure);
                    }
                    if attempts.is_empty() && others.len() == 0 {
                        break;
                    }
                }
                Err(_) if others.len() > 0 => {}
                Ok(None) | Err(_) => break,
            }
        }
        Err(failed.unwrap_or_else(|| timed_out(self.timeout).into()))
    }

    async fn connect_to(&self, number: usize) -> Result<Connection, Failure> {
        let (name, endpoint) = &self.members[number];
        let mut endpoint = endpoint.clone();
        if let Some(files) = &self.tls {
            endpoint = endpoint
                .tls_config(tls_config(name, files)?)
                .map_err(of_connecting)?;
        }
        let mut connection = Connection {
            channel: endpoint.connect().await.map_err(of_connecting)?,
            token: None,
        };
        // So that it is known to be an etcd, and one that can serve.
        let leader = connection.leader().await;
        let leader = match &self.tls {
            Some(_) => leader.map_err(after_handshake),
            None => leader,
        };
        if leader? == Some(0) {
            return Err(Failure::no_leader());
        }
        if let Some((name, password)) = &self.user {
            connection.authenticate(name, password).await?;
        }
        Ok(connection)
    }
}

fn endpoint(scheme: &str, host: &Host, timeout: Duration) -> Result<Endpoint> {
    let name = &host.name;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if !name.chars().all(is_name) {
        return Err(invalid("a host in the URL is not a name"));
    }
    let port = host.port.unwrap_or(2379);
    let url = if name.contains(':') {
        format!("{scheme}://[{name}]:{port}")
    } else {
        format!("{scheme}://{name}:{port}")
    };
    let endpoint =
        Endpoint::from_shared(url).map_err(|_| invalid("a host in the URL is not a name"))?;
    Ok(endpoint
        .connect_timeout(timeout)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT))
}

fn tls_config(name: &str, files: &TlsFiles) -> Result<ClientTlsConfig> {
    let pem = files.read()?;
    if files.is_given() {
        // For its errors: tonic's do not say which file is wrong.
        pem.client_config()?;
    }
    let mut config = ClientTlsConfig::new().domain_name(name);
    config = match pem.roots {
        Some(roots) => config.ca_certificate(Certificate::from_pem(roots)),
        None => config.with_native_roots(),
    };
    if let Some((certificate, key)) = pem.identity {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    Ok(config)
}

/// A connection to a member, as a user.
pub(super) struct Connection {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
}

impl Connection {
    /// A request that a member without a leader refuses at once.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
        request
    }

    pub(super) async fn range(
        &self,
        range: RangeRequest,
        most_bytes: usize,
    ) -> Result<RangeResponse, Status> {
        let kv = KvClient::new(self.channel.clone());
        let mut kv = kv.max_decoding_message_size(most_bytes);
        Ok(kv.range(self.request(range)).await?.into_inner())
    }

    pub(super) async fn put(&self, put: PutRequest) -> Result<(), Status> {
        let mut kv = KvClient::new(self.channel.clone());
        kv.put(self.request(put)).await.map(drop)
    }

    pub(super) async fn txn(&self, txn: TxnRequest) -> Result<TxnResponse, Status> {
        let kv = KvClient::new(self.channel.clone());
        let mut kv = kv.max_decoding_message_size(usize::MAX);
        Ok(kv.txn(self.request(txn)).await?.into_inner())
    }

    /// A new lease of at least `seconds`.
    pub(super) async fn grant(&self, seconds: i64) -> Result<i64, Status> {
        let mut leases = LeaseClient::new(self.channel.clone());
        let request = self.request(LeaseGrantRequest {
            ttl: seconds,
            id: 0,
        });
        Ok(leases.lease_grant(request).await?.into_inner().id)
    }

    /// The number of the member's leader, if it says.
    async fn leader(&self) -> Result<Option<u64>, Failure> {
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        match maintenance.status(Request::new(StatusRequest {})).await {
            Ok(status) => Ok(Some(status.into_inner().leader)),
            // An etcd that tells nobody is one, too.
            Err(status) if status.message().contains("permission denied") => Ok(None),
            Err(status) if status.message().contains("user name is empty") => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    async fn authenticate(&mut self, name: &str, password: &str) -> Result<(), Failure> {
        let mut auth = AuthClient::new(self.channel.clone());
        let request = self.request(AuthenticateRequest {
            name: name.to_owned(),
            password: password.to_owned(),
        });
        match auth.authenticate(request).await.map_err(Failure::from) {
            Ok(reply) => {
                let token = MetadataValue::try_from(reply.into_inner().token);
                let mut token = token.map_err(|_| Failure::silence())?;
                token.set_sensitive(true);
                self.token = Some(token);
                Ok(())
            }
            // As etcd's own clients do: the same URL works before users are made.
            Err(failure) if failure.cause == Cause::NoAuth => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

/// The cluster, and the connection to it while there is one.
pub(super) struct Server {
    source: Source,
    link: Link<Connection>,
    /// How long one attempt may take.
    patience: Duration,
    /// An operation waits no longer, all attempts included.
    pub(super) timeout: Duration,
    /// Which member to begin with.
    next: AtomicUsize,
    /// It has answered: what fails now may pass.
    has_worked: AtomicBool,
    most_ops: AtomicUsize,
}

pub(super) enum Source {
    Url(Arc<Config>),
    /// The program's own.
    #[cfg_attr(
        not(feature = "tonic-0_14"),
        allow(dead_code, reason = "nothing gives one")
    )]
    Given(Channel),
}

impl Server {
    pub(super) fn new(source: Source, timeout: Duration) -> Self {
        // A silent member must leave time for another one.
        let patience = match &source {
            Source::Url(config) if config.members.len() > 1 => timeout.mul_f64(0.4),
            _ => timeout,
        };
        Self {
            source,
            link: Link::default(),
            patience,
            timeout,
            // Programs that are told the same members share them.
            next: AtomicUsize::new(getrandom::u32().unwrap_or(0) as usize),
            has_worked: AtomicBool::new(false),
            most_ops: AtomicUsize::new(MOST_OPS),
        }
    }

    pub(super) async fn connection(&self) -> Result<Arc<Connection>> {
        let connection = self
            .link
            .get(|| {
                let first = self.next.load(Ordering::Relaxed);
                let source = match &self.source {
                    Source::Url(config) => Ok(Arc::clone(config)),
                    Source::Given(channel) => Err(channel.clone()),
                };
                async move {
                    match source {
                        Ok(config) => config.connect(first).await.map_err(|failed| failed.error),
                        Err(channel) => Ok(Connection {
                            channel,
                            token: None,
                        }),
                    }
                }
            })
            .await?;
        if matches!(self.source, Source::Url(_)) {
            // One of the program's own may never have been used.
            self.has_worked.store(true, Ordering::Relaxed);
        }
        Ok(connection)
    }

    /// Asks once, connecting first if there is no connection.
    pub(super) async fn call<T, F>(
        &self,
        ask: impl FnOnce(Arc<Connection>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let connection = match self.link.now() {
            Some(connection) => connection,
            None => self.connection().await?,
        };
        let answer = timeout(self.patience, ask(Arc::clone(&connection))).await;
        let failure = match answer {
            Ok(Ok(answer)) => {
                self.has_worked.store(true, Ordering::Relaxed);
                return Ok(answer);
            }
            Ok(Err(status)) => Failure::from(status),
            Err(_) => Failure::silence(),
        };
        let is_current = |now: Arc<Connection>| Arc::ptr_eq(&now, &connection);
        match failure.cause {
            // Others may have lost it already.
            Cause::Connection if self.link.now().is_some_and(is_current) => self.give_up(),
            Cause::TooManyOps => {
                let fewer = |most: usize| (most > 1).then_some(most / 2);
                let order = Ordering::Relaxed;
                let _ = self.most_ops.fetch_update(order, order, fewer);
            }
            _ => {}
        }
        Err(failure)
    }

    /// How many operations a transaction may have.
    pub(super) fn most_ops(&self) -> usize {
        self.most_ops.load(Ordering::Relaxed)
    }

    /// Whether what failed so may succeed by itself. What has never worked is likely to be a
    /// mistake in the address, which nobody should wait to be told.
    pub(super) fn is_transient(&self, error: &Error) -> bool {
        error.is_retryable() && self.has_worked.load(Ordering::Relaxed)
    }

    /// Drops the connection; the next one is to another member, if there is one.
    pub(super) fn give_up(&self) {
        if self.link.now().is_some() {
            self.next.fetch_add(1, Ordering::Relaxed);
            self.link.drop_connection();
        }
    }

    pub(super) async fn close(&self) {
        self.link.close().await;
    }
}
