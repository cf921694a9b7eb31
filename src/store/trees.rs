//! Tree files of content that was hashed here, kept so that others can verify leaves of it.
//!
//! They can be made again from their content, and a million small ones are not worth a million
//! fsyncs. So a small one is not made durable when it is written but verified when it is opened; a
//! large one, where that would take long, the other way round. Content of a single leaf has no tree
//! worth keeping, since its one node cannot be verified; see [`super::one_leaf`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use tracing::warn;

use crate::content::{ContentId, Digests, LEAF, tree};

use super::Store;
use super::error::StoreError;
use super::file::Content;
use super::layout::{create_folder, remove_file, sync_folder};

/// From this size on a tree file is made durable rather than verified at each opening: content of
/// 4 MiB, verified in well under a millisecond.
const DURABLE: usize = 64 << 10;
/// Header of a tree file, by which only its root is checked here.
const ROOT: std::ops::Range<usize> = 32..64;

impl Store {
    /// Keeps the tree file of `digests`, where it has one, unless it is there already.
    pub(super) fn keep_tree(&self, digests: &Digests) -> Result<(), StoreError> {
        if digests.length <= LEAF || digests.tree.get(ROOT) != Some(&digests.blake3.0) {
            return Ok(());
        }
        let id = ContentId::tree_v2(digests.blake3.0);
        if self.open_file(&id)?.is_some() {
            return Ok(());
        }
        let from = self.layout().unfinished(&id);
        let write = || -> io::Result<File> {
            remove_file(&from)?;
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o444)
                .open(&from)?;
            file.write_all(&digests.tree)?;
            Ok(file)
        };
        let file = write().map_err(|e| StoreError::io("write", &from, e))?;
        self.place_tree(&id, &file, digests.tree.len() as u64, &from)
    }

    /// Keeps the tree file `file`, written to `from`, unless there is one already.
    pub(super) fn keep_tree_file(
        &self,
        id: &ContentId,
        file: &File,
        from: &Path,
    ) -> Result<(), StoreError> {
        if self.open_file(id)?.is_some() {
            return Ok(());
        }
        let found = file.metadata();
        let length = found.map_err(|e| StoreError::io("read", from, e))?.len();
        self.place_tree(id, file, length, from)
    }

    fn place_tree(
        &self,
        id: &ContentId,
        file: &File,
        length: u64,
        from: &Path,
    ) -> Result<(), StoreError> {
        let folder = self.layout().complete_folder(id);
        create_folder(&folder)?;
        let to = self.layout().complete(id);
        let durable = length >= DURABLE as u64;
        let place = || -> io::Result<()> {
            if durable {
                file.sync_all()?;
            }
            fs::rename(from, &to)?;
            if durable {
                sync_folder(&folder)?;
            }
            Ok(())
        };
        place().map_err(|e| StoreError::io("write", &to, e))?;
        self.enter(id, length)
    }

    /// `content` if it is the tree file that `id` names; one that is not is removed.
    pub(super) fn checked_tree(&self, id: &ContentId, content: Content) -> Option<Content> {
        if content.length() >= DURABLE as u64 {
            return Some(content);
        }
        let read = |offset, buffer: &mut [u8]| content.file().read_exact_at(buffer, offset);
        match tree::verify_tree(id.hash, content.length(), read) {
            Ok(true) => return Some(content),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => {
                warn!(%id, %error, "a tree file could not be read");
                return None;
            }
        }
        warn!(%id, "a damaged tree file is removed");
        let path = self.layout().complete(id);
        if let Err(error) = remove_file(&path) {
            warn!(path = %path.display(), %error, "a damaged tree file could not be removed");
        }
        if let Err(error) = self.leave(id) {
            warn!(%error, "a removed tree file could not be taken out of the index");
        }
        None
    }
}
