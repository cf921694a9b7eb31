//! Files that stay open, so that content which is asked for often costs neither an open nor a look
//! into the index for every block.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use lru::LruCache;

use crate::content::ContentId;

use super::file::Content;
use super::lock;

/// Files kept open. A process usually may have 1024 descriptors, and the sockets, partial files and
/// the mount need some of them.
const LIMIT: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The files asked for last.
pub(super) struct OpenFiles {
    entries: Mutex<LruCache<ContentId, Entry>>,
    /// Counts what was forgotten, so that a file found before is not kept open afterwards.
    forgotten: AtomicU64,
}

struct Entry {
    content: Content,
    /// Whether it was asked for since [`OpenFiles::close_unused`].
    used: bool,
}

impl OpenFiles {
    pub(super) fn new() -> Self {
        Self {
            entries: Mutex::new(LruCache::new(LIMIT)),
            forgotten: AtomicU64::new(0),
        }
    }

    /// The content of this id if it is open and still what it was.
    ///
    /// # Errors
    /// This thread must not wait for the disk on which it lies.
    pub(super) fn get(&self, id: &ContentId) -> io::Result<Option<Content>> {
        let Some(content) = self.open(id) else {
            return Ok(None);
        };
        content.come_to_its_disk()?;
        let is_valid = content.still_valid();
        Ok(self.judged(id, content, is_valid))
    }

    /// The same if that can be told without waiting for the disk.
    pub(super) fn get_now(&self, id: &ContentId) -> Option<Content> {
        let content = self.open(id)?;
        let is_valid = content.valid_now()?;
        self.judged(id, content, is_valid)
    }

    fn open(&self, id: &ContentId) -> Option<Content> {
        let mut entries = lock(&self.entries);
        let entry = entries.get_mut(id)?;
        entry.used = true;
        Some(entry.content.clone())
    }

    fn judged(&self, id: &ContentId, content: Content, is_valid: bool) -> Option<Content> {
        if !is_valid {
            self.forget(id);
        }
        is_valid.then_some(content)
    }

    /// How often something was forgotten up to now.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::SeqCst)
    }

    /// Keeps `content` open, found after [`OpenFiles::forgotten`] was `forgotten`, unless it may
    /// have been forgotten since.
    pub(super) fn put(&self, id: &ContentId, content: &Content, forgotten: u64) {
        let entry = Entry {
            content: content.clone(),
            used: true,
        };
        let mut entries = lock(&self.entries);
        if self.forgotten() == forgotten {
            entries.put(*id, entry);
        }
    }

    pub(super) fn forget(&self, id: &ContentId) {
        let mut entries = lock(&self.entries);
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        entries.pop(id);
    }

    /// Closes what was not asked for since the last time, and what is no longer what it was, or of which that
    /// cannot be told without waiting for a disk.
    pub(super) fn close_unused(&self) {
        let open: Vec<_> = {
            let mut entries = lock(&self.entries);
            entries.retain(|_, entry| std::mem::take(&mut entry.used));
            let all = entries.iter();
            all.map(|(id, entry)| (*id, entry.content.clone()))
                .collect()
        };
        for (id, content) in open {
            if content.valid_now() != Some(true) {
                self.forget(&id);
            }
        }
    }
}
