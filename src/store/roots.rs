//! What the user has told to be seeded: files and folders by path, remembered over restarts, and
//! the listing that each folder was last published under.

use std::path::{Path, PathBuf};

use tracing::warn;

use crate::content::{ContentHasher, ContentId, Digests, Hash, Listing};

use super::Store;
use super::error::StoreError;

/// A file or folder that is seeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Absolute and canonical when it was added.
    pub path: PathBuf,
    /// Only until the daemon ends, and as it was when it was hashed.
    pub once: bool,
    /// SHA-256 of a folder's listing, once there is one.
    pub listing: Option<Hash>,
    /// Files in it that were hashed.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Bytes of a record: flags, the listing (zeros are none), files, bytes.
const RECORD: usize = 1 + 32 + 8 + 8;
const ONCE: u8 = 1;
/// Seeded files that are forgotten in one go.
const BATCH: usize = 1000;

impl Root {
    /// A file or folder that nothing is known of yet.
    #[must_use]
    pub fn new(path: PathBuf, once: bool) -> Self {
        Self {
            path,
            once,
            listing: None,
            files: 0,
            bytes: 0,
        }
    }

    fn encode(&self) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        let (flags, rest) = record.split_at_mut(1);
        flags.fill(if self.once { ONCE } else { 0 });
        let (listing, rest) = rest.split_at_mut(32);
        listing.copy_from_slice(&self.listing.map_or([0; 32], |hash| hash.0));
        let (files, bytes) = rest.split_at_mut(8);
        files.copy_from_slice(&self.files.to_le_bytes());
        bytes.copy_from_slice(&self.bytes.to_le_bytes());
        record
    }

    fn decode(path: PathBuf, record: &[u8]) -> Option<Self> {
        let (flags, rest) = record.split_first_chunk::<1>()?;
        let (listing, rest) = rest.split_first_chunk::<32>()?;
        let (files, rest) = rest.split_first_chunk::<8>()?;
        let bytes = rest.first_chunk::<8>()?;
        Some(Self {
            path,
            once: flags[0] & ONCE != 0,
            listing: (*listing != [0; 32]).then_some(Hash(*listing)),
            files: u64::from_le_bytes(*files),
            bytes: u64::from_le_bytes(*bytes),
        })
    }
}

impl Store {
    /// What is to be seeded, by path.
    #[must_use]
    pub fn roots(&self) -> Vec<Root> {
        let found = self.0.index.roots().unwrap_or_else(|error| {
            warn!(%error, "what is to be seeded could not be read");
            Vec::new()
        });
        let decode = |(path, record): (PathBuf, Vec<u8>)| Root::decode(path, &record);
        found.into_iter().filter_map(decode).collect()
    }

    /// Adds `root`, or replaces what was known of its path, and makes that durable.
    ///
    /// # Errors
    /// What the index said.
    pub fn put_root(&self, root: &Root) -> Result<(), StoreError> {
        self.0.index.put_root(&root.path, &root.encode())?;
        self.changed(1, None)?;
        self.flush()
    }

    /// Takes `path` out. Its files stay known until [`Store::forget_seeded_below`].
    ///
    /// # Errors
    /// What the index said.
    pub fn remove_root(&self, path: &Path) -> Result<(), StoreError> {
        self.0.index.remove_root(path)?;
        self.changed(1, None)?;
        self.flush()
    }

    /// Seeds no longer `path` nor anything below it, save what `keep` wants. Returns how many files
    /// that were.
    ///
    /// # Errors
    /// What the index said.
    pub fn forget_seeded_below(
        &self,
        path: &Path,
        mut keep: impl FnMut(&Path) -> bool,
    ) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        if self.0.index.seeded_at(path)?.is_some() && !keep(path) {
            self.forget_seeded(path)?;
            forgotten += 1;
        }
        // What begins with the path and a slash stands together.
        let mut after = path.join("");
        loop {
            let batch = self.0.index.seeded(&after, BATCH)?;
            let Some((last, _)) = batch.last() else { break };
            after.clone_from(last);
            let mut inside = true;
            for (found, _) in &batch {
                inside = found.starts_with(path);
                if !inside {
                    break;
                }
                if !keep(found) {
                    self.forget_seeded(found)?;
                    forgotten += 1;
                }
            }
            if !inside || batch.len() < BATCH {
                break;
            }
        }
        Ok(forgotten)
    }

    /// Keeps a folder's listing as content of the store.
    ///
    /// # Errors
    /// What the index or the disk said.
    pub fn keep_listing(&self, listing: &Listing) -> Result<Digests, StoreError> {
        self.keep_bytes(listing.to_text().as_bytes())
    }

    /// Keeps `bytes` as complete content, verified and durable.
    ///
    /// # Errors
    /// What the index or the disk said.
    pub fn keep_bytes(&self, bytes: &[u8]) -> Result<Digests, StoreError> {
        let mut hasher = ContentHasher::new();
        hasher.update(bytes);
        let digests = hasher.finish();
        let id = ContentId::sha256(digests.sha256.0);
        if self.open_content(&id)?.is_none() {
            let partial = self.partial(&id, digests.length)?;
            let path = partial.data_path();
            partial
                .write_at(0, bytes)
                .map_err(|e| StoreError::io("write", &path, e))?;
            partial.note_present(crate::content::ByteRange::new(0, digests.length));
            partial.complete()?;
            self.learned_digests(&digests);
        }
        Ok(digests)
    }
}
