//! Entries as lines of JSON: `{"key":…,"value":…,"expires":milliseconds or null}`.

use polystore_kv::{Entry, Expiry, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::input::is_too_large_a_number;
use crate::output::{compact, quote};

/// The line of an entry, with its newline.
pub(crate) fn line(key: &str, entry: &Entry) -> Vec<u8> {
    let mut line = Vec::with_capacity(entry.json().len() + key.len() + 50);
    line.extend_from_slice(b"{\"key\":");
    line.extend_from_slice(quote(key).as_bytes());
    line.extend_from_slice(b",\"value\":");
    line.extend_from_slice(&compact(entry.json().as_bytes()));
    line.extend_from_slice(b",\"expires\":");
    match entry.expiry().as_millis() {
        Some(millis) => line.extend_from_slice(millis.to_string().as_bytes()),
        None => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b"}\n");
    line
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow, default)]
    expires: Option<&'a RawValue>,
}

/// The entry of a line, or what is wrong with it, without what stands in it.
pub(crate) fn parse(line: &[u8]) -> Result<(String, Entry), String> {
    let line = std::str::from_utf8(line.trim_ascii()).map_err(|_| "it is not UTF-8")?;
    // serde would take an array for the fields in their order.
    if !line.starts_with('{') {
        return Err("it is not an object of key, value and expires".into());
    }
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| {
        if error.is_data() {
            without_position(&error.to_string())
        } else {
            format!("it is not JSON: {}", column_only(&error.to_string()))
        }
    })?;
    let key: String = serde_json::from_str(line.key.get()).map_err(|_| "the key is not a text")?;
    let value = line.value.get();
    if value == "null" {
        return Err("the value is null, which no store keeps".into());
    }
    if is_too_large_a_number(value) {
        return Err("the value has a number beyond what programs can read (1.8e308)".into());
    }
    let expiry = match line.expires.map(RawValue::get) {
        None | Some("null") => Expiry::Never,
        Some(number) => {
            let millis: f64 = serde_json::from_str(number)
                .map_err(|_| "expires is neither milliseconds since 1970 nor null")?;
            Expiry::At(Timestamp::from_fractional_millis(millis))
        }
    };
    let entry = Entry::from_json(value.to_owned(), expiry).map_err(|error| error.to_string())?;
    Ok((key, entry))
}

/// What serde says of fields (missing, unknown, twice) names only them.
fn without_position(message: &str) -> String {
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

/// The line is ours to say: for serde it is always the first.
fn column_only(message: &str) -> String {
    message.replace(" at line 1 column ", " at column ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for (key, json, expiry) in [
            ("", "18446744073709551615", Expiry::Never),
            ("a\n\"b\"\u{0}é😀", r#""\ud83d\ude00\n""#, Expiry::Never),
            (
                "x",
                r#"{"a":[1.50,-0,1e300]}"#,
                Expiry::At(Timestamp::from_millis(9_000_000_000_001)),
            ),
        ] {
            let entry = Entry::from_json(json, expiry).expect(json);
            let text = line(key, &entry);
            assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
            let (again, same) = parse(&text).expect(json);
            assert_eq!((again.as_str(), same), (key, entry));
        }
    }

    #[test]
    fn expires_may_be_left_out_or_have_a_fraction() {
        let expiry = |line: &str| parse(line.as_bytes()).expect(line).1.expiry();
        assert_eq!(expiry(r#" {"value":1,"key":"a"} "#), Expiry::Never);
        assert_eq!(
            expiry(r#"{"key":"a","value":1,"expires":1e3}"#),
            Expiry::At(Timestamp::from_millis(1000))
        );
        assert_eq!(
            expiry(r#"{"key":"a","value":1,"expires":0.25}"#),
            Expiry::At(Timestamp::from_millis(1))
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_what_stands_there() {
        for (line, expected) in [
            (&br#""hunter2""#[..], "not an object"),
            (br#"["hunter2","hunter2"]"#, "not an object"),
            (br#"{"key":"hunter2""#, "not JSON: EOF while parsing"),
            (br#"{"key":"hunter2"}"#, "missing field `value`"),
            (br#"{"value":"hunter2"}"#, "missing field `key`"),
            (br#"{"key":5,"value":"hunter2"}"#, "key is not a text"),
            (br#"{"key":"a","value":null}"#, "value is null"),
            (br#"{"key":"a","value":1e400}"#, "number beyond"),
            (
                br#"{"key":"a","value":1,"expires":"hunter2"}"#,
                "expires is neither",
            ),
            (
                br#"{"key":"a","value":1,"expires":1e999}"#,
                "expires is neither",
            ),
            (
                br#"{"key":"a","value":1,"expire":1}"#,
                "unknown field `expire`",
            ),
            (
                br#"{"key":"a","value":"hunter2","value":2}"#,
                "duplicate field `value`",
            ),
            (
                br#"{"key":"a","value":1} {"#,
                "not JSON: trailing characters",
            ),
            (b"{\"key\":\"a\",\"value\":\"\xff\"}", "not UTF-8"),
        ] {
            let wrong = parse(line).expect_err("it is wrong");
            assert!(wrong.contains(expected), "{wrong}");
            assert!(!wrong.contains("hunter2"), "{wrong}");
        }
    }
}
