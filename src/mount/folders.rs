//! Open folders. Each listing is a snapshot, so that the position which a program comes back with
//! means the same entry however much has arrived since; starting over takes a new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::attributes::{Attributes, Listed};
use super::ino::Ino;
use super::names::{
    BLAKE3_FOLDER, Folder, LATEST_FOLDER, PUBLISHED_FOLDER, SEEDING_FOLDER, STREAM_FOLDER,
};
use super::places::{self, Place, PlaceEntry};
use super::published::Spot;
use crate::content::listing::{Node, Tree, What};
use crate::content::{Hash, Kind};
use crate::node::ContentInfo;

/// The most content that a listing shows. What is beyond it is still found when named; a snapshot
/// of this many takes some 5 MiB.
pub const LISTING_LIMIT: usize = 1 << 16;

/// One entry of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Something by the name that it has here: folders (`.` and `..` among them), and whatever is
    /// in published folders. A file of these has an inode that the kernel has not been told of.
    Named(&'a str, Attributes),
    /// Content, named by its hash.
    Content(&'a ContentInfo),
}

impl Entry<'_> {
    /// Its number.
    #[must_use]
    pub fn ino(&self) -> Ino {
        match self {
            Self::Named(_, attributes) => attributes.ino,
            Self::Content(info) => Ino::of_content(&info.id),
        }
    }

    /// Calls `f` with its name.
    pub fn with_name<T>(&self, f: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Named(name, _) => f(name),
            Self::Content(info) => {
                let hex = Hash::to_hex(&info.id.hash);
                f(std::str::from_utf8(&hex).unwrap_or_default())
            }
        }
    }

    /// What `stat` shows of it, where that does not depend on what is held.
    #[must_use]
    pub fn attributes(&self) -> Option<Attributes> {
        match self {
            Self::Named(_, attributes) => Some(*attributes),
            Self::Content(_) => None,
        }
    }
}

/// What a folder of the tree of names held when it was looked at.
#[derive(Default)]
pub struct Listing {
    named: Vec<(String, Attributes)>,
    contents: Vec<ContentInfo>,
    /// What is named after `.` and `..`, in a folder that is made by naming it.
    pub places: Vec<PlaceEntry>,
    /// What is known of the files that have a name.
    pub files: HashMap<Ino, ContentInfo>,
}

/// What an open folder was seen to hold last.
#[derive(Default)]
pub struct Looked {
    listing: Option<Arc<Listing>>,
    /// Nothing of it has been shown yet.
    fresh: bool,
}

impl Listing {
    /// Of what is in `folder`: some things by name, and those `contents` that belong into it.
    #[must_use]
    pub fn new(
        folder: Folder,
        named: Vec<(String, Attributes)>,
        mut contents: Vec<ContentInfo>,
    ) -> Self {
        let kind = match folder {
            Folder::Root => Some(Kind::Sha256),
            Folder::Blake3 => Some(Kind::Blake3),
            Folder::Published | Folder::Seeding | Folder::Latest | Folder::Stream => None,
        };
        contents.retain(|info| Some(info.id.kind) == kind);
        let own = Ino::of_folder(folder);
        let fixed = |(name, ino): (&str, Ino)| (name.to_owned(), Attributes::folder(ino));
        let mut all: Vec<_> = [(".", own), ("..", Ino::ROOT)].map(fixed).into();
        if folder == Folder::Root {
            all.extend(
                [
                    (BLAKE3_FOLDER, Ino::BLAKE3),
                    (PUBLISHED_FOLDER, Ino::FOLDERS),
                    (SEEDING_FOLDER, Ino::SEEDING),
                    (LATEST_FOLDER, Ino::LATEST),
                    (STREAM_FOLDER, Ino::STREAM),
                ]
                .map(fixed),
            );
        }
        all.extend(named);
        Self {
            named: all,
            contents,
            places: Vec::new(),
            files: HashMap::new(),
        }
    }

    /// Of the folder `ino`, which is made by naming it.
    #[must_use]
    pub fn of_place(ino: Ino, entries: Vec<(String, PlaceEntry)>) -> Self {
        let parent = if ino == Ino::LATEST || ino == Ino::STREAM {
            Ino::ROOT
        } else {
            Ino::LATEST
        };
        let fixed = |(name, ino): (&str, Ino)| (name.to_owned(), Attributes::folder(ino));
        let mut named: Vec<_> = [(".", ino), ("..", parent)].map(fixed).into();
        let mut places = Vec::new();
        for (name, entry) in entries {
            let attributes = match &entry {
                PlaceEntry::Folder(place) => Attributes::folder(places::number(place)),
                PlaceEntry::Published(attributes) => *attributes,
                PlaceEntry::Content(info) => Attributes {
                    ino: Ino::of_content(&info.id),
                    folder: false,
                    length: info.length,
                    lasting: false,
                    listed: None,
                },
            };
            named.push((name, attributes));
            places.push(entry);
        }
        Self {
            named,
            contents: Vec::new(),
            places,
            files: HashMap::new(),
        }
    }

    /// The entry at `position`, counted from 0.
    #[must_use]
    pub fn entry(&self, position: u64) -> Option<Entry<'_>> {
        let position = usize::try_from(position).ok()?;
        match self.named.get(position) {
            Some((name, attributes)) => Some(Entry::Named(name, *attributes)),
            None => self
                .contents
                .get(position - self.named.len())
                .map(Entry::Content),
        }
    }
}

/// A folder that is open.
pub enum OpenFolder {
    /// Of the tree of names.
    Fixed {
        /// Which.
        folder: Folder,
        /// What was listed last.
        listing: Mutex<Looked>,
    },
    /// Made by naming it.
    Place {
        /// Its number.
        ino: Ino,
        /// Which; `None`: the one of keys.
        place: Option<Place>,
        /// What was listed last.
        listing: Mutex<Looked>,
    },
    /// In a published folder, or one itself.
    Published {
        /// Which.
        spot: Spot,
        /// What it is in, kept as long as it is open.
        tree: Arc<Tree>,
    },
}

impl OpenFolder {
    /// Looks at nothing yet.
    #[must_use]
    pub fn new(folder: Folder) -> Self {
        Self::Fixed {
            folder,
            listing: Mutex::default(),
        }
    }
}

/// The listing that `position` belongs to: at 0 a new one, made by `look` if none has been prepared.
pub fn listing_at(
    looked: &Mutex<Looked>,
    position: u64,
    look: impl FnOnce() -> Listing,
) -> Arc<Listing> {
    let known = {
        let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = std::mem::take(&mut looked.fresh);
        looked.listing.clone().filter(|_| fresh || position > 0)
    };
    if let Some(known) = known {
        return known;
    }
    let new = Arc::new(look());
    let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
    looked.listing = Some(Arc::clone(&new));
    new
}

/// Whether a listing is to be prepared before what is at `position` can be shown.
pub fn is_to_prepare(looked: &Mutex<Looked>, position: u64) -> bool {
    let looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
    position == 0 || looked.listing.is_none()
}

/// Has `listing` shown next.
pub fn prepared(looked: &Mutex<Looked>, listing: Listing) {
    let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
    looked.listing = Some(Arc::new(listing));
    looked.fresh = true;
}

/// What `stat` shows of a node in a published folder.
#[must_use]
pub fn attributes_of(spot: Spot, node: &Node) -> Attributes {
    let ino = spot.ino();
    match &node.what {
        What::Folder(_) => Attributes::published_folder(ino, node.modified),
        What::File { length, mode, .. } => Attributes {
            ino,
            folder: false,
            length: *length,
            lasting: true,
            listed: Some(Listed {
                link: false,
                mode: u16::try_from(*mode).unwrap_or_default(),
                modified: node.modified,
            }),
        },
        What::Link(target) => Attributes {
            ino,
            folder: false,
            length: target.len() as u64,
            lasting: true,
            listed: Some(Listed {
                link: true,
                mode: 0o777,
                modified: 0,
            }),
        },
    }
}

/// The entry at `position` of a folder in a published folder, which lies in `parent`.
#[must_use]
pub fn published_entry(tree: &Tree, spot: Spot, position: u64) -> Option<Entry<'_>> {
    let folder = tree.node(spot.node)?;
    let What::Folder(children) = &folder.what else {
        return None;
    };
    let named = |name, node, spot| Entry::Named(name, attributes_of(spot, node));
    match position {
        0 => Some(named(".", folder, spot)),
        1 if spot.node == 0 => Some(Entry::Named("..", Attributes::folder(Ino::FOLDERS))),
        1 => {
            let spot = Spot {
                node: folder.parent,
                ..spot
            };
            Some(named("..", tree.node(folder.parent)?, spot))
        }
        _ => {
            let at = u32::try_from(position - 2).ok()?;
            let node = children.start.checked_add(at)?;
            if node >= children.end {
                return None;
            }
            let spot = Spot { node, ..spot };
            let child = tree.node(node)?;
            Some(named(&child.name, child, spot))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::ContentId;

    fn info(id: ContentId) -> ContentInfo {
        ContentInfo {
            id,
            length: 1,
            proven: true,
            present: 1,
            verified: crate::node::Verified::Yes,
        }
    }

    fn names(listing: &Listing) -> Vec<String> {
        (0..)
            .map_while(|position| listing.entry(position))
            .map(|entry| entry.with_name(str::to_owned))
            .collect()
    }

    #[test]
    fn each_folder_shows_its_kind() {
        let contents = vec![
            info(ContentId::sha256([0xaa; 32])),
            info(ContentId::blake3([0xbb; 32])),
            info(ContentId::tree_v2([0xcc; 32])),
        ];
        assert_eq!(
            names(&Listing::new(Folder::Root, Vec::new(), contents.clone())),
            [
                ".",
                "..",
                "blake3",
                "folder",
                "seeding",
                "latest",
                "stream",
                &"aa".repeat(32)
            ]
        );
        assert_eq!(
            names(&Listing::new(Folder::Blake3, Vec::new(), contents)),
            [".", "..", &"bb".repeat(32)]
        );
    }

    #[test]
    fn positions_stay_until_the_listing_starts_over() {
        let open = Mutex::default();
        let one = || {
            let contents = vec![info(ContentId::sha256([1; 32]))];
            Listing::new(Folder::Root, Vec::new(), contents)
        };
        let first = listing_at(&open, 0, one);
        assert!(Arc::ptr_eq(
            &first,
            &listing_at(&open, 2, || panic!("a new look"))
        ));
        let second = listing_at(&open, 0, one);
        assert!(!Arc::ptr_eq(&first, &second));
        // One that has been prepared is shown once.
        prepared(&open, one());
        let third = listing_at(&open, 0, || panic!("a new look"));
        assert!(!Arc::ptr_eq(&second, &third));
        assert!(!Arc::ptr_eq(&third, &listing_at(&open, 0, one)));
        assert!(is_to_prepare(&open, 0) && !is_to_prepare(&open, 1));
        assert!(is_to_prepare(&Mutex::default(), 1));
    }
}
