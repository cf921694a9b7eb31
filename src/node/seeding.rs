//! The walk that finds files and hashes them into the store's index, so that they can be served.
//!
//! One thread walks, two hash: SHA-256 of one file keeps one core busy, so that a second helps, and
//! more would take the machine from its owner. Between them is a bounded queue, so that the memory
//! for names does not follow the number of files. The walk runs ahead of the hashing as far as the
//! queue lets it; for all but huge folders the observer knows the whole size after a moment.
//!
//! In a folder, names that begin with a dot are left out, as `ls` does: what people share is not
//! their `.git` and `.cache`. One that the user names is taken. Links and empty files have no content
//! to serve, but their place in the folder's listing.
//!
//! What is being written to must not be hashed half old, half new. A file's identity is taken
//! before and after, and a file that was changed a moment ago is left to rest first: the kernel
//! stamps changes with a clock that ticks every few milliseconds, and a write within the tick of
//! the first look would not show.

mod attempt;
mod gather;
mod keeper;
mod lanes;
mod observers;
mod pass;
mod priority;
mod status;
mod turns;
mod unseeding;
mod walk;
mod watching;

use std::io;
use std::path::{Path, PathBuf};

use crate::content::listing::ListingError;
use crate::content::{Hash, Listing};
use crate::store::{Store, StoreError};

pub use keeper::{Options, SeededRoot, Seeder};
pub use status::{RootStatus, Watch, statuses};
pub use unseeding::{UnseedError, unseed};

use pass::{Pass, Start};

/// Why something that was found is not seeded.
#[derive(Debug)]
pub enum Skip {
    /// The network does not carry content of length zero.
    Empty {
        /// Met inside a folder, so it is in the listing.
        listed: bool,
    },
    /// Met inside a folder: only listed. A link that the user names is followed.
    SymbolicLink,
    /// Met inside a folder, its name begins with a dot.
    Hidden,
    /// Served, but in no listing: its path is not UTF-8, which listings are.
    Unlisted,
    /// A link or an empty file, which could only be listed and cannot be for the same reason.
    NotText,
    /// A device, socket or pipe.
    Special,
    /// It cannot be opened, listed or read.
    Unreadable(io::Error),
    /// It was written to each time that it was hashed.
    Changing,
    /// The folder of the store itself, which is served anyway.
    OwnStore,
    /// Folders nested deeper than listings go.
    TooDeep,
}

/// One file that is served from now on.
#[derive(Debug)]
pub struct SeededFile<'a> {
    /// As the user named it: the argument, and below it the path inside.
    pub path: &'a Path,
    /// SHA-256 of the content.
    pub sha256: Hash,
    /// BLAKE3 of the content.
    pub blake3: Hash,
    /// Bytes.
    pub length: u64,
}

/// What the walk tells while it runs, from several threads at once.
pub trait Observer: Sync {
    /// A file of this many bytes will be hashed.
    fn found(&self, length: u64);
    /// This many more bytes have been hashed, or need no hashing since the index knows the file.
    fn progress(&self, bytes: u64);
    /// This file is served from now on.
    fn seeded(&self, file: &SeededFile<'_>);
    /// This path is not seeded.
    fn skipped(&self, path: &Path, why: &Skip);
    /// Whether to go on; asked at least once per MiB.
    fn wanted(&self) -> bool;
}

/// Walks `paths`, hashes what the index does not know unchanged, and adds it to `store`, which
/// serves each file from then on. Returns when all is done, or soon after the observer wants no
/// more. Nothing is remembered of the paths themselves; for that see [`Seeder`].
///
/// # Errors
/// The store fails. What is wrong with a file is told to the observer and ends nothing.
pub fn seed_paths(
    store: &Store,
    paths: &[PathBuf],
    observer: &dyn Observer,
) -> Result<(), StoreError> {
    let starts: Vec<Start> = paths.iter().cloned().map(Start::Argument).collect();
    Pass::of_store(store, observer).run(&starts)?;
    // A seeder runs for days and ends by a power cut: what was hashed is not hashed again.
    store.flush()
}

/// Hashes the folder `path` without any store. `None` if the observer wanted no more.
///
/// # Errors
/// What is in it cannot be listed. What is wrong with a file is told to the observer and leaves it
/// out.
pub fn list_folder(path: &Path, observer: &dyn Observer) -> Result<Option<Listing>, ListingError> {
    let start = Start::Argument(path.to_owned());
    // Only a store can fail.
    let gathered = Pass::alone(observer).run(&[start]).unwrap_or_default();
    let mut found = gathered.into_iter().next().unwrap_or_default();
    if observer.wanted() {
        found.take_listing().map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
