//! Content that is open for reading: complete in the store, or a seeded file where it lies.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::content::ByteRange;

use super::closing::OpenFile;
use super::disks;
use super::identity::Identity;
use super::layout::ASIDE;
use super::lent::Lent;
use super::link_free::open_link_free;
use super::stat_cached;

/// Complete content, open for reading. Clones share the descriptor.
///
/// A file that is seeded or lent can be changed by its owner at any moment. Whoever passes its bytes on reads them
/// first and asks [`Content::still_valid`] afterwards: in that order no change that came before or
/// during the read goes unnoticed.
#[derive(Clone, Debug)]
pub struct Content(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: OpenFile,
    length: u64,
    /// Where a seeded file lies and what it was when hashed; `None` for files of the store's own.
    seeded: Option<(PathBuf, Identity)>,
    /// What a file that the user has as well was when it was lent.
    lent: Option<Lent>,
    /// What it was made from in memory, if it was.
    source: Option<Content>,
}

/// Whether this process has set any file aside: until then nobody need look.
static ANY_SET_ASIDE: AtomicBool = AtomicBool::new(false);

/// From now on open files are looked at for having been set aside since.
pub(super) fn note_set_aside() {
    ANY_SET_ASIDE.store(true, Ordering::Release);
}

/// Whether an open file of the store was rotten and has been set aside: where it lies now tells.
fn is_set_aside(file: &File) -> bool {
    if !ANY_SET_ASIDE.load(Ordering::Acquire) {
        return false;
    }
    let now = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let folder = now.as_deref().ok().and_then(Path::parent);
    // What cannot be told is not taken for right. Content in memory lies in no folder.
    folder.is_none_or(|folder| folder.ends_with(ASIDE))
}

impl Content {
    /// A file of the store's own, which nobody modifies.
    pub(super) fn stored(file: File, length: u64) -> Self {
        Self(Arc::new(Inner {
            file: OpenFile::local(file),
            length,
            seeded: None,
            lent: None,
            source: None,
        }))
    }

    /// A file of the store's own that the user has as well.
    pub(super) fn lent(file: File, lent: Lent) -> Self {
        Self(Arc::new(Inner {
            file: OpenFile::local(file),
            length: lent.length(),
            seeded: None,
            lent: Some(lent),
            source: None,
        }))
    }

    /// A file in memory that was made from `source` and counts as long as that does.
    pub(super) fn made(file: File, length: u64, source: Self) -> Self {
        Self(Arc::new(Inner {
            file: OpenFile::local(file),
            length,
            seeded: None,
            lent: None,
            source: Some(source),
        }))
    }

    /// Opens the file at `path` if it is still the one with `identity`.
    pub(super) fn seeded(path: &Path, identity: &Identity) -> io::Result<Option<Self>> {
        disks::come_to(identity.device)?;
        let file = match open_regular(path) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(e) if out_of_descriptors(&e) => return Err(e),
            // Gone, replaced by a link, unreadable now: all of them mean that it is not served.
            Err(_) => return Ok(None),
        };
        let found = Identity::of(&file.metadata()?);
        if !identity.is_still(&found) {
            return Ok(None);
        }
        Ok(Some(Self(Arc::new(Inner {
            file: OpenFile::on(found.device, file),
            length: found.size,
            seeded: Some((path.to_owned(), found)),
            lent: None,
            source: None,
        }))))
    }

    /// The device number of the disk on which a file of the user's lies; `None` for the store's own.
    #[must_use]
    pub fn disk(&self) -> Option<u64> {
        match (&self.0.seeded, &self.0.source) {
            (Some((_, identity)), _) => Some(identity.device),
            (None, source) => source.as_ref()?.disk(),
        }
    }

    /// To be called before this thread waits for the disk on which it lies.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] if it must not.
    pub fn come_to_its_disk(&self) -> io::Result<()> {
        self.disk().map_or(Ok(()), disks::come_to)
    }

    /// Bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.length
    }

    /// The open file, for reading at offsets of one's own (its position is shared).
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// Whether it is a file, and one that the user has not.
    pub(super) fn is_a_file_of_the_stores_own(&self) -> bool {
        !self.may_change() && self.0.source.is_none()
    }

    /// Whether it is a file that the user may change.
    #[must_use]
    pub fn may_change(&self) -> bool {
        self.0.seeded.is_some() || self.0.lent.is_some()
    }

    /// Where a file of the user's lies; `None` for the store's own.
    #[must_use]
    pub fn seeded_path(&self) -> Option<&Path> {
        self.0.seeded.as_ref().map(|(path, _)| path.as_path())
    }

    /// Whether the bytes read up to now are those that were hashed.
    ///
    /// For a seeded file, whether the open file is unchanged and still the one at its path; two
    /// system calls, no disk access in the usual case.
    #[must_use]
    pub fn still_valid(&self) -> bool {
        self.is_valid(|file, path, identity| {
            let same = |metadata: io::Result<fs::Metadata>| {
                metadata.is_ok_and(|metadata| Identity::of(&metadata) == *identity)
            };
            Some(same(file.metadata()) && same(fs::symlink_metadata(path)))
        })
        .unwrap_or(false)
    }

    /// [`Content::still_valid`] as far as that can be told without waiting, for threads that serve many; `None`
    /// where the disk, or the server of a network file system, has to be asked.
    ///
    /// The attributes of a file on a network file system count as they were told last. What is
    /// [read](Content::read_at_nowait) without waiting lies on none.
    #[must_use]
    pub fn valid_now(&self) -> Option<bool> {
        self.is_valid(|file, path, identity| {
            let same = |now: io::Result<Identity>| now.is_ok_and(|now| now == *identity);
            Some(same(stat_cached::of_open(file)) && same(stat_cached::at(path)?))
        })
    }

    /// Whether it is, as far as `seeded` can tell of a file of the user's, its path and what it was.
    fn is_valid(&self, seeded: impl Fn(&File, &Path, &Identity) -> Option<bool>) -> Option<bool> {
        if let Some(source) = &self.0.source {
            return source.is_valid(seeded);
        }
        if let Some((path, identity)) = &self.0.seeded {
            return seeded(&self.0.file, path, identity);
        }
        if is_set_aside(&self.0.file) {
            return Some(false);
        }
        let Some(lent) = &self.0.lent else {
            return Some(true);
        };
        let now = self.0.file.metadata();
        Some(now.is_ok_and(|now| Lent::of(&now) == *lent))
    }

    /// Reads from `offset` until `buffer` is full or the content ends; returns the bytes read.
    ///
    /// # Errors
    /// The operating system's. A file that is shorter than its content's length is an
    /// [`io::ErrorKind::UnexpectedEof`].
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.cut(offset, buffer);
        self.0.file.read_exact_at(wanted, offset)?;
        Ok(wanted.len())
    }

    /// Like [`Content::read_at`], but `None` when it would have to wait for the disk, or when the
    /// file system cannot tell.
    ///
    /// # Errors
    /// As [`Content::read_at`].
    pub fn read_at_nowait(&self, offset: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let wanted = self.cut(offset, buffer);
        let is_read = self.0.file.read_exact_at_nowait(wanted, offset)?;
        Ok(is_read.then_some(wanted.len()))
    }

    /// Has the kernel bring `range` from the disk, without waiting for it.
    pub fn will_need(&self, range: ByteRange) {
        // It takes no more at a time than a disk's read-ahead, and says nothing of the rest.
        const STEP: usize = 128 << 10;
        let end = range.end.min(self.0.length);
        for start in (range.start..end).step_by(STEP) {
            let length = end.saturating_sub(start).min(STEP as u64);
            let (Ok(start), Ok(length)) = (start.try_into(), length.try_into()) else {
                return;
            };
            // SAFETY: no memory is involved; the descriptor is open as long as `file`. It is advice:
            // what it fails with does not matter.
            unsafe {
                libc::posix_fadvise(
                    self.0.file.as_raw_fd(),
                    start,
                    length,
                    libc::POSIX_FADV_WILLNEED,
                )
            };
        }
    }

    /// The part of `buffer` that content from `offset` can fill.
    fn cut<'b>(&self, offset: u64, buffer: &'b mut [u8]) -> &'b mut [u8] {
        let left = usize::try_from(self.0.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        &mut buffer[..length]
    }
}

/// Opens `path` for reading if it is a regular file, without following a link and without having
/// effects on what is none.
fn open_regular(path: &Path) -> io::Result<Option<File>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = open_link_free(path)?;
    // It may have been replaced since the look at its name.
    Ok(file.metadata()?.is_file().then_some(file))
}

fn out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)
    )
}
