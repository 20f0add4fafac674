//! Bodies of requests, in bounded memory.

use std::fmt;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::{Outcome, Problem};

/// How many keys or entries a body may hold: a short one takes ten times the room of its text.
const MOST_ITEMS: usize = 100_000;
/// What the errors for more begin with. Those of serde, which may quote the body, begin with other words.
const TOO_MANY: &str = "too many items";

/// What a body is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Lines,
}

fn refused(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", detail)
}

/// Refuses a body that is compressed.
pub(crate) fn check_plain(headers: &HeaderMap) -> Outcome<()> {
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(refused(
            "a body is taken as it is, without content-encoding",
        )),
        _ => Ok(()),
    }
}

/// The form that a `POST` says its body is in. Without one a browser would send it for any page.
pub(crate) fn form(headers: &HeaderMap) -> Outcome<Form> {
    check_plain(headers)?;
    let value = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(Form::Json)
    } else if essence.eq_ignore_ascii_case("application/x-ndjson") {
        Ok(Form::Lines)
    } else {
        Err(refused(
            "say content-type: application/json (or application/x-ndjson where lines are read)",
        ))
    }
}

pub(crate) fn too_long(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "invalid_value",
        format!("a body, and a line of one that is in lines, has at most {most} bytes here"),
    )
}

pub(crate) fn cut_off() -> Problem {
    Problem::bad("the body was not sent to its end")
}

/// The whole body, of at most `most` bytes. One that says to be longer is not read.
pub(crate) async fn whole(body: Body, most: usize) -> Outcome<Bytes> {
    if body.size_hint().lower() > most as u64 {
        return Err(too_long(most));
    }
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_long(most)),
        Err(_) => Err(cut_off()),
    }
}

/// The whole body of a request that takes JSON only.
pub(crate) async fn json(headers: &HeaderMap, body: Body, most: usize) -> Outcome<Bytes> {
    match form(headers)? {
        Form::Json => whole(body, most).await,
        Form::Lines => Err(refused("say content-type: application/json")),
    }
}

/// What the body says is one JSON value.
pub(crate) fn value(body: &[u8]) -> Outcome<&RawValue> {
    serde_json::from_slice(body).map_err(|error| match body.trim_ascii() {
        [] => Problem::bad_value("the body is empty: a value is JSON"),
        _ => Problem::bad_value(format!("the body is not JSON: {error}")),
    })
}

/// The object that the body is.
pub(crate) fn object<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Outcome<T> {
    // serde would take an array for its fields in their order too.
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    match serde_json::from_slice(body) {
        Ok(parsed) if is_object => Ok(parsed),
        Ok(_) => Err(Problem::bad_value(format!("there is to be {what}"))),
        Err(error) if error.to_string().starts_with(TOO_MANY) => Err(Problem::bad_value(format!(
            "a body holds at most {MOST_ITEMS} keys or entries (lines have no such end)"
        ))),
        Err(error) => Err(Problem::bad_value(format!(
            "there is to be {what} (wrong at line {} column {})",
            error.line(),
            error.column()
        ))),
    }
}

/// What came in order, not more of it than there may be.
pub(crate) struct Items<T>(pub(crate) Vec<T>);

impl<T> Items<T> {
    fn push<E: serde::de::Error>(&mut self, item: T) -> Result<(), E> {
        if self.0.len() == MOST_ITEMS {
            return Err(E::custom(TOO_MANY));
        }
        self.0.push(item);
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Items<String> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Items<String>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("keys")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Items(Vec::new());
                while let Some(key) = seq.next_element()? {
                    items.push(key)?;
                }
                Ok(items)
            }
        }
        deserializer.deserialize_seq(Keys)
    }
}

/// The members of an object, also those that come twice.
impl<'de> Deserialize<'de> for Items<(String, &'de RawValue)> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Items<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut items = Items(Vec::new());
                while let Some(member) = map.next_entry()? {
                    items.push(member)?;
                }
                Ok(items)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// How long what is written stays, in a body: seconds or words.
pub(crate) struct Words(pub(crate) polystore_kv::Expires);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expires = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Number(seconds) => seconds.as_f64().map(TryFrom::try_from),
            serde_json::Value::String(words) => Some(words.parse()),
            _ => None,
        };
        match expires {
            Some(Ok(expires)) => Ok(Self(expires)),
            _ => Err(D::Error::custom("no expiry")),
        }
    }
}
