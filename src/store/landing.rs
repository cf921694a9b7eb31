//! Complete content comes to lie where it belongs, and into the index; or leaves it.

use std::fs;
use std::path::Path;

use tracing::warn;

use super::error::StoreError;
use super::index::Entry;
use super::layout::{create_folder, on_disk, sync_folder};
use super::{FLUSH_AFTER, FLUSH_AFTER_CHANGES, Store, lock, uses};
use crate::content::ContentId;

impl Store {
    /// Renames `from`, whose bytes are durable, to where complete content of `id` belongs, and
    /// enters it into the index.
    pub(super) fn land(&self, id: &ContentId, length: u64, from: &Path) -> Result<(), StoreError> {
        let folder = self.layout().complete_folder(id);
        let to = self.layout().complete(id);
        {
            // Who finds the folder there relies on its name being durable.
            let _alone = lock(&self.0.making_folder);
            if !folder.is_dir() {
                create_folder(&folder)?;
                let above = self.layout().kind_folder(id.kind);
                sync_folder(&above).map_err(|e| StoreError::io("write", &above, e))?;
            }
        }
        self.0.prefixes.insert(id);
        fs::rename(from, &to)
            .and_then(|()| sync_folder(&folder))
            .and_then(|()| sync_folder(&self.layout().partial_root()))
            .map_err(|e| StoreError::io("write", &to, e))?;
        // The file counts, and its map will bring it into the index at the next start.
        if let Err(error) = self.enter(id, length) {
            warn!(%id, %error, "complete content could not be entered into the index");
        }
        Ok(())
    }

    pub(super) fn enter(&self, id: &ContentId, length: u64) -> Result<(), StoreError> {
        self.0.prefixes.insert(id);
        Ok(self.0.index.add_complete(&[self.entry(id, length)])?)
    }

    /// What the index is to say of complete content whose file is in its place.
    pub(super) fn entry(&self, id: &ContentId, length: u64) -> Entry {
        let found = fs::metadata(self.layout().complete(id));
        Entry {
            id: *id,
            length,
            on_disk: found.map_or(length, |found| on_disk(&found)),
            used: uses::now(),
        }
    }

    pub(super) fn leave(&self, id: &ContentId) -> Result<(), StoreError> {
        Ok(self.0.index.remove_complete(id)?)
    }

    /// Counts changes of the index and makes them durable when enough have gathered.
    pub(super) fn changed(&self, changes: usize, landed: Option<Entry>) -> Result<(), StoreError> {
        let due = {
            let mut unsaved = lock(&self.0.unsaved);
            unsaved.changes += changes;
            unsaved.landed.extend(landed);
            unsaved.changes >= FLUSH_AFTER_CHANGES || unsaved.since.elapsed() >= FLUSH_AFTER
        };
        if due { self.flush() } else { Ok(()) }
    }
}
