//! What connections are made of: a URL, or a client that the program has.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, TlsMode,
};

use super::failure;
use super::location::{self, Location, Login, Place};
use super::wire::{Line, Wire};
use crate::error::{Error, Result};
use crate::remote::{TlsFiles, choose_provider};
use crate::runtime::{timed_out, timeout};

/// How long one server of a cluster may take to be connected or to answer. The driver lets the
/// others wait meanwhile; and when many requests fail together it can come to wait for
/// itself, so that all connections have to be made anew.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg_attr(
    feature = "redis-1",
    expect(clippy::large_enum_variant, reason = "there is one of it in a store")
)]
pub(super) enum Source {
    Url(Location),
    #[cfg(feature = "redis-1")]
    Client(Client),
    #[cfg(feature = "redis-1")]
    Cluster(ClusterClient),
    /// It does not come back when it is lost.
    #[cfg(feature = "redis-1")]
    Connection(MultiplexedConnection),
    /// It comes back by itself.
    #[cfg(feature = "redis-1")]
    Manager(redis::aio::ConnectionManager),
}

impl Source {
    /// Whether a connection that is lost can be replaced.
    pub(super) fn can_reconnect(&self) -> bool {
        #[cfg(feature = "redis-1")]
        if let Self::Connection(_) = self {
            return false;
        }
        true
    }

    /// Whether another server takes over when one fails, so that a refusal to write
    /// may pass.
    pub(super) fn fails_over(&self) -> bool {
        match self {
            Self::Url(location) => {
                matches!(location.place, Place::Cluster(_) | Place::Sentinels { .. })
            }
            #[cfg(feature = "redis-1")]
            Self::Cluster(_) => true,
            #[cfg(feature = "redis-1")]
            Self::Client(_) | Self::Connection(_) | Self::Manager(_) => false,
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        match self {
            Self::Url(location) => matches!(location.place, Place::Cluster(_)),
            #[cfg(feature = "redis-1")]
            Self::Cluster(_) => true,
            #[cfg(feature = "redis-1")]
            Self::Client(_) | Self::Connection(_) | Self::Manager(_) => false,
        }
    }

    /// Connects, in at most `limit`.
    pub(super) async fn connect(&self, limit: Duration) -> Result<Wire> {
        match timeout(limit, self.connect_whenever(limit)).await {
            Ok(connected) => connected,
            Err(_) => Err(timed_out(limit)),
        }
    }

    async fn connect_whenever(&self, limit: Duration) -> Result<Wire> {
        match self {
            Self::Url(location) => open(location, limit).await,
            #[cfg(feature = "redis-1")]
            Self::Client(client) => {
                if let ConnectionAddr::TcpTls { .. } = client.get_connection_info().addr() {
                    choose_provider();
                }
                connect_client(client, limit).await
            }
            #[cfg(feature = "redis-1")]
            Self::Cluster(client) => {
                // Whether it has TLS it does not say.
                choose_provider();
                connect_cluster(client).await
            }
            #[cfg(feature = "redis-1")]
            Self::Connection(connection) => {
                let mut connection = connection.clone();
                connection.set_response_timeout(limit);
                Ok(Wire::given(Line::One(connection)))
            }
            #[cfg(feature = "redis-1")]
            Self::Manager(manager) => Ok(Wire::given(Line::Manager(manager.clone()))),
        }
    }
}

async fn open(location: &Location, limit: Duration) -> Result<Wire> {
    if location.tls.is_some() {
        choose_provider();
    }
    let settings = location.login.settings().set_db(location.database);
    match &location.place {
        Place::Server(host, port) => {
            let tls = location.tls.is_some();
            let address = location::address(&(host.clone(), *port), tls);
            connect_client(&client(address, settings, location.tls.as_ref())?, limit).await
        }
        Place::Socket(path) => {
            let address = ConnectionAddr::Unix(path.clone());
            connect_client(&client(address, settings, None)?, limit).await
        }
        Place::Cluster(nodes) => {
            connect_cluster(&cluster(nodes, &location.login, location, limit)?).await
        }
        Place::Sentinels {
            sentinels,
            master,
            login,
        } => {
            let mut sentinels = ask_sentinels(sentinels, master, login, location)?;
            let client = sentinels.async_get_client().await.map_err(failed)?;
            connect_client(&client, limit).await
        }
    }
}

fn client(
    address: ConnectionAddr,
    settings: RedisConnectionInfo,
    tls: Option<&TlsFiles>,
) -> Result<Client> {
    let info = address.into_connection_info().map_err(failed)?;
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp());
    let client = match tls {
        Some(files) => Client::build_with_tls(info, location::certificates(files)?),
        None => Client::open(info),
    };
    client.map_err(failed)
}

async fn connect_client(client: &Client, limit: Duration) -> Result<Wire> {
    // Requests have their own time limit, and leave the connection in use when it is over.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limit))
        .set_response_timeout(None);
    let connecting_to = client.get_multiplexed_async_connection_with_config(&config);
    let connected = connecting_to.await.map_err(failed)?;
    Ok(Wire::made_here(Line::One(connected)))
}

fn cluster(
    nodes: &[(String, u16)],
    login: &Login,
    location: &Location,
    limit: Duration,
) -> Result<ClusterClient> {
    let tls = location.tls.as_ref();
    let addresses = nodes
        .iter()
        .map(|node| location::address(node, tls.is_some()));
    // What has failed is sent again by who knows whether that does harm.
    let mut builder = ClusterClient::builder(addresses)
        .retries(0)
        .connection_timeout(limit.min(NODE_TIMEOUT))
        .response_timeout(limit.min(NODE_TIMEOUT))
        .tcp_settings(tcp());
    if let Some(user) = &login.user {
        builder = builder.username(user);
    }
    if let Some(password) = &login.password {
        builder = builder.password(password);
    }
    if let Some(files) = tls {
        builder = builder
            .tls(TlsMode::Secure)
            .certs(location::certificates(files)?);
    }
    builder.build().map_err(failed)
}

async fn connect_cluster(client: &ClusterClient) -> Result<Wire> {
    let connected = client.get_async_connection().await.map_err(failed)?;
    Ok(Wire::made_here(Line::Cluster(connected)))
}

fn ask_sentinels(
    sentinels: &[(String, u16)],
    master: &str,
    login: &Login,
    location: &Location,
) -> Result<SentinelClient> {
    let tls = location.tls.is_some();
    let addresses = sentinels.iter().map(|host| location::address(host, tls));
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)
        .map_err(failed)?
        .set_client_to_redis_db(location.database)
        .set_client_to_redis_tcp_settings(tcp());
    if let Some(user) = &location.login.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = &location.login.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = &login.user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = &login.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if let Some(files) = &location.tls {
        let certificates = location::certificates(files)?;
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build().map_err(failed)
}

fn tcp() -> TcpSettings {
    // What is small must not wait for the answer to what was sent before.
    TcpSettings::default().set_nodelay(true)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn failed(error: RedisError) -> Error {
    failure::of_connection(&error)
}
