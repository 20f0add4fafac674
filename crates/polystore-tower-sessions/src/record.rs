//! What is kept of a session.

use std::borrow::Cow;
use std::collections::HashMap;

use polystore_kv::Expires;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::macros::datetime;
use time::{OffsetDateTime, UtcOffset};
use tower_sessions_core::session;

/// The value under a session's id. The id is in no value: who sees a value has no session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record<'a> {
    data: Cow<'a, HashMap<String, Value>>,
    #[serde(with = "time::serde::rfc3339")]
    expiry_date: OffsetDateTime,
}

/// The last instant that RFC 3339 has a text for.
const LAST: OffsetDateTime = datetime!(9999-12-31 23:59:59.999_999_999 UTC);

impl<'a> From<&'a session::Record> for Record<'a> {
    fn from(record: &'a session::Record) -> Self {
        let expiry_date = record.expiry_date.checked_to_offset(UtcOffset::UTC);
        Self {
            data: Cow::Borrowed(&record.data),
            expiry_date: expiry_date.unwrap_or(LAST).min(LAST),
        }
    }
}

impl Record<'_> {
    /// The session of `id`, if it has not expired. The store has judged that too, but some keep
    /// whole milliseconds, and some a time from now instead of a date.
    pub(crate) fn into_live(self, id: session::Id) -> Option<session::Record> {
        expires(self.expiry_date).map(|_| session::Record {
            id,
            data: self.data.into_owned(),
            expiry_date: self.expiry_date,
        })
    }
}

/// How long what expires at `date` is kept from now, or `None` when that has come.
pub(crate) fn expires(date: OffsetDateTime) -> Option<Expires> {
    let left = date.min(LAST) - OffsetDateTime::now_utc();
    left.is_positive().then(|| left.unsigned_abs().into())
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::offset;

    use super::*;

    #[test]
    fn what_is_kept_is_what_the_documentation_shows() {
        let record = session::Record {
            id: session::Id(7),
            data: HashMap::from([("user".to_owned(), "Ada".into())]),
            expiry_date: datetime!(2100-01-01 02:00:00.5 +2),
        };
        let json = serde_json::to_string(&Record::from(&record)).unwrap();
        assert_eq!(
            json,
            r#"{"data":{"user":"Ada"},"expiry_date":"2100-01-01T00:00:00.5Z"}"#
        );
        let kept: Record<'_> = serde_json::from_str(&json).unwrap();
        assert_eq!(kept.into_live(session::Id(7)), Some(record));
    }

    #[test]
    fn the_ends_of_the_calendar_are_dates_too() {
        let dates = [
            datetime!(9999-12-31 23:59:59.999_999_999 UTC),
            // Past 9999 in UTC.
            datetime!(9999-12-31 23:59:59.999_999_999 -1),
            datetime!(9999-12-31 23:00:00 UTC).replace_offset(offset!(-25:59:59)),
        ];
        for date in dates {
            let record = session::Record {
                id: session::Id(7),
                data: HashMap::new(),
                expiry_date: date,
            };
            let json = serde_json::to_string(&Record::from(&record)).unwrap();
            let kept: Record<'_> = serde_json::from_str(&json).unwrap();
            let kept = kept.into_live(record.id).expect("it is in the future");
            assert!(
                (date - kept.expiry_date).abs() < Duration::days(2),
                "{json}"
            );
        }
        for date in [datetime!(-9999-01-01 0:00 UTC), OffsetDateTime::UNIX_EPOCH] {
            assert_eq!(expires(date), None);
        }
    }

    #[test]
    fn a_date_is_over_when_it_comes_and_not_before() {
        let now = OffsetDateTime::now_utc();
        assert_eq!(expires(now), None);
        let left = expires(now + Duration::HOUR).and_then(Expires::as_duration);
        let left = left.expect("an hour is left").as_secs_f64();
        assert!((3590.0..=3600.001).contains(&left), "{left}");
    }
}
