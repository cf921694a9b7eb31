//! Folder listings: the names, times and modes of a published folder, as content.
//!
//! A listing is text that `sha256sum -c` accepts, so that a folder can be checked without this
//! program, and its id is the SHA-256 of the text, so that the same folder has the same id anywhere:
//!
//! ```text
//! # cjp2pfs-folder 1
//! # <length> <modified, RFC 3339, UTC> <octal mode> <blake3 hex or ->
//! <sha256>  <relative path>
//! # -> <target>
//! #  <relative path of a symbolic link>
//! # /
//! #  <relative path of a folder with nothing in it>
//! ```
//! Each entry is two lines, and entries are sorted by the bytes of their paths. Backslashes, newlines
//! and carriage returns in names are escaped as coreutils does (the line then starts with a
//! backslash); in the comment lines of links and folders they are always escaped. Folders with
//! something in them are named by what is in them alone. Times are whole seconds, since
//! what is beyond them differs between file systems and copying programs, and the id would too.
//!
//! A listing comes from strangers. What could name anything outside the folder, or the same thing
//! twice, or more than fits into memory, makes the whole listing wrong: half a folder that looks
//! whole would be worse than none. The one thing that is harmless to list and not to follow is a
//! link that leads out; whoever shows or makes it asks [`Entry::leads_out`] first.

mod moment;
mod parse;
mod tree;
mod write;

use thiserror::Error;

use super::{Hash, MAX_LENGTH};

pub use tree::{Node, Tree, What};

/// The longest listing, in bytes: some 300,000 files.
pub const MAX_LISTING: u64 = 64 << 20;
/// Files, links and folders in one listing.
pub const MAX_NODES: usize = 1 << 20;
/// Folders within folders.
pub const MAX_DEPTH: usize = 200;
/// The longest path, in bytes, as systems limit it (`PATH_MAX` counts a NUL).
const MAX_PATH: usize = 4095;
/// The longest name in a folder, in bytes (`NAME_MAX`).
const MAX_NAME: usize = 255;

/// The permission bits that a listing keeps: no setuid, setgid or sticky bit.
pub const MODE_BITS: u32 = 0o777;

/// One file, link or empty folder of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the folder, components separated by `/`.
    pub path: Box<str>,
    /// What is there.
    pub what: Listed,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// A regular file.
    File {
        /// Bytes.
        length: u64,
        /// Time of the last modification, in seconds since 1970.
        modified: i64,
        /// Permission bits (of [`MODE_BITS`]).
        mode: u32,
        /// SHA-256 of its content.
        sha256: Hash,
        /// BLAKE3 of its content, where whoever made the listing knew it.
        blake3: Option<Hash>,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: Box<str>,
    },
    /// A folder with nothing in it.
    EmptyFolder,
}

/// Why a text is no folder listing, or a folder cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListingError {
    /// It does not begin as listings do.
    #[error("this is no folder listing")]
    NotAListing,
    /// Not text.
    #[error("the folder listing is not UTF-8")]
    NotText,
    /// More than is taken.
    #[error("the folder listing is too long")]
    TooLong,
    /// More entries than are taken.
    #[error("the folder has more than {MAX_NODES} files, links and folders")]
    TooMany,
    /// A line that has not the form it must have.
    #[error("line {0} of the folder listing is malformed")]
    Malformed(usize),
    /// A path that no entry may have.
    #[error("the folder listing names a path that no file in it can have: {0:?}")]
    BadPath(String),
    /// Entries out of order, or the same path twice.
    #[error("the folder listing names {0:?} twice or out of order")]
    OutOfOrder(String),
    /// A path below something that is no folder.
    #[error("the folder listing names {0:?} both as a folder and as something else")]
    NotAFolder(String),
}

/// A folder, checked: whatever is in here can be shown and made safely, but for links that lead out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    entries: Vec<Entry>,
}

impl Listing {
    /// Of these entries, in any order.
    ///
    /// # Errors
    /// [`ListingError`] where they cannot stand in one folder.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, ListingError> {
        entries.sort_unstable_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        Self::checked(entries)
    }

    /// The entries, sorted by the bytes of their paths.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The files among them: path, length, SHA-256.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64, &Hash)> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            Listed::File { length, sha256, .. } => Some((&*entry.path, *length, sha256)),
            Listed::Link { .. } | Listed::EmptyFolder => None,
        })
    }

    /// Of entries that are sorted already.
    fn checked(entries: Vec<Entry>) -> Result<Self, ListingError> {
        let mut nodes = entries.len();
        let mut before = "";
        for entry in &entries {
            let path = &*entry.path;
            if !is_path(path) || !entry.what.is_possible() {
                return Err(ListingError::BadPath(path.to_owned()));
            }
            if !before.is_empty() && before.as_bytes() >= path.as_bytes() {
                return Err(ListingError::OutOfOrder(path.to_owned()));
            }
            // Folders that the entry before does not lie in are new: what lies in one folder
            // stands together.
            let common = common_prefix(before, path);
            for (at, _) in path.match_indices('/').filter(|(at, _)| *at >= common) {
                nodes = nodes.saturating_add(1);
                let folder = path.get(..at).unwrap_or_default();
                let taken = entries
                    .binary_search_by(|other| other.path.as_bytes().cmp(folder.as_bytes()))
                    .is_ok();
                if taken {
                    return Err(ListingError::NotAFolder(folder.to_owned()));
                }
            }
            before = path;
        }
        if nodes >= MAX_NODES {
            return Err(ListingError::TooMany);
        }
        Ok(Self { entries })
    }
}

/// How far two texts agree, in bytes.
fn common_prefix(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

/// Whether an entry may have this path.
fn is_path(path: &str) -> bool {
    path.len() <= MAX_PATH
        && path.split('/').count() <= MAX_DEPTH
        && path.split('/').all(|name| {
            !name.is_empty()
                && name.len() <= MAX_NAME
                && name != "."
                && name != ".."
                && !name.contains('\0')
        })
}

impl Listed {
    fn is_possible(&self) -> bool {
        match self {
            // Everybody knows the content of length zero, and so a lie about it.
            Self::File { length, sha256, .. } => {
                *length <= MAX_LENGTH
                    && (*length == 0) == super::ContentId::sha256(sha256.0).is_empty_content()
            }
            Self::Link { target } => {
                !target.is_empty() && target.len() <= MAX_PATH && !target.contains('\0')
            }
            Self::EmptyFolder => true,
        }
    }
}

impl Entry {
    /// Whether it is a link that could lead out of the folder.
    ///
    /// `..` may only come first, and not more often than there are folders above the link. Behind
    /// another name it could climb from wherever that name is a link to; so, where every link keeps
    /// to this, none leads out, nor any chain of them.
    #[must_use]
    pub fn leads_out(&self) -> bool {
        match &self.what {
            Listed::File { .. } | Listed::EmptyFolder => false,
            Listed::Link { target } => leads_out(self.path.matches('/').count(), target),
        }
    }
}

fn leads_out(depth: usize, target: &str) -> bool {
    let mut climbed = 0usize;
    let mut named = false;
    for name in target.split('/') {
        match name {
            ".." if named => return true,
            ".." => climbed = climbed.saturating_add(1),
            "" | "." => {}
            _ => named = true,
        }
    }
    target.starts_with('/') || climbed > depth
}

#[cfg(test)]
mod tests;
