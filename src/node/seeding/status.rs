//! What can be told of a file or folder that is seeded.

use std::path::PathBuf;

use crate::content::Hash;

/// How changes of it are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Not at all: seeded as it was.
    Never,
    /// As they happen.
    Live,
    /// By looking again every now and then, because the system's limit of watches is reached.
    Rescans,
}

/// A file or folder that is seeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootStatus {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it is one folder, or a single file.
    pub folder: bool,
    /// Its name among all that is seeded: that of the file or folder, with a number where two have
    /// the same.
    pub name: String,
    /// Only until the daemon ends.
    pub once: bool,
    /// Files in it that are served.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// SHA-256 of the folder's listing, once there is one.
    pub listing: Option<Hash>,
    /// Whether it is being hashed now, and if so how many bytes of how many are done.
    pub hashing: Option<(u64, u64)>,
    /// How changes are noticed.
    pub watch: Watch,
}
