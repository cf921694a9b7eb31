//! Open folders.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::super::attributes::Attributes;
use super::super::errno::Errno;
use super::super::folders::{
    Entry, LISTING_LIMIT, Listing, Looked, OpenFolder, is_to_prepare, listing_at, prepared,
    published_entry,
};
use super::super::handles::Fh;
use super::super::ino::Ino;
use super::super::names::Folder;
use super::super::places::{self, Place, PlaceEntry};
use super::super::published::{Spot, Way};
use super::super::source::Source;
use super::FileSystem;
use crate::content::ContentId;
use crate::content::listing::What;

impl<S: Source, K: Send + Sync + 'static> FileSystem<S, K> {
    /// Opens a folder, for the thread `pid`. Waits only for a published one whose listing is not
    /// at hand any more.
    pub fn open_folder<D>(self: &Arc<Self>, ino: Ino, pid: u32, done: D)
    where
        D: FnOnce(Result<Fh, Errno>) + Send + 'static,
    {
        let place = self.places.get(ino);
        if let Some(Place::Below(of)) = &place
            && !self.source.goes_on(of)
        {
            // It was let pass in case names go on below it, which peers cannot be asked for; who
            // wants to see what is in it means a name that does not exist.
            return done(Err(Errno::ENOENT));
        }
        if ino == Ino::LATEST || ino == Ino::STREAM || place.is_some() {
            let listing = Mutex::default();
            return done(Ok(self.folders.insert(OpenFolder::Place {
                ino,
                place,
                listing,
            })));
        }
        if let Some(folder) = ino.folder() {
            return done(Ok(self.folders.insert(OpenFolder::new(folder))));
        }
        let Some(spot) = Spot::of(ino) else {
            return done(Err(Errno::ENOTDIR));
        };
        let Some(way) = self.published.way(spot.way) else {
            return done(Err(Errno::ESTALE));
        };
        self.with_tree(way.listing(), pid, move |fs, tree| {
            done(tree.and_then(|tree| {
                let node = tree.node(spot.node).ok_or(Errno::ESTALE)?;
                if !matches!(node.what, What::Folder(_)) {
                    return Err(Errno::ENOTDIR);
                }
                Ok(fs.folders.insert(OpenFolder::Published { spot, tree }))
            }));
        });
    }

    /// What is in a folder that is made by naming it, now.
    fn look_into(&self, ino: Ino, place: Option<&Place>) -> Listing {
        if ino == Ino::STREAM {
            // Streams are found when they are named.
            return Listing::of_place(ino, Vec::new());
        }
        let names = self.source.names(LISTING_LIMIT);
        let entries = places::list(place, &names, |of, id| {
            let info = self.source.info(id)?;
            Some(match self.is_listing(&info) {
                Some(true) => {
                    let way = Way::Latest(of, id);
                    PlaceEntry::Published(self.listed_way(&way))
                }
                // Whether it is a folder is found out when it is named.
                _ => PlaceEntry::Content(info),
            })
        });
        Listing::of_place(ino, entries)
    }

    /// What a published folder is listed as.
    fn listed_way(&self, way: &Way) -> Attributes {
        let spot = Spot {
            way: self.published.number(way),
            node: 0,
        };
        let tree = self.published.tree(&way.listing());
        let modified = tree.and_then(|tree| Some(tree.node(0)?.modified));
        Attributes::published_folder(spot.ino(), modified.unwrap_or_default())
    }

    /// Tells the kernel of what lies before `position` in such a folder, if it is one.
    fn tell_place(&self, open: &OpenFolder, position: u64) -> Option<Attributes> {
        let OpenFolder::Place { .. } = open else {
            return None;
        };
        let listing = self.listing(open, position)?;
        // After `.` and `..`.
        let at = usize::try_from(position.checked_sub(3)?).ok()?;
        Some(match listing.places.get(at)? {
            PlaceEntry::Folder(place) => self.places.tell(place.clone()),
            PlaceEntry::Published(attributes) => *attributes,
            PlaceEntry::Content(info) => Attributes {
                lasting: false,
                ..self.inodes.listed(info)
            },
        })
    }

    /// What is in a folder of the tree of names, now.
    fn look(&self, folder: Folder) -> Listing {
        let (mut named, mut contents) = (Vec::new(), Vec::new());
        let mut files = HashMap::new();
        match folder {
            Folder::Latest | Folder::Stream => {}
            Folder::Root | Folder::Blake3 => contents = self.source.contents(LISTING_LIMIT),
            Folder::Published => {
                let all = self.published.listings();
                let entry = |id: ContentId| (id.hash.to_string(), self.listed_way(&Way::Id(id)));
                named.extend(all.into_iter().map(entry));
            }
            Folder::Seeding => {
                for one in self.source.seeding() {
                    let attributes = if one.folder {
                        self.listed_way(&Way::Seeding(one.name.clone(), one.id))
                    } else {
                        let Some(info) = self.source.info(one.id) else {
                            continue;
                        };
                        let ino = Ino::of_content(&one.id);
                        let (length, lasting) = (info.length, info.proven);
                        files.insert(ino, info);
                        Attributes {
                            ino,
                            folder: false,
                            length,
                            lasting,
                            listed: None,
                        }
                    };
                    named.push((one.name, attributes));
                }
            }
        }
        let mut listing = Listing::new(folder, named, contents);
        listing.files = files;
        listing
    }

    /// What an open folder of the tree of names shows is looked at for the thread `pid`, if it is to be shown
    /// from `position` on and is not known. What follows waits for nothing.
    pub fn prepare<D>(self: &Arc<Self>, fh: Fh, position: u64, pid: u32, done: D)
    where
        D: FnOnce(Result<(), Errno>) + Send + 'static,
    {
        let Some(open) = self.folders.get(fh) else {
            return done(Err(Errno::EBADF));
        };
        let looked = looked_at(&open);
        if !looked.is_some_and(|looked| is_to_prepare(looked, position)) {
            return done(Ok(()));
        }
        let look = move |fs: &Self| {
            if let Some(looked) = looked_at(&open) {
                prepared(looked, fs.look_at(&open));
            }
        };
        self.aside(pid, look, |_, looked| done(looked.map_err(Errno::of_read)));
    }

    /// What is in an open folder of the tree of names, now.
    fn look_at(&self, open: &OpenFolder) -> Listing {
        match open {
            OpenFolder::Fixed { folder, .. } => self.look(*folder),
            OpenFolder::Place { ino, place, .. } => self.look_into(*ino, place.as_ref()),
            OpenFolder::Published { .. } => Listing::default(),
        }
    }

    /// What `open` held when it was looked at, for what is at `position`; `None`: what it holds is fixed.
    fn listing(&self, open: &OpenFolder, position: u64) -> Option<Arc<Listing>> {
        let looked = looked_at(open)?;
        Some(listing_at(looked, position, || self.look_at(open)))
    }

    /// Lists an open folder from `position` on: calls `add` with each entry and the position after
    /// it until `add` returns `true`, "no room".
    pub fn list(
        &self,
        fh: Fh,
        position: u64,
        mut add: impl FnMut(u64, &Entry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let folder = self.folders.get(fh).ok_or(Errno::EBADF)?;
        let fixed = self.listing(&folder, position);
        let entry = |position| match (&fixed, &*folder) {
            (Some(listing), _) => listing.entry(position),
            (None, OpenFolder::Published { spot, tree }) => published_entry(tree, *spot, position),
            (None, _) => None,
        };
        let mut position = position;
        while let Some(entry) = entry(position) {
            position += 1;
            if add(position, &entry) {
                break;
            }
        }
        Ok(())
    }

    /// The same with attributes. Each file that had room is one more time that the caller knows of
    /// its inode.
    pub fn list_with_attributes(
        &self,
        fh: Fh,
        position: u64,
        mut add: impl FnMut(u64, &Entry<'_>, &Attributes) -> bool,
    ) -> Result<(), Errno> {
        let open = self.folders.get(fh);
        let tree = match open.as_deref() {
            Some(OpenFolder::Published { tree, .. }) => Some(Arc::clone(tree)),
            _ => None,
        };
        self.list(fh, position, |position, entry| {
            let placed = open.as_deref();
            if let Some(told) = placed.and_then(|open| self.tell_place(open, position)) {
                let full = add(position, entry, &told);
                if full {
                    self.forget(told.ino, 1);
                }
                return full;
            }
            let attributes = match (entry, &tree) {
                (Entry::Content(info), _) => self.inodes.listed(info),
                (Entry::Named(_, attributes), Some(tree)) => match Spot::of(attributes.ino) {
                    Some(spot) => self.tell(tree, spot).unwrap_or(*attributes),
                    None => *attributes,
                },
                // A seeded file.
                (Entry::Named(_, attributes), None) if !attributes.folder => {
                    let listing = placed.and_then(|open| self.listing(open, position));
                    let info = listing.and_then(|it| it.files.get(&attributes.ino).cloned());
                    info.map_or(*attributes, |info| self.inodes.listed(&info))
                }
                (Entry::Named(_, attributes), None) => *attributes,
            };
            let full = add(position, entry, &attributes);
            if full && !attributes.folder {
                self.inodes.forget(attributes.ino, 1);
            }
            full
        })
    }

    /// Closes a folder.
    pub fn close_folder(&self, fh: Fh) {
        self.folders.remove(fh);
    }
}

/// Where what an open folder held is noted, if that can change.
fn looked_at(open: &OpenFolder) -> Option<&Mutex<Looked>> {
    match open {
        OpenFolder::Fixed { listing, .. } | OpenFolder::Place { listing, .. } => Some(listing),
        OpenFolder::Published { .. } => None,
    }
}
