//! Listings, sent as they are read.

use std::io;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::StatusCode;
use polystore_kv::{Entry, RawEntries, Scan, Store};

use crate::problem::{Outcome, Problem};
use crate::respond::{self, JSON, LINES, reply, text};
use crate::target::Params;

/// About how many bytes go out at a time, if that many are there at once.
const CHUNK: usize = 16 << 10;

/// How a listing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Object,
    Lines { values: bool, ttl: bool },
}

struct Sending {
    entries: RawEntries,
    next: Option<(String, Entry)>,
    form: Form,
    is_begun: bool,
    is_over: bool,
}

pub(crate) async fn answer(store: &Store, params: &Params, lines: bool) -> Outcome<Response> {
    let values = params.values.unwrap_or(true);
    if !(lines || values) {
        return Err(Problem::bad(
            "without values there are lines only: say accept: application/x-ndjson",
        ));
    }
    let ttl = params.ttl.unwrap_or(true);
    let mut scan = Scan::new().values(values).expiries(lines && ttl);
    if let Some(after) = &params.after {
        scan = scan.after(after);
    }
    if let Some(limit) = params.limit {
        scan = scan.limit(limit);
    }
    let mut entries = store.scan(scan);
    // What fails at once has a status of its own.
    let next = entries.try_next().await?;
    let (form, kind) = match lines {
        true => (Form::Lines { values, ttl }, LINES),
        false => (Form::Object, JSON),
    };
    let sending = Sending {
        entries,
        next,
        form,
        is_begun: false,
        is_over: false,
    };
    let chunks = stream::unfold(sending, |mut sending| async {
        let chunk = sending.chunk().await?;
        Some((chunk, sending))
    });
    Ok(reply(StatusCode::OK, kind, Body::from_stream(chunks)))
}

impl Sending {
    async fn chunk(&mut self) -> Option<io::Result<Bytes>> {
        if self.is_over {
            return None;
        }
        let mut out = Vec::with_capacity(CHUNK);
        loop {
            let Some((key, entry)) = self.next.take() else {
                self.is_over = true;
                self.end(&mut out);
                return (!out.is_empty()).then(|| Ok(out.into()));
            };
            self.write(&mut out, &key, &entry);
            let next = match out.len() < CHUNK {
                true => self.entries.try_next().now_or_never(),
                false => None,
            };
            let next = match next {
                Some(next) => next,
                // Nothing is lost by asking again: it is the same entry that is waited for.
                None if !out.is_empty() && self.is_begun => match self.entries.try_next().await {
                    Ok(next) => {
                        self.next = next;
                        if self.next.is_none() {
                            self.is_over = true;
                            self.end(&mut out);
                        }
                        return Some(Ok(out.into()));
                    }
                    failed => failed,
                },
                None => self.entries.try_next().await,
            };
            match next {
                Ok(next) => self.next = next,
                Err(error) => {
                    self.is_over = true;
                    return Some(self.failed(out, error));
                }
            }
        }
    }

    fn write(&mut self, out: &mut Vec<u8>, key: &str, entry: &Entry) {
        let Form::Lines { values, ttl } = self.form else {
            out.push(if self.is_begun { b',' } else { b'{' });
            self.is_begun = true;
            out.extend_from_slice(&text(key));
            out.push(b':');
            out.extend_from_slice(entry.json().as_bytes());
            return;
        };
        self.is_begun = true;
        let left = respond::ttl(entry.expiry()).filter(|_| ttl);
        line(out, key, values.then_some(entry), left);
    }

    fn end(&self, out: &mut Vec<u8>) {
        if self.form == Form::Object {
            out.extend_from_slice(if self.is_begun { b"}" } else { b"{}" });
        }
    }

    /// Says so in lines; an object that is cut off is no JSON.
    fn failed(&self, mut out: Vec<u8>, error: polystore_kv::Error) -> io::Result<Bytes> {
        if self.form == Form::Object {
            return Err(io::Error::other(error));
        }
        out.extend_from_slice(b"{\"error\":");
        out.extend_from_slice(Problem::from(error).to_json().as_bytes());
        out.extend_from_slice(b"}\n");
        Ok(out.into())
    }
}

/// Writes one line.
pub(crate) fn line(out: &mut Vec<u8>, key: &str, entry: Option<&Entry>, ttl: Option<String>) {
    out.extend_from_slice(b"{\"key\":");
    out.extend_from_slice(&text(key));
    if let Some(entry) = entry {
        out.extend_from_slice(b",\"value\":");
        out.extend_from_slice(entry.json().as_bytes());
    }
    if let Some(ttl) = ttl {
        out.extend_from_slice(b",\"ttl\":");
        out.extend_from_slice(ttl.as_bytes());
    }
    out.extend_from_slice(b"}\n");
}
