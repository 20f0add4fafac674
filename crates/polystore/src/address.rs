//! Where a store is, as its URL says.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::error::{Error, ErrorKind, Result};
use crate::expires::Expires;

/// A URL in its parts. Not what RFC 3986 makes of one: `sqlite:app.db` and
/// `file:cache.json` are relative paths here.
pub(crate) struct Address {
    scheme: String,
    location: String,
    path: Option<PathBuf>,
    options: Vec<(String, String)>,
    /// What of the query is not for us, as it is written.
    kept_query: String,
}

/// Before the names of our options in a URL whose query is somebody else's.
const OWN: &str = "polystore.";

/// What it holds may be secret.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let (scheme, rest) = url
            .split_once(':')
            .filter(|(scheme, _)| is_scheme(scheme))
            .ok_or_else(|| {
                invalid(
                    "a store's URL begins with its kind, such as memory:, file:cache.json \
                     or sqlite:app.db; a bare path is one only as a Path of Rust",
                )
            })?;
        if rest.contains('#') {
            return Err(invalid("a store's URL has no #fragment: write # as %23"));
        }
        let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
        let scheme = scheme.to_ascii_lowercase();
        let is_shared = matches!(&scheme[..], "http" | "https");
        let mut options: Vec<(String, String)> = Vec::new();
        let mut kept: Vec<&str> = Vec::new();
        for pair in query.split('&') {
            let Some((name, value)) = form_urlencoded::parse(pair.as_bytes()).next() else {
                continue;
            };
            if is_shared && !name.starts_with(OWN) {
                kept.push(pair);
                continue;
            }
            if options.iter().any(|(given, _)| *given == name) {
                return Err(invalid(format!("the option {name:?} is given twice")));
            }
            options.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self {
            scheme,
            location: location.to_owned(),
            path: None,
            options,
            kept_query: kept.join("&"),
        })
    }

    pub(crate) fn of_path(path: &Path) -> Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(invalid("the path of the store is empty"));
        }
        Ok(Self {
            scheme: "file".to_owned(),
            location: String::new(),
            path: Some(path.to_owned()),
            options: Vec::new(),
            kept_query: String::new(),
        })
    }

    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What stands between the scheme and the options, as it is written.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// What stands behind the `?` of an `http:` URL and is not for us, byte for byte.
    pub(crate) fn kept_query(&self) -> &str {
        &self.kept_query
    }

    /// The file or folder, decoded.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.path {
            return Ok(path.clone());
        }
        let scheme = &self.scheme;
        let written = match self.location.strip_prefix("//") {
            None => &self.location[..],
            Some(rest) => match rest.find('/') {
                Some(at) if matches!(&rest[..at], "" | "localhost") => &rest[at..],
                _ => {
                    return Err(invalid(format!(
                        "{scheme}://NAME names a host: write {scheme}:NAME for a relative \
                         path and {scheme}:///PATH for an absolute one"
                    )));
                }
            },
        };
        let decoded: Vec<u8> = percent_decode_str(written).collect();
        if decoded.is_empty() {
            return Err(invalid(format!("{scheme}: needs a path")));
        }
        if decoded.contains(&0) {
            return Err(invalid("a path cannot have a NUL character"));
        }
        let path = os_string(decoded)?;
        Ok(PathBuf::from(path))
    }

    /// The value of the option `name`; each store asks for those that it knows.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.options.iter().position(|(given, _)| given == name)?;
        Some(self.options.swap_remove(at).1)
    }

    /// The option `timeout`: how long an operation may wait.
    pub(crate) fn take_timeout(&mut self, default: Duration) -> Result<Duration> {
        self.take_duration("timeout", default)
    }

    /// An option that is a time above zero.
    pub(crate) fn take_duration(&mut self, name: &str, default: Duration) -> Result<Duration> {
        let Some(words) = self.take(name) else {
            return Ok(default);
        };
        let timeout: Option<Expires> = words.parse().ok();
        timeout
            .and_then(Expires::as_duration)
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| {
                invalid(format!(
                    "the option {name} is a time above zero, such as 5s"
                ))
            })
    }

    /// The option `sync`: what a write waits for.
    pub(crate) fn take_durability(&mut self) -> Result<Durability> {
        match self.take("sync").as_deref() {
            None | Some("full") => Ok(Durability::Full),
            Some("normal") => Ok(Durability::Normal),
            Some(_) => Err(invalid("the option sync is full or normal")),
        }
    }

    /// An option that is a whole number above zero.
    pub(crate) fn take_count(&mut self, name: &str) -> Result<Option<usize>> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        match text.replace('_', "").parse() {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => Err(invalid(format!(
                "the option {name} is a whole number above zero"
            ))),
        }
    }

    /// An option that is a number of bytes: `64MB`, `64MiB`, `65536`.
    pub(crate) fn take_bytes(&mut self, name: &str) -> Result<Option<usize>> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        let text = text.trim().replace('_', "");
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit: Option<usize> = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => Some(1),
            "kb" => Some(1000),
            "mb" => Some(1_000_000),
            "gb" => Some(1_000_000_000),
            "kib" => Some(1 << 10),
            "mib" => Some(1 << 20),
            "gib" => Some(1 << 30),
            _ => None,
        };
        let bytes = number
            .parse()
            .ok()
            .zip(unit)
            .and_then(|(n, unit)| unit.checked_mul(n));
        match bytes {
            Some(bytes) if bytes > 0 => Ok(Some(bytes)),
            _ => Err(invalid(format!(
                "the option {name} is a number of bytes, such as 65536, 64MB or 64MiB"
            ))),
        }
    }

    /// An option that is on or off; `?name` alone is on.
    pub(crate) fn take_flag(&mut self, name: &str) -> Result<bool> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(_) => Err(invalid(format!("the option {name} is true or false"))),
        }
    }

    /// Fails if an option is left that no one has taken.
    pub(crate) fn finish(self, known: &[&str]) -> Result<()> {
        let Some((name, _)) = self.options.first() else {
            return Ok(());
        };
        // What is no name may be anything, a password too.
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let shown = name.split(|c| !is_name(c)).next().unwrap_or_default();
        let known = match known {
            [] => "none".to_owned(),
            known => known.join(", "),
        };
        Err(invalid(format!(
            "there is no option {shown:?} in this URL; it knows only: {known}"
        )))
    }
}

/// What a write has waited for when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The disk: it survives power loss.
    Full,
    /// The operating system: it survives the death of the process.
    Normal,
}

pub(crate) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOption, message)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn os_string(bytes: Vec<u8>) -> Result<OsString> {
    Ok(std::os::unix::ffi::OsStringExt::from_vec(bytes))
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> Result<OsString> {
    let text = String::from_utf8(bytes).map_err(|_| invalid("the path is not UTF-8"))?;
    // file:///C:/dir: the drive comes after the slash.
    let drive = text
        .strip_prefix('/')
        .filter(|rest| rest.get(1..2) == Some(":"));
    Ok(OsString::from(drive.unwrap_or(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(url: &str) -> PathBuf {
        Address::parse(url).unwrap().path().unwrap()
    }

    #[test]
    fn paths_are_relative_absolute_and_decoded() {
        assert_eq!(path("file:cache.json"), Path::new("cache.json"));
        assert_eq!(path("file:./a/b.json"), Path::new("./a/b.json"));
        assert_eq!(path("file:/abs/dir/"), Path::new("/abs/dir/"));
        assert_eq!(path("FILE:///abs/dir/"), Path::new("/abs/dir/"));
        assert_eq!(path("file://localhost/abs.json"), Path::new("/abs.json"));
        assert_eq!(path("sqlite:my%20app%3F.db"), Path::new("my app?.db"));
        assert_eq!(path("sqlite:my app.db?table=a"), Path::new("my app.db"));
        assert_eq!(path("file:100%.json"), Path::new("100%.json"));
    }

    #[test]
    fn what_is_no_address_is_a_usage_error_that_hides_the_rest() {
        for url in [
            "",
            "cache.json",
            ":memory:",
            "/abs/secret.json",
            "fi le:secret",
            "file:a#secret",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(error.is_usage(), "{url}");
            assert!(!format!("{error:?}").contains("secret"), "{url}: {error:?}");
        }
        for url in [
            "file:",
            "file://",
            "file://secret/a.json",
            "file://secret",
            "file:a%00b.json",
        ] {
            let error = Address::parse(url).unwrap().path().unwrap_err();
            assert!(error.is_usage(), "{url}");
            assert!(!format!("{error:?}").contains("secret"), "{url}: {error:?}");
        }
    }

    #[test]
    fn a_query_that_is_not_ours_stays_as_it_is() {
        let mut address =
            Address::parse("HTTPS://x/y?a=%2f+1&&polystore.timeout=5s&a=2&=&flag").unwrap();
        assert_eq!(address.kept_query(), "a=%2f+1&a=2&=&flag");
        assert_eq!(address.take("polystore.timeout").as_deref(), Some("5s"));
        address.finish(&[]).unwrap();
        let address = Address::parse("http://x?polystore.nothing=1").unwrap();
        assert!(address.finish(&[]).unwrap_err().is_usage());
    }

    #[test]
    fn options_are_checked() {
        let mut address =
            Address::parse("x:?timeout=5s&max_entries=1_000&max_bytes=2KiB&sync=normal").unwrap();
        assert_eq!(
            address.take_timeout(Duration::ZERO).unwrap(),
            Duration::from_secs(5)
        );
        assert_eq!(address.take_count("max_entries").unwrap(), Some(1000));
        assert_eq!(address.take_bytes("max_bytes").unwrap(), Some(2048));
        assert_eq!(address.take_durability().unwrap(), Durability::Normal);
        address.finish(&[]).unwrap();

        for query in ["timeout=never", "timeout=0", "timeout=soon", "timeout="] {
            let mut address = Address::parse(&format!("x:?{query}")).unwrap();
            assert!(
                address.take_timeout(Duration::ZERO).unwrap_err().is_usage(),
                "{query}"
            );
        }
        for query in [
            "n=0",
            "n=-1",
            "n=x",
            "n=",
            "n=99999999999999999999",
            "n=1ZB",
        ] {
            let address = || Address::parse(&format!("x:?{query}")).unwrap();
            assert!(address().take_count("n").unwrap_err().is_usage(), "{query}");
            assert!(address().take_bytes("n").unwrap_err().is_usage(), "{query}");
        }
        assert!(Address::parse("x:?a=1&a=2").unwrap_err().is_usage());
        assert!(
            Address::parse("http://x?polystore.a=1&polystore%2Ea=2")
                .unwrap_err()
                .is_usage()
        );
        let error = Address::parse("x:?speed=1")
            .unwrap()
            .finish(&["table"])
            .unwrap_err();
        assert!(error.to_string().contains("table"), "{error}");
    }
}
