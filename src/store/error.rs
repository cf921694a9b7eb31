//! Why the store could not do something, in a sentence for the person who runs it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::content::PublishedName;

/// Why an operation of the store failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process holds the lock.
    #[error("the store {} is in use by another process", dir.display())]
    InUse {
        /// The store's folder.
        dir: PathBuf,
    },
    /// Something that is not a folder lies where the store should be.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// What is not a folder.
        path: PathBuf,
    },
    /// The rights of this process do not suffice.
    #[error("no permission to {doing} {}", path.display())]
    Permission {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Written by a later release, whose layout this one does not know.
    #[error(
        "the store {} has layout version {found}, newer than this program understands ({known})",
        dir.display(),
        known = super::layout::VERSION
    )]
    NewerVersion {
        /// The store's folder.
        dir: PathBuf,
        /// The version that the store says it has.
        found: u64,
    },
    /// The index was written by a later release.
    #[error(
        "the index of the store {} was written by a newer version of this program ({what})",
        dir.display()
    )]
    NewerIndex {
        /// The store's folder.
        dir: PathBuf,
        /// What of it is newer.
        what: String,
    },
    /// The `version` file holds no number: this is some other folder.
    #[error("{} is not a store: its version file is not a number", dir.display())]
    NotAStore {
        /// The folder.
        dir: PathBuf,
    },
    /// The disk, or this user's share of it, is full.
    #[error("no space left to {doing} {}", path.display())]
    NoSpace {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Any other failure of the disk or its file system.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Others could read, and use, the node's key.
    #[error(
        "the key {} is open to others (mode {mode:04o}); `chmod 600` closes it",
        path.display()
    )]
    KeyIsOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file of the node's key holds something else.
    #[error("{} holds no key: 64 hexadecimal digits are expected", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// One published name goes on below another: what is published under the shorter would hide what
    /// is published under the longer.
    #[error(
        "`{name}` and `{published}`, which is published, cannot both be: one would hide the other; \
         choose another name or unpublish `{published}`"
    )]
    NameInTheWay {
        /// The name that was to be published.
        name: PublishedName,
        /// The one that is.
        published: PublishedName,
    },
    /// The embedded database refused.
    #[error("the index of the store failed")]
    Index(#[source] Box<redb::Error>),
    /// A length beyond [`crate::content::MAX_LENGTH`], or none at all.
    #[error("content of {length} bytes cannot be stored")]
    Length {
        /// The length asked for, in bytes.
        length: u64,
    },
    /// Completion was asked for while bytes are missing.
    #[error("only {present} of {length} bytes are present")]
    Incomplete {
        /// Bytes on disk.
        present: u64,
        /// Bytes of the whole.
        length: u64,
    },
    /// The partial content was discarded, or replaced by one of another length.
    #[error("this partial content was discarded")]
    Discarded,
}

impl StoreError {
    /// The error for `source`, met while `doing` something to `path`.
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission {
                doing,
                path,
                source,
            },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace {
                doing,
                path,
                source,
            },
            io::ErrorKind::NotADirectory => Self::NotAFolder { path },
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }

    /// The operating system's number for it, `EIO` where there is none better.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Permission { source, .. }
            | Self::NoSpace { source, .. }
            | Self::Io { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
            Self::NotAFolder { .. } => libc::ENOTDIR,
            Self::InUse { .. } => libc::EBUSY,
            Self::Length { .. } => libc::EFBIG,
            Self::Index(source) => match &**source {
                redb::Error::Io(source) => source.raw_os_error().unwrap_or(libc::EIO),
                _ => libc::EIO,
            },
            _ => libc::EIO,
        }
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        Self::Index(Box::new(error))
    }
}
