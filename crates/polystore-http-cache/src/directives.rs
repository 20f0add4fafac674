//! `Cache-Control`, of a request or of a reply.

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};

/// More seconds than this are this many (RFC 9111, section 1.2.2).
pub(crate) const MOST_SECONDS: u64 = 1 << 31;

/// The directives with their arguments, names in lower case, of each the first.
#[derive(Debug)]
pub(crate) struct Directives(Vec<(String, Option<String>)>);

impl Directives {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self(Vec::new());
        for value in headers.get_all(CACHE_CONTROL) {
            all.read(&String::from_utf8_lossy(value.as_bytes()));
        }
        all
    }

    fn read(&mut self, mut value: &str) {
        while !value.is_empty() {
            let (part, rest) = value.split_at(end_of_first(value));
            value = rest.strip_prefix(',').unwrap_or_default();
            let (name, argument) = match part.split_once('=') {
                Some((name, argument)) => (name, Some(argument.trim().trim_matches('"'))),
                None => (part, None),
            };
            let name = name.trim().to_ascii_lowercase();
            if !name.is_empty() && !self.has(&name) {
                self.0.push((name, argument.map(str::to_owned)));
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.argument(name).is_some()
    }

    fn argument(&self, name: &str) -> Option<Option<&str>> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, argument)| argument.as_deref())
    }

    /// The argument as a number of seconds, if it is one.
    pub(crate) fn seconds(&self, name: &str) -> Option<u64> {
        delta_seconds(self.argument(name)??)
    }

    /// Those of `names` that are there, as http-cache-semantics reads them. Where seconds are due and are not
    /// there, they are none: what has such a lifetime is stale (RFC 9111, section 4.2.1).
    pub(crate) fn only(&self, names: &[&str]) -> String {
        let mut text = String::new();
        for name in names {
            if !self.has(name) {
                continue;
            }
            let seconds = match *name {
                "max-age" | "s-maxage" => Some(self.seconds(name).unwrap_or_default()),
                "min-fresh" | "max-stale" => self.seconds(name),
                _ => None,
            };
            match (*name, seconds) {
                // The one whose argument may be missing: any time. One that means nothing asks for nothing.
                ("max-stale", None) if self.argument(name) != Some(None) => continue,
                ("min-fresh", None) => continue,
                _ => {}
            }
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(name);
            if let Some(seconds) = seconds {
                text.push('=');
                text.push_str(&seconds.to_string());
            }
        }
        text
    }
}

/// Where the first directive ends: at a comma that is in no quotes. A quotation begins an argument and has an end, or is
/// none: it must not hide a `no-store` behind it.
fn end_of_first(value: &str) -> usize {
    let bytes = value.as_bytes();
    let (mut at, mut before) = (0, b',');
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b',' => return at,
            b'"' if before == b'=' => at += quoted(&bytes[at + 1..]).unwrap_or(0),
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            before = byte;
        }
        at += 1;
    }
    at
}

/// How long the rest of a quotation is with the quote at its end, if there is one (RFC 9110, section 5.6.4).
fn quoted(rest: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    let end = rest.iter().position(|&byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map(|end| end + 1)
}

/// A number of seconds, at most [`MOST_SECONDS`], if it is digits and nothing else (RFC 9111, section 1.2.2).
pub(crate) fn delta_seconds(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(
        digits
            .parse()
            .map_or(MOST_SECONDS, |it: u64| it.min(MOST_SECONDS)),
    )
}

/// A header's value of what is known to be one.
pub(crate) fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, value.parse().unwrap());
        }
        Directives::of(&headers)
    }

    #[test]
    fn names_are_without_case_and_arguments_without_quotes() {
        let all = of(&[
            "Max-Age=\"10\" , private=\"a, no-store\"",
            "PUBLIC,,s-maxage = 5",
        ]);
        assert_eq!(all.seconds("max-age"), Some(10));
        assert_eq!(all.seconds("s-maxage"), Some(5));
        assert!(all.has("private") && all.has("public") && !all.has("no-store"));
    }

    #[test]
    fn what_is_no_number_of_seconds_is_none() {
        let nothing = [
            "max-age",
            "max-age=",
            "max-age=1.5",
            "max-age=-1",
            "max-age=+1",
            "max-age=a",
        ];
        for value in nothing {
            assert_eq!(of(&[value]).seconds("max-age"), None, "{value}");
            assert_eq!(of(&[value]).only(&["max-age"]), "max-age=0", "{value}");
        }
        let long = of(&["max-age=99999999999999999999999"]);
        assert_eq!(long.seconds("max-age"), Some(MOST_SECONDS));
        assert_eq!(of(&["max-age=1, max-age=2"]).seconds("max-age"), Some(1));
    }

    #[test]
    fn a_stale_reply_is_wanted_at_any_age_only_if_that_is_said() {
        let names = &["max-stale", "min-fresh"];
        assert_eq!(of(&["max-stale"]).only(names), "max-stale");
        assert_eq!(
            of(&["max-stale=5, min-fresh=1"]).only(names),
            "max-stale=5, min-fresh=1"
        );
        assert_eq!(of(&["max-stale=soon, min-fresh=a"]).only(names), "");
    }
}
