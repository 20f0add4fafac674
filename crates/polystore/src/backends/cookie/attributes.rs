//! What a cookie is written with beside its value, as the URL's options say.

use crate::address::{Address, invalid};
use crate::error::Result;

/// The attributes, as they stand behind a cookie: `; path=/; secure`.
#[derive(Debug)]
pub(super) struct Attributes {
    all: String,
    /// All but path and domain.
    other: String,
    pub(super) domain: Option<String>,
    pub(super) is_secure: bool,
}

/// The longest attribute that browsers look at.
const LONGEST: usize = 1024;

impl Attributes {
    pub(super) const NAMES: &[&str] = &["path", "domain", "samesite", "secure", "partitioned"];

    pub(super) fn take(address: &mut Address) -> Result<Self> {
        let path = address.take("path");
        // What separates attributes, and what ends a cookie, is no part of one.
        let is_plain = |c: char| c.is_ascii_graphic() && c != ';';
        let is_path = |path: &str| {
            path.starts_with('/') && path.len() <= LONGEST && path.chars().all(is_plain)
        };
        if path.as_deref().is_some_and(|path| !is_path(path)) {
            return Err(invalid(
                "the option path is where the cookies are sent, such as /app: it begins with a slash, and has no \
                 spaces, semicolons or characters beyond ASCII",
            ));
        }
        let domain = address.take("domain");
        let domain = domain.map(|domain| domain.trim_start_matches('.').to_ascii_lowercase());
        let is_domain = |domain: &str| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            !domain.is_empty() && domain.len() <= 253 && domain.chars().all(is_part)
        };
        if domain.as_deref().is_some_and(|domain| !is_domain(domain)) {
            return Err(invalid(
                "the option domain is a host's name, such as example.com",
            ));
        }
        let same_site = address.take("samesite");
        let same_site = same_site.map(|word| word.to_ascii_lowercase());
        if !matches!(same_site.as_deref(), None | Some("strict" | "lax" | "none")) {
            return Err(invalid("the option samesite is strict, lax or none"));
        }
        let is_secure = address.take_flag("secure")?;
        let is_partitioned = address.take_flag("partitioned")?;
        if !is_secure && (is_partitioned || same_site.as_deref() == Some("none")) {
            return Err(invalid(
                "the options samesite=none and partitioned need secure too",
            ));
        }
        let mut other = String::new();
        if let Some(word) = same_site {
            other += "; samesite=";
            other += &word;
        }
        if is_secure {
            other += "; secure";
        }
        if is_partitioned {
            other += "; partitioned";
        }
        let mut attributes = Self {
            all: String::new(),
            other,
            domain: None,
            is_secure,
        };
        attributes.all = attributes.at(path.as_deref(), domain.as_deref());
        attributes.domain = domain;
        Ok(attributes)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.all
    }

    /// The same with another path and domain.
    pub(super) fn at(&self, path: Option<&str>, domain: Option<&str>) -> String {
        let mut all = String::new();
        for (name, value) in [("; path=", path), ("; domain=", domain)] {
            if let Some(value) = value {
                all += name;
                all += value;
            }
        }
        all += &self.other;
        all
    }
}
