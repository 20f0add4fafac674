//! Commands and what comes back for each, over one connection or to the servers of a cluster.

use std::collections::HashSet;

use futures_util::future::join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, ErrorKind as Kind, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::task::JoinHandle;

use super::{command, failure};
use crate::error::{Error, ErrorKind, Result};

/// What is asked about one key, for its server to answer at once.
pub(super) struct Ask<'a> {
    pub(super) key: &'a str,
    pub(super) commands: Commands,
}

pub(super) enum Commands {
    One(Cmd),
    /// Both about the key, with nothing of anybody else's in between. What comes back is an array.
    Both([&'static str; 2]),
}

impl<'a> Ask<'a> {
    pub(super) fn one(key: &'a str, command: Cmd) -> Self {
        let commands = Commands::One(command);
        Self { key, commands }
    }

    pub(super) fn both(key: &'a str, names: [&'static str; 2]) -> Self {
        let commands = Commands::Both(names);
        Self { key, commands }
    }
}

/// Which server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Address(String, u16),
    /// The one that has this slot, if it does not say its name.
    Slot(u16),
}

/// Why nothing came back.
pub(super) struct Lost {
    pub(super) error: Error,
    /// The connection is of no use any more.
    pub(super) for_good: bool,
}

/// A connection.
pub(super) struct Wire {
    line: Line,
    /// Ends with the runtime that moves its bytes: the one that it was made on. Nothing is known
    /// of that if the program has made it.
    home: Option<JoinHandle<()>>,
}

/// What the driver has for it.
pub(super) enum Line {
    One(MultiplexedConnection),
    #[cfg(feature = "redis-1")]
    Manager(redis::aio::ConnectionManager),
    Cluster(ClusterConnection),
}

impl Wire {
    /// One that was just made, on this runtime.
    pub(super) fn made_here(line: Line) -> Self {
        let home = Some(tokio::spawn(std::future::pending()));
        Self { line, home }
    }

    /// One that the program has.
    #[cfg(feature = "redis-1")]
    pub(super) fn given(line: Line) -> Self {
        Self { line, home: None }
    }

    /// Whether nothing can come over it any more, as the runtime has ended that it was made on.
    pub(super) fn is_abandoned(&self) -> bool {
        self.home.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Sends all of it once. The first error is that of the connection, the others are of
    /// single commands; what the server refused it has not done.
    pub(super) async fn ask(&self, asks: Vec<Ask<'_>>) -> Result<Vec<Answer>, Lost> {
        match &self.line {
            Line::One(connection) => ask_one(connection.clone(), asks).await,
            #[cfg(feature = "redis-1")]
            Line::Manager(manager) => ask_one(manager.clone(), asks).await,
            Line::Cluster(cluster) => Ok(ask_cluster(cluster, asks).await),
        }
    }

    /// Sends a command that is about no key, to `node` if this is a cluster.
    pub(super) async fn ask_node(&self, node: Option<&Node>, command: &Cmd) -> Result<Value, Lost> {
        let answer = match &self.line {
            Line::One(connection) => connection.clone().req_packed_command(command).await,
            #[cfg(feature = "redis-1")]
            Line::Manager(manager) => manager.clone().req_packed_command(command).await,
            Line::Cluster(cluster) => {
                let to = match node {
                    None => SingleNodeRoutingInfo::RandomPrimary,
                    Some(Node::Slot(slot)) => {
                        SingleNodeRoutingInfo::SpecificNode(Route::new(*slot, SlotAddr::Master))
                    }
                    Some(Node::Address(host, port)) => SingleNodeRoutingInfo::ByAddress {
                        host: host.clone(),
                        port: *port,
                    },
                };
                let to = RoutingInfo::SingleNode(to);
                cluster.clone().route_command(command.clone(), to).await
            }
        };
        match answer {
            Ok(Value::ServerError(error)) => Err(Lost {
                error: failure::of_command(&error),
                for_good: false,
            }),
            Ok(value) => Ok(value),
            Err(error) => Err(lost(&error, !self.is_cluster())),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.line, Line::Cluster(_))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.abort();
        }
    }
}

/// What came back for one ask.
pub(super) enum Answer {
    Value(Value),
    /// The server did not do it.
    Refused(Error),
    /// It may have, or not.
    Unclear(Error),
}

fn lost(error: &RedisError, to_one: bool) -> Lost {
    Lost {
        error: failure::of_connection(error),
        // The driver replaces the servers of a cluster by itself, unless it is stuck.
        for_good: match to_one {
            true => error.is_unrecoverable_error(),
            false => error.is_timeout(),
        },
    }
}

fn answer(value: Value) -> Answer {
    match value {
        Value::ServerError(error) => Answer::Refused(failure::of_command(&error)),
        value => Answer::Value(value),
    }
}

async fn ask_one<C: ConnectionLike>(
    mut connection: C,
    asks: Vec<Ask<'_>>,
) -> Result<Vec<Answer>, Lost> {
    if let [
        Ask {
            commands: Commands::One(command),
            ..
        },
    ] = &asks[..]
    {
        let value = connection.req_packed_command(command).await;
        let value = value.map_err(|error| lost(&error, true))?;
        return Ok(vec![answer(value)]);
    }
    let mut pipeline = Pipeline::with_capacity(asks.len());
    // How many replies come before the one that counts, in each.
    let mut before = Vec::with_capacity(asks.len());
    for ask in asks {
        match ask.commands {
            Commands::One(command) => {
                pipeline.add_command(command);
                before.push(0);
            }
            Commands::Both(names) => {
                before.push(names.len() + 1);
                pipeline.cmd("MULTI");
                for name in names {
                    pipeline.add_command(command::about(name, ask.key));
                }
                pipeline.cmd("EXEC");
            }
        }
    }
    let count = pipeline.len();
    let values = connection.req_packed_commands(&pipeline, 0, count).await;
    let mut values = values.map_err(|error| lost(&error, true))?.into_iter();
    let answers = before.into_iter().map(|before| {
        // What made a transaction fail is said where it was queued.
        let queued = values.by_ref().take(before);
        let refused = queued.fold(None, |refused, value| match (refused, value) {
            (None, Value::ServerError(error)) => Some(failure::of_command(&error)),
            (refused, _) => refused,
        });
        match (refused, values.next()) {
            (Some(error), _) => Answer::Refused(error),
            (None, Some(value)) => answer(value),
            (None, None) => Answer::Unclear(failure::unexpected()),
        }
    });
    Ok(answers.collect())
}

/// Each ask goes to the server of its key, where those that arrive together share the way.
/// Those about one key go one after another.
async fn ask_cluster(cluster: &ClusterConnection, asks: Vec<Ask<'_>>) -> Vec<Answer> {
    let count = asks.len();
    let mut answers: Vec<Option<Answer>> = Vec::new();
    answers.resize_with(count, || None);
    let mut left: Vec<(usize, Ask<'_>)> = asks.into_iter().enumerate().collect();
    while !left.is_empty() {
        let mut keys = HashSet::new();
        let (now, later): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, ask)| keys.insert(ask.key));
        let asked = now
            .into_iter()
            .map(|(place, ask)| async move { (place, ask_key(cluster.clone(), ask).await) });
        for (place, answer) in join_all(asked).await {
            answers[place] = Some(answer);
        }
        left = later;
    }
    let unexpected = || Answer::Unclear(failure::unexpected());
    let answers = answers.into_iter();
    answers
        .map(|answer| answer.unwrap_or_else(unexpected))
        .collect()
}

async fn ask_key(mut cluster: ClusterConnection, ask: Ask<'_>) -> Answer {
    let route = SingleNodeRoutingInfo::SpecificNode(Route::with_key(ask.key, SlotAddr::Master));
    let error = match ask.commands {
        Commands::One(command) => {
            let to = RoutingInfo::SingleNode(route);
            match cluster.route_command(command.clone(), to).await {
                Ok(value) => return answer(value),
                Err(error) => match asking(&error) {
                    None => error,
                    Some(node) => {
                        let mut pipeline = Pipeline::with_capacity(2);
                        pipeline.cmd("ASKING").add_command(command);
                        match cluster.route_pipeline(pipeline, 0, 2, node).await {
                            Ok(mut values) => return last(&mut values),
                            Err(error) => error,
                        }
                    }
                },
            }
        }
        Commands::Both(names) => {
            let mut pipeline = Pipeline::with_capacity(names.len());
            pipeline.atomic();
            for name in names {
                pipeline.add_command(command::about(name, ask.key));
            }
            let before = pipeline.len() + 1;
            match cluster
                .route_pipeline(pipeline, before, 1, route.clone())
                .await
            {
                Ok(mut values) => return last(&mut values),
                Err(error) => {
                    let cause = error.clone().into_server_errors();
                    let cause = cause.and_then(|errors| errors.first().cloned());
                    if let Some((_, cause)) = cause {
                        // The driver looks for where the key is only when a command alone is
                        // turned away.
                        let mut look = redis::cmd("EXISTS");
                        look.arg(ask.key);
                        let to = RoutingInfo::SingleNode(route);
                        let _ = cluster.route_command(look, to).await;
                        RedisError::from(cause)
                    } else {
                        error
                    }
                }
            }
        }
    };
    match error.kind() {
        Kind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => Answer::Refused(
            Error::new(
                ErrorKind::Unreachable,
                "a part of the cluster is changing places",
            )
            .retryable(true),
        ),
        // Nothing was sent.
        Kind::Server(_) | Kind::Extension | Kind::ClusterConnectionNotFound => {
            Answer::Refused(failure::of_connection(&error))
        }
        _ => Answer::Unclear(failure::of_connection(&error)),
    }
}

fn last(values: &mut Vec<Value>) -> Answer {
    match values.pop() {
        Some(value) => answer(value),
        None => Answer::Unclear(failure::unexpected()),
    }
}

/// The server that has the key already, while its slot is on the way to it.
fn asking(error: &RedisError) -> Option<SingleNodeRoutingInfo> {
    if error.kind() != Kind::Server(ServerErrorKind::Ask) {
        return None;
    }
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    Some(SingleNodeRoutingInfo::ByAddress {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}
