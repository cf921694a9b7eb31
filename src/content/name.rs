//! Names that people give: under a key, to content that may change and to streams.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::PublicKey;

/// Bytes in the longest name.
pub const MAX_NAME: usize = 512;

/// Whether `text` obeys the network's rules for ids, which keep one from ever acting as a path: not
/// empty, no `\`, no NUL, no leading `.` or `/`, no `/.`, no trailing `/`.
#[must_use]
pub fn is_sound_id(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['.', '/'])
        && !text.ends_with('/')
        && !text.contains(['\\', '\0'])
        && !text.contains("/.")
}

/// A name that a key publishes under. May hold `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishedName(Box<str>);

/// Why a text is no [`PublishedName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a name has 1 to {MAX_NAME} bytes, no `\\`, no leading `.` or `/`, no trailing `/`, no `/.` and no `//`"
)]
pub struct NameError;

impl PublishedName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it goes on below the folder `prefix`.
    #[must_use]
    pub fn is_below(&self, prefix: &str) -> bool {
        self.0
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for PublishedName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // A path never has an empty part, so the mount could not show it.
        let sound = is_sound_id(text) && text.len() <= MAX_NAME && !text.contains("//");
        sound.then(|| Self(text.into())).ok_or(NameError)
    }
}

impl fmt::Display for PublishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PublishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A name under a key: what can be published, or a stream.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyedName {
    /// Whose name it is.
    pub key: PublicKey,
    /// The name.
    pub name: PublishedName,
}

const STREAM: &str = "stream/";

impl KeyedName {
    /// The name of the stream that an id on the wire names: `stream/<key>/<name>`.
    #[must_use]
    pub fn from_stream_id(id: &str) -> Option<Self> {
        let (key, name) = id.strip_prefix(STREAM)?.split_once('/')?;
        Some(Self {
            key: PublicKey::from_hex(key)?,
            name: name.parse().ok()?,
        })
    }

    /// The id on the wire of the stream with this name.
    #[must_use]
    pub fn stream_id(&self) -> Cow<'static, str> {
        Cow::Owned(format!("{STREAM}{}/{}", self.key, self.name))
    }
}

impl fmt::Display for KeyedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key, self.name)
    }
}

impl fmt::Debug for KeyedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_acts_as_a_path() {
        for good in ["index.html", "a/b c/d", "é", "a.b/c..", "a/b.c"] {
            assert!(good.parse::<PublishedName>().is_ok(), "{good}");
        }
        let long = "x".repeat(MAX_NAME + 1);
        for bad in [
            "", "/", "/a", "a/", ".", "..", ".a", "a/../b", "a/.b", "a\\b", "a\0", "a//b", &long,
        ] {
            assert_eq!(bad.parse::<PublishedName>(), Err(NameError), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_below_a_folder_and_not_beside_it() {
        let name: PublishedName = "docs/a/b".parse().unwrap();
        assert!(name.is_below("docs") && name.is_below("docs/a"));
        assert!(!name.is_below("doc") && !name.is_below("docs/a/b"));
    }

    #[test]
    fn stream_ids_are_read_back() {
        let stream = KeyedName {
            key: PublicKey([0xab; 32]),
            name: "radio/live.ogg".parse().unwrap(),
        };
        let id = stream.stream_id();
        assert_eq!(KeyedName::from_stream_id(&id), Some(stream.clone()));
        let upper = id.replace("ab", "AB");
        assert_eq!(KeyedName::from_stream_id(&upper), Some(stream));
        for bad in ["stream/", "stream/ab/x", &id[7..], &id[..71], "other"] {
            assert_eq!(KeyedName::from_stream_id(bad), None, "{bad}");
        }
    }
}
