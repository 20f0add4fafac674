//! What a request is about: its path and its parameters, strictly.

use std::borrow::Cow;
use std::fmt;

use http::Uri;
use percent_encoding::percent_decode_str;
use polystore_kv::{Expires, Store};

use crate::problem::{Outcome, Problem};

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/` without a key.
    Root,
    Key(String),
    Ping,
    /// What is below `/_/`: the page itself is the empty name.
    Service(String),
}

/// Where a request goes. Not `Debug`, for the token.
pub(crate) struct Address {
    pub(crate) target: Target,
    #[allow(dead_code, reason = "tokens are checked by the listener")]
    /// What stood in the path as `/_/t/TOKEN/`.
    pub(crate) path_token: Option<PathToken>,
    pub(crate) params: Params,
}

/// Never shown.
pub(crate) struct PathToken(pub(crate) String);

impl fmt::Debug for PathToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PathToken")
    }
}

/// What may stand after the `?`.
#[derive(Debug, Default)]
pub(crate) struct Params {
    pub(crate) is_given: bool,
    pub(crate) prefix: Option<String>,
    pub(crate) expires: Option<Expires>,
    pub(crate) limit: Option<usize>,
    pub(crate) after: Option<String>,
    pub(crate) values: Option<bool>,
    pub(crate) ttl: Option<bool>,
    pub(crate) all: Option<bool>,
}

impl Address {
    pub(crate) fn parse(uri: &Uri) -> Outcome<Self> {
        let (mut params, key) = Params::parse(uri.query().unwrap_or_default())?;
        params.is_given = uri.query().is_some_and(|query| !query.is_empty());
        let path = uri.path();
        let (path_token, path) = token_in(path)?;
        let target = match (target_in(path)?, key) {
            (Target::Root, Some(key)) => Target::Key(key),
            (target, None) => target,
            (_, Some(_)) => {
                return Err(Problem::bad("the parameter key goes with the path / only"));
            }
        };
        Ok(Self {
            target,
            path_token,
            params,
        })
    }
}

/// Takes `/_/t/TOKEN` off the path.
fn token_in(path: &str) -> Outcome<(Option<PathToken>, &str)> {
    let Some(rest) = path.strip_prefix("/_/t/") else {
        return Ok((None, path));
    };
    let Some((token, _)) = rest.split_once('/').filter(|(token, _)| !token.is_empty()) else {
        return Err(Problem::bad("a token in the path is /_/t/TOKEN/"));
    };
    Ok((Some(PathToken(decoded(token)?)), &rest[token.len()..]))
}

fn target_in(path: &str) -> Outcome<Target> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Target::Root);
    }
    match path.split_once('/') {
        None if path == "ping" => Ok(Target::Ping),
        None => match &decoded(path)?[..] {
            key @ ("." | ".." | "ping") => Err(Problem::bad_key(format!(
                "a path cannot carry the key {key:?}: use ?key="
            ))),
            key => Ok(Target::Key(key.to_owned())),
        },
        Some(("_", name)) => Ok(Target::Service(decoded(name)?)),
        Some(_) => Err(Problem::bad_key(
            "a key is one segment of the path: write / as %2F",
        )),
    }
}

fn decoded(text: &str) -> Outcome<String> {
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(Problem::bad("the URL is not UTF-8 when decoded")),
    }
}

impl Params {
    /// The part of `store` that the request is about.
    pub(crate) fn store<'a>(&self, store: &'a Store) -> Cow<'a, Store> {
        match self.prefix() {
            "" => Cow::Borrowed(store),
            prefix => Cow::Owned(store.prefix(prefix)),
        }
    }

    /// The parameters, and the key that may be one of them.
    fn parse(query: &str) -> Outcome<(Self, Option<String>)> {
        let mut params = Self::default();
        let mut key = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (form_decoded(name)?, form_decoded(value)?);
            let is_first = match &name[..] {
                "key" => key.replace(value).is_none(),
                "prefix" => params.prefix.replace(value).is_none(),
                "after" => params.after.replace(value).is_none(),
                "expires" => params.expires.replace(expires(&value)?).is_none(),
                "limit" => params.limit.replace(count(&value)?).is_none(),
                "values" => params.values.replace(flag(&name, &value)?).is_none(),
                "ttl" => params.ttl.replace(flag(&name, &value)?).is_none(),
                "all" => params.all.replace(flag(&name, &value)?).is_none(),
                _ => {
                    return Err(Problem::bad(
                        "there is a parameter that is not known; there are: key, prefix, expires, \
                         limit, after, values, ttl, all",
                    ));
                }
            };
            if !is_first {
                return Err(Problem::bad(format!("the parameter {name} is given twice")));
            }
        }
        Ok((params, key))
    }

    pub(crate) fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or_default()
    }
}

fn form_decoded(text: &str) -> Outcome<String> {
    decoded(&text.replace('+', " "))
}

pub(crate) fn expires(text: &str) -> Outcome<Expires> {
    let parsed: Result<Expires, _> = text.parse();
    parsed.map_err(|error| Problem::bad(error.message()))
}

fn count(text: &str) -> Outcome<usize> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| Problem::bad("the parameter limit is a whole number above zero"))
}

fn flag(name: &str, text: &str) -> Outcome<bool> {
    match text {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Problem::bad(format!(
            "the parameter {name} is true or false"
        ))),
    }
}
