//! Many entries, sent as they are read.

use std::io;
use std::pin::Pin;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Peekable};
use futures_util::{FutureExt, StreamExt};
use http::StatusCode;
use polystore_kv::{Entry, Error, RawEntries, Result, Scan, Store};

use crate::problem::{Outcome, Problem};
use crate::record::Failure;
use crate::respond::{JSON, LINES, reply, write_text, write_ttl};
use crate::target::Params;

/// About how many bytes go out at a time, if that many are there at once.
const CHUNK: usize = 16 << 10;

/// The most that is asked for at once by a limit: a store without an order has to hold that many.
const PAGE: usize = 10_000;

/// Entries on their way out.
pub(crate) type Entries = BoxStream<'static, Result<(String, Entry)>>;

/// How entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Object,
    Lines { values: bool, ttl: bool },
}

impl Form {
    /// The form that the parameters ask for.
    pub(crate) fn of(lines: bool, params: &Params) -> Outcome<Self> {
        let values = params.values.unwrap_or(true);
        match lines {
            true => Ok(Self::Lines {
                values,
                ttl: params.ttl.unwrap_or(true),
            }),
            false if values => Ok(Self::Object),
            false => Err(Problem::bad(
                "without values there are lines only: say accept: application/x-ndjson",
            )),
        }
    }
}

/// `GET /?prefix=`
pub(crate) async fn answer(store: &Store, params: &Params, form: Form) -> Outcome<Response> {
    let (values, ttl) = match form {
        Form::Object => (true, false),
        Form::Lines { values, ttl } => (values, ttl),
    };
    let mut scan = Scan::new().values(values).expiries(ttl);
    if let Some(after) = &params.after {
        scan = scan.after(after);
    }
    let entries = match params.limit {
        None => store.scan(scan).boxed(),
        Some(limit) => in_pages(store.clone(), scan, limit),
    };
    send(entries, form).await
}

/// The first `limit` entries.
fn in_pages(store: Store, scan: Scan, limit: usize) -> Entries {
    struct Page {
        entries: RawEntries,
        last: Option<String>,
        /// Of this page, and of those behind it.
        left: usize,
        behind: usize,
    }
    let page = move |last: Option<String>, limit: usize| {
        let left = limit.min(PAGE);
        let scan = last.clone().into_iter().fold(scan.clone(), Scan::after);
        Page {
            entries: store.scan(scan.limit(left)),
            last,
            left,
            behind: limit - left,
        }
    };
    let first = page(None, limit);
    stream::try_unfold((first, page), |(mut at, page)| async move {
        if at.left == 0 && at.behind > 0 {
            at = page(at.last.take(), at.behind);
        }
        let Some((key, entry)) = at.entries.try_next().await? else {
            return Ok(None);
        };
        at.left = at.left.saturating_sub(1);
        if at.left == 0 && at.behind > 0 {
            at.last = Some(key.clone());
        }
        Ok(Some(((key, entry), (at, page))))
    })
    .boxed()
}

/// Sends `entries`. What fails at once has a status of its own.
pub(crate) async fn send(entries: Entries, form: Form) -> Outcome<Response> {
    let mut entries = entries.peekable();
    if let Some(Err(error)) = Pin::new(&mut entries).peek().await {
        return Err(Problem::from(error.clone()));
    }
    let kind = match form {
        Form::Object => JSON,
        Form::Lines { .. } => LINES,
    };
    let sending = Sending {
        entries,
        form,
        is_begun: false,
        is_over: false,
        failure: Failure::default(),
    };
    let failure = sending.failure.clone();
    let chunks = stream::unfold(sending, |mut sending| async {
        let chunk = sending.chunk().await?;
        Some((chunk, sending))
    });
    let mut response = reply(StatusCode::OK, kind, Body::from_stream(chunks));
    response.extensions_mut().insert(failure);
    Ok(response)
}

struct Sending {
    entries: Peekable<Entries>,
    form: Form,
    is_begun: bool,
    is_over: bool,
    failure: Failure,
}

impl Sending {
    /// Waits for an entry, and takes those along that are there already.
    async fn chunk(&mut self) -> Option<io::Result<Bytes>> {
        if self.is_over {
            return None;
        }
        let mut out = Vec::with_capacity(CHUNK);
        let mut next = self.entries.next().await;
        loop {
            match next {
                Some(Ok((key, entry))) => self.write(&mut out, &key, &entry),
                Some(Err(error)) => {
                    self.is_over = true;
                    return Some(self.failed(out, error));
                }
                None => {
                    self.is_over = true;
                    self.end(&mut out);
                    return (!out.is_empty()).then(|| Ok(out.into()));
                }
            }
            if out.len() >= CHUNK {
                return Some(Ok(out.into()));
            }
            // Nothing is lost by asking again: it is the same entry that is waited for.
            match self.entries.next().now_or_never() {
                Some(found) => next = found,
                None => return Some(Ok(out.into())),
            }
        }
    }

    fn write(&mut self, out: &mut Vec<u8>, key: &str, entry: &Entry) {
        match self.form {
            Form::Object => {
                out.push(if self.is_begun { b',' } else { b'{' });
                write_text(out, key);
                out.push(b':');
                out.extend_from_slice(entry.json().as_bytes());
            }
            Form::Lines { values, ttl } => {
                out.extend_from_slice(b"{\"key\":");
                write_text(out, key);
                if values {
                    out.extend_from_slice(b",\"value\":");
                    write_one_line(out, entry.json());
                }
                let end = out.len();
                out.extend_from_slice(b",\"ttl\":");
                if !(ttl && write_ttl(out, entry.expiry())) {
                    out.truncate(end);
                }
                out.extend_from_slice(b"}\n");
            }
        }
        self.is_begun = true;
    }

    fn end(&self, out: &mut Vec<u8>) {
        if self.form == Form::Object {
            out.extend_from_slice(if self.is_begun { b"}" } else { b"{}" });
        }
    }

    /// Says so in lines; an object that is cut off is no JSON.
    fn failed(&self, mut out: Vec<u8>, error: Error) -> io::Result<Bytes> {
        self.failure.tell(Problem::kind_of(error.kind()));
        // A key may be a secret.
        let shown = error.clone().without_key();
        tracing::warn!(error = %shown, "a reply was cut off, as the store failed");
        if self.form == Form::Object {
            return Err(io::Error::other(error));
        }
        out.extend_from_slice(b"{\"error\":");
        out.extend_from_slice(Problem::from(error).to_json().as_bytes());
        out.extend_from_slice(b"}\n");
        Ok(out.into())
    }
}

/// Appends JSON that may have been put with line ends in it. There they stand between its parts only, where
/// a space is the same: inside of a text JSON has them escaped.
fn write_one_line(out: &mut Vec<u8>, json: &str) {
    let start = out.len();
    out.extend_from_slice(json.as_bytes());
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}
