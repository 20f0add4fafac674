//! What a reply says, and what is made of it.

use super::*;
use reqwest::{Method, Request};

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn subject(headers: &HeaderMap) -> Subject<'_> {
    Subject {
        status: StatusCode::OK,
        headers,
        born: at(NOW),
        lifetime: None,
        authorized: false,
    }
}

fn judge(lines: &[(&'static str, &str)], is_shared: bool) -> Judge {
    Judge::new(&subject(&headers(lines)), is_shared)
}

fn question(control: &str) -> Question {
    let mut request = Request::new(Method::GET, "http://example.com/".parse().unwrap());
    if !control.is_empty() {
        request
            .headers_mut()
            .insert(CACHE_CONTROL, control.parse().unwrap());
    }
    Question::new(&request, &HeaderMap::new())
}

fn lifetime(lines: &[(&'static str, &str)], is_shared: bool) -> u64 {
    judge(lines, is_shared).fresh_for(at(NOW)).as_secs()
}

#[test]
fn a_lifetime_is_what_the_reply_says() {
    let date = httpdate::fmt_http_date(at(NOW));
    let later = httpdate::fmt_http_date(at(NOW + 100));
    let earlier = httpdate::fmt_http_date(at(NOW - 1000));
    let long_ago = httpdate::fmt_http_date(at(NOW - 1_000_000_000));
    let week = 7 * 24 * 60 * 60;
    for (lines, private, shared) in [
        (&[][..], 0, 0),
        (&[("cache-control", "max-age=60")], 60, 60),
        (&[("cache-control", "MAX-AGE=\"60\"")], 60, 60),
        (&[("cache-control", "max-age=60, s-maxage=5")], 60, 5),
        (
            &[("cache-control", "max-age=60"), ("expires", &later)],
            60,
            60,
        ),
        (&[("expires", &later), ("date", &date)], 100, 100),
        (&[("expires", &later)], 100, 100),
        (&[("expires", "0"), ("date", &date)], 0, 0),
        (&[("expires", "soon"), ("last-modified", &earlier)], 0, 0),
        (&[("last-modified", &earlier), ("date", &date)], 100, 100),
        // A week at most.
        (&[("last-modified", &long_ago), ("date", &date)], week, week),
        (&[("last-modified", &long_ago)], week, week),
        (
            &[
                ("cache-control", "max-age=604801"),
                ("last-modified", &long_ago),
            ],
            week + 1,
            week + 1,
        ),
        // It says that a fresh one needs no confirmation, and not how long it is.
        (&[("cache-control", "immutable")], 0, 0),
        (&[("cache-control", "immutable, max-age=60")], 60, 60),
        (
            &[
                ("cache-control", "immutable"),
                ("expires", &earlier),
                ("date", &date),
            ],
            0,
            0,
        ),
        (&[("cache-control", "immutable"), ("expires", "0")], 0, 0),
        (&[("cache-control", "no-cache, max-age=60")], 0, 0),
        (
            &[("cache-control", "max-age=99999999999999999999999")],
            MOST_SECONDS,
            MOST_SECONDS,
        ),
        (&[("cache-control", "max-age=60.5")], 0, 0),
        // From the tests at cache-tests.fyi.
        (&[("cache-control", "foobar, max-age=60")], 60, 60),
        (
            &[("cache-control", "a=\"b, max-age=5\", max-age=60")],
            60,
            60,
        ),
        (&[("cache-control", "max-age=0060")], 60, 60),
        (&[("cache-control", "max-age='60'")], 0, 0),
        (&[("cache-control", "max-age=60"), ("expires", "0")], 60, 60),
        (
            &[("cache-control", "max-age=60"), ("pragma", "no-cache")],
            60,
            60,
        ),
        (&[("expires", "Thu, 18 Aug 2050 02:01:18 +0000")], 0, 0),
    ] {
        assert_eq!(lifetime(lines, false), private, "private: {lines:?}");
        assert_eq!(lifetime(lines, true), shared, "shared: {lines:?}");
    }
}

#[test]
fn dates_of_all_three_formats_are_read() {
    for expires in [
        "Fri, 15 Jan 2027 08:00:10 GMT",
        "Friday, 15-Jan-27 08:00:10 GMT",
        "Fri Jan 15 08:00:10 2027",
    ] {
        let lines = [
            ("date", "Fri, 15 Jan 2027 08:00:00 GMT"),
            ("expires", expires),
        ];
        assert_eq!(lifetime(&lines, true), 10, "{expires}");
    }
}

#[test]
fn whom_a_reply_is_for_decides_who_keeps_it() {
    for (lines, private, shared) in [
        (&[("cache-control", "max-age=60")][..], true, true),
        (&[("cache-control", "max-age=60, private")], true, false),
        (
            &[("cache-control", "max-age=60, Private=\"x\"")],
            true,
            false,
        ),
        (&[("cache-control", "max-age=60, no-store")], false, false),
        (
            &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
            true,
            false,
        ),
        (
            &[
                ("cache-control", "max-age=60, immutable"),
                ("set-cookie", "a=b"),
            ],
            true,
            false,
        ),
        (
            &[
                ("cache-control", "max-age=60, public"),
                ("set-cookie", "a=b"),
            ],
            true,
            true,
        ),
        (
            &[("cache-control", "max-age=60"), ("vary", "*")],
            false,
            false,
        ),
        (
            &[("cache-control", "max-age=60"), ("vary", "a, *")],
            false,
            false,
        ),
    ] {
        assert_eq!(
            judge(lines, false).may_be_kept(),
            private,
            "private: {lines:?}"
        );
        assert_eq!(
            judge(lines, true).may_be_kept(),
            shared,
            "shared: {lines:?}"
        );
    }
    for (control, shared) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("s-maxage=60", true),
        ("max-age=60, must-revalidate", true),
    ] {
        for lifetime in [None, Some(5)] {
            let headers = headers(&[("cache-control", control)]);
            let subject = Subject {
                authorized: true,
                lifetime,
                ..subject(&headers)
            };
            assert!(Judge::new(&subject, false).may_be_kept(), "{control}");
            assert_eq!(
                Judge::new(&subject, true).may_be_kept(),
                shared,
                "{control}"
            );
        }
    }
    for status in [206, 302, 418, 500, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        let headers = HeaderMap::new();
        assert!(
            !Judge::new(
                &Subject {
                    status,
                    ..subject(&headers)
                },
                true
            )
            .may_be_kept(),
            "{status}"
        );
    }
}

#[test]
fn a_lifetime_of_the_program_takes_the_place_of_the_origins_and_of_nothing_else() {
    let fresh_for = |control: &str| {
        let headers = headers(&[("cache-control", control), ("expires", "0")]);
        let judge = Judge::new(
            &Subject {
                lifetime: Some(60),
                ..subject(&headers)
            },
            true,
        );
        judge
            .may_be_kept()
            .then(|| judge.fresh_for(at(NOW)).as_secs())
    };
    for control in [
        "",
        "max-age=5",
        "max-age=1000",
        "no-cache",
        "s-maxage=5",
        "max-age=0, must-revalidate",
    ] {
        assert_eq!(fresh_for(control), Some(60), "{control}");
    }
    for control in ["no-store", "private"] {
        assert_eq!(fresh_for(control), None, "{control}");
    }
}

#[test]
fn a_request_says_what_it_accepts() {
    let judge = |control: &str| judge(&[("cache-control", control)], true);
    for (reply, asks, age, answers) in [
        ("max-age=60", "", 59, true),
        ("max-age=60", "", 60, false),
        ("max-age=60", "no-cache", 0, false),
        ("max-age=60", "max-age=10", 10, true),
        ("max-age=60", "max-age=10", 11, false),
        ("max-age=60", "min-fresh=30", 30, true),
        ("max-age=60", "min-fresh=30", 31, false),
        ("max-age=60", "max-stale", 100_000, true),
        ("max-age=60", "max-stale=30", 89, true),
        ("max-age=60", "max-stale=30", 91, false),
        ("max-age=60, must-revalidate", "max-stale", 61, false),
        ("s-maxage=60", "max-stale", 61, false),
        ("no-cache", "max-stale", 0, false),
    ] {
        let judged = judge(reply).answers(&question(asks), at(NOW + age));
        assert_eq!(judged, answers, "{reply}; {asks}; {age}");
    }
}

#[test]
fn a_stale_reply_helps_out_as_long_as_it_was_said() {
    let judge = |control: &str| judge(&[("cache-control", control)], true);
    for (reply, asks, age, helps) in [
        ("max-age=60", "", 61, false),
        ("max-age=60, stale-if-error=10", "", 70, true),
        ("max-age=60, stale-if-error=10", "", 71, false),
        ("max-age=60", "stale-if-error=10", 70, true),
        (
            "max-age=60, stale-if-error=10, must-revalidate",
            "",
            61,
            false,
        ),
    ] {
        let helped = judge(reply).helps_out(&question(asks), at(NOW + age));
        assert_eq!(helped, helps, "{reply}; {asks}; {age}");
    }
}

#[test]
fn a_reply_stays_until_it_is_of_no_use() {
    let day = Duration::from_secs(86_400);
    let useful = |lines: &[(&'static str, &str)]| {
        judge(lines, true)
            .useful_for(at(NOW + 10), day)
            .map(|it| it.as_secs())
    };
    assert_eq!(useful(&[]), None);
    assert_eq!(useful(&[("etag", "\"a\"")]), Some(86_400));
    assert_eq!(useful(&[("cache-control", "max-age=60")]), Some(50));
    assert_eq!(
        useful(&[("cache-control", "max-age=60"), ("etag", "\"a\"")]),
        Some(86_450)
    );
    assert_eq!(
        useful(&[
            ("cache-control", "max-age=60, stale-if-error=90000"),
            ("etag", "\"a\"")
        ]),
        Some(90_050)
    );
}

#[test]
fn the_age_counts_from_the_date_the_header_and_the_way() {
    let date = httpdate::fmt_http_date(at(NOW - 7));
    let of = |lines: &[(&'static str, &str)]| born(&headers(lines), at(NOW - 2), at(NOW));
    assert_eq!(of(&[]), at(NOW - 2));
    assert_eq!(of(&[("age", "5")]), at(NOW - 7));
    assert_eq!(of(&[("age", "1"), ("date", &date)]), at(NOW - 7));
    assert_eq!(of(&[("age", "100"), ("date", &date)]), at(NOW - 102));
    assert_eq!(of(&[("age", "old"), ("date", "long ago")]), at(NOW - 2));
    // Nothing that an origin sends makes the program panic.
    let old = of(&[("age", "18446744073709551615")]);
    let judge = judge(
        &[
            ("cache-control", "max-age=5"),
            ("age", "18446744073709551615"),
        ],
        true,
    );
    assert_eq!(judge.age(at(NOW)), Duration::ZERO);
    assert!(old < at(NOW));
}
