//! Which form of a reply a client wants (RFC 9110, "Accept").

use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};

use crate::problem::{Outcome, Problem};

/// What there are replies in, and how well each is wanted: first by its weight, then by how exactly it is named.
type Wanted = (u16, u8);

/// Whether entries are to go as lines instead of as one object, which is what goes to who does not mind.
pub(crate) fn lines(headers: &HeaderMap) -> Outcome<bool> {
    if !headers.contains_key(ACCEPT) {
        return Ok(false);
    }
    let object = wanted(headers, "application", "json");
    let lines = wanted(headers, "application", "x-ndjson");
    if object.0 == 0 && lines.0 == 0 {
        return Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "unsupported",
            "there are application/json and application/x-ndjson",
        ));
    }
    Ok(lines > object)
}

/// Whether it is a browser that asks for something to show: others at most do not mind.
pub(crate) fn html(headers: &HeaderMap) -> bool {
    let (weight, exactness) = wanted(headers, "text", "html");
    weight > 0 && exactness == EXACTLY
}

const EXACTLY: u8 = 2;

/// Of all that names the form, what names it most exactly counts.
fn wanted(headers: &HeaderMap, kind: &str, subkind: &str) -> Wanted {
    let values = headers.get_all(ACCEPT).into_iter();
    let ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let mut best = (0, 0);
    let mut most_exact = None;
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let (given, given_sub) = parts
            .next()
            .and_then(|it| it.split_once('/'))
            .unwrap_or_default();
        let exactness = match (given, given_sub) {
            ("*", "*") => 0,
            (given, "*") if given.eq_ignore_ascii_case(kind) => 1,
            (given, sub)
                if given.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subkind) =>
            {
                EXACTLY
            }
            _ => continue,
        };
        if most_exact.is_none_or(|most| exactness > most) {
            most_exact = Some(exactness);
            best = (weight(parts), exactness);
        }
    }
    best
}

/// In thousandths. What is no weight counts as none given.
fn weight<'a>(parameters: impl Iterator<Item = &'a str>) -> u16 {
    let mut weights = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_weight = name.trim().eq_ignore_ascii_case("q");
        let value: f32 = is_weight.then(|| value.trim().parse().ok()).flatten()?;
        // Between 0 and 1000, so nothing is cut off.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped"
        )]
        let thousandths = (value.clamp(0.0, 1.0) * 1000.0) as u16;
        Some(thousandths)
    });
    weights.next().unwrap_or(1000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

    use super::*;

    fn headers(accept: &[&str]) -> HeaderMap {
        let values = accept.iter().map(|it| (ACCEPT, it.parse().unwrap()));
        values.collect()
    }

    #[test]
    fn lines_go_to_who_wants_them_more() {
        for (accept, expected) in [
            (&[][..], Some(false)),
            (&["*/*"], Some(false)),
            (&["application/json"], Some(false)),
            (&["application/*"], Some(false)),
            (&["application/x-ndjson"], Some(true)),
            (&["Application/X-NDJSON; charset=utf-8"], Some(true)),
            (&["application/x-ndjson, */*"], Some(true)),
            (&["application/x-ndjson, */*;q=0.1"], Some(true)),
            (&["text/html", "application/x-ndjson"], Some(true)),
            (&["application/x-ndjson, application/json"], Some(false)),
            (
                &["application/x-ndjson, application/json;q=0.9"],
                Some(true),
            ),
            (
                &["application/x-ndjson;q=0.5, application/json"],
                Some(false),
            ),
            (&["application/x-ndjson;q=0.5, */*"], Some(false)),
            (&["application/json;q=0, */*"], Some(true)),
            (&["application/x-ndjson;q=0, */*"], Some(false)),
            (&["text/html,*/*;q=0.8"], Some(false)),
            (&["text/plain"], None),
            (&["application/json;q=0"], None),
            (&["nonsense"], None),
        ] {
            assert_eq!(lines(&headers(accept)).ok(), expected, "{accept:?}");
        }
    }

    #[test]
    fn only_who_names_html_is_a_browser() {
        assert!(html(&headers(&[
            "text/html,application/xhtml+xml,*/*;q=0.8"
        ])));
        for accept in [&[][..], &["*/*"], &["text/*"], &["text/html;q=0"]] {
            assert!(!html(&headers(accept)), "{accept:?}");
        }
    }
}
