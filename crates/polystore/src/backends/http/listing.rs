//! Listings, and what is done to all keys of a prefix.

use std::sync::Arc;

use ::http::{Method, StatusCode};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::failure;
use super::server::{Connection, Server};
use super::transport::Lines;
use super::wire::{self, Wanted};
use crate::backend::Scan;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::runtime::persist;

type Entries = BoxStream<'static, Result<(String, Entry)>>;

pub(super) fn scan(server: Arc<Server>, scan: Scan) -> Entries {
    let opened = async move {
        let opening = persist(
            server.config.timeout,
            |error| server.is_transient(error),
            || open(&server, &scan),
        );
        opening.await.map_err(Error::not_applied)
    };
    stream::once(opened).try_flatten().boxed()
}

async fn open(server: &Arc<Server>, scan: &Scan) -> Result<Entries> {
    let to = server.connection().await?;
    match to.is_full() {
        true => open_lines(server, &to, scan).await,
        false => Ok(scan
            .clone()
            .select(object(server, &to, &scan.prefix).await?)),
    }
}

async fn open_lines(server: &Arc<Server>, to: &Arc<Connection>, scan: &Scan) -> Result<Entries> {
    let limit = scan.limit.map(|limit| limit.to_string());
    let mut parameters = vec![("prefix", &scan.prefix[..])];
    if let Some(after) = &scan.after {
        // There it is without the prefix.
        match after.strip_prefix(&scan.prefix[..]) {
            Some(after) => parameters.push(("after", after)),
            None if *after < scan.prefix => {}
            None => return Ok(stream::empty().boxed()),
        }
    }
    match limit.as_deref() {
        Some("0") => return Ok(stream::empty().boxed()),
        Some(limit) => parameters.push(("limit", limit)),
        None => {}
    }
    if !scan.values {
        parameters.push(("values", "false"));
    }
    if !scan.expiries {
        parameters.push(("ttl", "false"));
    }
    let ask = to.about_all(Method::GET, &parameters)?.accept(wire::LINES);
    let listing = Listing {
        lines: server.lines(to, &ask).await?,
        server: Arc::clone(server),
        prefix: scan.prefix.clone(),
        wanted: Wanted {
            values: scan.values,
            expiries: scan.expiries,
        },
        is_over: false,
    };
    Ok(stream::unfold(listing, Listing::next).boxed())
}

struct Listing {
    lines: Lines,
    server: Arc<Server>,
    prefix: String,
    wanted: Wanted,
    is_over: bool,
}

impl Listing {
    async fn next(mut self) -> Option<(Result<(String, Entry)>, Self)> {
        if self.is_over {
            return None;
        }
        let line = self.lines.next(self.server.config.timeout).await;
        let entry = match line.transpose()? {
            Ok(line) => wire::read_line(&line, self.wanted),
            Err(error) => Err(error),
        };
        // After an error nothing comes that could be trusted.
        self.is_over = entry.is_err();
        let entry = entry.map(|(mut key, entry)| {
            key.insert_str(0, &self.prefix);
            (key, entry)
        });
        Some((entry, self))
    }
}

/// All that an npm server has under a prefix.
async fn object(
    server: &Arc<Server>,
    to: &Arc<Connection>,
    prefix: &str,
) -> Result<impl Iterator<Item = (String, Entry)> + Send + use<>> {
    let ask = to.about_all(Method::GET, &[("prefix", prefix)])?;
    let reply = server.ask(to, &ask).await?;
    if reply.status != StatusCode::OK {
        return Err(failure::of_reply(&reply, false));
    }
    let prefix = prefix.to_owned();
    let entries = wire::read_object(&reply.body)?.into_iter();
    Ok(entries.map(move |(key, entry)| (format!("{prefix}{key}"), entry)))
}

/// The keys that an npm server has under a prefix, which cannot clear it by itself.
pub(super) async fn keys(
    server: &Arc<Server>,
    to: &Arc<Connection>,
    prefix: &str,
) -> Result<Vec<String>> {
    let entries = object(server, to, prefix)
        .await
        .map_err(Error::not_applied)?;
    Ok(entries.map(|(key, _)| key).collect())
}

/// Removes all keys of a prefix.
pub(super) async fn clear(server: &Arc<Server>, to: &Arc<Connection>, prefix: &str) -> Result<()> {
    let all = [("prefix", prefix), ("all", "true")];
    // Said only where it is meant.
    let parameters = match prefix {
        "" => &all[..],
        _ => &all[..1],
    };
    let ask = to.about_all(Method::DELETE, parameters)?;
    let reply = server.ask(to, &ask).await?;
    match reply.status.is_success() {
        true => Ok(()),
        false => Err(failure::of_reply(&reply, true)),
    }
}

pub(super) async fn prune(server: &Arc<Server>, to: &Arc<Connection>, prefix: &str) -> Result<u64> {
    if !to.is_full() {
        return Err(Error::unsupported(
            "prune: the server's protocol cannot remove an entry only if it is unchanged",
        ));
    }
    let ask = to.post("prune", &[("prefix", prefix)], wire::JSON, "{}")?;
    let reply = server.ask(to, &ask).await?;
    match reply.status.is_success() {
        true => wire::pruned(&reply.body),
        false => Err(failure::of_reply(&reply, true)),
    }
}
