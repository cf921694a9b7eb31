//! Ids: what a piece of content is called on the wire, in the mount and in the store.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A 256-bit hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Reads exactly 64 hexadecimal digits of either case.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut hash = [0u8; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(hash))
    }

    /// The 64 lower-case hexadecimal digits, without an allocation.
    #[must_use]
    pub fn to_hex(&self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0u8; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        hex
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which hash names the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// 64 hex digits: the SHA-256 of the content. Only the whole can be verified.
    Sha256,
    /// `blake3/` + 64 hex digits: the BLAKE3 of the content. A leaf can be verified with its tree.
    Blake3,
    /// `blake3_tree_v2/` + 64 hex digits: the tree file of that BLAKE3 content (see [`crate::content`]).
    TreeV2,
}

/// The name of immutable content: a kind of hash and the hash.
///
/// On the wire an id is a string; the forms this node understands are exactly these three. It is a
/// fixed-size value so that a stranger's id can never become a path or an allocation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId {
    /// Which hash names the content.
    pub kind: Kind,
    /// The hash.
    pub hash: Hash,
}

/// Why a text is no [`ContentId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// Neither 64 hex digits nor one of the known prefixes followed by them.
    #[error("an id is 64 hexadecimal digits, alone or after `blake3/`")]
    NotAnId,
}

const BLAKE3: &str = "blake3/";
const TREE_V2: &str = "blake3_tree_v2/";

impl ContentId {
    /// Content by its SHA-256.
    #[must_use]
    pub fn sha256(hash: [u8; 32]) -> Self {
        Self {
            kind: Kind::Sha256,
            hash: Hash(hash),
        }
    }

    /// Content by its BLAKE3.
    #[must_use]
    pub fn blake3(hash: [u8; 32]) -> Self {
        Self {
            kind: Kind::Blake3,
            hash: Hash(hash),
        }
    }

    /// The tree file (version 2) of the content with this BLAKE3.
    #[must_use]
    pub fn tree_v2(hash: [u8; 32]) -> Self {
        Self {
            kind: Kind::TreeV2,
            hash: Hash(hash),
        }
    }

    /// Whether this names the content of length zero, which the network does not carry: everyone
    /// knows it.
    #[must_use]
    pub fn is_empty_content(&self) -> bool {
        match self.kind {
            Kind::Sha256 => self.hash.0 == EMPTY_SHA256,
            Kind::Blake3 => self.hash.0 == EMPTY_BLAKE3,
            Kind::TreeV2 => false,
        }
    }
}

/// SHA-256 of nothing (FIPS 180-4).
const EMPTY_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// BLAKE3 of nothing (the BLAKE3 test vectors, input length 0).
const EMPTY_BLAKE3: [u8; 32] = [
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49,
    0x9b, 0xcb, 0x25, 0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
];

impl FromStr for ContentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (kind, hex) = if let Some(hex) = text.strip_prefix(TREE_V2) {
            (Kind::TreeV2, hex)
        } else if let Some(hex) = text.strip_prefix(BLAKE3) {
            (Kind::Blake3, hex)
        } else {
            (Kind::Sha256, text)
        };
        let hash = Hash::from_hex(hex).ok_or(IdError::NotAnId)?;
        Ok(Self { kind, hash })
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Sha256 => "",
            Kind::Blake3 => BLAKE3,
            Kind::TreeV2 => TREE_V2,
        })?;
        fmt::Display::fmt(&self.hash, f)
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_hashes_are_those_of_nothing() {
        use sha2::Digest;
        assert_eq!(EMPTY_SHA256, <[u8; 32]>::from(sha2::Sha256::digest([])));
        assert_eq!(EMPTY_BLAKE3, *blake3::hash(&[]).as_bytes());
    }

    #[test]
    fn ids_are_read_in_either_case_and_written_in_lower_case() {
        let lower = "ab".repeat(32);
        for prefix in ["", "blake3/", "blake3_tree_v2/"] {
            let id: ContentId = format!("{prefix}{}", lower.to_uppercase()).parse().unwrap();
            assert_eq!(id.to_string(), format!("{prefix}{lower}"));
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let hex = "ab".repeat(32);
        for text in [
            String::new(),
            "../etc/passwd".into(),
            hex[1..].into(),
            format!("{hex}a"),
            format!("blake2/{hex}"),
            format!("blake3/{hex}/"),
            format!("/{hex}"),
            "é".repeat(32),
            "g".repeat(64),
        ] {
            assert_eq!(text.parse::<ContentId>(), Err(IdError::NotAnId), "{text}");
        }
    }
}
