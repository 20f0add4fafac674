//! Whatever text is given as an expiry or a URL: an answer or a usage error, never a panic.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use polystore_kv::{Expires, kv};
use proptest::prelude::*;

fn check_expiry(words: &str) -> Result<(), TestCaseError> {
    match words.parse::<Expires>() {
        // What it shows of itself means the same again.
        Ok(expires) => prop_assert_eq!(expires.to_string().parse::<Expires>().unwrap(), expires),
        Err(error) => prop_assert!(error.is_usage(), "{:?}: {}", words, error),
    }
    Ok(())
}

fn check_url(url: &str) -> Result<(), TestCaseError> {
    // Nothing is opened by this.
    if let Err(error) = kv(url) {
        prop_assert!(error.is_usage(), "{:?}: {}", url, error);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_an_expiry_panic(words in any::<String>()) {
        check_expiry(&words)?;
    }

    #[test]
    fn nothing_like_an_expiry_makes_it_panic(
        words in "[-+]?([0-9_,.]{0,8}([eE][-+]?[0-9]{0,4})? ?(ms|s|sec|H|min|b|years|never|µs|ſ|İ)? ?){0,3}"
    ) {
        check_expiry(&words)?;
    }

    #[test]
    fn no_number_makes_an_expiry_panic(seconds in any::<f64>()) {
        if let Err(error) = Expires::try_from(seconds) {
            prop_assert!(error.is_usage());
        }
    }

    #[test]
    fn no_url_panics(
        url in "(memory|file|sqlite|redis|FILE)?:?/{0,3}\\PC{0,20}(\\?[a-z%0-9=&_.;]{0,20})?"
    ) {
        check_url(&url)?;
    }

    #[test]
    fn no_text_panics_as_a_url(url in any::<String>()) {
        check_url(&url)?;
    }
}
