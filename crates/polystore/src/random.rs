//! Keys that nobody can guess.

use crate::error::{Error, ErrorKind, Result};

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The largest multiple of 62 in a byte: what is above would favour some characters.
const FAIR: u8 = 248;

const LENGTH: usize = 24;

/// 24 characters of `[A-Za-z0-9]`, each drawn uniformly from the OS's randomness: 142 bits.
pub(crate) fn key() -> Result<String> {
    let mut key = String::with_capacity(LENGTH);
    while key.len() < LENGTH {
        let mut bytes = [0; LENGTH + 8];
        getrandom::fill(&mut bytes).map_err(|error| {
            Error::new(
                ErrorKind::Unreachable,
                "the OS gave no randomness for a key",
            )
            .with_source(error)
        })?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        let chars = fair.map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        key.extend(chars.take(LENGTH - key.len()));
    }
    Ok(key)
}

/// Whether `text` looks like one of those keys.
pub(crate) fn is_key(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_62_characters_are_drawn_alike() {
        const KEYS: u32 = 20_000;
        let mut counts = [0_u32; 128];
        for _ in 0..KEYS {
            let key = key().unwrap();
            assert_eq!(key.len(), LENGTH);
            for byte in key.bytes() {
                counts[usize::from(byte)] += 1;
            }
        }
        // Chi-squared with 61 degrees of freedom: above 150 once in 10^8 runs.
        let expected = f64::from(KEYS) * 24.0 / 62.0;
        let chi_squared: f64 = ALPHABET
            .iter()
            .map(|byte| f64::from(counts[usize::from(*byte)]) - expected)
            .map(|off| off * off / expected)
            .sum();
        assert!(chi_squared < 150.0, "{chi_squared}: {counts:?}");
        let drawn: u32 = ALPHABET.iter().map(|byte| counts[usize::from(*byte)]).sum();
        assert_eq!(drawn, KEYS * 24);
    }
}
