//! Drivers used by hand.

use std::sync::Arc;

use proto::kv_client::KvClient;
use proto::{PutRequest, RangeRequest};
use redis::aio::MultiplexedConnection;
use tokio_postgres::{Client, NoTls, Statement};
use tonic::transport::{Channel, Endpoint};

use crate::subject::{Subject, User, from_json, to_json, unwrap, wrap};

/// What etcd speaks, as the crate has it generated.
#[allow(
    clippy::all,
    clippy::pedantic,
    dead_code,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    reason = "generated"
)]
#[rustfmt::skip]
#[path = "../../crates/polystore/src/backends/etcd/proto/etcdserverpb.rs"]
mod proto;

/// redis-rs, one multiplexed connection.
#[derive(Clone)]
pub(crate) struct BareRedis {
    client: redis::Client,
    connection: Option<MultiplexedConnection>,
}

impl BareRedis {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            client: redis::Client::open(url).expect("the URL is right"),
            connection: None,
        }
    }

    fn connection(&self) -> MultiplexedConnection {
        self.connection.clone().expect("it was made fresh")
    }
}

impl Subject for BareRedis {
    async fn fresh(&self) -> Self {
        let connected = self.client.get_multiplexed_async_connection().await;
        Self {
            client: self.client.clone(),
            connection: Some(connected.expect("the server answers")),
        }
    }
    async fn get(&self, key: &str) -> Option<User> {
        let mut get = redis::cmd("GET");
        let value: Option<Vec<u8>> = get
            .arg(key)
            .query_async(&mut self.connection())
            .await
            .expect("the server answers");
        value.map(|json| from_json(&json))
    }
    async fn set(&self, key: &str, user: &User) {
        let mut set = redis::cmd("SET");
        set.arg(key)
            .arg(to_json(user))
            .exec_async(&mut self.connection())
            .await
            .expect("the server answers");
    }
    async fn get_many(&self, keys: &[String]) -> usize {
        let mut get = redis::cmd("MGET");
        let values: Vec<Option<Vec<u8>>> = get
            .arg(keys)
            .query_async(&mut self.connection())
            .await
            .expect("the server answers");
        let users = values.into_iter().flatten().map(|json| from_json(&json));
        users.count()
    }
}

/// tokio-postgres, one connection, on which all tasks' queries follow each other, prepared.
#[derive(Clone)]
pub(crate) struct BarePostgres {
    url: String,
    prepared: Option<Arc<Prepared>>,
}

struct Prepared {
    client: Client,
    get: Statement,
    many: Statement,
    set: Statement,
}

impl BarePostgres {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prepared: None,
        }
    }

    fn prepared(&self) -> &Prepared {
        self.prepared.as_ref().expect("it was made fresh")
    }
}

impl Subject for BarePostgres {
    async fn fresh(&self) -> Self {
        let connected = tokio_postgres::connect(&self.url, NoTls).await;
        let (client, connection) = connected.expect("the server answers");
        tokio::spawn(connection);
        client
            .batch_execute(
                "CREATE TABLE IF NOT EXISTS bare (id text PRIMARY KEY, value text NOT NULL, expires_at timestamptz);
                 CREATE INDEX IF NOT EXISTS idx_bare_expires_at ON bare (expires_at)",
            )
            .await
            .expect("it makes a table");
        let get =
            "SELECT value FROM bare WHERE id = $1 AND (expires_at IS NULL OR expires_at > now())";
        let many = "SELECT id, value FROM bare WHERE id = any($1) AND (expires_at IS NULL OR expires_at > now())";
        let set = "INSERT INTO bare (id, value, expires_at) VALUES ($1, $2, NULL)
             ON CONFLICT (id) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at";
        let prepared = Prepared {
            get: client.prepare(get).await.expect("it is SQL"),
            many: client.prepare(many).await.expect("it is SQL"),
            set: client.prepare(set).await.expect("it is SQL"),
            client,
        };
        Self {
            url: self.url.clone(),
            prepared: Some(Arc::new(prepared)),
        }
    }
    async fn get(&self, key: &str) -> Option<User> {
        let Prepared { client, get, .. } = self.prepared();
        let row = client.query_opt(get, &[&key]).await;
        let row = row.expect("the server answers")?;
        Some(from_json(row.get::<_, &str>(0).as_bytes()))
    }
    async fn set(&self, key: &str, user: &User) {
        let json = serde_json::to_string(user).expect("a user is JSON");
        let Prepared { client, set, .. } = self.prepared();
        let done = client.execute(set, &[&key, &json]).await;
        done.expect("the server answers");
    }
    async fn get_many(&self, keys: &[String]) -> usize {
        let Prepared { client, many, .. } = self.prepared();
        let rows = client.query(many, &[&keys]).await;
        let rows = rows.expect("the server answers");
        let users = rows
            .iter()
            .map(|row| from_json(row.get::<_, &str>(1).as_bytes()));
        users.count()
    }
}

/// tonic, one channel, on which all tasks' requests run side by side.
#[derive(Clone)]
pub(crate) struct BareEtcd {
    endpoint: Endpoint,
    client: Option<KvClient<Channel>>,
}

impl BareEtcd {
    pub(crate) fn new(url: &str) -> Self {
        let url = url.replace("etcd://", "http://");
        Self {
            endpoint: Endpoint::from_shared(url).expect("the URL is right"),
            client: None,
        }
    }

    fn client(&self) -> KvClient<Channel> {
        self.client.clone().expect("it was made fresh")
    }
}

impl Subject for BareEtcd {
    async fn fresh(&self) -> Self {
        let channel = self.endpoint.connect().await.expect("the server answers");
        Self {
            endpoint: self.endpoint.clone(),
            client: Some(KvClient::new(channel)),
        }
    }
    async fn get(&self, key: &str) -> Option<User> {
        let range = RangeRequest {
            key: key.as_bytes().to_vec().into(),
            ..RangeRequest::default()
        };
        let reply = self.client().range(range).await;
        let reply = reply.expect("the server answers").into_inner();
        Some(unwrap(&reply.kvs.first()?.value))
    }
    async fn set(&self, key: &str, user: &User) {
        let put = PutRequest {
            key: key.as_bytes().to_vec().into(),
            value: wrap(user).into(),
            lease: 0,
        };
        self.client().put(put).await.expect("the server answers");
    }
}

/// reqwest, with its own pool of connections, a request for each operation.
#[derive(Clone)]
pub(crate) struct BareHttp {
    url: String,
    client: Option<reqwest::Client>,
}

impl BareHttp {
    pub(crate) fn new(url: &str) -> Self {
        // It wants to know one even where there is no TLS. An error is that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            url: url.to_owned(),
            client: None,
        }
    }

    fn request(&self, method: reqwest::Method, key: &str) -> reqwest::RequestBuilder {
        let client = self.client.as_ref().expect("it was made fresh");
        client.request(method, format!("{}{key}", self.url))
    }
}

impl Subject for BareHttp {
    async fn fresh(&self) -> Self {
        Self {
            url: self.url.clone(),
            client: Some(reqwest::Client::new()),
        }
    }
    async fn get(&self, key: &str) -> Option<User> {
        let reply = self.request(reqwest::Method::GET, key).send().await;
        let reply = reply.expect("the server answers");
        if reply.status() == reqwest::StatusCode::NOT_FOUND {
            return None;
        }
        let reply = reply.error_for_status().expect("the server works");
        Some(from_json(&reply.bytes().await.expect("the reply is whole")))
    }
    async fn set(&self, key: &str, user: &User) {
        let put = self.request(reqwest::Method::PUT, key).body(to_json(user));
        let reply = put.send().await.expect("the server answers");
        let reply = reply.error_for_status().expect("the server works");
        reply.bytes().await.expect("the reply is whole");
    }
}
