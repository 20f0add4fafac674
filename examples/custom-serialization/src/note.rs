//! A note as it is kept: JSON for what is JSON, text for the rest.
//!
//! Values are whatever serde turns into JSON, so serde's attributes are the place for everything else.
//! `Vec<u8>` by itself would be an array of numbers, four times as long as the bytes; base64 takes a third
//! more than they have.

use serde::{Deserialize, Serialize};

/// A note, as the program has it, and as it is written:
/// `{"v":"2","text":"…","picture":"…","tags":["…"]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Tagged", from = "Stored")]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) picture: Option<Vec<u8>>,
    pub(crate) tags: Vec<String>,
}

/// All forms that there have been. serde tries them from top to bottom.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Tagged(Tagged),
    /// The first release had no more than a text.
    First(String),
}

/// With the version in the value, a form that an older program does not know is a
/// [`Decode`](polystore_kv::ErrorKind::Decode) error there, and not a note with something missing that it
/// would write back.
#[derive(Serialize, Deserialize)]
#[serde(tag = "v")]
enum Tagged {
    #[serde(rename = "2")]
    Second {
        #[serde(with = "compressed")]
        text: String,
        #[serde(
            with = "base64_bytes",
            default,
            skip_serializing_if = "Option::is_none"
        )]
        picture: Option<Vec<u8>>,
        // What came later within a version has a default, and old and new programs read each other's.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
    },
}

impl From<Stored> for Note {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::First(text) => Self {
                text,
                picture: None,
                tags: Vec::new(),
            },
            Stored::Tagged(Tagged::Second {
                text,
                picture,
                tags,
            }) => Self {
                text,
                picture,
                tags,
            },
        }
    }
}

impl From<Note> for Tagged {
    fn from(note: Note) -> Self {
        Self::Second {
            text: note.text,
            picture: note.picture,
            tags: note.tags,
        }
    }
}

/// Bytes as base64: `#[serde(with = "base64_bytes")]`.
mod base64_bytes {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option, reason = "serde gives it so")]
    pub(super) fn serialize<S>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        let text = bytes.as_ref().map(|bytes| BASE64_STANDARD.encode(bytes));
        text.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(deserializer)?;
        let decode = |text: String| BASE64_STANDARD.decode(text);
        // Who reads the note learns that it is no `Note`: no store passes serde's words on, which may show the value.
        let bytes = text.map(decode).transpose();
        bytes.map_err(|_| D::Error::custom("the picture is no base64"))
    }
}

/// Text as Snappy's block format in base64: for texts of some length, half of it or less.
/// `#[serde(with = "compressed")]`. Encryption goes the same way: seal the bytes, then base64.
mod compressed {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// What somebody wrote who is not this program must not unfold to any size it likes.
    const MOST_BYTES: usize = 16 << 20;

    pub(super) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        let packed = snap::raw::Encoder::new().compress_vec(text.as_bytes());
        let packed = packed.map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&BASE64_STANDARD.encode(packed))
    }

    pub(super) fn deserialize<'de, D>(deserializer: D) -> Result<String, D::Error>
    where
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        unpack(&text).ok_or_else(|| D::Error::custom("the text is not as it was packed"))
    }

    fn unpack(text: &str) -> Option<String> {
        let packed = BASE64_STANDARD.decode(text).ok()?;
        if snap::raw::decompress_len(&packed).ok()? > MOST_BYTES {
            return None;
        }
        let text = snap::raw::Decoder::new().decompress_vec(&packed).ok()?;
        String::from_utf8(text).ok()
    }
}
