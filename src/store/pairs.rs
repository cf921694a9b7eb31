//! Which SHA-256 and which BLAKE3 are of the same content.

use tracing::warn;

use super::Store;
use super::error::StoreError;
use crate::content::{ContentId, Digests, Hash, Kind};

impl Store {
    /// Keeps what one pass over complete content taught: which hashes belong together, so that it
    /// is found by either, and the tree. A failure is logged; all of it can be learned again.
    pub fn learned_digests(&self, digests: &Digests) {
        let learn = || -> Result<(), StoreError> {
            self.0.index.add_pair(digests.sha256, digests.blake3)?;
            self.0.prefixes.insert(&ContentId::sha256(digests.sha256.0));
            self.0.prefixes.insert(&ContentId::blake3(digests.blake3.0));
            self.keep_tree(digests)?;
            self.changed(1, None)
        };
        if let Err(error) = learn() {
            warn!(sha256 = %digests.sha256, %error, "the hashes of content could not be kept");
        }
    }

    /// Keeps that the two are the hashes of the same content, which has been proven. The tree and the
    /// other name of content that is complete are learnt with [`Store::learned_digests`].
    ///
    /// # Errors
    /// What the index said.
    pub fn add_pair(&self, sha256: Hash, blake3: Hash) -> Result<(), StoreError> {
        self.0.index.add_pair(sha256, blake3)?;
        self.changed(1, None)
    }

    /// The same content's other id (SHA-256 for BLAKE3 and the other way round), where it is known
    /// because the content was hashed here, or proved what peers claim. It is kept for ever.
    #[must_use]
    pub fn paired(&self, id: &ContentId) -> Option<ContentId> {
        if let Some(other) = self.0.index.paired(id).ok()? {
            return Some(other);
        }
        let files = self.0.index.seeded_as(id, 1).ok()?;
        let (_, record) = files.into_iter().next()?;
        match id.kind {
            Kind::Sha256 => Some(ContentId::blake3(record.blake3.0)),
            Kind::Blake3 => Some(ContentId::sha256(record.sha256.0)),
            Kind::TreeV2 => None,
        }
    }
}
