//! Hashing content for the store: the tree of long content goes to disk while it grows.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use tracing::warn;

use crate::content::{ContentHasher, ContentId, Digests};

use super::Store;
use super::error::StoreError;
use super::layout::remove_file;
use super::streaming_hasher::StreamingHasher;

/// Content from which on the tree is written meanwhile, in bytes; the tree of shorter content takes
/// 2 MiB of memory at most, and no file where it is not wanted in the end.
const LONG: u64 = 64 << 20;

/// Content that is being hashed. Dropped, it leaves nothing behind.
pub struct Hashing(How);

enum How {
    InMemory(Box<ContentHasher>),
    Streaming {
        hasher: Box<StreamingHasher>,
        file: TreeFile,
    },
}

/// Content that has been hashed. Dropped, it leaves nothing behind.
pub struct Hashed {
    digests: Digests,
    tree: Option<TreeFile>,
}

/// A tree file that is not in its place yet, and goes away unless it gets there.
struct TreeFile {
    store: Store,
    path: PathBuf,
    file: File,
}

impl Store {
    /// Begins to hash content of `length` bytes.
    ///
    /// # Errors
    /// What the disk said.
    pub fn hashing(&self, length: u64) -> Result<Hashing, StoreError> {
        let hasher = if length < LONG {
            None
        } else {
            StreamingHasher::new(length)
        };
        Ok(Hashing(match hasher {
            None => How::InMemory(Box::new(ContentHasher::new())),
            Some(hasher) => How::Streaming {
                hasher: Box::new(hasher),
                file: TreeFile::create(self)?,
            },
        }))
    }
}

impl Hashing {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the disk said; then it has to begin anew.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        match &mut self.0 {
            How::InMemory(hasher) => {
                hasher.update(bytes);
                Ok(())
            }
            How::Streaming { hasher, file } => hasher
                .update(bytes, |at, nodes| file.file.write_all_at(nodes, at))
                .map_err(|e| StoreError::io("write", &file.path, e)),
        }
    }

    /// Takes the first `count` bytes of `buffer` as the next, and leaves other memory in it, as
    /// [`StreamingHasher::hand_over`] does: for who reads long content as fast as it can be hashed.
    ///
    /// # Errors
    /// What the disk said; then it has to begin anew.
    pub fn hand_over(&mut self, buffer: &mut Vec<u8>, count: usize) -> Result<(), StoreError> {
        match &mut self.0 {
            How::InMemory(hasher) => {
                hasher.update(buffer.get(..count).unwrap_or(buffer));
                Ok(())
            }
            How::Streaming { hasher, file } => hasher
                .hand_over(buffer, count, |at, nodes| file.file.write_all_at(nodes, at))
                .map_err(|e| StoreError::io("write", &file.path, e)),
        }
    }

    /// After the last byte. `None` if long content turned out to have another length than was said.
    ///
    /// # Errors
    /// What the disk said.
    pub fn finish(self) -> Result<Option<Hashed>, StoreError> {
        let (digests, tree) = match self.0 {
            How::InMemory(hasher) => (Some(hasher.finish()), None),
            How::Streaming { hasher, file } => {
                let digests = hasher
                    .finish(|at, nodes| file.file.write_all_at(nodes, at))
                    .map_err(|e| StoreError::io("write", &file.path, e))?;
                (digests, Some(file))
            }
        };
        Ok(digests.map(|digests| Hashed { digests, tree }))
    }
}

impl Hashed {
    /// What was found. The tree may be on disk and not in it.
    #[must_use]
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Keeps the tree where it was written to disk. One in memory is kept by whoever takes the
    /// digests ([`Store::add_seeded`], [`Store::learned_digests`]).
    ///
    /// # Errors
    /// What the disk or the index said.
    pub fn keep_tree(self) -> Result<Digests, StoreError> {
        if let Some(tree) = self.tree {
            let id = ContentId::tree_v2(self.digests.blake3.0);
            tree.store.keep_tree_file(&id, &tree.file, &tree.path)?;
        }
        Ok(self.digests)
    }
}

impl TreeFile {
    fn create(store: &Store) -> Result<Self, StoreError> {
        let path = store.layout().unfinished_tree();
        let open = || {
            remove_file(&path)?;
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o444)
                .open(&path)
        };
        let file = open().map_err(|e| StoreError::io("create", &path, e))?;
        Ok(Self {
            store: store.clone(),
            path,
            file,
        })
    }
}

impl Drop for TreeFile {
    fn drop(&mut self) {
        // It is not there any more where it was renamed.
        if let Err(error) = remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "an unfinished tree could not be removed");
        }
    }
}
