//! Open folders. Each listing is a snapshot, so that the position which a program comes back with
//! means the same entry however much has arrived since; starting over takes a new one.

use std::sync::{Arc, Mutex, PoisonError};

use super::attributes::Attributes;
use super::inodes::Ino;
use super::names::{BLAKE3_FOLDER, Folder, LATEST_FOLDER};
use super::places::{self, Place, PlaceEntry};
use crate::content::{Hash, Kind};
use crate::node::ContentInfo;

/// The most content that a listing shows. What is beyond it is still found when named; a snapshot
/// of this many takes some 5 MiB.
pub const LISTING_LIMIT: usize = 1 << 16;

/// One entry of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A folder by the name that it has here (`.` and `..` among them).
    Folder(&'static str, Ino),
    /// Content, named by its hash.
    Content(&'a ContentInfo),
    /// A folder that is made by naming it.
    Place(&'a str, &'a Place),
    /// Content by the name that it was published under.
    Named(&'a str, &'a ContentInfo),
}

impl Entry<'_> {
    /// Its number.
    #[must_use]
    pub fn ino(&self) -> Ino {
        match self {
            Self::Folder(_, ino) => *ino,
            Self::Content(info) | Self::Named(_, info) => Ino::of_content(&info.id),
            Self::Place(_, place) => places::number(place),
        }
    }

    /// Calls `f` with its name.
    pub fn with_name<T>(&self, f: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Folder(name, _) => f(name),
            Self::Place(name, _) | Self::Named(name, _) => f(name),
            Self::Content(info) => {
                let hex = Hash::to_hex(&info.id.hash);
                f(std::str::from_utf8(&hex).unwrap_or_default())
            }
        }
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        matches!(self, Self::Folder(..) | Self::Place(..))
    }

    /// What `stat` shows of it, where it is a folder.
    #[must_use]
    pub fn folder_attributes(&self) -> Option<Attributes> {
        match self {
            Self::Folder(_, ino) => Some(Attributes::folder(*ino)),
            Self::Place(..) => Some(Attributes::folder(self.ino())),
            Self::Content(_) | Self::Named(..) => None,
        }
    }
}

/// What a folder held when it was looked at.
pub struct Listing {
    folders: Vec<(&'static str, Ino)>,
    contents: Vec<ContentInfo>,
    places: Vec<(String, PlaceEntry)>,
}

impl Listing {
    /// Of those `contents` that belong into `folder`.
    #[must_use]
    pub fn new(folder: Folder, mut contents: Vec<ContentInfo>) -> Self {
        let kind = match folder {
            Folder::Root => Some(Kind::Sha256),
            Folder::Blake3 => Some(Kind::Blake3),
            Folder::Latest => None,
        };
        contents.retain(|info| Some(info.id.kind) == kind);
        Self {
            folders: standing(folder),
            contents,
            places: Vec::new(),
        }
    }

    /// Of the folder `ino`, which is made by naming it, in `parent`.
    #[must_use]
    pub fn of_place(ino: Ino, parent: Ino, places: Vec<(String, PlaceEntry)>) -> Self {
        Self {
            folders: vec![(".", ino), ("..", parent)],
            contents: Vec::new(),
            places,
        }
    }

    /// The entry at `position`, counted from 0.
    #[must_use]
    pub fn entry(&self, position: u64) -> Option<Entry<'_>> {
        let position = usize::try_from(position).ok()?;
        if let Some(&(name, ino)) = self.folders.get(position) {
            return Some(Entry::Folder(name, ino));
        }
        let position = position - self.folders.len();
        if let Some(info) = self.contents.get(position) {
            return Some(Entry::Content(info));
        }
        let (name, entry) = self.places.get(position - self.contents.len())?;
        Some(match entry {
            PlaceEntry::Folder(place) => Entry::Place(name, place),
            PlaceEntry::Content(info) => Entry::Named(name, info),
        })
    }
}

/// The folders that are always in `folder`.
fn standing(folder: Folder) -> Vec<(&'static str, Ino)> {
    let own = Ino::of_folder(folder);
    let mut folders = vec![(".", own), ("..", Ino::ROOT)];
    if folder == Folder::Root {
        folders.push((BLAKE3_FOLDER, Ino::BLAKE3));
        folders.push((LATEST_FOLDER, Ino::LATEST));
    }
    folders
}

/// A folder that is open.
pub struct OpenFolder {
    listing: Mutex<Option<Arc<Listing>>>,
}

impl OpenFolder {
    /// Looks at nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            listing: Mutex::new(None),
        }
    }

    /// The listing that `position` belongs to: at 0 a new one, which `look` makes.
    pub fn listing(&self, position: u64, look: impl FnOnce() -> Listing) -> Arc<Listing> {
        let mut listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = listing.as_ref().filter(|_| position > 0) {
            return Arc::clone(listing);
        }
        let new = Arc::new(look());
        *listing = Some(Arc::clone(&new));
        new
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
            names(&Listing::new(Folder::Root, contents.clone())),
            [".", "..", "blake3", "latest", &"aa".repeat(32)]
        );
        assert_eq!(
            names(&Listing::new(Folder::Blake3, contents)),
            [".", "..", &"bb".repeat(32)]
        );
    }

    #[test]
    fn positions_stay_until_the_listing_starts_over() {
        let open = OpenFolder::new();
        let one = || Listing::new(Folder::Root, vec![info(ContentId::sha256([1; 32]))]);
        let first = open.listing(0, one);
        assert!(Arc::ptr_eq(
            &first,
            &open.listing(2, || panic!("a new look"))
        ));
        assert!(!Arc::ptr_eq(&first, &open.listing(0, one)));
    }
}
