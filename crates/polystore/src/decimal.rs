//! Decimal numbers, as people write times and JSON writes instants.

/// The digits that count: so many fit into 64 bits.
const ENOUGH: u64 = 1_000_000_000_000_000_000;

/// More tens than these are infinite to an `f64`.
const TENS: u32 = 400;

/// The number that `text` is as JSON writes it: digits, and perhaps a sign, a fraction and an exponent.
///
/// It is the nearest `f64` for what has up to 15 digits and no large exponent, as times do, and within
/// some units of the last place beyond. The standard library is exact for all, by tables of ten kilobytes, an eighth
/// of what a page has to load.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1.0, text),
        None => (1.0, text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let (down, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => (true, exponent),
        None => (false, exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    if ![whole, fraction, exponent].into_iter().all(is_digits) {
        return None;
    }

    // Zeros at the end would only take the room of digits.
    let fraction = fraction.trim_end_matches('0');
    let (mut digits, mut scale) = (0, 0_i64);
    for (part, place) in [(whole, 0), (fraction, 1)] {
        for digit in part.bytes().map(|byte| u64::from(byte - b'0')) {
            if digits < ENOUGH {
                digits = digits * 10 + digit;
                scale -= place;
            } else {
                scale += 1 - place;
            }
        }
    }
    let exponent = exponent.bytes().fold(0_i64, |exponent, byte| {
        (exponent * 10 + i64::from(byte - b'0')).min(i64::MAX / 100)
    });
    scale += if down { -exponent } else { exponent };

    let number = sign * digits as f64;
    Some(match scale {
        // No power of ten makes it another.
        _ if digits == 0 => number,
        0.. => number * power_of_ten(scale.unsigned_abs()),
        _ => number / power_of_ten(scale.unsigned_abs()),
    })
}

/// Exact to the 22nd.
fn power_of_ten(exponent: u64) -> f64 {
    let tens = u32::try_from(exponent).unwrap_or(TENS).min(TENS);
    (0..tens).fold(1.0, |power, _| power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_times_look_like_is_exact() {
        let whole = ["0", "7", "10", "93784", "1700000000000", "9007199254740991"];
        let ends = ["", ".5", ".005", ".25e-1", "e3", "E+2", "e-7", "e22"];
        for number in whole {
            for end in ends {
                let text = format!("{number}{end}");
                let exact: f64 = text.parse().unwrap();
                let near = parse(&text).unwrap();
                if text.len() <= 16 {
                    assert_eq!(near.to_bits(), exact.to_bits(), "{text}");
                }
                assert!((near - exact).abs() <= exact * 1e-15, "{text}");
                assert_eq!(parse(&format!("-{text}")), Some(-near));
            }
        }
    }

    #[test]
    fn what_is_beyond_is_near_or_infinite() {
        for text in [
            "123456789012345678901234567890",
            "0.000000000000000000000000012345678901234567890123",
            "1.7e308",
            "12345e-200",
        ] {
            let exact: f64 = text.parse().unwrap();
            let near = parse(text).unwrap();
            assert!((near - exact).abs() <= exact * 1e-13, "{text}: {near}");
        }
        let zeros = "0".repeat(500);
        assert_eq!(parse(&format!("0.{zeros}1e501")), Some(1.0));
        assert_eq!(parse("1e400"), Some(f64::INFINITY));
        assert_eq!(parse("1e99999999999999999999999999"), Some(f64::INFINITY));
        assert_eq!(parse("1e-99999999999999999999999999"), Some(0.0));
        assert_eq!(parse("0e99999"), Some(0.0));
    }

    #[test]
    fn what_json_does_not_have_is_no_number() {
        for text in [
            "", "-", ".", "1.", ".5", "e5", "1e", "1e+", "+1", "--1", "1 ", "0x1", "inf", "NaN",
            "null", "\"1\"", "1.2.3", "1e2e3", "1_0", "١",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
