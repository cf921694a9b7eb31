//! Bytes of partial content that the disk does not take, in memory instead.
//!
//! They are kept in a sparse file in memory, so that whoever reads content need not know of it. Such
//! bytes are never marked in the map: a crash loses them, and nothing else. How much there may be is
//! for whoever puts it here; what was let go again reads as an error until it has come anew, never
//! as the zeros that are left of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::content::{ByteRange, LEAF, RangeSet};

use super::{holes, lock, one_leaf};

pub(super) struct Afloat {
    /// Whether there was ever anything, for those who must not wait.
    any: AtomicBool,
    inner: Mutex<Inner>,
    /// Bytes of all partial content of the store that are in memory.
    all: Arc<AtomicU64>,
}

#[derive(Default)]
struct Inner {
    file: Option<File>,
    inside: RangeSet,
    /// What was let go and has not come anew.
    sunk: RangeSet,
}

impl Afloat {
    pub(super) fn new(all: Arc<AtomicU64>) -> Self {
        Self {
            any: AtomicBool::new(false),
            inner: Mutex::default(),
            all,
        }
    }

    fn is_unused(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    pub(super) fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = lock(&self.inner);
        if inner.file.is_none() {
            inner.file = Some(one_leaf::empty_in_memory()?);
        }
        let range = ByteRange::at(offset, data.len() as u64);
        if let Some(file) = &inner.file {
            file.write_all_at(data, offset)?;
        }
        let fresh = inner.inside.insert(range);
        inner.sunk.remove(range);
        self.all.fetch_add(fresh, Ordering::Relaxed);
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    /// Notes that `range` is on the disk.
    pub(super) fn is_on_disk(&self, range: ByteRange) {
        if !self.is_unused() {
            lock(&self.inner).sunk.remove(range);
        }
    }

    pub(super) fn let_go(&self, range: ByteRange) {
        let mut inner = lock(&self.inner);
        let gone: Vec<_> = inner.inside.within(range).collect();
        for gone in gone {
            let freed = inner.inside.remove(gone);
            self.all.fetch_sub(freed, Ordering::Relaxed);
            inner.sunk.insert(gone);
            // A page is free when nothing of it is here any more.
            let pages = gone.widened(LEAF, u64::MAX);
            let mut free = pages;
            if inner
                .inside
                .intersects(ByteRange::new(pages.start, gone.start))
            {
                free.start = pages.start.saturating_add(LEAF);
            }
            if inner.inside.intersects(ByteRange::new(gone.end, pages.end)) {
                free.end = pages.end.saturating_sub(LEAF).max(free.start);
            }
            if let (Some(file), Ok(length)) = (&inner.file, usize::try_from(free.len()))
                && length > 0
            {
                // Where that fails, more memory is held than is counted, until the content is closed.
                let _ = holes::punch(file, free.start, length);
            }
        }
    }

    /// What is in memory.
    pub(super) fn inside(&self) -> RangeSet {
        if self.is_unused() {
            return RangeSet::new();
        }
        lock(&self.inner).inside.clone()
    }

    /// Reads what of `buffer`, from `offset`, is in memory; returns the rest, which is on the disk.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<Vec<ByteRange>> {
        let range = ByteRange::at(offset, buffer.len() as u64);
        if self.is_unused() {
            return Ok(vec![range]);
        }
        let inner = lock(&self.inner);
        if inner.sunk.intersects(range) {
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        for part in inner.inside.within(range) {
            if let Some(file) = &inner.file
                && let Some(room) = part_of(buffer, offset, part)
            {
                file.read_exact_at(room, part.start)?;
            }
        }
        Ok(inner.inside.gaps(range).collect())
    }
}

/// The part of `buffer`, which begins at `offset`, for the bytes of `part`.
pub(super) fn part_of(buffer: &mut [u8], offset: u64, part: ByteRange) -> Option<&mut [u8]> {
    let start = usize::try_from(part.start.checked_sub(offset)?).ok()?;
    let end = usize::try_from(part.end.checked_sub(offset)?).ok()?;
    buffer.get_mut(start..end)
}

impl Drop for Afloat {
    fn drop(&mut self) {
        let inside = lock(&self.inner).inside.bytes();
        self.all.fetch_sub(inside, Ordering::Relaxed);
    }
}
