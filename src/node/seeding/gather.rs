//! What a pass has found of each path that it began at.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::content::listing::Entry;

/// What was found at one path and below it.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Where it lies, once links to it are followed; `None` where nothing is there.
    pub real: Option<PathBuf>,
    /// Whether it is a folder.
    pub folder: bool,
    /// What belongs into the folder's listing, in the order of its hashing.
    pub entries: Vec<Entry>,
    /// Where the files lie that are served.
    pub served: HashSet<PathBuf>,
    /// Bytes of them.
    pub bytes: u64,
}
