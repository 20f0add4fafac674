//! Keys that mean something to somebody: to SQL, globs, paths, URLs, JavaScript, terminals.

use std::collections::BTreeSet;

use crate::subject::Subject;

/// Keys that mean something to somebody (to SQL, globs, paths, URLs, JavaScript, terminals), for other
/// tests that take keys somewhere.
///
/// ```
/// assert!(polystore_conformance::HOSTILE.contains(&"__proto__"));
/// ```
pub const HOSTILE: &[&str] = &[
    // Patterns, quotes, separators.
    "%",
    "_",
    "*",
    "?",
    "[",
    "]",
    "[a-z]",
    "\\",
    "\\\\",
    "'",
    "''",
    "\"",
    ";",
    "=",
    ":",
    "::",
    "/",
    "//",
    "~",
    "#",
    "&",
    "+",
    "@",
    "!",
    "$",
    "^",
    "|",
    "<",
    ">",
    "{",
    "}",
    "(",
    ")",
    ",",
    "`",
    "-",
    "--",
    "a%",
    "a_b",
    "a*",
    "user:*",
    "%%",
    "a' OR '1'='1",
    "'; DROP TABLE kv; --",
    "a=b; path=/",
    "$1",
    "{}",
    // Paths and URLs.
    ".",
    "..",
    "...",
    "./a",
    "../a",
    "../x",
    "a/..",
    "a/b",
    "a//b",
    "/a",
    "a/",
    "/etc/passwd",
    "a\\b",
    "C:\\a",
    "%41",
    "%2F",
    "%2f",
    "%",
    "%zz",
    "%25",
    "a?b=c",
    "a#b",
    "?prefix=",
    "ping",
    "_",
    "index.html",
    "a b",
    // Names that systems keep for themselves.
    "con",
    "CON",
    "nul",
    "aux.txt",
    "com1",
    "a.",
    ".a",
    ".json",
    "a.json",
    "a.json.json",
    "a.tmp",
    ".lock",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "prototype",
    "null",
    "undefined",
    "true",
    "0",
    "-1",
    "00",
    "1e3",
    "expires",
    "value",
    "key",
    "id",
    // White space and control characters.
    " ",
    "  ",
    " a",
    "a ",
    " a ",
    "\t",
    "\n",
    "\r\n",
    "a\nb",
    "\u{0}",
    "a\u{0}b",
    "\u{1}",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{80}",
    "\u{85}",
    "\u{a0}",
    "\u{200b}",
    "\u{2028}",
    "\u{feff}",
    "\u{feff}a",
    "\u{202e}abc",
    // Letters of one kind and another.
    "é",
    "e\u{301}",
    "É",
    "E\u{301}",
    "ß",
    "SS",
    "İ",
    "i\u{307}",
    "ı",
    "ﬁ",
    "Å",
    "A\u{30a}",
    "\u{212b}",
    "가",
    "\u{1100}\u{1161}",
    "日本語",
    "مرحبا",
    "שלום",
    "ñ",
    "Ω",
    "\u{2126}",
    // Beyond two bytes: the order of UTF-8 is not that of UTF-16.
    "😀",
    "👩‍👩‍👧‍👦",
    "🇨🇭",
    "a😀b",
    "\u{ffff}",
    "\u{fffd}",
    "\u{e000}",
    "\u{d7ff}",
    "\u{10000}",
    "\u{10ffff}",
    "\u{10ffff}\u{10ffff}",
    "a\u{10ffff}",
];

/// The hostile keys that the store can hold.
pub(super) fn keys(t: &Subject) -> Vec<String> {
    let long = [
        "k".repeat(200),
        "k".repeat(255),
        "k".repeat(256),
        "é/".repeat(100),
        "K".repeat(1000),
        "k".repeat(1000),
        "%".repeat(1000),
        "😀".repeat(1000),
    ];
    let all = HOSTILE.iter().map(ToString::to_string).chain(long);
    let empty = [String::new()];
    let distinct: BTreeSet<String> = all.chain(empty).filter(|key| t.accepts(key)).collect();
    distinct.into_iter().collect()
}

/// Keys that a careless store takes for `key`, as far as this one can hold them.
pub(super) fn neighbours(t: &Subject, key: &str) -> Vec<String> {
    let mut changed = key.to_owned();
    if let Some(last) = changed.pop() {
        changed.push(if last == 'x' { 'y' } else { 'x' });
    }
    let near = [
        format!("{key}x"),
        format!("x{key}"),
        changed,
        key.to_uppercase(),
        key.to_lowercase(),
    ];
    let near = near
        .into_iter()
        .filter(|near| near != key && t.accepts(near));
    near.collect()
}

/// Both, each once.
pub(super) fn with_neighbours(t: &Subject) -> BTreeSet<String> {
    let keys = keys(t);
    let near = keys.iter().flat_map(|key| neighbours(t, key));
    near.collect::<Vec<_>>().into_iter().chain(keys).collect()
}
