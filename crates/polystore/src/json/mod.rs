//! Values to JSON text and back, strictly.
//!
//! `serde_json` writes NaN and the infinities as `null`, which here would delete, and
//! writes structures deeper than it reads. Both are refused when writing.

mod finite;
#[cfg(any(test, all(feature = "local_forage", target_family = "wasm")))]
pub(crate) mod javascript;

use std::any::type_name;
use std::cell::Cell;
use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::ser::Formatter;
use serde_json::value::RawValue;

use self::finite::{FiniteOnly, NotFinite};
use crate::error::{Error, ErrorKind, Result};

/// The nesting that `serde_json` reads back: one level more is an error there.
pub(crate) const MAX_DEPTH: usize = 127;

/// A buffer that grew larger than this is not kept.
const KEPT_BUFFER: usize = 64 * 1024;

thread_local! {
    /// Encoding needs room that it does not know beforehand; the text then gets exactly its own.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The JSON text of `value`.
///
/// # Errors
/// [`ErrorKind::Encode`] for NaN and infinities, for a map whose keys have no text
/// form, for nesting beyond [`MAX_DEPTH`], and when the type's own `Serialize` fails.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Arc<str>> {
    let mut buffer = BUFFER.take();
    buffer.clear();
    let text = encode_into(&mut buffer, value).map(Arc::from);
    if buffer.capacity() <= KEPT_BUFFER {
        BUFFER.set(buffer);
    }
    text
}

fn encode_into<'b, T: Serialize + ?Sized>(buffer: &'b mut Vec<u8>, value: &T) -> Result<&'b str> {
    let has_null = Cell::new(false);
    let formatter = Shallow {
        depth: 0,
        has_null: &has_null,
    };
    let mut serializer = serde_json::Serializer::with_formatter(&mut *buffer, formatter);
    value
        .serialize(&mut serializer)
        .map_err(|error| encode_error::<T>(&error))?;
    // Only a `null` can have been a number that JSON does not have.
    if has_null.get()
        && let Err(NotFinite::Number) = value.serialize(FiniteOnly)
    {
        return Err(Error::new(
            ErrorKind::Encode,
            "NaN and infinities have no JSON form: store them as text or leave them out",
        ));
    }
    std::str::from_utf8(buffer).map_err(|_| {
        Error::new(
            ErrorKind::Encode,
            format!("{} wrote JSON that is not UTF-8", type_name::<T>()),
        )
    })
}

/// The value that `text` stands for.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if it is not JSON, [`ErrorKind::Decode`] if it is not a `T`.
pub(crate) fn decode<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| decode_error::<T>(text, &error))
}

/// The one JSON value in `text`, without the white space around it.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if there is anything else.
pub(crate) fn value_in(text: &[u8]) -> Result<&str> {
    serde_json::from_str::<&RawValue>(text_in(text)?)
        .map(RawValue::get)
        .map_err(|error| not_json(&error))
}

/// What is stored, as text.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if it is not UTF-8.
pub(crate) fn text_in(stored: &[u8]) -> Result<&str> {
    std::str::from_utf8(stored).map_err(|_| {
        Error::new(
            ErrorKind::Corrupt,
            "what is stored is not UTF-8, so it is not JSON",
        )
    })
}

/// The value that `text` begins with, and what comes after it; `None` if it does not begin with one.
pub(crate) fn value_before(text: &str) -> Option<(&RawValue, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = values.next()?.ok()?;
    Some((value, text.get(values.byte_offset()..)?))
}

fn encode_error<T: ?Sized>(error: &serde_json::Error) -> Error {
    let name = type_name::<T>();
    // A message of the type's own may quote the value; the others are fixed texts.
    match error.classify() {
        Category::Data => Error::new(ErrorKind::Encode, format!("{name} has no JSON form")),
        _ => Error::new(
            ErrorKind::Encode,
            format!("{name} has no JSON form: {error}"),
        ),
    }
}

fn decode_error<T>(text: &str, error: &serde_json::Error) -> Error {
    // What Rust's types cannot take (a lone surrogate, 1e999, deep nesting) serde_json
    // calls wrong syntax, though it is JSON.
    if error.classify() != Category::Data
        && let Err(not_json) = value_in(text.as_bytes())
    {
        return not_json;
    }
    let kind = kind_of(text);
    let mut message = format!("the stored {kind} is not a {}", type_name::<T>());
    let (line, column) = (error.line(), error.column());
    // serde's messages quote the value; of them all only this one cannot.
    if let Some(field) = missing_field(&error.to_string()) {
        message += &format!(" (field `{field}` is missing)");
    } else if column > 0 && matches!(kind, "object" | "array") {
        message += &format!(" (at line {line} column {column} of its JSON)");
    }
    Error::new(ErrorKind::Decode, message)
}

/// What sort of JSON value `text` is.
fn kind_of(text: &str) -> &'static str {
    match text.trim_start().bytes().next() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "text",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "number",
    }
}

fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}

/// The syntax messages of `serde_json` are fixed texts: they quote nothing.
pub(crate) fn not_json(error: &serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("what is stored is not JSON: {error}"),
    )
}

/// The JSON string of `text`.
pub(crate) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The JSON string of a text in WTF-8: UTF-8 with lone surrogates, as JavaScript has
/// them (Simon Sapin, "The WTF-8 encoding").
pub(crate) fn string_of_wtf8(mut text: &[u8]) -> String {
    let mut json = String::from('"');
    while !text.is_empty() {
        let valid = match std::str::from_utf8(text) {
            Ok(valid) => valid,
            Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
        };
        let quoted = string(valid);
        json.push_str(&quoted[1..quoted.len() - 1]);
        text = &text[valid.len()..];
        if let [first, second, third, ..] = *text {
            let bits = |byte: u8, mask: u8| u32::from(byte & mask);
            let code = bits(first, 0x0f) << 12 | bits(second, 0x3f) << 6 | bits(third, 0x3f);
            json.push_str(&format!("\\u{code:04x}"));
        }
        text = text.get(3..).unwrap_or_default();
    }
    json.push('"');
    json
}

/// Compact JSON that knows how deep it is, and whether it has a `null`.
struct Shallow<'a> {
    depth: usize,
    has_null: &'a Cell<bool>,
}

impl Shallow<'_> {
    #[inline]
    fn enter(&mut self) -> io::Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(io::Error::other(format!(
                "nested more than {MAX_DEPTH} levels deep"
            )));
        }
        Ok(())
    }
}

impl Formatter for Shallow<'_> {
    #[inline]
    fn write_null<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.has_null.set(true);
        writer.write_all(b"null")
    }

    #[inline]
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"[")
    }

    #[inline]
    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    #[inline]
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"{")
    }

    #[inline]
    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn write_raw_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let outside = self.depth;
        let mut in_string = false;
        let mut bytes = fragment.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => in_string = !in_string,
                b'\\' => drop(bytes.next()),
                b'[' | b'{' if !in_string => self.enter()?,
                b']' | b'}' if !in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        self.depth = outside;
        writer.write_all(fragment.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde::ser;
    use serde_json::{Value, json};

    use super::*;

    fn kind<T: Serialize + ?Sized>(value: &T) -> ErrorKind {
        encode(value).unwrap_err().kind()
    }

    #[test]
    fn numbers_without_a_json_form_are_refused_wherever_they_hide() {
        #[derive(Serialize)]
        enum Shape {
            Dot(f64),
            Line(f64, f32),
            Circle { radius: f64 },
        }
        #[derive(Serialize)]
        struct Wrapper(Option<Vec<BTreeMap<u8, f64>>>);

        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(kind(&number), ErrorKind::Encode);
            assert_eq!(kind(&Some(vec![(1, number)])), ErrorKind::Encode);
            assert_eq!(kind(&Shape::Dot(number)), ErrorKind::Encode);
            assert_eq!(kind(&Shape::Line(0.0, f32::NAN)), ErrorKind::Encode);
            assert_eq!(kind(&Shape::Circle { radius: number }), ErrorKind::Encode);
            let nested = Wrapper(Some(vec![BTreeMap::from([(1, number)])]));
            assert_eq!(kind(&nested), ErrorKind::Encode);
        }
        // A null of its own, or the word, is no such number.
        assert_eq!(
            &*encode(&json!([null, "null", 1.5])).unwrap(),
            r#"[null,"null",1.5]"#
        );
    }

    #[test]
    fn maps_need_keys_with_a_text_form() {
        assert_eq!(kind(&HashMap::from([((1, 2), 3)])), ErrorKind::Encode);
        assert_eq!(
            &*encode(&BTreeMap::from([(1, true)])).unwrap(),
            r#"{"1":true}"#
        );
    }

    #[test]
    fn what_is_written_can_be_read() {
        fn nested(depth: usize) -> Value {
            (0..depth).fold(json!(1), |inner, _| json!([inner]))
        }
        let deepest = encode(&nested(MAX_DEPTH)).unwrap();
        assert_eq!(decode::<Value>(&deepest).unwrap(), nested(MAX_DEPTH));
        assert_eq!(kind(&nested(MAX_DEPTH + 1)), ErrorKind::Encode);
        let raw = |text: String| RawValue::from_string(text).unwrap();
        assert!(encode(&raw(deepest.to_string())).is_ok());
        assert_eq!(kind(&[raw(deepest.to_string())]), ErrorKind::Encode);
        assert!(encode(&raw(r#""[[[\\\"[[[""#.to_owned())).is_ok());
    }

    #[test]
    fn no_message_quotes_the_value() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only its decoding is tested")]
        struct User {
            name: u64,
        }
        for text in [r#"{"name":"hunter2"}"#, r#""hunter2""#, r#"["hunter2"]"#] {
            let error = decode::<User>(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let error = decode::<User>("{}").unwrap_err();
        assert!(
            error.to_string().ends_with("(field `name` is missing)"),
            "{error}"
        );

        struct Secret;
        impl Serialize for Secret {
            fn serialize<S: ser::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(ser::Error::custom("hunter2"))
            }
        }
        assert!(!format!("{:?}", encode(&Secret).unwrap_err()).contains("hunter2"));
    }

    #[test]
    fn json_that_no_type_can_take_is_not_corrupt() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for text in [r#""\ud800""#, "1e999", &deep] {
            assert_eq!(
                decode::<Value>(text).unwrap_err().kind(),
                ErrorKind::Decode,
                "{text}"
            );
        }
    }

    #[test]
    fn text_that_is_not_json_is_corrupt() {
        for text in ["", "{", "hunter2", "[1,]", "1 2"] {
            assert_eq!(
                decode::<Value>(text).unwrap_err().kind(),
                ErrorKind::Corrupt
            );
            assert_eq!(
                value_in(text.as_bytes()).unwrap_err().kind(),
                ErrorKind::Corrupt
            );
        }
        assert_eq!(value_in(b"\xff").unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
