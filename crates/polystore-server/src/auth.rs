//! Who may do what.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, StatusCode};
use polystore_kv::{Error, ErrorKind, Result};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::problem::{Outcome, Problem};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What is shorter can be guessed.
const LEAST: usize = 16;
const MOST: usize = 256;

/// The tokens that a server takes: each may read, or read and write, all keys or those that begin
/// with a prefix.
///
/// They are written a line each, `TOKEN read-only|read-write [PREFIX]`; what stands after the second
/// word to the end of the line is the prefix. Empty lines, and those that begin with `#`, say nothing.
/// A token has 16 to 256 visible ASCII characters. Only its SHA-256 is kept, and is compared in
/// constant time.
///
/// ```
/// use polystore_server::Tokens;
///
/// let tokens: Tokens = "# the shop\nr-8Zb1lWq93kTnVd read-write shop:\n".parse()?;
/// let error = "a read-write".parse::<Tokens>().unwrap_err();
/// assert!(error.message().contains("line 1"));
/// # Ok::<(), polystore_kv::Error>(())
/// ```
#[derive(Clone)]
pub struct Tokens {
    grants: Arc<RwLock<Arc<[Grant]>>>,
}

impl Tokens {
    /// Takes what `newer` has from now on, here and in every clone, so also in a server that runs.
    pub fn replace(&self, newer: &Self) {
        let grants = newer.grants();
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = grants;
    }

    fn grants(&self) -> Arc<[Grant]> {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&grants)
    }

    /// What a token may do. All are compared, so that the time taken says nothing.
    pub(crate) fn find(&self, token: &[u8]) -> Option<Grant> {
        let digest = digest(token);
        let grants = self.grants();
        let mut found = 0_u32;
        for (place, grant) in (1..).zip(grants.iter()) {
            let is_it: Choice = grant.digest.ct_eq(&digest);
            found.conditional_assign(&place, is_it);
        }
        let place = usize::try_from(found).ok()?.checked_sub(1)?;
        grants.get(place).cloned()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("count", &self.grants().len())
            .finish_non_exhaustive()
    }
}

impl FromStr for Tokens {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut grants = Vec::new();
        let mut known = HashSet::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| {
                let message = format!("line {number} of the tokens: {what}");
                Error::new(ErrorKind::InvalidOption, message)
            };
            let grant = Grant::parse(line).map_err(|what| wrong(&what))?;
            if !known.insert(grant.digest) {
                return Err(wrong("the token stands there twice"));
            }
            grants.push(grant);
        }
        if grants.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                "there are no tokens: a line is TOKEN read-only|read-write [PREFIX]",
            ));
        }
        Ok(Self {
            grants: Arc::new(RwLock::new(grants.into())),
        })
    }
}

/// What one token may do.
#[derive(Clone)]
pub(crate) struct Grant {
    digest: [u8; 32],
    may_write: bool,
    prefix: Arc<str>,
}

impl Grant {
    fn parse(line: &str) -> std::result::Result<Self, String> {
        let (token, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim_start();
        let (right, prefix) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if token.len() < LEAST || token.len() > MOST {
            return Err(format!(
                "a token has {LEAST} to {MOST} characters, as `openssl rand -hex 16` makes them"
            ));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token has visible ASCII characters only".to_owned());
        }
        let may_write = match right {
            "read-write" => true,
            "read-only" => false,
            _ => return Err("after the token stands read-only or read-write".to_owned()),
        };
        Ok(Self {
            digest: digest(token.as_bytes()),
            may_write,
            prefix: prefix.trim_start().into(),
        })
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The token of a request, wherever it stands.
pub(crate) fn token<'r>(headers: &'r HeaderMap, in_path: Option<&'r str>) -> Option<&'r [u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme
            .eq_ignore_ascii_case(b"bearer ")
            .then(|| token.trim_ascii())
    });
    bearer
        .or_else(|| {
            headers
                .get(API_KEY)
                .map(|value| value.as_bytes().trim_ascii())
        })
        .or(in_path.map(str::as_bytes))
}

/// What a request may reach below the prefix that it names.
#[derive(Debug)]
pub(crate) struct Access {
    /// What each key has to begin with.
    start: String,
    /// How long it may be.
    most: usize,
}

impl Access {
    /// To keys of at most `most` bytes.
    pub(crate) fn to_all(most: usize) -> Self {
        Self {
            start: String::new(),
            most,
        }
    }

    /// The same for a token, and a request about what is below `prefix`.
    pub(crate) fn of(self, grant: &Grant, writes: bool, prefix: &str) -> Outcome<Self> {
        if writes && !grant.may_write {
            return Err(denied("this token may only read"));
        }
        let start = match grant.prefix.strip_prefix(prefix) {
            Some(start) => start.to_owned(),
            None if prefix.starts_with(&*grant.prefix) => String::new(),
            None => return Err(outside()),
        };
        Ok(Self { start, ..self })
    }

    /// Refuses a key of a body that is too long or that the token may not reach.
    pub(crate) fn check(&self, key: &str) -> Outcome<()> {
        if key.len() > self.most {
            return Err(Problem::bad_key(
                "a key in the body is longer than the server takes",
            ));
        }
        self.reach(key)
    }

    /// Refuses a key that the token may not reach.
    pub(crate) fn reach(&self, key: &str) -> Outcome<()> {
        match key.starts_with(&self.start) {
            true => Ok(()),
            false => Err(outside()),
        }
    }

    /// Refuses what is about every key of the prefix, unless all of them may be reached.
    pub(crate) fn check_all(&self) -> Outcome<()> {
        self.reach("")
    }
}

fn outside() -> Problem {
    denied(
        "this token is for keys that begin with another prefix: say it in ?prefix= or in the key",
    )
}

fn denied(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "denied", detail)
}

/// There is no token, or none that is known.
pub(crate) fn unknown() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "denied",
        "say a token that is known here, as authorization: Bearer TOKEN or x-api-key: TOKEN",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails where it panics")]
mod tests {
    use super::*;

    const LINES: &str = "
        # people
        0123456789abcdef read-only
        fedcba9876543210 read-write  a b:
    ";

    #[test]
    fn each_token_has_its_own_rights() {
        let tokens: Tokens = LINES.parse().unwrap();
        let reader = tokens.find(b"0123456789abcdef").unwrap();
        assert!(!reader.may_write && reader.prefix.is_empty());
        let writer = tokens.find(b"fedcba9876543210").unwrap();
        assert!(writer.may_write && &*writer.prefix == "a b:");
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789abcdeF",
        ] {
            assert!(tokens.find(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn nothing_shows_a_token() {
        let tokens: Tokens = LINES.parse().unwrap();
        let shown = format!("{tokens:?}");
        assert!(
            shown.contains("count: 2") && !shown.contains("0123"),
            "{shown}"
        );
        for wrong in [
            "",
            "# nothing",
            "s3cret read-only",
            "s3cret-s3cret-s3cret",
            "s3cret-s3cret-s3cret read",
            "s3cret-s3cret-sécret read-only",
            "s3cret-s3cret-s3cret read-only\ns3cret-s3cret-s3cret read-write",
        ] {
            let error = wrong.parse::<Tokens>().unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("s3cret"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_prefix_is_met_by_the_requests_and_the_keys_together() {
        let grant = Grant::parse("0123456789abcdef read-write app:").unwrap();
        for (prefix, key, may, may_all) in [
            ("", "app:x", true, false),
            ("", "app", false, false),
            ("ap", "p:x", true, false),
            ("ap", "x", false, false),
            ("app:", "", true, true),
            ("app:1:", "x", true, true),
        ] {
            let access = Access::to_all(9).of(&grant, true, prefix).unwrap();
            assert_eq!(access.check(key).is_ok(), may, "{prefix} {key}");
            assert_eq!(access.check_all().is_ok(), may_all, "{prefix} {key}");
        }
        for prefix in ["b", "apx", "App:"] {
            assert!(Access::to_all(9).of(&grant, true, prefix).is_err());
        }
        let access = Access::to_all(9).of(&grant, true, "").unwrap();
        assert!(access.check("app:12345").is_ok() && access.check("app:123456").is_err());
    }
}
