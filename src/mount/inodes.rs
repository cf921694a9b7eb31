//! The table of inodes: what the kernel remembers, and how each is open.
//!
//! A content id has one inode, whatever suffixes it is named with, so that its pages are in the
//! page cache once. The table holds what the kernel has been told of and has not forgotten
//! (`FORGET`), and nothing else: the kernel's memory bounds ours.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::attributes::{Attributes, Listed};
use super::errno::Errno;
use super::ino::Ino;
use super::source::Backing;
use crate::content::ContentId;
use crate::node::ContentInfo;

/// How a handle reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Past the page cache, through our door each time; but for memory maps and `sendfile`, whose
    /// pages everybody sees.
    Direct {
        /// Whether those that are there already may be used.
        keep: bool,
    },
    /// Through the page cache.
    Cached {
        /// Whether pages that are there already may be used.
        keep: bool,
    },
    /// Not here at all: the kernel reads the backing file by itself.
    Passed,
}

/// What lets the kernel read a file by itself. There is one for all handles of an inode.
pub struct Passage<K> {
    /// By which the kernel knows it; given back before the file is.
    pub kernel: K,
    _file: Backing,
}

impl<K> Passage<K> {
    /// The kernel knows `file` by `kernel`.
    pub fn new(kernel: K, file: Backing) -> Self {
        Self {
            kernel,
            _file: file,
        }
    }
}

struct Inode<K> {
    id: ContentId,
    length: u64,
    proven: bool,
    /// What a listing says of it, if it is a file of a published folder; then so is its length.
    listed: Option<Listed>,
    /// How many times the kernel has been told of it, less what it has forgotten.
    lookups: u64,
    /// Open handles, by how they read.
    direct: u32,
    cached: u32,
    passed: u32,
    /// There as long as handles are `passed`.
    passage: Option<Arc<Passage<K>>>,
    /// Whether the file of the passage has rotted.
    rotten: bool,
    /// Of the unproven content that may be in the page cache.
    generation: u64,
    /// Whether whatever is in the page cache is proven: since the last handle that could put
    /// something else there, a cached one has been opened that dropped what it found.
    clean: bool,
}

impl<K> Inode<K> {
    fn new(id: ContentId, length: u64, proven: bool) -> Self {
        Self {
            id,
            length,
            proven,
            listed: None,
            lookups: 0,
            direct: 0,
            cached: 0,
            passed: 0,
            passage: None,
            rotten: false,
            generation: 0,
            clean: false,
        }
    }

    fn attributes(&self, ino: Ino) -> Attributes {
        Attributes {
            ino,
            folder: false,
            length: self.length,
            // What a listing says does not change, true or not.
            lasting: self.proven || self.listed.is_some(),
            listed: self.listed,
        }
    }
}

/// The inodes that the kernel knows, save the folders, which always are.
///
/// The kernel keeps one mode for all handles of an inode: while any is `Passed` all must be, and none
/// can become so while one reads in another way. (One that is `Direct` takes the cached way when its
/// file is mapped into memory, without a word.) What does not fit fails with `EIO`. Hence the counts,
/// and one lock around looking at them and changing them. They are never too low: a handle is
/// counted before the kernel hears of it, and the kernel lets go of one before it tells.
pub struct Inodes<K> {
    table: Mutex<HashMap<Ino, Inode<K>>>,
}

impl<K> Default for Inodes<K> {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
        }
    }
}

impl<K> Inodes<K> {
    /// A lookup has found content: the kernel is being told of it once more.
    pub fn found(&self, info: &ContentInfo) -> Attributes {
        self.tell(info, |inode| {
            inode.length = info.length;
            inode.proven = info.proven;
        })
    }

    /// A listing names content: the kernel is being told of it once more. A listing may be older
    /// than what is known already, and changes none of it.
    pub fn listed(&self, info: &ContentInfo) -> Attributes {
        self.tell(info, |_| ())
    }

    fn tell(&self, info: &ContentInfo, update: impl FnOnce(&mut Inode<K>)) -> Attributes {
        let mut table = self.table();
        let mut ino = Ino::of_content(&info.id);
        // Two hashes with one head are not met by chance, but can be made: the later one gets the
        // next free number.
        while table.get(&ino).is_some_and(|inode| inode.id != info.id) {
            ino = Ino(ino.0.wrapping_add(1));
        }
        let inode = table
            .entry(ino)
            .or_insert_with(|| Inode::new(info.id, info.length, info.proven));
        update(inode);
        inode.lookups = inode.lookups.saturating_add(1);
        inode.attributes(ino)
    }

    /// The kernel is being told once more of a file in a published folder, which has a number of
    /// its own, and a length that only its listing says.
    pub fn published(&self, ino: Ino, id: ContentId, length: u64, listed: Listed) -> Attributes {
        let mut table = self.table();
        let inode = table
            .entry(ino)
            .or_insert_with(|| Inode::new(id, length, false));
        inode.listed = Some(listed);
        inode.lookups = inode.lookups.saturating_add(1);
        inode.attributes(ino)
    }

    /// Whether it is a file of a published folder.
    pub fn is_published(&self, ino: Ino) -> bool {
        let table = self.table();
        table.get(&ino).is_some_and(|inode| inode.listed.is_some())
    }

    /// The kernel has forgotten `count` of the times that it was told of `ino`.
    pub fn forget(&self, ino: Ino, count: u64) {
        if let Entry::Occupied(mut entry) = self.table().entry(ino) {
            let inode = entry.get_mut();
            inode.lookups = inode.lookups.saturating_sub(count);
            if inode.lookups == 0 {
                entry.remove();
            }
        }
    }

    /// The content of `ino` and its length.
    pub fn content(&self, ino: Ino) -> Option<(ContentId, u64)> {
        self.table().get(&ino).map(|inode| (inode.id, inode.length))
    }

    /// What `stat` shows of `ino`. Of what is not proven yet, `refresh` may know better.
    pub fn attributes(
        &self,
        ino: Ino,
        refresh: impl FnOnce(ContentId) -> Option<ContentInfo>,
    ) -> Option<Attributes> {
        let id = {
            let table = self.table();
            let inode = table.get(&ino)?;
            if inode.proven || inode.listed.is_some() {
                return Some(inode.attributes(ino));
            }
            inode.id
        };
        // Not under the lock: what is asked may call back.
        let news = refresh(id);
        let mut table = self.table();
        let inode = table.get_mut(&ino)?;
        if let Some(news) = news {
            inode.length = news.length;
            inode.proven = news.proven;
        }
        Some(inode.attributes(ino))
    }

    /// A handle is being opened on `ino`: if others are passed, so must this one be.
    ///
    /// # Errors
    /// `EIO` where the file that those read has rotted: the kernel lets nobody read in another way
    /// before they are closed.
    pub fn pass_along(&self, ino: Ino) -> Result<Option<Arc<Passage<K>>>, Errno> {
        let mut table = self.table();
        let Some(inode) = table.get_mut(&ino) else {
            return Ok(None);
        };
        let Some(passage) = inode.passage.clone() else {
            return Ok(None);
        };
        if inode.rotten {
            return Err(Errno::EIO);
        }
        inode.passed = inode.passed.saturating_add(1);
        Ok(Some(passage))
    }

    /// The file of content with these `ids` has rotted: what the page cache has of it may be wrong.
    /// Returns its inodes.
    pub fn rotten(&self, ids: &[ContentId]) -> Vec<Ino> {
        let mut table = self.table();
        let mut found = Vec::new();
        for (ino, inode) in table.iter_mut().filter(|(_, it)| ids.contains(&it.id)) {
            inode.clean = false;
            inode.rotten = inode.passage.is_some();
            found.push(*ino);
        }
        found
    }

    /// Whether a handle on `ino` could be passed now.
    pub fn may_pass(&self, ino: Ino) -> bool {
        self.table()
            .get(&ino)
            .is_some_and(|inode| inode.direct == 0 && inode.cached == 0)
    }

    /// A handle is being opened on `ino`, whose content is proven or not yet and then of some
    /// generation ([`Reading::generation`](super::source::Reading::generation)), and which the
    /// kernel could read through `offer`: how it shall read, and the passage if it is to be that.
    pub fn opened(
        &self,
        ino: Ino,
        proven: bool,
        generation: u64,
        offer: Option<Passage<K>>,
    ) -> (OpenMode, Option<Arc<Passage<K>>>) {
        // An offer that is not taken is dropped after the lock: the kernel has to be told.
        let offer = offer.map(Arc::new);
        let mut table = self.table();
        let Some(inode) = table.get_mut(&ino) else {
            return (OpenMode::Direct { keep: false }, None);
        };
        if inode.passage.is_none() && proven && inode.direct == 0 && inode.cached == 0 {
            inode.passage.clone_from(&offer);
            inode.rotten = false;
        }
        if inode.passage.is_some() {
            inode.passed = inode.passed.saturating_add(1);
            return (OpenMode::Passed, inode.passage.clone());
        }
        if !proven {
            // Dropping pages waits for those that are on their way, and a stalled memory map may
            // have some. Those of another generation are not: they have failed or come.
            let keep = inode.direct > 0 && inode.generation == generation;
            inode.generation = generation;
            inode.direct = inode.direct.saturating_add(1);
            inode.clean = false;
            return (OpenMode::Direct { keep }, None);
        }
        inode.proven = true;
        inode.cached = inode.cached.saturating_add(1);
        let keep = std::mem::replace(&mut inode.clean, true);
        (OpenMode::Cached { keep }, None)
    }

    /// A handle on `ino` that read in `mode` has been closed.
    pub fn closed(&self, ino: Ino, mode: OpenMode) {
        let mut table = self.table();
        let Some(inode) = table.get_mut(&ino) else {
            return;
        };
        let count = match mode {
            OpenMode::Direct { .. } => &mut inode.direct,
            OpenMode::Cached { .. } => &mut inode.cached,
            OpenMode::Passed => &mut inode.passed,
        };
        *count = count.saturating_sub(1);
        let done_with = (inode.passed == 0).then(|| inode.passage.take());
        drop(table);
        drop(done_with);
    }

    /// How many handles are open on `ino`: those past the page cache, those through it, those that
    /// the kernel reads by itself.
    pub fn open_handles(&self, ino: Ino) -> [u32; 3] {
        self.table()
            .get(&ino)
            .map_or([0; 3], |inode| [inode.direct, inode.cached, inode.passed])
    }

    /// How many inodes the kernel knows.
    pub fn len(&self) -> usize {
        self.table().len()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Ino, Inode<K>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
