//! From text to entries. The text comes from strangers: whatever is not exactly what
//! [`Listing::to_text`](super::Listing::to_text) writes is refused, so that one folder has one id.

use std::borrow::Cow;

use super::{Entry, Listed, Listing, ListingError, MAX_LISTING, MAX_NODES, MODE_BITS, moment};
use crate::content::Hash;

/// The first line.
pub(super) const HEADER: &str = "# cjp2pfs-folder 1";
/// The start of the first line of a link, before its target.
pub(super) const LINK: &str = "# -> ";
/// The first line of an empty folder.
pub(super) const EMPTY_FOLDER: &str = "# /";
/// The start of the second line of a link or an empty folder, before its path.
pub(super) const PATH: &str = "#  ";

/// Digits of a hash.
const DIGITS: usize = 64;

impl Listing {
    /// Whether `text` begins as a listing does. Nothing else is said of it.
    #[must_use]
    pub fn is_announced(text: &[u8]) -> bool {
        text.strip_prefix(HEADER.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&b'\n'))
    }

    /// Reads a listing.
    ///
    /// # Errors
    /// [`ListingError`] for whatever is not wholly right.
    pub fn parse(text: &[u8]) -> Result<Self, ListingError> {
        if text.len() as u64 > MAX_LISTING {
            return Err(ListingError::TooLong);
        }
        if !Self::is_announced(text) {
            return Err(ListingError::NotAListing);
        }
        let text = std::str::from_utf8(text).map_err(|_| ListingError::NotText)?;
        let mut lines = Lines { text, number: 0 };
        lines.next()?;
        let mut entries = Vec::new();
        while let Some(head) = lines.next()? {
            let malformed = ListingError::Malformed(lines.number);
            let body = lines.next()?.ok_or(ListingError::Malformed(lines.number))?;
            let entry = match head.strip_prefix(LINK) {
                Some(target) => link(target, body),
                None if head == EMPTY_FOLDER => empty_folder(body),
                None => file(head, body),
            };
            if entries.len() >= MAX_NODES {
                return Err(ListingError::TooMany);
            }
            entries.push(entry.ok_or(malformed)?);
        }
        Self::checked(entries)
    }
}

/// Lines, each with its newline.
struct Lines<'a> {
    text: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<Option<&'a str>, ListingError> {
        if self.text.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let (line, rest) = self
            .text
            .split_once('\n')
            .ok_or(ListingError::Malformed(self.number))?;
        self.text = rest;
        Ok(Some(line))
    }
}

fn link(target: &str, body: &str) -> Option<Entry> {
    let path = body.strip_prefix(PATH)?;
    Some(Entry {
        path: unescaped(path)?.into(),
        what: Listed::Link {
            target: unescaped(target)?.into(),
        },
    })
}

fn empty_folder(body: &str) -> Option<Entry> {
    Some(Entry {
        path: unescaped(body.strip_prefix(PATH)?)?.into(),
        what: Listed::EmptyFolder,
    })
}

fn file(head: &str, body: &str) -> Option<Entry> {
    let mut words = head.strip_prefix("# ")?.split(' ');
    let length = number(words.next()?, 10)?;
    let modified = moment::read(words.next()?)?;
    let mode = u32::try_from(number(words.next()?, 8)?).ok()?;
    let blake3 = match words.next()? {
        "-" => None,
        hex => Some(hash(hex)?),
    };
    if words.next().is_some() || mode & !MODE_BITS != 0 {
        return None;
    }
    let (escaped, line) = match body.strip_prefix('\\') {
        Some(line) => (true, line),
        None => (false, body),
    };
    let sha256 = hash(line.get(..DIGITS)?)?;
    let path = line.get(DIGITS..)?.strip_prefix("  ")?;
    let path = if escaped {
        unescaped(path)?
    } else {
        Cow::Borrowed(path)
    };
    // As coreutils has it: escaped where need be, and only there.
    if escaped != path.contains(['\\', '\n', '\r']) {
        return None;
    }
    Some(Entry {
        path: path.into(),
        what: Listed::File {
            length,
            modified,
            mode,
            sha256,
            blake3,
        },
    })
}

/// A number as it is written: no sign, no needless zeros.
fn number(text: &str, radix: u32) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.starts_with('0') && text.len() > 1) {
        return None;
    }
    u64::from_str_radix(text, radix).ok()
}

fn hash(hex: &str) -> Option<Hash> {
    if hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    Hash::from_hex(hex)
}

fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('\r') {
        return None;
    }
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(Cow::Owned(plain))
}
