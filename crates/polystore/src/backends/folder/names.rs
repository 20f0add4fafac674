//! Keys to file names and back.
//!
//! The npm package encodes a key with JavaScript's `encodeURIComponent` (ECMA-262,
//! "encodeURIComponent") and `*` as `%2A`; its version 0.21 took the key as it was.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

const ENDING: &str = ".json";

/// The longest name in bytes that file systems have.
const LONGEST: usize = 255;

/// Where the entry of a key is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// In the folder itself, under the encoded key.
    Short(String),
    /// In the subfolder, under a hash of the key: the encoded key is too long for a name.
    Long(String),
}

impl Name {
    pub(super) fn of(key: &str) -> Self {
        let encoded = encode(key);
        if encoded.len() <= LONGEST {
            return Self::Short(encoded);
        }
        let hash = hmac_sha256::Hash::hash(key.as_bytes());
        let mut name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        name.push_str(ENDING);
        Self::Long(name)
    }
}

fn encode(key: &str) -> String {
    let mut name = utf8_percent_encode(key, ENCODED).to_string();
    name.push_str(ENDING);
    name
}

/// The name that 0.21 gave to `key`, if it is another one and means this key.
pub(super) fn raw_name_of(key: &str) -> Option<String> {
    let name = format!("{key}{ENDING}");
    let possible = name.len() <= LONGEST && !key.contains(['/', '\0']);
    (possible && encode(key) != name && key_of(&name).as_deref() == Some(key)).then_some(name)
}

/// The key that a file of this name in the folder is for, if it is for any. What is not
/// the encoded form of a key is a raw one.
pub(super) fn key_of(name: &str) -> Option<Cow<'_, str>> {
    let stem = name.strip_suffix(ENDING)?;
    if !stem.contains('%') {
        return Some(Cow::Borrowed(stem));
    }
    match percent_decode_str(stem).decode_utf8() {
        Ok(key) if encode(&key) == name => Some(key),
        _ => Some(Cow::Borrowed(stem)),
    }
}

/// Whether a file of this name in the folder is for a key.
pub(super) fn is_short(name: &str) -> bool {
    name.ends_with(ENDING)
}

/// Whether a file of this name in the subfolder holds an entry.
pub(super) fn is_long(name: &str) -> bool {
    name.strip_suffix(ENDING)
        .is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_npm_package() {
        for (key, name) in [
            ("user:1", "user%3A1.json"),
            ("a/b", "a%2Fb.json"),
            ("é😀", "%C3%A9%F0%9F%98%80.json"),
            ("%41", "%2541.json"),
            ("!'()~-_.", "!'()~-_..json"),
            ("*", "%2A.json"),
            ("", ".json"),
            (".", "..json"),
            ("..", "...json"),
            ("\0", "%00.json"),
            ("a.json", "a.json.json"),
            (" +&=", "%20%2B%26%3D.json"),
        ] {
            assert_eq!(Name::of(key), Name::Short(name.to_owned()));
            assert_eq!(key_of(name).as_deref(), Some(key));
        }
    }

    #[test]
    fn raw_names_mean_their_key_and_never_another() {
        for key in [
            "user:1", "é😀", "%41", "100%", "a b", "%zz", "*", "%c3%a9", "%FF",
        ] {
            let name = raw_name_of(key).unwrap();
            assert_eq!(name, format!("{key}.json"));
            assert_eq!(key_of(&name).as_deref(), Some(key));
        }
        // These are the encoded names of other keys, the same as the encoded one, or no
        // file names.
        for key in [
            "%3A",
            "a%2Fb",
            "plain",
            "",
            "a/b",
            "\0",
            "../x",
            "/etc/passwd",
        ] {
            assert_eq!(raw_name_of(key), None, "{key}");
        }
    }

    #[test]
    fn keys_too_long_for_a_name_get_a_hash() {
        let longest = "a".repeat(250);
        assert!(matches!(Name::of(&longest), Name::Short(name) if name.len() == 255));
        for key in ["a".repeat(251), "é".repeat(42), "😀".repeat(1000)] {
            let Name::Long(name) = Name::of(&key) else {
                panic!("{} bytes fit", key.len());
            };
            assert!(is_long(&name));
        }
        // What sha256sum says of 251 times "a".
        let hash = "772f911dd9d6692897188d0b03f718fb5fbd02020d0fce1374f1354a31205024";
        assert_eq!(
            Name::of(&"a".repeat(251)),
            Name::Long(format!("{hash}.json"))
        );
        assert!(!is_long("lock") && !is_long("x.json"));
    }
}
