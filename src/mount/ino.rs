//! Inode numbers: fixed ones of the folders that are always there, and those of content.

use super::names::Folder;
use crate::content::ContentId;

/// An inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The root, by FUSE's rules.
    pub const ROOT: Self = Self(1);
    /// `blake3/`.
    pub const BLAKE3: Self = Self(2);
    /// `folder/`.
    pub const FOLDERS: Self = Self(3);
    /// `seeding/`.
    pub const SEEDING: Self = Self(4);
    /// `latest/`.
    pub const LATEST: Self = Self(5);
    /// `stream/`.
    pub const STREAM: Self = Self(6);

    /// The number that content of this id has, but for a collision: the head of its hash, so that
    /// a file keeps its number from mount to mount. Between 2^62 and 2^63, apart from the folders'
    /// and positive where programs hold it in a signed integer.
    #[must_use]
    pub fn of_content(id: &ContentId) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = id.hash.0;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 2 | 1 << 62)
    }

    /// The number of a folder.
    #[must_use]
    pub fn of_folder(folder: Folder) -> Self {
        match folder {
            Folder::Root => Self::ROOT,
            Folder::Blake3 => Self::BLAKE3,
            Folder::Published => Self::FOLDERS,
            Folder::Seeding => Self::SEEDING,
            Folder::Latest => Self::LATEST,
            Folder::Stream => Self::STREAM,
        }
    }

    /// The folder that has this number, if one has.
    #[must_use]
    pub fn folder(self) -> Option<Folder> {
        match self {
            Self::ROOT => Some(Folder::Root),
            Self::BLAKE3 => Some(Folder::Blake3),
            Self::FOLDERS => Some(Folder::Published),
            Self::SEEDING => Some(Folder::Seeding),
            Self::LATEST => Some(Folder::Latest),
            Self::STREAM => Some(Folder::Stream),
            _ => None,
        }
    }
}
