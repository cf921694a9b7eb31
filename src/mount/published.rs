//! Published folders: listings that have been fetched, as trees of names.
//!
//! A tree costs one fetch, of the listing; what is in it is known without asking anybody. Trees are
//! kept while there is room for them (see [`ROOM`]): what the kernel still remembers of one that had
//! to go is found again when it is asked for, by fetching the listing once more, which then is a
//! read from the store.
//!
//! Each way to a folder has a number of its own, since the kernel wants a folder to be in one place:
//! the numbers of its files and folders are that number and their place in the listing. A number is
//! never used for anything else, so nothing that the kernel remembers can come to mean another
//! folder's file.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::ino::Ino;
use crate::content::listing::{MAX_NODES, Tree};
use crate::content::{ContentId, KeyedName};

/// Bytes of all trees that are kept; one alone may have more.
const ROOM: usize = 128 << 20;
/// Ways to folders that have a number.
const WAYS: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();

/// Content of which it is remembered that it is no listing.
const FILES: NonZeroUsize = NonZeroUsize::new(1 << 13).unwrap();

/// A way to a published folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// `folder/<sha256>`.
    Id(ContentId),
    /// `seeding/<name>`, and the listing that it has now.
    Seeding(String, ContentId),
    /// `latest/<key>/<name>`, and the listing that is published there now.
    Latest(KeyedName, ContentId),
}

impl Way {
    /// The listing.
    #[must_use]
    pub fn listing(&self) -> ContentId {
        match self {
            Self::Id(id) | Self::Seeding(_, id) | Self::Latest(_, id) => *id,
        }
    }
}

/// A file or folder in a published folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The number of the way.
    pub way: u64,
    /// Its number in the tree.
    pub node: u32,
}

/// Bits of a node's number; [`MAX_NODES`] fits.
const NODE_BITS: u32 = 21;
const _: () = assert!(MAX_NODES < 1 << NODE_BITS);
/// Set in the numbers of what lies in published folders, and in no others that are below 2^62.
const MARK: u64 = 1 << 61;

impl Spot {
    /// Its inode number.
    #[must_use]
    pub fn ino(self) -> Ino {
        let way = (self.way << NODE_BITS) & (MARK - 1);
        Ino(MARK | way | u64::from(self.node))
    }

    /// The spot that has this number, if one can.
    #[must_use]
    pub fn of(ino: Ino) -> Option<Self> {
        let Ino(number) = ino;
        if number & !(MARK - 1) != MARK {
            return None;
        }
        let node = number & ((1 << NODE_BITS) - 1);
        Some(Self {
            way: (number & (MARK - 1)) >> NODE_BITS,
            node: u32::try_from(node).ok()?,
        })
    }
}

/// The trees that are known.
pub struct Published(Mutex<Known>);

struct Known {
    ways: LruCache<u64, Way>,
    numbers: HashMap<Way, u64>,
    next: u64,
    /// By listing, the most recently used last to go.
    trees: LruCache<ContentId, Arc<Tree>>,
    /// Content that was looked at and is no listing.
    files: LruCache<ContentId, ()>,
    bytes: usize,
    room: usize,
}

impl Default for Published {
    fn default() -> Self {
        Self::with_room(ROOM)
    }
}

impl Published {
    fn with_room(room: usize) -> Self {
        Self(Mutex::new(Known {
            ways: LruCache::new(WAYS),
            numbers: HashMap::new(),
            next: 1,
            trees: LruCache::unbounded(),
            files: LruCache::new(FILES),
            bytes: 0,
            room,
        }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a way.
    pub fn number(&self, way: &Way) -> u64 {
        let mut known = self.known();
        if let Some(&number) = known.numbers.get(way) {
            known.ways.promote(&number);
            return number;
        }
        let number = known.next;
        known.next += 1;
        known.numbers.insert(way.clone(), number);
        if let Some((_, forgotten)) = known.ways.push(number, way.clone()) {
            known.numbers.remove(&forgotten);
        }
        number
    }

    /// The way that has this number, unless it is long forgotten.
    pub fn way(&self, number: u64) -> Option<Way> {
        self.known().ways.get(&number).cloned()
    }

    /// The tree of a listing, if it is here.
    pub fn tree(&self, listing: &ContentId) -> Option<Arc<Tree>> {
        self.known().trees.get(listing).map(Arc::clone)
    }

    /// Remembers that this content is no listing.
    pub fn note_file(&self, id: ContentId) {
        self.known().files.put(id, ());
    }

    /// Whether this content is remembered to be no listing.
    pub fn is_file(&self, id: &ContentId) -> bool {
        self.known().files.get(id).is_some()
    }

    /// The tree on the way with this number, if it is here.
    pub fn tree_on(&self, number: u64) -> Option<Arc<Tree>> {
        let mut known = self.known();
        let listing = known.ways.get(&number)?.listing();
        known.trees.get(&listing).map(Arc::clone)
    }

    /// Keeps a tree, and no more than there is room for.
    pub fn keep(&self, listing: ContentId, tree: Tree) -> Arc<Tree> {
        let tree = Arc::new(tree);
        let mut known = self.known();
        known.bytes = known.bytes.saturating_add(tree.bytes());
        let replaced = known.trees.push(listing, Arc::clone(&tree));
        let mut gone = replaced.map_or(0, |(_, tree)| tree.bytes());
        while known.bytes.saturating_sub(gone) > known.room && known.trees.len() > 1 {
            let Some((_, oldest)) = known.trees.pop_lru() else {
                break;
            };
            gone += oldest.bytes();
        }
        known.bytes = known.bytes.saturating_sub(gone);
        tree
    }

    /// The listings whose trees are here.
    pub fn listings(&self) -> Vec<ContentId> {
        self.known().trees.iter().map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Listing;
    use crate::content::listing::{Entry, Listed};

    fn id(n: u8) -> ContentId {
        ContentId::sha256([n; 32])
    }

    fn tree(names: usize) -> Tree {
        let entry = |n| Entry {
            path: format!("{n}").into(),
            what: Listed::Link { target: "x".into() },
        };
        Tree::new(&Listing::new((0..names).map(entry).collect()).unwrap())
    }

    #[test]
    fn numbers_are_told_apart_and_never_used_again() {
        let published = Published::default();
        let first = published.number(&Way::Id(id(1)));
        let second = published.number(&Way::Seeding("a".into(), id(1)));
        assert_ne!(first, second);
        assert_eq!(published.number(&Way::Id(id(1))), first);
        assert_eq!(published.way(first), Some(Way::Id(id(1))));
        for n in 0..WAYS.get() {
            published.number(&Way::Seeding(n.to_string(), id(2)));
        }
        assert_eq!(published.way(first), None);
        assert!(published.number(&Way::Id(id(1))) > second);
        assert!(published.known().numbers.len() <= WAYS.get());
    }

    #[test]
    fn a_spot_is_found_by_its_number() {
        for spot in [
            Spot { way: 1, node: 0 },
            Spot {
                way: 7,
                node: MAX_NODES as u32,
            },
            Spot {
                way: (1 << 39) - 1,
                node: 5,
            },
        ] {
            assert_eq!(Spot::of(spot.ino()), Some(spot));
            assert!(spot.ino().folder().is_none());
        }
        let content = Ino::of_content(&id(0xff));
        for other in [Ino::ROOT, Ino::BLAKE3, Ino::FOLDERS, Ino::SEEDING, content] {
            assert_eq!(Spot::of(other), None);
        }
    }

    #[test]
    fn trees_take_no_more_than_their_room() {
        let room = 3 * tree(100).bytes();
        let published = Published::with_room(room);
        for n in 0..20 {
            published.keep(id(n), tree(100));
            published.keep(id(n), tree(100));
            assert!(published.tree(&id(0)).is_some() || n >= 3);
            let kept = published.listings();
            assert!(kept.len() <= 3 && kept.contains(&id(n)));
            let bytes: usize = kept
                .iter()
                .map(|id| published.tree(id).unwrap().bytes())
                .sum();
            assert_eq!(published.known().bytes, bytes);
            assert!(bytes <= room);
        }
        // One alone may have more.
        published.keep(id(99), tree(1000));
        assert_eq!(published.listings(), [id(99)]);
    }
}
