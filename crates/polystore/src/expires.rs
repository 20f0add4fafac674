//! How long a value stays.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::entry::{Expiry, Timestamp};
use crate::error::{Error, ErrorKind, Result};

/// How long from now a value stays.
///
/// Every method that takes an expiry takes whatever converts into this: seconds as an
/// integer or a float, a [`Duration`], [`Expires::NEVER`], or words.
///
/// | written | means |
/// |---|---|
/// | `60`, `"60"`, `"60s"`, `"1min"` | a minute |
/// | `1.5`, `"1500ms"`, `"1.5e0s"` | a second and a half |
/// | `"1h 30m"`, `"1.5 hours"` | an hour and a half |
/// | `"3_600"`, `"3,600"` | an hour |
/// | `"never"`, `Expires::NEVER` | it stays |
/// | `0`, `-5`, `"-5s"` | it is gone already: a write with it deletes |
///
/// The units are `ms millisecond`, `s sec second`, `m min minute`, `h hr hour`,
/// `d day`, `w wk week`, `b month` and `y yr year`, singular or plural, in any case.
/// A year is 365.25 days and a month a twelfth of it; no unit means seconds.
/// A comma groups thousands and nothing else; a leading minus stands for the whole.
///
/// Stores keep whole milliseconds; a fraction of one rounds up.
///
/// ```
/// use std::time::Duration;
/// use polystore_kv::Expires;
///
/// let expires: Expires = "1h 30m".parse()?;
/// assert_eq!(expires, Expires::from(Duration::from_secs(5400)));
/// assert_eq!(Expires::NEVER.as_duration(), None);
/// assert!("5 fortnights".parse::<Expires>().is_err());
/// # Ok::<(), polystore_kv::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expires(
    /// `None` is never; zero is gone already.
    Option<Duration>,
);

impl Expires {
    /// The value stays until it is deleted or overwritten.
    pub const NEVER: Self = Self(None);

    /// The time from now, or `None` for never. Zero stands for all that is not in the
    /// future.
    #[must_use]
    pub fn as_duration(self) -> Option<Duration> {
        self.0
    }

    /// Whether it is not in the future.
    pub(crate) fn is_over(self) -> bool {
        self.0.is_some_and(|duration| duration.is_zero())
    }

    /// The instant that this long from now is, or `None` when it is over already: a write
    /// with it deletes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] beyond [`Timestamp::MAX`].
    ///
    /// ```
    /// # use polystore_kv::Expires;
    /// assert_eq!(Expires::try_from("-5s")?.to_expiry()?, None);
    /// # Ok::<(), polystore_kv::Error>(())
    /// ```
    pub fn to_expiry(self) -> Result<Option<Expiry>> {
        let Some(duration) = self.0 else {
            return Ok(Some(Expiry::Never));
        };
        if self.is_over() {
            return Ok(None);
        }
        let at = Timestamp::after(duration).ok_or_else(too_far)?;
        Ok(Some(Expiry::At(at)))
    }

    /// What is left of `expiry`, if it was read: zero when nothing is.
    pub(crate) fn left_of(expiry: Expiry) -> Option<Self> {
        match expiry {
            Expiry::Never => Some(Self::NEVER),
            Expiry::At(at) => Some(Self(Some(at.duration_from_now()))),
            Expiry::Unread => None,
        }
    }

    fn from_seconds(seconds: f64) -> Result<Self> {
        if seconds <= 0.0 {
            return Ok(Self(Some(Duration::ZERO)));
        }
        if seconds > Timestamp::MAX.as_millis() as f64 / 1000.0 {
            return Err(too_far());
        }
        match Duration::try_from_secs_f64(seconds) {
            // What is shorter than a nanosecond is still in the future.
            Ok(duration) => Ok(Self(Some(duration.max(Duration::from_nanos(1))))),
            Err(_) => Err(Error::new(
                ErrorKind::InvalidOption,
                "an expiry is a finite number of seconds, not NaN",
            )),
        }
    }
}

fn too_far() -> Error {
    Error::new(
        ErrorKind::InvalidOption,
        "an expiry cannot be past the year 275760: use \"never\" for what stays",
    )
}

impl From<Duration> for Expires {
    fn from(duration: Duration) -> Self {
        Self(Some(duration))
    }
}

impl From<u8> for Expires {
    fn from(seconds: u8) -> Self {
        Self::from(u64::from(seconds))
    }
}

impl From<u16> for Expires {
    fn from(seconds: u16) -> Self {
        Self::from(u64::from(seconds))
    }
}

impl From<u32> for Expires {
    fn from(seconds: u32) -> Self {
        Self::from(u64::from(seconds))
    }
}

impl From<u64> for Expires {
    fn from(seconds: u64) -> Self {
        Self(Some(Duration::from_secs(seconds)))
    }
}

impl From<usize> for Expires {
    fn from(seconds: usize) -> Self {
        Self::from(seconds as u64)
    }
}

impl From<i32> for Expires {
    fn from(seconds: i32) -> Self {
        Self::from(i64::from(seconds))
    }
}

impl From<i64> for Expires {
    fn from(seconds: i64) -> Self {
        Self(Some(Duration::from_secs(
            u64::try_from(seconds).unwrap_or_default(),
        )))
    }
}

impl TryFrom<f64> for Expires {
    type Error = Error;

    /// # Errors
    /// [`ErrorKind::InvalidOption`] for NaN, infinities and what is past the year 275760.
    fn try_from(seconds: f64) -> Result<Self> {
        if seconds.is_infinite() {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                "an expiry is a finite number of seconds: use Expires::NEVER for what stays",
            ));
        }
        Self::from_seconds(seconds)
    }
}

impl TryFrom<f32> for Expires {
    type Error = Error;

    fn try_from(seconds: f32) -> Result<Self> {
        Self::try_from(f64::from(seconds))
    }
}

impl TryFrom<&str> for Expires {
    type Error = Error;

    fn try_from(words: &str) -> Result<Self> {
        words.parse()
    }
}

impl TryFrom<&String> for Expires {
    type Error = Error;

    fn try_from(words: &String) -> Result<Self> {
        words.parse()
    }
}

impl TryFrom<String> for Expires {
    type Error = Error;

    fn try_from(words: String) -> Result<Self> {
        words.parse()
    }
}

impl FromStr for Expires {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidOption`] for words that mean nothing, and for what is past
    /// the year 275760.
    fn from_str(words: &str) -> Result<Self> {
        let text = words.trim();
        if text.eq_ignore_ascii_case("never") {
            return Ok(Self::NEVER);
        }
        let seconds = seconds_in(text).ok_or_else(|| unknown_words(words))?;
        Self::from_seconds(seconds)
    }
}

impl fmt::Display for Expires {
    /// Words that parse back into the same: `never`, `90s`, `0.25s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("never"),
            Some(duration) => write!(f, "{}s", duration.as_secs_f64()),
        }
    }
}

fn unknown_words(words: &str) -> Error {
    let shown: String = words.chars().take(40).collect();
    Error::new(
        ErrorKind::InvalidOption,
        format!(
            "{shown:?} is not an expiry: write a number and a unit, such as \"10min\", \
             or \"never\" (units: ms, s sec second, m min minute, h hr hour, d day, \
             w wk week, b month, y yr year)"
        ),
    )
}

/// The seconds that `text` says, if it says any.
fn seconds_in(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0.0;
    let mut parts = 0;
    while !rest.is_empty() {
        let (number, after) = take_number(rest)?;
        let after = after.trim_start();
        let unit_len = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        // Only a lone number may go without a unit: "1h 30" could be anything.
        if unit.is_empty() && (parts > 0 || !after.is_empty()) {
            return None;
        }
        seconds += number * unit_millis(unit)? / 1000.0;
        parts += 1;
        rest = after.trim_start();
    }
    (parts > 0).then_some(sign * seconds)
}

/// The number at the start of `text` and what follows it.
fn take_number(text: &str) -> Option<(f64, &str)> {
    let mantissa_len = text
        .find(|c: char| !matches!(c, '0'..='9' | '_' | ',' | '.'))
        .unwrap_or(text.len());
    let exponent_len = exponent_len(&text[mantissa_len..]);
    let (mantissa, rest) = text.split_at(mantissa_len);
    let (exponent, rest) = rest.split_at(exponent_len);

    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.contains(|c: char| c.is_ascii_digit());
    let plain = |part: &str| part.chars().all(|c| c.is_ascii_digit() || c == '_');
    if !(digits(whole) || digits(fraction)) || !plain(fraction) || !grouped(whole) {
        return None;
    }
    let clean = |part: &str| part.replace(['_', ','], "");
    let number = format!("0{}.{}0{exponent}", clean(whole), clean(fraction));
    Some((crate::decimal::parse(&number)?, rest))
}

/// How much of `text` is the exponent of the number before it.
fn exponent_len(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else {
        return 0;
    };
    let unsigned = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    let digits = unsigned.chars().take_while(char::is_ascii_digit).count();
    if digits == 0 {
        0
    } else {
        text.len() - unsigned.len() + digits
    }
}

/// Whether the commas of `whole`, if any, group its digits in thousands.
fn grouped(whole: &str) -> bool {
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    if !whole.contains(',') {
        return true;
    }
    let digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    (1..=3).contains(&first.len())
        && digits(first)
        && groups.all(|group| group.len() == 3 && digits(group))
}

fn unit_millis(unit: &str) -> Option<f64> {
    const SECOND: f64 = 1000.0;
    const DAY: f64 = 24.0 * 3600.0 * SECOND;
    const YEAR: f64 = 365.25 * DAY;
    let unit = unit.to_ascii_lowercase();
    let one = |unit: &str| {
        Some(match unit {
            "ms" | "msec" | "millisecond" => 1.0,
            "" | "s" | "sec" | "second" => SECOND,
            "m" | "min" | "minute" => 60.0 * SECOND,
            "h" | "hr" | "hour" => 3600.0 * SECOND,
            "d" | "day" => DAY,
            "w" | "wk" | "week" => 7.0 * DAY,
            "b" | "month" => YEAR / 12.0,
            "y" | "yr" | "year" => YEAR,
            _ => return None,
        })
    };
    one(&unit).or_else(|| {
        unit.strip_suffix('s')
            .filter(|u| !u.is_empty())
            .and_then(one)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_say() {
        let table: &[(&str, f64)] = &[
            ("10", 10.0),
            ("1.5h", 5400.0),
            ("10S", 10.0),
            ("1 b", 2_629_800.0),
            ("1e3ms", 1.0),
            ("1_000s", 1000.0),
            ("1,000", 1000.0),
            (" 5 min ", 300.0),
            ("2months", 5_259_600.0),
            ("1y", 31_557_600.0),
            ("3 hrs", 10_800.0),
            (".5s", 0.5),
            ("5.s", 5.0),
            ("1ms", 0.001),
            ("1h30m", 5400.0),
            ("1h 30m", 5400.0),
            ("1d 2 hours 3min 4s 5ms", 93_784.005),
            ("3_600", 3600.0),
            ("1,234,567.5", 1_234_567.5),
            ("+5s", 5.0),
            ("2.5E-1 s", 0.25),
            ("1e3", 1000.0),
            ("1e+2s", 100.0),
            ("2MINUTES", 120.0),
            ("1wk", 604_800.0),
            ("1 week", 604_800.0),
            ("2 d", 172_800.0),
            ("1yr", 31_557_600.0),
            ("7 secs", 7.0),
            ("1msec", 0.001),
            ("1month", 2_629_800.0),
            ("-5s", 0.0),
            ("-1h 30m", 0.0),
            ("0", 0.0),
            ("-0", 0.0),
        ];
        for (words, seconds) in table {
            let parsed: Expires = words.parse().unwrap();
            let expected = Duration::from_secs_f64(*seconds);
            assert_eq!(parsed.as_duration(), Some(expected), "{words}");
        }
        for never in ["never", " Never ", "NEVER"] {
            assert_eq!(never.parse::<Expires>().unwrap(), Expires::NEVER);
        }
    }

    #[test]
    fn words_that_mean_nothing_are_usage_errors() {
        for words in [
            "",
            " ",
            "abc",
            "5 fortnights",
            "5µs",
            "1,5h",
            "1,00",
            ",100",
            "1000,000",
            "1h 30",
            "1h -30m",
            "--5s",
            "- 5s",
            "-",
            "+",
            ".",
            "_",
            "e3",
            "1.2.3s",
            "5 s s",
            "NaN",
            "inf",
            "infinity",
            "1e400",
            "1e13",
            "9e99y",
            "ss",
            "10 sss",
            "never 5s",
            "5s never",
            "1h,30m",
            "１s",
            "1 000",
            "0x10",
            "1_,000",
        ] {
            let error = words.parse::<Expires>().unwrap_err();
            assert!(error.is_usage(), "{words:?}: {error}");
        }
        let message = "soon".parse::<Expires>().unwrap_err().to_string();
        assert!(
            message.contains("soon") && message.contains("month"),
            "{message}"
        );
    }

    #[test]
    fn numbers_are_seconds() {
        assert_eq!(Expires::from(60), "1min".parse().unwrap());
        assert_eq!(Expires::from(60_u64), "1min".parse().unwrap());
        assert_eq!(Expires::from(-60).as_duration(), Some(Duration::ZERO));
        assert_eq!(Expires::try_from(0.25).unwrap(), "250ms".parse().unwrap());
        assert_eq!(
            Expires::try_from(-0.1).unwrap().as_duration(),
            Some(Duration::ZERO)
        );
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 1e13] {
            assert!(
                Expires::try_from(number).unwrap_err().is_usage(),
                "{number}"
            );
        }
        assert!(Expires::try_from(f32::NAN).unwrap_err().is_usage());
    }

    #[test]
    fn what_is_too_far_is_a_usage_error_and_the_smallest_fraction_is_not_over() {
        for far in [
            Expires::from(Duration::MAX),
            Expires::from(u64::MAX),
            Expires::from(i64::MAX),
        ] {
            assert!(far.to_expiry().unwrap_err().is_usage());
        }
        assert_eq!(Expires::from(0).to_expiry().unwrap(), None);
        for short in [
            Expires::try_from(1e-300).unwrap(),
            Duration::from_nanos(1).into(),
        ] {
            assert!(matches!(short.to_expiry().unwrap(), Some(Expiry::At(_))));
        }
        assert_eq!(Expires::NEVER.to_expiry().unwrap(), Some(Expiry::Never));
    }

    #[test]
    fn shows_itself_as_words_that_parse_back() {
        for words in ["never", "90s", "0.25s", "0s"] {
            let expires: Expires = words.parse().unwrap();
            assert_eq!(expires.to_string(), words);
        }
    }
}
