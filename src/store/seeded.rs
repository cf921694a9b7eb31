//! Files of the user's that are given to the network from where they lie: never copied, never
//! opened for writing, and served only while they are what was hashed.

use std::path::{Path, PathBuf};

use tracing::warn;

use crate::content::{ContentId, Digests, Hash};

use super::Store;
use super::error::StoreError;
use super::identity::Identity;
use super::record::Record;

/// A file seeded from where it lies, as it was when hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeded {
    /// Where.
    pub path: PathBuf,
    /// SHA-256 of the content.
    pub sha256: Hash,
    /// BLAKE3 of the content.
    pub blake3: Hash,
    /// Bytes.
    pub length: u64,
}

impl Store {
    /// Seeds the file at `path`, which was `identity` when it was hashed to `digests`. Absolute; no
    /// component may be a symbolic link, since none is followed when it is opened.
    ///
    /// # Errors
    /// What the index or the disk said.
    pub fn add_seeded(
        &self,
        path: &Path,
        identity: Identity,
        digests: &Digests,
    ) -> Result<(), StoreError> {
        self.add_all_seeded(&[(path, identity, digests)])
    }

    /// [`Store::add_seeded`] for many files at once, at a tenth of the cost for each.
    ///
    /// # Errors
    /// What the index or the disk said; then none of them is seeded.
    pub fn add_all_seeded(&self, files: &[(&Path, Identity, &Digests)]) -> Result<(), StoreError> {
        let records: Vec<_> = files
            .iter()
            .map(|(path, identity, digests)| {
                let record = Record {
                    sha256: digests.sha256,
                    blake3: digests.blake3,
                    identity: *identity,
                };
                (*path, record)
            })
            .collect();
        for (_, _, digests) in files {
            self.keep_tree(digests)?;
        }
        for (_, _, digests) in files {
            // Before the index has them, so that a question is never denied what is there.
            self.0.prefixes.insert(&ContentId::sha256(digests.sha256.0));
            self.0.prefixes.insert(&ContentId::blake3(digests.blake3.0));
        }
        self.0.index.add_seeded(&records)?;
        self.changed(files.len(), None)
    }

    /// The hashes (SHA-256, BLAKE3) and length of a seeded file that has not changed since it was
    /// hashed.
    #[must_use]
    pub fn seeded_digests(&self, path: &Path, identity: &Identity) -> Option<(Hash, Hash, u64)> {
        let record = self.0.index.seeded_at(path).ok()??;
        record
            .identity
            .is_still(identity)
            .then_some((record.sha256, record.blake3, identity.size))
    }

    /// The seeded file at `path`, as it was when it was hashed.
    #[must_use]
    pub fn seeded_at(&self, path: &Path) -> Option<Seeded> {
        let record = self.0.index.seeded_at(path).ok()??;
        Some(Seeded {
            path: path.to_owned(),
            sha256: record.sha256,
            blake3: record.blake3,
            length: record.identity.size,
        })
    }

    /// Every seeded file, in the order of the paths' bytes. For very many, see
    /// [`Store::seeded_after`].
    #[must_use]
    pub fn seeded(&self) -> Vec<Seeded> {
        self.seeded_after(Path::new(""), usize::MAX)
    }

    /// The seeded files whose paths come after `path` in the order of their bytes, at most `limit`.
    #[must_use]
    pub fn seeded_after(&self, path: &Path, limit: usize) -> Vec<Seeded> {
        let found = self.0.index.seeded(path, limit).unwrap_or_else(|error| {
            warn!(%error, "the seeded files could not be listed");
            Vec::new()
        });
        found
            .into_iter()
            .map(|(path, record)| Seeded {
                path,
                sha256: record.sha256,
                blake3: record.blake3,
                length: record.identity.size,
            })
            .collect()
    }

    /// Seeds `path` no longer.
    ///
    /// # Errors
    /// What the index said.
    pub fn forget_seeded(&self, path: &Path) -> Result<(), StoreError> {
        if let Some(record) = self.0.index.seeded_at(path)? {
            self.0.index.remove_seeded(path)?;
            self.0
                .open_files
                .forget(&ContentId::sha256(record.sha256.0));
            self.0
                .open_files
                .forget(&ContentId::blake3(record.blake3.0));
        }
        self.changed(1, None)
    }
}
