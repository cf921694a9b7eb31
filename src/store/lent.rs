//! Complete content whose file the user has, too: one file with two names, instead of two copies.
//!
//! A file that was fetched to a place of the user's choice would otherwise lie on the disk twice, and
//! be written twice. So it gets a second name there, and is the user's to change. The store keeps
//! its own name for it and notes what the file was; by that a change shows, and then the content is
//! held no more: the file is left to the user. Removing, renaming or protecting it at the user's
//! place changes nothing here, which is why the change time does not count.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tracing::warn;

use crate::content::{ContentId, Kind};

use super::Store;
use super::error::StoreError;
use super::file::Content;
use super::layout::remove_file;

/// How far back the modification time of a lent file is set: more than the tick of any clock that
/// stamps files, so that every later write gives it another one.
const BEFORE: Duration = Duration::from_secs(2);
/// The permissions that tell a lent file from one that nobody changes.
const WRITABLE: u32 = 0o222;

/// What a lent file was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lent {
    size: u64,
    mtime: (i64, i64),
    inode: u64,
}

/// Bytes of a record: four numbers, little-endian.
pub(super) const RECORD: usize = 32;

impl Lent {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.size
    }

    pub(super) fn encode(&self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let numbers = [
            self.size.to_le_bytes(),
            self.mtime.0.to_le_bytes(),
            self.mtime.1.to_le_bytes(),
            self.inode.to_le_bytes(),
        ];
        for (to, from) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *to = from;
        }
        bytes
    }

    /// Whether `bytes` are the record of this file.
    fn is(&self, bytes: &[u8; RECORD]) -> bool {
        self.encode() == *bytes
    }
}

impl Store {
    /// Gives the file of complete content a second name, `target`, which must not exist, with the
    /// permissions `mode`. `false` where that cannot be: another file system, content that is not a
    /// file of the store's own or that is passed on. Then nothing has changed, and the bytes have to
    /// be copied.
    ///
    /// # Errors
    /// What the index or the disk said; `target` does not exist then.
    pub fn lend(&self, id: &ContentId, target: &Path, mode: u32) -> Result<bool, StoreError> {
        let own = |id: &ContentId| id.kind != Kind::TreeV2 && self.layout().complete(id).is_file();
        let id = match self.paired(id) {
            _ if own(id) => *id,
            Some(other) if own(&other) => other,
            _ => return Ok(false),
        };
        let path = self.layout().complete(&id);
        // What was lent before may have been changed since.
        if self.open_content(&id)?.is_none() || fs::hard_link(&path, target).is_err() {
            return Ok(false);
        }
        let passed = fs::metadata(&path).is_ok_and(|file| self.0.passed.has(&file));
        if passed {
            remove_file(target).map_err(|e| StoreError::io("remove", target, e))?;
            return Ok(false);
        }
        let lend = || -> Result<(), StoreError> {
            let failed = |e: io::Error| StoreError::io("lend", &path, e);
            let file = File::open(&path).map_err(failed)?;
            if !is_lent(&file.metadata().map_err(failed)?) {
                file.set_modified(SystemTime::now() - BEFORE)
                    .map_err(failed)?;
                let lent = Lent::of(&file.metadata().map_err(failed)?);
                self.0.index.add_lent(&id, &lent.encode())?;
                // Before anybody can change it.
                self.0.index.flush(&[])?;
                self.0.open_files.forget(&id);
                if let Some(other) = self.paired(&id) {
                    self.0.open_files.forget(&other);
                }
            }
            file.set_permissions(Permissions::from_mode(mode | 0o600))
                .map_err(failed)
        };
        lend().inspect_err(|_| {
            if let Err(error) = remove_file(target) {
                warn!(target = %target.display(), %error, "a half lent file could not be removed");
            }
        })?;
        Ok(true)
    }

    /// The content of a file that was lent, if it is still what it was; else it is the user's alone.
    pub(super) fn open_lent(
        &self,
        id: &ContentId,
        file: File,
        metadata: &Metadata,
    ) -> Result<Option<Content>, StoreError> {
        let lent = Lent::of(metadata);
        match self.0.index.lent(id)? {
            Some(known) if lent.is(&known) => return Ok(Some(Content::lent(file, lent))),
            // Of an index that was made anew from the files, and nobody else has it.
            None if metadata.nlink() == 1 => {
                return Ok(Some(Content::stored(file, metadata.len())));
            }
            _ => {}
        }
        let path = self.layout().complete(id);
        warn!(%id, "a file that was fetched has been changed at its other name: the store has it no more");
        remove_file(&path).map_err(|e| StoreError::io("remove", &path, e))?;
        self.leave(id)?;
        Ok(None)
    }
}

/// Whether the user has the file, too.
pub(super) fn is_lent(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & WRITABLE != 0
}
