//! What is kept: the format of `docs/http-cache.md`.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::DATE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MOST_HEADERS: usize = 1000;

/// What is under the key of a URL or of one of its variants. The number is the version of the format: of
/// another one nothing is read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Record {
    #[serde(rename = "reply/1")]
    Reply(Stored),
    #[serde(rename = "variants/1")]
    Variants(Variants),
}

/// A reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// When its age was nothing, in milliseconds since 1970: `Age` and the way to here count.
    born: u64,
    /// At what age it is stale, in seconds, in place of what the origin said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lifetime: Option<u64>,
    /// The request said who asks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) authorized: bool,
    /// Of the variants of its URL that it is one of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) generation: String,
    #[serde(with = "status")]
    pub(crate) status: StatusCode,
    #[serde(with = "version")]
    pub(crate) http: Version,
    #[serde(with = "headers")]
    pub(crate) headers: HeaderMap,
    #[serde(with = "body")]
    pub(crate) body: Bytes,
}

/// That a URL has several replies, each under a key of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Variants {
    /// Random: once this record is gone, the variants are void.
    pub(crate) generation: String,
    /// The headers of a request that say which one is meant.
    pub(crate) vary: Vec<String>,
    /// How long this record is kept at least, in milliseconds since 1970.
    pub(crate) until: u64,
}

/// What a reply is but for its headers and its body.
pub(crate) struct Head {
    pub(crate) born: SystemTime,
    pub(crate) lifetime: Option<u64>,
    pub(crate) authorized: bool,
    pub(crate) status: StatusCode,
    pub(crate) http: Version,
}

impl Stored {
    pub(crate) fn new(head: &Head, headers: HeaderMap, body: Bytes) -> Self {
        Self {
            born: millis(head.born),
            lifetime: head.lifetime,
            authorized: head.authorized,
            generation: String::new(),
            status: head.status,
            http: head.http,
            headers,
            body,
        }
    }

    pub(crate) fn born(&self) -> SystemTime {
        UNIX_EPOCH
            .checked_add(Duration::from_millis(self.born))
            .unwrap_or(UNIX_EPOCH)
    }

    /// When the origin made it.
    pub(crate) fn date(&self) -> SystemTime {
        let date = self.headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        date.unwrap_or_else(|| self.born())
    }

    /// The same reply, confirmed.
    pub(crate) fn confirm(&mut self, born: SystemTime, headers: HeaderMap) {
        self.born = millis(born);
        self.headers = headers;
    }
}

pub(crate) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A number.
mod status {
    use super::*;

    pub(super) fn serialize<S: Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u16(status.as_u16())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StatusCode, D::Error> {
        StatusCode::from_u16(u16::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// `"1.1"`.
mod version {
    use super::*;

    const KNOWN: [(&str, Version); 5] = [
        ("0.9", Version::HTTP_09),
        ("1.0", Version::HTTP_10),
        ("1.1", Version::HTTP_11),
        ("2", Version::HTTP_2),
        ("3", Version::HTTP_3),
    ];

    pub(super) fn serialize<S: Serializer>(version: &Version, to: S) -> Result<S::Ok, S::Error> {
        let found = KNOWN.iter().find(|(_, known)| known == version);
        to.serialize_str(found.map_or("1.1", |(name, _)| *name))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Version, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Version;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version of HTTP")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Version, E> {
                let found = KNOWN.iter().find(|(known, _)| *known == name);
                found
                    .map(|(_, version)| *version)
                    .ok_or_else(|| E::custom("an unknown version of HTTP"))
            }
        }
        from.deserialize_str(Name)
    }
}

/// Pairs of texts. A value's bytes are characters U+0000 to U+00FF (ISO 8859-1), so that all of them survive.
mod headers {
    use super::*;

    struct Pair<'a>(&'a HeaderName, &'a HeaderValue);

    impl Serialize for Pair<'_> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            match self.1.to_str() {
                Ok(text) => (self.0.as_str(), text).serialize(to),
                Err(_) => {
                    let text: String = self.1.as_bytes().iter().copied().map(char::from).collect();
                    (self.0.as_str(), text).serialize(to)
                }
            }
        }
    }

    pub(super) fn serialize<S: Serializer>(headers: &HeaderMap, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(headers.iter().map(|(name, value)| Pair(name, value)))
    }

    struct Name(HeaderName);

    impl<'de> Deserialize<'de> for Name {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Text;
            impl Visitor<'_> for Text {
                type Value = Name;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("the name of a header")
                }
                fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name, E> {
                    name.parse()
                        .map(Name)
                        .map_err(|_| E::custom("no name of a header"))
                }
            }
            from.deserialize_str(Text)
        }
    }

    struct Value(HeaderValue);

    impl<'de> Deserialize<'de> for Value {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Text;
            impl Visitor<'_> for Text {
                type Value = Value;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("the value of a header")
                }
                fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
                    let value = if text.is_ascii() {
                        HeaderValue::from_str(text).ok()
                    } else {
                        let bytes: Option<Vec<u8>> =
                            text.chars().map(|char| u8::try_from(char).ok()).collect();
                        bytes.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok())
                    };
                    value
                        .map(Value)
                        .ok_or_else(|| E::custom("no value of a header"))
                }
            }
            from.deserialize_str(Text)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderMap, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = HeaderMap;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("headers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<HeaderMap, A::Error> {
                // Most replies have about a dozen; the cache adds two.
                let mut headers = HeaderMap::with_capacity(16);
                while let Some((Name(name), Value(value))) = pairs.next_element()? {
                    // The map of them has an end, and panics there; no reply comes near.
                    if headers.len() == MOST_HEADERS {
                        return Err(A::Error::custom("too many headers"));
                    }
                    headers.try_append(name, value).map_err(A::Error::custom)?;
                }
                Ok(headers)
            }
        }
        from.deserialize_seq(Pairs)
    }
}

/// Base64 with padding (RFC 4648, section 4).
mod body {
    use super::*;

    pub(super) fn serialize<S: Serializer>(body: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(body))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }
            // The text is read where it is: it is not copied before it is decoded.
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
                STANDARD.decode(text).map(Bytes::from).map_err(E::custom)
            }
        }
        from.deserialize_str(Text)
    }
}
