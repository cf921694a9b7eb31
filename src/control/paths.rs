//! Paths in JSON: text where they are UTF-8, an array of bytes where they are not.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A path as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ToldPath {
    /// As text.
    Text(String),
    /// Byte by byte.
    Bytes(Vec<u8>),
}

impl From<&Path> for ToldPath {
    fn from(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes(path.as_os_str().as_bytes().to_vec()),
        }
    }
}

impl From<ToldPath> for PathBuf {
    fn from(path: ToldPath) -> Self {
        match path {
            ToldPath::Text(text) => text.into(),
            ToldPath::Bytes(bytes) => OsString::from_vec(bytes).into(),
        }
    }
}

impl ToldPath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        match self {
            Self::Text(text) => Path::new(text),
            Self::Bytes(bytes) => Path::new(OsStr::from_bytes(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_comes_back() {
        for bytes in [&b"/a b"[..], b"/\xff\xfe", "/é\n".as_bytes(), b""] {
            let path = Path::new(OsStr::from_bytes(bytes));
            let told = serde_json::to_string(&ToldPath::from(path)).unwrap();
            let heard: ToldPath = serde_json::from_str(&told).unwrap();
            assert_eq!(heard.as_path(), path);
            assert_eq!(PathBuf::from(heard), path);
        }
    }
}
