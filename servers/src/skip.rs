//! What happens to a test whose server or program is missing.

/// Says loudly that something can't run here; in CI, where nobody would read that, it is a failure.
///
/// # Panics
/// With `message` if the variable `CI` is set.
pub fn skip(message: &str) {
    let message = format!("SKIPPED: {message}");
    assert!(!in_ci(), "{message}");
    eprintln!("{message}");
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}
