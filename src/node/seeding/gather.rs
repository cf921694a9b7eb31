//! What a pass has found of each path that it began at.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::content::Listing;
use crate::content::listing::{Entry, Listed, ListingError};

/// What was found at one path and below it.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Where it lies, once links to it are followed; `None` where nothing is there.
    pub real: Option<PathBuf>,
    /// Whether it is a folder.
    pub folder: bool,
    /// Whether it is a file with nothing in it.
    pub empty: bool,
    /// What belongs into the folder's listing, in the order of its hashing.
    pub entries: Vec<Entry>,
    /// The folders in it that could be read, by their places in the listing.
    pub folders: Vec<Box<str>>,
    /// Where the files lie that are served.
    pub served: HashSet<PathBuf>,
    /// Bytes of them.
    pub bytes: u64,
}

impl Gathered {
    /// The folder's listing, of what was found of it, which is taken out.
    ///
    /// # Errors
    /// What is in it cannot be listed.
    pub fn take_listing(&mut self) -> Result<Listing, ListingError> {
        let mut entries = std::mem::take(&mut self.entries);
        let folders = std::mem::take(&mut self.folders);
        let mut filled = HashSet::new();
        for path in entries
            .iter()
            .map(|entry| &*entry.path)
            .chain(folders.iter().map(|f| &**f))
        {
            let mut path = path;
            while let Some((folder, _)) = path.rsplit_once('/')
                && filled.insert(folder)
            {
                path = folder;
            }
        }
        let empty: Vec<_> = folders
            .iter()
            .filter(|folder| !filled.contains(&***folder))
            .map(|folder| Entry {
                path: folder.clone(),
                what: Listed::EmptyFolder,
            })
            .collect();
        drop(filled);
        entries.extend(empty);
        Listing::new(entries)
    }
}
