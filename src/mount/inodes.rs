//! The table of inodes: what the kernel remembers, and how each is open.
//!
//! A content id has one inode, whatever suffixes it is named with, so that its pages are in the
//! page cache once. The table holds what the kernel has been told of and has not forgotten
//! (`FORGET`), and nothing else: the kernel's memory bounds ours.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::attributes::Attributes;
use super::names::Folder;
use crate::content::ContentId;
use crate::node::ContentInfo;

/// An inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The root, by FUSE's rules.
    pub const ROOT: Self = Self(1);
    /// `blake3/`.
    pub const BLAKE3: Self = Self(2);

    /// The number that content of this id has, but for a collision: the head of its hash, so that
    /// a file keeps its number from mount to mount. Between 2^62 and 2^63, apart from the folders'
    /// and positive where programs hold it in a signed integer.
    #[must_use]
    pub fn of_content(id: &ContentId) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = id.hash.0;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 2 | 1 << 62)
    }

    /// The number of a folder.
    #[must_use]
    pub fn of_folder(folder: Folder) -> Self {
        match folder {
            Folder::Root => Self::ROOT,
            Folder::Blake3 => Self::BLAKE3,
        }
    }

    /// The folder that has this number, if one has.
    #[must_use]
    pub fn folder(self) -> Option<Folder> {
        match self {
            Self::ROOT => Some(Folder::Root),
            Self::BLAKE3 => Some(Folder::Blake3),
            _ => None,
        }
    }
}

/// How a handle reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Past the page cache, through our door each time.
    Direct,
    /// Through the page cache.
    Cached {
        /// Whether pages that are there already may be used.
        keep: bool,
    },
}

struct Inode {
    id: ContentId,
    length: u64,
    proven: bool,
    /// How many times the kernel has been told of it, less what it has forgotten.
    lookups: u64,
    /// Open handles, by how they read.
    direct: u32,
    cached: u32,
    /// Whether whatever is in the page cache is proven: since the last handle that could put
    /// something else there, a cached one has been opened that dropped what it found.
    clean: bool,
}

impl Inode {
    fn new(id: ContentId, length: u64, proven: bool) -> Self {
        Self {
            id,
            length,
            proven,
            lookups: 0,
            direct: 0,
            cached: 0,
            clean: false,
        }
    }

    fn attributes(&self, ino: Ino) -> Attributes {
        Attributes {
            ino,
            folder: false,
            length: self.length,
            lasting: self.proven,
        }
    }
}

/// The inodes that the kernel knows, save the folders, which always are.
#[derive(Default)]
pub struct Inodes {
    table: Mutex<HashMap<Ino, Inode>>,
}

impl Inodes {
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

    fn tell(&self, info: &ContentInfo, update: impl FnOnce(&mut Inode)) -> Attributes {
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
            if inode.proven {
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

    /// A handle is being opened on `ino`, whose content is `proven` or not: how it shall read.
    pub fn opened(&self, ino: Ino, proven: bool) -> OpenMode {
        let mut table = self.table();
        let Some(inode) = table.get_mut(&ino) else {
            return OpenMode::Direct;
        };
        if !proven {
            inode.direct = inode.direct.saturating_add(1);
            inode.clean = false;
            return OpenMode::Direct;
        }
        inode.proven = true;
        inode.cached = inode.cached.saturating_add(1);
        OpenMode::Cached {
            keep: std::mem::replace(&mut inode.clean, true),
        }
    }

    /// A handle on `ino` that read in `mode` has been closed.
    pub fn closed(&self, ino: Ino, mode: OpenMode) {
        if let Some(inode) = self.table().get_mut(&ino) {
            let count = match mode {
                OpenMode::Direct => &mut inode.direct,
                OpenMode::Cached { .. } => &mut inode.cached,
            };
            *count = count.saturating_sub(1);
        }
    }

    /// How many handles are open on `ino`: those past the page cache, those through it.
    pub fn open_handles(&self, ino: Ino) -> (u32, u32) {
        self.table()
            .get(&ino)
            .map_or((0, 0), |inode| (inode.direct, inode.cached))
    }

    /// How many inodes the kernel knows.
    pub fn len(&self) -> usize {
        self.table().len()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Ino, Inode>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(head: u8, tail: u8, proven: bool) -> ContentInfo {
        let mut hash = [head; 32];
        hash[31] = tail;
        ContentInfo {
            id: ContentId::sha256(hash),
            length: 7,
            proven,
            present: 0,
            verified: crate::node::Verified::default(),
        }
    }

    #[test]
    fn what_the_kernel_forgets_is_forgotten() {
        let inodes = Inodes::default();
        let first = inodes.found(&info(1, 1, false));
        let again = inodes.listed(&info(1, 1, false));
        assert_eq!(first.ino, again.ino);
        inodes.forget(first.ino, 1);
        assert!(inodes.content(first.ino).is_some());
        inodes.forget(first.ino, 1);
        assert_eq!((inodes.content(first.ino), inodes.len()), (None, 0));
        inodes.forget(first.ino, 9);
    }

    #[test]
    fn two_contents_never_share_a_number() {
        let inodes = Inodes::default();
        let a = inodes.found(&info(0xff, 1, false)).ino;
        let b = inodes.found(&info(0xff, 2, false)).ino;
        assert_ne!(a, b);
        assert_eq!(inodes.found(&info(0xff, 2, false)).ino, b);
        assert!(a.0 < 1 << 63 && a.0 >= 1 << 62);
    }

    #[test]
    fn a_listing_does_not_undo_what_is_known() {
        let inodes = Inodes::default();
        assert!(inodes.found(&info(1, 1, true)).lasting);
        assert!(inodes.listed(&info(1, 1, false)).lasting);
        assert!(!inodes.found(&info(1, 1, false)).lasting);
    }

    #[test]
    fn pages_are_kept_only_when_a_proven_open_came_before() {
        let inodes = Inodes::default();
        let ino = inodes.found(&info(1, 1, false)).ino;
        assert_eq!(inodes.opened(ino, false), OpenMode::Direct);
        assert_eq!(inodes.opened(ino, true), OpenMode::Cached { keep: false });
        assert_eq!(inodes.opened(ino, true), OpenMode::Cached { keep: true });
        assert_eq!(inodes.open_handles(ino), (1, 2));
        assert_eq!(inodes.opened(ino, false), OpenMode::Direct);
        assert_eq!(inodes.opened(ino, true), OpenMode::Cached { keep: false });
        for mode in [OpenMode::Direct, OpenMode::Direct, OpenMode::Direct] {
            inodes.closed(ino, mode);
        }
        assert_eq!(inodes.open_handles(ino), (0, 3));
    }

    #[test]
    fn a_length_that_changes_before_it_is_proven_is_shown() {
        let inodes = Inodes::default();
        let ino = inodes.found(&info(1, 1, false)).ino;
        let better = ContentInfo {
            length: 9,
            ..info(1, 1, true)
        };
        let shown = inodes.attributes(ino, |_| Some(better)).unwrap();
        assert_eq!((shown.length, shown.lasting), (9, true));
        let shown = inodes.attributes(ino, |_| panic!("proven: nothing to ask"));
        assert_eq!(shown.unwrap().length, 9);
    }
}
