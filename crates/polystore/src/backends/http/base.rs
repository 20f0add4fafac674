//! Where requests go: the URL of the store, and those of what is in it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use url::Url;

use crate::address::invalid;
use crate::error::Result;

/// What `encodeURIComponent` encodes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// What the protocol says in its queries, and the URL of a store cannot.
const PARAMETERS: [&str; 8] = [
    "key", "prefix", "expires", "limit", "after", "values", "ttl", "all",
];

/// The keys that no path can carry.
pub(super) const PATHLESS: [&str; 4] = ["", ".", "..", "ping"];

/// The URL of a store, without its options and its user.
pub(super) struct Base {
    /// With its path, without the last slash of it.
    front: String,
    /// The query that goes with every request.
    query: String,
    url: Url,
}

/// A user and a password.
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: Option<String>,
}

fn component(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, COMPONENT)
}

fn decoded(text: &str) -> Result<String> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| invalid("the user of the URL is not UTF-8 when decoded"))
}

impl Base {
    /// Of a scheme, what stands behind it, and a query.
    pub(super) fn new(scheme: &str, location: &str, query: &str) -> Result<(Self, Option<User>)> {
        if !location.starts_with("//") {
            return Err(invalid(format!(
                "a store over HTTP is {scheme}://host/path"
            )));
        }
        for (name, _) in form_urlencoded::parse(query.as_bytes()) {
            if PARAMETERS.contains(&&*name) {
                return Err(invalid(format!(
                    "the query of the URL cannot have {name:?}: the store's own requests say it"
                )));
            }
        }
        let mut url = Url::parse(&format!("{scheme}:{location}"))
            .map_err(|error| invalid(format!("the URL cannot be used: {error}")))?;
        let user = match (url.username(), url.password()) {
            ("", None) => None,
            (name, password) => Some(User {
                name: decoded(name)?,
                password: password.map(decoded).transpose()?,
            }),
        };
        // A URL with a host takes both.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let front = url.as_str();
        let front = front.strip_suffix('/').unwrap_or(front).to_owned();
        let query = query.to_owned();
        Ok((Self { front, query, url }, user))
    }

    /// Whether what is known to this server may be told to that one.
    pub(super) fn is_origin_of(&self, url: &Url) -> bool {
        self.url.origin() == url.origin()
    }

    pub(super) fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// The URL of a key.
    pub(super) fn item(&self, key: &str, parameters: &[(&str, &str)]) -> Result<Url> {
        if !PATHLESS.contains(&key) {
            return self.at(format_args!("{}", component(key)), parameters);
        }
        let mut all = vec![("key", key)];
        all.extend(parameters);
        self.root(&all)
    }

    /// The URL of the store itself.
    pub(super) fn root(&self, parameters: &[(&str, &str)]) -> Result<Url> {
        self.at(format_args!(""), parameters)
    }

    /// The URL of what the store can do besides.
    pub(super) fn service(&self, name: &str, parameters: &[(&str, &str)]) -> Result<Url> {
        self.at(format_args!("_/{name}"), parameters)
    }

    fn at(&self, path: std::fmt::Arguments<'_>, parameters: &[(&str, &str)]) -> Result<Url> {
        let mut text = format!("{}/{path}", self.front);
        let mut joint = '?';
        if !self.query.is_empty() {
            text.push(joint);
            text.push_str(&self.query);
            joint = '&';
        }
        for (name, value) in parameters {
            text.push(joint);
            text.extend([name, "="]);
            text.extend(component(value));
            joint = '&';
        }
        let url = Url::parse(&text);
        url.map_err(|error| invalid(format!("the URL cannot be used: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(location: &str, query: &str) -> Base {
        Base::new("https", location, query).unwrap().0
    }

    fn path(url: Result<Url>) -> String {
        let url = url.unwrap();
        url.as_str().strip_prefix("https://h").unwrap().to_owned()
    }

    #[test]
    fn keys_are_one_segment_and_what_a_path_cannot_carry_is_a_parameter() {
        let base = base("//h", "");
        for (key, expected) in [
            ("user:1/é", "/user%3A1%2F%C3%A9"),
            ("a b?c#d&e=f+g", "/a%20b%3Fc%23d%26e%3Df%2Bg"),
            ("%2e", "/%252e"),
            ("!'()~*-_.", "/!'()~*-_."),
            ("\\\u{0}\t\n", "/%5C%00%09%0A"),
            ("_", "/_"),
            ("_/get", "/_%2Fget"),
            ("...", "/..."),
            ("", "/?key="),
            (".", "/?key=."),
            ("..", "/?key=.."),
            ("ping", "/?key=ping"),
        ] {
            assert_eq!(path(base.item(key, &[])), expected, "{key:?}");
        }
        let more = [("expires", "0.5"), ("prefix", "p:&")];
        assert_eq!(
            path(base.item("..", &more)),
            "/?key=..&expires=0.5&prefix=p%3A%26"
        );
    }

    #[test]
    fn the_path_and_the_query_of_the_store_stay() {
        let base = base("//h/a%2Fb/c/", "tenant=%2f1&x&x=+");
        assert_eq!(
            path(base.item("k", &[("ttl", "false")])),
            "/a%2Fb/c/k?tenant=%2f1&x&x=+&ttl=false"
        );
        assert_eq!(path(base.root(&[])), "/a%2Fb/c/?tenant=%2f1&x&x=+");
        assert_eq!(
            path(base.service("get", &[])),
            "/a%2Fb/c/_/get?tenant=%2f1&x&x=+"
        );
    }

    #[test]
    fn what_is_no_url_of_a_store_is_a_usage_error() {
        for (location, query) in [
            ("h", ""),
            ("//", ""),
            ("//h:port", ""),
            ("//h", "expires=1"),
            ("//h", "a=1&%70refix=x"),
        ] {
            let error = Base::new("http", location, query).map(drop).unwrap_err();
            assert!(error.is_usage(), "{location} {query}");
        }
        let (_, user) = Base::new("http", "//me:p%40ss@h/", "").unwrap();
        let user = user.unwrap();
        assert_eq!(
            (&user.name[..], user.password.as_deref()),
            ("me", Some("p@ss"))
        );
    }
}
