//! What a request is about: its path and its parameters, strictly.

use std::borrow::Cow;
use std::fmt;

use http::Uri;
use percent_encoding::percent_decode_str;
use polystore_kv::{Expires, Store};

use crate::operation::Operation;
use crate::problem::{Outcome, Problem};

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/` without a key.
    Root,
    Key(String),
    Ping,
    /// What is below `/_/`, as it is written: the page itself is the empty name.
    Service(String),
}

/// Where a request goes. Not `Debug`, for the token.
pub(crate) struct Address {
    pub(crate) target: Target,
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
        let (path_token, path) = token_in(uri.path())?;
        let (params, key) = Params::parse(uri.query().unwrap_or_default())?;
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
    match rest.find('/') {
        // `/_/t/TOKEN` and, as `/_/t/TOKEN/..` arrives, `/_/t/`: never the store itself.
        None | Some(0) => Err(Problem::bad("a token in the path is /_/t/TOKEN/")),
        Some(end) => {
            let token = decoded(&rest[..end])?.into_owned();
            Ok((Some(PathToken(token)), &rest[end..]))
        }
    }
}

fn target_in(path: &str) -> Outcome<Target> {
    // Who mounts the router by hand may leave nothing of the path.
    if matches!(path, "" | "/") {
        return Ok(Target::Root);
    }
    let Some(path) = path.strip_prefix('/') else {
        return Err(Problem::bad("the path does not begin with /"));
    };
    match path.split_once('/') {
        None if path == "ping" => Ok(Target::Ping),
        None => match decoded(path)? {
            key if matches!(&*key, "." | ".." | "ping") => Err(Problem::unnamed(&key)),
            key => Ok(Target::Key(key.into_owned())),
        },
        Some(("_", name)) => Ok(Target::Service(name.to_owned())),
        Some(_) => Err(Problem::bad_key(
            "a key is one segment of the path: write / as %2F, or use ?key=",
        )),
    }
}

/// Without percent-encoding. What is no encoding of anything is refused: a client that sends it forgot to
/// encode, and would get another key than it meant.
fn decoded(text: &str) -> Outcome<Cow<'_, str>> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let Some([high, low, after @ ..]) = rest.get(at + 1..) else {
            return Err(lone_percent());
        };
        if !(high.is_ascii_hexdigit() && low.is_ascii_hexdigit()) {
            return Err(lone_percent());
        }
        rest = after;
    }
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Problem::bad("the URL is not UTF-8 when decoded"))
}

fn lone_percent() -> Problem {
    Problem::bad("a % in the URL is not followed by two hexadecimal digits: write it as %25")
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

    /// Refuses what means nothing to `operation`: who sent it would take the reply for something else.
    /// `prefix` and `expires` go with everything, as the npm package sends them.
    pub(crate) fn check(&self, operation: Operation) -> Outcome<()> {
        use Operation as Op;
        let is_listing = operation == Op::List;
        let rules = [
            ("limit", self.limit.is_some(), is_listing),
            ("after", self.after.is_some(), is_listing),
            (
                "values",
                self.values.is_some(),
                is_listing || operation == Op::GetMany,
            ),
            (
                "ttl",
                self.ttl.is_some(),
                is_listing || matches!(operation, Op::Get | Op::Has),
            ),
            ("all", self.all.is_some(), operation == Op::Clear),
        ];
        match rules.iter().find(|(_, given, known)| *given && !known) {
            None => Ok(()),
            Some((name, _, _)) if operation == Op::Page => Err(Problem::bad(format!(
                "the parameter {name} goes with a prefix: say ?prefix= for a listing of all"
            ))),
            Some((name, _, _)) => Err(Problem::bad(format!(
                "the parameter {name} means nothing to this request"
            ))),
        }
    }

    pub(crate) fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or_default()
    }
}

fn form_decoded(text: &str) -> Outcome<String> {
    match text.contains('+') {
        true => Ok(decoded(&text.replace('+', " "))?.into_owned()),
        false => Ok(decoded(text)?.into_owned()),
    }
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
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Problem::bad(format!(
            "the parameter {name} is true or false"
        ))),
    }
}
