//! From a request to its reply: who asks, whether there is room, and what is told of it.

use std::future::poll_fn;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, HOST, HeaderName, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Request, StatusCode};
use polystore_kv::Store;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::auth::{self, Access, Tokens};
use crate::body;
use crate::call::{Call, options};
use crate::connection::Connection;
use crate::cors::{self, Origins};
use crate::flow::{self, Pace};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::operation::Operation;
use crate::problem::{Kind, Outcome, Problem};
use crate::record::Record;
use crate::target::{Address, Target};

const PROTOCOL: HeaderName = HeaderName::from_static("polystore-protocol");

/// Keeps replies out of the pages of others, which could tell by `onload` whether a key is there. What asks by
/// `fetch`, where an origin is named, is not held up by it.
const POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A store as it is served.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) store: Store,
    /// The store's kind, for the log.
    pub(crate) kind: String,
    pub(crate) limits: Limits,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) has_path_tokens: bool,
    pub(crate) origins: Origins,
    /// The names that it answers to, besides those of this machine; any name if there are none.
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) metrics: Metrics,
    pub(crate) room: Arc<Semaphore>,
}

impl Handle {
    pub(crate) async fn respond(
        self: Arc<Self>,
        request: Request<Body>,
        connection: Option<Arc<Connection>>,
    ) -> Response {
        let (parts, body) = request.into_parts();
        let origin = self.origins.allowed(&parts.headers);
        let mut record = Record::begin(Arc::clone(&self), connection);
        let answered = match origin.is_some() && cors::is_preflight(&parts.method, &parts.headers) {
            true => Ok(cors::preflight()),
            false => self.answer(&parts, body, &mut record).await,
        };
        let is_options = parts.method == Method::OPTIONS;
        let mut response =
            answered.unwrap_or_else(|problem| match problem.allow.filter(|_| is_options) {
                Some(allowed) => options(allowed),
                None => problem.into_response(),
            });
        record.status = response.status().as_u16();
        record.kind = response.extensions_mut().remove().map(|Kind(kind)| kind);
        record.failure = response.extensions_mut().remove();
        let headers = response.headers_mut();
        headers.insert(PROTOCOL, HeaderValue::from_static("1"));
        headers.insert(POLICY, HeaderValue::from_static("same-origin"));
        // Values change at any time.
        let no_store = HeaderValue::from_static("no-store");
        headers.entry(CACHE_CONTROL).or_insert(no_store);
        if record.status == StatusCode::UNAUTHORIZED.as_u16() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        self.origins.mark(&mut response, origin);
        response.map(|body| flow::taken(body, record, self.limits.idle_time))
    }

    async fn answer(&self, parts: &Parts, body: Body, record: &mut Record) -> Outcome<Response> {
        self.check_host(parts)?;
        let address = Address::parse(&parts.uri)?;
        let operation = Operation::of(&parts.method, &address, &parts.headers)?;
        record.operation = Some(operation);
        let access = self.access(parts, &address, operation)?;
        if operation == Operation::Metrics {
            address.params.check(operation)?;
            return Ok(self.metrics.answer());
        }
        if !operation.is_light() {
            let room = Arc::clone(&self.room).try_acquire_owned();
            record.permit = Some(room.map_err(|_| Problem::throttled())?);
        }
        let call = Call {
            operation,
            store: address.params.store(&self.store),
            address: &address,
            parts,
            limits: &self.limits,
            access: &access,
        };
        if operation == Operation::SetMany && body::form(&parts.headers)? == body::Form::Lines {
            let pace = Pace::Going {
                idle: self.limits.idle_time,
                patience: self.limits.request_time,
            };
            let body = flow::sent(body, pace);
            return call.answer(body).await;
        }
        let end = Instant::now() + self.limits.request_time;
        let answer = call.answer(flow::sent(body, Pace::Until(end)));
        let answered = within(end, answer).await;
        answered.unwrap_or_else(|| Err(Problem::late(operation.writes())))
    }

    fn access(&self, parts: &Parts, address: &Address, operation: Operation) -> Outcome<Access> {
        let in_path = address.path_token.as_ref().map(|it| &*it.0);
        if in_path.is_some() && !self.has_path_tokens {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "denied",
                "tokens in the path are taken only where the server is told so: --path-tokens",
            ));
        }
        let prefix = address.params.prefix();
        let tokens = match &self.tokens {
            Some(tokens) if !operation.is_open() => tokens,
            _ => return Ok(Access::default()),
        };
        let token = auth::token(&parts.headers, in_path).ok_or_else(auth::unknown)?;
        let grant = tokens.find(token).ok_or_else(auth::unknown)?;
        if !operation.is_about_keys() {
            return Ok(Access::default());
        }
        let access = Access::of(&grant, operation.writes(), prefix)?;
        match &address.target {
            Target::Key(key) => access.reach(key)?,
            _ if operation.is_about_all() => access.check_all()?,
            _ => {}
        }
        Ok(access)
    }

    /// A page elsewhere can have its own name lead to this machine, and would then be let in.
    fn check_host(&self, parts: &Parts) -> Outcome<()> {
        // What stands in front of the server may have looked at another one (RFC 9112, 3.2).
        if parts.headers.get_all(HOST).iter().nth(1).is_some() {
            return Err(Problem::bad("the header host is given twice"));
        }
        let Some(hosts) = &self.hosts else {
            return Ok(());
        };
        let authority = parts.uri.authority().map(Authority::as_str);
        let host = authority.or_else(|| parts.headers.get(HOST)?.to_str().ok());
        let is_known = host.is_some_and(|host| {
            let name = without_port(host);
            is_this_machine(name) || hosts.iter().any(|it| it.eq_ignore_ascii_case(name))
        });
        match is_known {
            true => Ok(()),
            false => Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "denied",
                "the server does not answer to this name: tell it by --host, or use tokens",
            )),
        }
    }
}

async fn within<T>(end: Instant, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = pin!(answer);
    // Many are there at once, and need no timer.
    match poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await {
        Poll::Ready(answered) => Some(answered),
        Poll::Pending => timeout_at(end, answer).await.ok(),
    }
}

fn without_port(host: &str) -> &str {
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']').map(|at| at + 2),
        None => host.find(':'),
    };
    end.map_or(host, |end| &host[..end])
}

fn is_this_machine(name: &str) -> bool {
    let v6 = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || name.parse().is_ok_and(|it: Ipv4Addr| it.is_loopback())
        || v6.is_some_and(|it| it.parse().is_ok_and(|it: Ipv6Addr| it.is_loopback()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_this_machine_are_its_own() {
        for (name, is_own) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.8.8.8", true),
            ("[::1]", true),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(super::is_this_machine(name), is_own, "{name}");
            assert_eq!(super::without_port(&format!("{name}:80")), name);
            assert_eq!(super::without_port(name), name);
        }
    }
}
