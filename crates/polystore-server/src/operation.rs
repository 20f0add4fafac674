//! What a request does, told before its body is read.

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, Method};

use crate::page;
use crate::problem::{Outcome, Problem};
use crate::target::{Address, Target};

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Get,
    Has,
    Set,
    Insert,
    Replace,
    Touch,
    Del,
    Add,
    List,
    Clear,
    GetMany,
    SetMany,
    DelMany,
    Prune,
    Evict,
    Store,
    Ready,
    Ping,
    Metrics,
    Page,
    OpenApi,
}

impl Operation {
    pub(crate) const ALL: [Self; 21] = [
        Self::Get,
        Self::Has,
        Self::Set,
        Self::Insert,
        Self::Replace,
        Self::Touch,
        Self::Del,
        Self::Add,
        Self::List,
        Self::Clear,
        Self::GetMany,
        Self::SetMany,
        Self::DelMany,
        Self::Prune,
        Self::Evict,
        Self::Store,
        Self::Ready,
        Self::Ping,
        Self::Metrics,
        Self::Page,
        Self::OpenApi,
    ];

    /// Whether it changes what is stored.
    pub(crate) fn writes(self) -> bool {
        use Operation as O;
        matches!(
            self,
            O::Set
                | O::Insert
                | O::Replace
                | O::Touch
                | O::Del
                | O::Add
                | O::Clear
                | O::SetMany
                | O::DelMany
                | O::Prune
                | O::Evict
        )
    }

    /// Whether it needs no token: nothing of the store is in it.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Ping | Self::Page | Self::OpenApi)
    }

    /// Whether it is answered however much is under way.
    pub(crate) fn is_light(self) -> bool {
        self.is_open() || matches!(self, Self::Ready | Self::Metrics)
    }

    /// Whether it tells or changes what is under keys.
    pub(crate) fn is_about_keys(self) -> bool {
        !self.is_light() && self != Self::Store
    }

    /// Whether it is about every key that begins with the prefix of the request, or any.
    pub(crate) fn is_about_all(self) -> bool {
        matches!(self, Self::Add | Self::List | Self::Clear | Self::Prune)
    }

    /// Its name in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Has => "has",
            Self::Set => "set",
            Self::Insert => "insert",
            Self::Replace => "replace",
            Self::Touch => "touch",
            Self::Del => "del",
            Self::Add => "add",
            Self::List => "list",
            Self::Clear => "clear",
            Self::GetMany => "get_many",
            Self::SetMany => "set_many",
            Self::DelMany => "del_many",
            Self::Prune => "prune",
            Self::Evict => "evict",
            Self::Store => "store",
            Self::Ready => "ready",
            Self::Ping => "ping",
            Self::Metrics => "metrics",
            Self::Page => "page",
            Self::OpenApi => "openapi",
        }
    }

    /// What a request of `method` to `address` does.
    pub(crate) fn of(method: &Method, address: &Address, headers: &HeaderMap) -> Outcome<Self> {
        let operation = match &address.target {
            Target::Key(_) => match *method {
                Method::GET => Self::Get,
                Method::HEAD => Self::Has,
                Method::PUT if headers.contains_key(IF_NONE_MATCH) => Self::Insert,
                Method::PUT if headers.contains_key(IF_MATCH) => Self::Replace,
                Method::PUT => Self::Set,
                Method::PATCH => Self::Touch,
                Method::DELETE => Self::Del,
                _ => return Err(Problem::method("GET, HEAD, PUT, PATCH, DELETE")),
            },
            Target::Root => match *method {
                Method::GET | Method::HEAD if address.params.prefix.is_some() => Self::List,
                // Where a browser is sent.
                Method::GET | Method::HEAD => Self::Page,
                Method::POST => Self::Add,
                Method::DELETE => Self::Clear,
                Method::PUT | Method::PATCH => return Err(Problem::unnamed("")),
                // With a key there are more.
                _ => return Err(Problem::method("GET, HEAD, POST, PUT, PATCH, DELETE")),
            },
            Target::Ping => match *method {
                Method::GET | Method::HEAD => Self::Ping,
                Method::PUT | Method::PATCH | Method::DELETE => {
                    return Err(Problem::unnamed("ping"));
                }
                _ => return Err(Problem::method("GET, HEAD")),
            },
            Target::Service(name) => return Self::of_service(name, method),
        };
        Ok(operation)
    }

    fn of_service(name: &str, method: &Method) -> Outcome<Self> {
        let operation = match name {
            name if page::find(name).is_some() => Self::Page,
            "store" => Self::Store,
            "ready" => Self::Ready,
            "metrics" => Self::Metrics,
            "openapi.json" => Self::OpenApi,
            "get" => Self::GetMany,
            "set" => Self::SetMany,
            "del" => Self::DelMany,
            "prune" => Self::Prune,
            "evict" => Self::Evict,
            _ => return Err(Problem::not_found("there is no such service")),
        };
        let is_read = matches!(
            operation,
            Self::Page | Self::Store | Self::Ready | Self::Metrics | Self::OpenApi
        );
        match *method {
            Method::GET | Method::HEAD if is_read => Ok(operation),
            Method::POST if !is_read => Ok(operation),
            _ if is_read => Err(Problem::method("GET, HEAD")),
            _ => Err(Problem::method("POST")),
        }
    }
}
