//! Where the reply to a request is kept.

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use sha2::{Digest, Sha256};

use crate::request::Asked;

/// The key of a URL: the SHA-256 of its normalised text without the fragment, in 64 hexadecimal digits.
///
/// So every key is short enough for every store, and what is secret in a URL is in no key, error or log.
///
/// A `host` that is not the URL's is a part of what is asked for (RFC 9110, section 7.1). What a private cache keeps for those
/// who say who they are (`by_name`) is apart from what it keeps for those who do not.
pub(crate) fn of_url(url: &Url, host: Option<&HeaderValue>, by_name: bool) -> String {
    let mut hash = Sha256::new();
    hash.update(without_fragment(url));
    if let Some(host) = host {
        // No URL has a line break.
        hash.update(b"\n");
        hash.update(host.as_bytes().to_ascii_lowercase());
    }
    if by_name {
        hash.update(b"\n\n");
    }
    hex(&hash.finalize())
}

/// The `Host` that a request names in place of its URL's.
pub(crate) fn own_host(url: &Url, asked: Asked<'_>) -> Option<HeaderValue> {
    let host = url.host_str().unwrap_or_default();
    let of_url = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let own = asked.all(HOST.as_str()).next();
    own.filter(|own| !own.as_bytes().eq_ignore_ascii_case(of_url.as_bytes()))
        .cloned()
}

/// The text of `url` up to its fragment, which no server sees.
pub(crate) fn without_fragment(url: &Url) -> &str {
    let text = url.as_str();
    // Anywhere else in a URL it is percent-encoded.
    text.split_once('#').map_or(text, |(before, _)| before)
}

/// The key of one of several replies of a URL: that of the URL, a dash, and the first 32 digits of the SHA-256
/// of it and of what `asked` says in the headers `names`. So a new one takes the place of one that is void.
pub(crate) fn of_variant(of_url: &str, names: &[String], asked: Asked<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(of_url);
    for name in names {
        hash.update([0]);
        hash.update(name);
        for value in asked.all(name) {
            // RFC 9111, section 4.1: white space and the division into lines make no difference, but in quotes.
            let is_quoted = value.as_bytes().contains(&b'"');
            for part in value.as_bytes().split(|byte| *byte == b',' && !is_quoted) {
                hash.update([1]);
                hash.update(part.trim_ascii());
            }
        }
    }
    format!("{of_url}-{}", hex(&hash.finalize()[..16]))
}

/// The names in `Vary`, in lower case and order, or `None` for `*` and for what is no name: no other request gets
/// that reply.
pub(crate) fn varies(reply: &HeaderMap) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for value in reply.get_all(http::header::VARY) {
        let value = String::from_utf8_lossy(value.as_bytes());
        let parts = value
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        names.extend(parts.map(str::to_ascii_lowercase));
    }
    names.sort_unstable();
    names.dedup();
    let is_name = |name: &String| name != "*" && name.parse::<HeaderName>().is_ok();
    names.iter().all(is_name).then_some(names)
}

/// What tells the variants of a URL that was forgotten and asked anew from those before.
pub(crate) fn generation() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(url: &str) -> String {
        of_url(&url.parse().unwrap(), None, false)
    }

    #[test]
    fn one_resource_has_one_key_and_another_has_another() {
        let plain = key("http://example.com/a?b=c");
        assert_eq!(plain.len(), 64);
        for same in [
            "HTTP://EXAMPLE.com:80/a?b=c",
            "http://example.com/x/../a?b=c#part",
        ] {
            assert_eq!(key(same), plain, "{same}");
        }
        for other in [
            "http://example.com/a?b=d",
            "http://example.com/A?b=c",
            "https://example.com/a?b=c",
            "http://example.com:81/a?b=c",
            "http://user@example.com/a?b=c",
        ] {
            assert_ne!(key(other), plain, "{other}");
        }
        let url = "http://example.com/a?b=c".parse().unwrap();
        let empty = HeaderValue::from_static("");
        let apart = [
            of_url(&url, None, true),
            of_url(&url, Some(&empty), false),
            of_url(&url, Some(&empty), true),
        ];
        for (at, key) in apart.iter().enumerate() {
            assert!(*key != plain && !apart[..at].contains(key), "{at}");
        }
        assert_eq!(
            key(&format!("http://example.com/{}", "a".repeat(100_000))).len(),
            64
        );
    }

    #[test]
    fn a_variant_is_what_the_request_says_and_not_how() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("accept", value.parse().unwrap());
            }
            let none = HeaderMap::new();
            let asked = Asked::new(&headers, &none);
            of_variant("url", &["accept".to_owned()], asked)
        };
        assert_eq!(of(&["a, b"]), of(&["a ,b"]));
        assert_eq!(of(&["a, b"]), of(&["a", "b"]));
        for other in [&[][..], &[""], &["b, a"], &["ab"]] {
            assert_ne!(of(&["a, b"]), of(other), "{other:?}");
        }
        assert_ne!(of(&[]), of(&[""]));
    }

    #[test]
    fn vary_is_a_set_of_names() {
        let mut headers = HeaderMap::new();
        headers.append("vary", "Accept-Language, ACCEPT".parse().unwrap());
        headers.append("vary", "accept".parse().unwrap());
        assert_eq!(
            varies(&headers),
            Some(vec!["accept".into(), "accept-language".into()])
        );
        headers.append("vary", "x, *".parse().unwrap());
        assert_eq!(varies(&headers), None);
    }
}
