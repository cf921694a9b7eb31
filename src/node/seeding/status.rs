//! What can be told of a file or folder that is seeded.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::content::Hash;
use crate::store::{Root, Store};

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

/// What is seeded, as the store has it.
#[must_use]
pub fn statuses(store: &Store) -> Vec<RootStatus> {
    let mut taken: HashMap<String, u32> = HashMap::new();
    let status = |root: Root| {
        let name = root.path.file_name().unwrap_or_default();
        let name = match name.to_string_lossy() {
            name if name.is_empty() => "root".to_owned(),
            name => name.into_owned(),
        };
        let times = taken.entry(name.clone()).or_default();
        *times += 1;
        RootStatus {
            folder: root.listing.is_some() || root.path.is_dir(),
            name: match *times {
                1 => name,
                n => format!("{name} ({n})"),
            },
            path: root.path,
            once: root.once,
            files: root.files,
            bytes: root.bytes,
            listing: root.listing,
            hashing: None,
            watch: Watch::Never,
        }
    };
    store.roots().into_iter().map(status).collect()
}
