//! JSON text whose numbers JavaScript keeps.
//!
//! It has only doubles, and its `JSON.stringify` writes them in one way (ECMA-262, `Number::toString`): of
//! `18446744073709551615`, `1.0`, `-0` and `1e5` it makes other texts.

/// The digits that any double keeps.
const DIGITS: usize = 15;

/// Below a millionth, `Number::toString` writes an exponent.
const ZEROS: usize = 5;

/// Whether all numbers in the JSON text `json` are certain to be the same text after `JSON.parse` and
/// `JSON.stringify`. If not, they may be so all the same.
pub(crate) fn keeps_numbers(json: &str) -> bool {
    let mut rest = json.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match first {
            b'"' => after_string(after),
            b'-' | b'0'..=b'9' => {
                let is_part =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                let end = rest.iter().position(|byte| !is_part(byte));
                let (number, after) = rest.split_at(end.unwrap_or(rest.len()));
                if !is_kept(number) {
                    return false;
                }
                after
            }
            _ => after,
        };
    }
    true
}

/// What comes after a string, of which this is what comes after its first quote.
fn after_string(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [] => return rest,
            [b'"', after @ ..] => return after,
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
        };
    }
}

fn is_kept(number: &[u8]) -> bool {
    let magnitude = number.strip_prefix(b"-").unwrap_or(number);
    if magnitude == b"0" {
        return number == b"0";
    }
    let mut parts = magnitude.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let fraction = parts.next();
    let is_short = whole.len() + fraction.map_or(0, <[u8]>::len) <= DIGITS;
    let has_digits_only = whole
        .iter()
        .chain(fraction.unwrap_or_default())
        .all(u8::is_ascii_digit);
    let is_plain = fraction.is_none_or(|fraction| {
        let zeros = fraction.iter().take_while(|byte| **byte == b'0').count();
        fraction.last().is_some_and(|last| *last != b'0') && (whole != b"0" || zeros <= ZEROS)
    });
    is_short && has_digits_only && is_plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_doubles_write_as_it_was_is_kept() {
        for json in [
            "0",
            "-1",
            "999999999999999",
            "-999999999999999",
            "0.1",
            "-0.5",
            "0.000001",
            "1.25",
            "12345678.1234567",
            "[1,{\"a\":2.5}]",
            "\"-0.0 1e5 \\\" 18446744073709551615\"",
            "{\"1e5\":null,\"\\\\\":true}",
            "\"\\",
            "",
        ] {
            assert!(keeps_numbers(json), "{json}");
        }
    }

    #[test]
    fn what_they_may_write_otherwise_is_not() {
        for json in [
            "-0",
            "-0.0",
            "0.0",
            "1.0",
            "1.50",
            "1e5",
            "1E+5",
            "1e999",
            "18446744073709551615",
            "-9223372036854775808",
            "1000000000000000",
            "0.0000001",
            "0.30000000000000004",
            "[\"a\",{\"b\\\"\":-0}]",
        ] {
            assert!(!keeps_numbers(json), "{json}");
        }
    }
}
