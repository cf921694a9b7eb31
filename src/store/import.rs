//! Putting files of the user's into the store.
//!
//! Where the file system can share blocks between files (a reflink), the copy costs nothing and is
//! the store's alone. Otherwise, on the same file system, the store's file is the user's under a
//! second name, as it is with what was lent: its identity is noted, each reader looks at it after
//! reading, and a file that was changed is held no more. Only a file of this user's own that was
//! not written to in the last seconds is taken that way; any other is copied. What is hashed is what
//! the store keeps, not what it was made from.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::content::{ContentId, Hash};

use super::error::StoreError;
use super::file::Content;
use super::identity::Identity;
use super::layout::{Layout, remove_file};
use super::lent::Lent;
use super::{Hashed, Store};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// A file that was written to less long ago is copied: a write in the same tick of the clock that
/// stamps files would not show.
const SETTLED: Duration = Duration::from_secs(2);

/// How a file came into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportedBy {
    /// The blocks are shared, copied when either is written to.
    Reflink,
    /// It is the user's file under a second name.
    Link,
    /// The bytes were copied.
    Copy,
    /// The store had it.
    Held,
}

/// A file that was put into the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub length: u64,
    /// How.
    pub by: ImportedBy,
}

/// The way to the store's own file, while it is being made.
struct Unfinished<'a> {
    path: &'a Path,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // Not there any more where it was renamed.
        let _ = remove_file(self.path);
    }
}

/// A second name of a user's file within a store. A daemon that may not write outside its store can
/// give a file of the user's no other name, but can give one to what has a name there. The name goes
/// when this is dropped, or else when the store is opened the next time.
pub struct Offered(PathBuf);

impl Offered {
    /// Gives `file` a name in the store in the folder `store`, whose daemon runs.
    ///
    /// # Errors
    /// The file lies on another file system, or may not be linked to.
    pub fn new(store: &Path, file: &Path) -> io::Result<Self> {
        let name = Layout::new(store).offered();
        fs::hard_link(fs::canonicalize(file)?, &name)?;
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        let _ = remove_file(&self.0);
    }
}

impl Store {
    /// Puts the content of the regular file at `path` into the store.
    ///
    /// # Errors
    /// What the disk or the index said; `InvalidInput` for what is no regular file or has no bytes.
    pub fn import(&self, path: &Path) -> Result<Imported, StoreError> {
        let failed = |e: io::Error| StoreError::io("import", path, e);
        let source = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(failed)?;
        let before = source.metadata().map_err(failed)?;
        if !before.is_file() || before.len() == 0 {
            let odd = io::Error::new(io::ErrorKind::InvalidInput, "it is no file with content");
            return Err(failed(odd));
        }
        let unfinished = self.layout().unfinished_import();
        let _guard = Unfinished { path: &unfinished };
        let (file, by) = self.bring(path, &source, &unfinished).map_err(failed)?;
        let hashed = self.hash_file(&file, path)?;
        let digests = hashed.digests();
        let (id, length) = (ContentId::sha256(digests.sha256.0), digests.length);
        let imported = |by| Imported {
            sha256: Hash(digests.sha256.0).to_string(),
            length,
            by,
        };
        if self.has_own(&id)? {
            return Ok(imported(ImportedBy::Held));
        }
        if by == ImportedBy::Link {
            let now = file.metadata().map_err(failed)?;
            // A name was added since, which changes the change time.
            let same =
                |a: Identity, b: Identity| (a.size, a.mtime, a.inode) == (b.size, b.mtime, b.inode);
            if !same(Identity::of(&before), Identity::of(&now)) {
                let changed = io::Error::other("it changed while it was hashed");
                return Err(failed(changed));
            }
            self.0.index.add_lent(&id, &Lent::of(&now).encode())?;
            // Before it can be found.
            self.0.index.flush(&[])?;
        } else {
            file.set_permissions(Permissions::from_mode(0o444))
                .and_then(|()| file.sync_all())
                .map_err(failed)?;
        }
        let result = imported(by);
        self.land(&id, length, &unfinished)?;
        self.changed(1, None)?;
        self.learned_digests(&hashed.keep_tree()?);
        self.tend();
        Ok(result)
    }

    /// Makes `to` a file with the content of `source`, which lies at `path`.
    fn bring(&self, path: &Path, source: &File, to: &Path) -> io::Result<(File, ImportedBy)> {
        let create = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(to)
        };
        let file = create()?;
        // SAFETY: no memory is handed over; both descriptors are open.
        if unsafe { libc::ioctl(file.as_raw_fd(), libc::FICLONE, source.as_raw_fd()) } == 0 {
            return Ok((file, ImportedBy::Reflink));
        }
        let found = source.metadata()?;
        let settled = found.modified()?.elapsed().is_ok_and(|age| age >= SETTLED);
        // SAFETY: it takes nothing and cannot fail.
        let own = found.uid() == unsafe { libc::geteuid() };
        if own && settled {
            fs::remove_file(to)?;
            let linked = fs::canonicalize(path).and_then(|path| fs::hard_link(path, to));
            if linked.is_ok() {
                let linked = File::open(to)?;
                // The name may have come to mean another file since it was opened.
                if linked.metadata()?.ino() == found.ino() {
                    return Ok((linked, ImportedBy::Link));
                }
                fs::remove_file(to)?;
            }
            return copy(source, create()?);
        }
        copy(source, file)
    }

    /// Whether the store has a file of its own of this content.
    fn has_own(&self, id: &ContentId) -> Result<bool, StoreError> {
        let held = self.open_content(id)?;
        Ok(held.is_some_and(|content: Content| content.seeded_path().is_none()))
    }

    fn hash_file(&self, file: &File, path: &Path) -> Result<Hashed, StoreError> {
        use std::os::unix::fs::FileExt;
        let failed = |e: io::Error| StoreError::io("import", path, e);
        let length = file.metadata().map_err(failed)?.len();
        let mut hashing = self.hashing(length)?;
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        loop {
            let read = file.read_at(&mut buffer, at).map_err(failed)?;
            if read == 0 {
                break;
            }
            hashing.hand_over(&mut buffer, read)?;
            at += read as u64;
        }
        let changed = || failed(io::Error::other("it changed while it was hashed"));
        hashing.finish()?.ok_or_else(changed)
    }
}

fn copy(source: &File, mut to: File) -> io::Result<(File, ImportedBy)> {
    let mut source = source;
    io::copy(&mut source, &mut to)?;
    Ok((to, ImportedBy::Copy))
}
