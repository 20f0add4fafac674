//! Values as people and pipes give them.

use std::io::{self, Read};

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::args;
use crate::exit::Failure;

/// The value that `given` stands for. Its JSON text stays as it is written: numbers keep
/// their digits.
pub(crate) fn value(given: &args::Value) -> Result<Box<RawValue>, Failure> {
    if given.value != "-" {
        return parse(&given.value, given.text);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| {
        if error.kind() == io::ErrorKind::InvalidData {
            Failure::usage("the value on standard input is not UTF-8")
        } else {
            Failure::io("read standard input", &error)
        }
    })?;
    if given.text || is_json(&text) {
        return parse(&text, given.text);
    }
    // The newline that echo and editors add is not part of a text.
    let line = text.strip_suffix('\n').unwrap_or(&text);
    parse(line.strip_suffix('\r').unwrap_or(line), true)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

fn parse(text: &str, as_text: bool) -> Result<Box<RawValue>, Failure> {
    if as_text || !is_json(text) {
        return to_raw_value(text).map_err(|error| Failure::usage(error.to_string()));
    }
    if is_too_large_a_number(text) {
        return Err(Failure::usage(
            "the value has a number beyond what programs can read (1.8e308); --text keeps \
             it as text",
        ));
    }
    serde_json::from_str(text).map_err(|error| Failure::usage(error.to_string()))
}

/// Whether JSON has a number that no program reads back: it is JSON by its grammar, but
/// a listing of decoded values fails at it.
pub(crate) fn is_too_large_a_number(json: &str) -> bool {
    serde_json::from_str::<Value>(json)
        .is_err_and(|error| error.to_string().starts_with("number out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        parse(text, false).expect(text).get().to_owned()
    }

    #[test]
    fn what_is_json_stays_as_written_and_the_rest_is_text() {
        for json in [
            "5",
            "-0.10",
            "18446744073709551616",
            "1e3",
            "true",
            "null",
            "\"a\"",
            "{\"b\": [1,  2]}",
        ] {
            assert_eq!(parsed(json), json);
        }
        assert_eq!(parsed(" [1]\n"), "[1]");
        for text in ["", "hello", "007", "NaN", "{", "1,5", "'a'", "True", "5 6"] {
            assert_eq!(parsed(text), serde_json::to_string(text).expect("text"));
        }
        assert_eq!(parse("5", true).expect("text").get(), "\"5\"");
    }

    #[test]
    fn a_number_that_nothing_can_read_back_is_refused() {
        assert!(parse("1e400", false).is_err());
        assert!(parse("[{\"a\":-1e309}]", false).is_err());
        assert_eq!(parse("1e400", true).expect("text").get(), "\"1e400\"");
        assert_eq!(parsed("1e308"), "1e308");
    }
}
