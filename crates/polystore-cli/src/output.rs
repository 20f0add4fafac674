//! What goes to standard output.

use std::borrow::Cow;
use std::fmt::Debug;
use std::io::{self, BufWriter, Write};

use serde_json::value::RawValue;

use crate::exit::Failure;

/// Standard output, in large pieces.
pub(crate) struct Output {
    to: BufWriter<Box<dyn Write + Send>>,
    pub(crate) json: bool,
}

impl Output {
    pub(crate) fn stdout(json: bool) -> Self {
        Self {
            json,
            ..Self::to(io::stdout())
        }
    }

    pub(crate) fn to(writer: impl Write + Send + 'static) -> Self {
        Self {
            to: BufWriter::with_capacity(1 << 16, Box::new(writer)),
            json: false,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.to.write_all(bytes).map_err(|error| failed(&error))
    }

    pub(crate) fn line(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write(bytes)?;
        self.write(b"\n")
    }

    /// A JSON text on a line of its own.
    pub(crate) fn json_line(&mut self, json: &[u8]) -> Result<(), Failure> {
        self.line(&compact(json))
    }

    /// A text: as it is, or as JSON.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        if self.json {
            self.line(quote(text).as_bytes())
        } else {
            self.line(text.as_bytes())
        }
    }

    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        self.to.flush().map_err(|error| failed(&error))
    }
}

impl Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::io("write the output", error)
}

/// A text in the form that JSON has for it.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// JSON without its whitespace, every other byte as it was: numbers keep their digits.
pub(crate) fn compact(json: &[u8]) -> Cow<'_, [u8]> {
    let mut in_string = false;
    let mut escaped = false;
    let mut is_space = |byte: u8| {
        if in_string {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            in_string = !closes;
            return false;
        }
        in_string = byte == b'"';
        matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
    };
    let Some(first) = json.iter().position(|byte| is_space(*byte)) else {
        return Cow::Borrowed(json);
    };
    let mut kept = Vec::with_capacity(json.len());
    kept.extend_from_slice(&json[..first]);
    kept.extend(json[first + 1..].iter().filter(|byte| !is_space(**byte)));
    Cow::Owned(kept)
}

/// The text that JSON stands for if it is one, else the JSON.
pub(crate) fn unquote(value: &RawValue) -> Cow<'_, [u8]> {
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) => Cow::Owned(text.into_bytes()),
        Err(_) => compact(value.get().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_json_keeps_all_but_whitespace() {
        for (json, expected) in [
            ("5", "5"),
            (" 1.50 ", "1.50"),
            (
                "{\n  \"a b\" : [ 1e2,\t0.10 ]\r\n}",
                r#"{"a b":[1e2,0.10]}"#,
            ),
            (r#"[ "\" , \\" , " x " ]"#, r#"["\" , \\"," x "]"#),
        ] {
            assert_eq!(&*compact(json.as_bytes()), expected.as_bytes(), "{json}");
        }
    }
}
