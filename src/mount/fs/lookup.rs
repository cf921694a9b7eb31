//! From names to inodes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::super::attributes::{Attributes, Listed};
use super::super::errno::Errno;
use super::super::folders::attributes_of;
use super::super::ino::Ino;
use super::super::names::{self, Name};
use super::super::places::{self, Place};
use super::super::published::{Spot, Way};
use super::super::source::Source;
use super::FileSystem;
use crate::content::listing::{Tree, What};
use crate::content::{ContentId, KeyedName};
use crate::node::{ContentInfo, Named};

impl<S: Source, K: Send + Sync + 'static> FileSystem<S, K> {
    /// Looks `name` up in the folder `parent` for the thread `pid`. Each success is one more time
    /// that the caller knows of the inode, until it calls [`forget`](Self::forget).
    pub fn lookup<D>(self: &Arc<Self>, parent: Ino, name: &OsStr, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
        if let Some(place) = self.places.get(parent) {
            return match place.name(name.as_bytes()) {
                Ok(of) if matches!(place, Place::Streams(_)) => self.lookup_stream(of, pid, done),
                Ok(of) => self.lookup_latest(of, pid, done),
                Err(errno) => done(Err(errno)),
            };
        }
        if parent == Ino::LATEST {
            let key = places::parse_key(name.as_bytes());
            return done(key.map(|key| self.places.tell(Place::Key(key))));
        }
        if parent == Ino::STREAM {
            let key = places::parse_key(name.as_bytes());
            return done(key.map(|key| self.places.tell(Place::Streams(key))));
        }
        let Some(folder) = parent.folder() else {
            return match Spot::of(parent) {
                Some(spot) => self.lookup_published(spot, name, pid, done),
                None => done(Err(Errno::ENOTDIR)),
            };
        };
        match names::parse(folder, name.as_bytes()) {
            Err(errno) => done(Err(errno)),
            Ok(Name::Folder(folder)) => done(Ok(Attributes::folder(Ino::of_folder(folder)))),
            Ok(Name::Content(id)) => self.lookup_content(id, pid, done),
            Ok(Name::Published(id)) => self.lookup_way(Way::Id(id), pid, done),
            Ok(Name::Seeded) => self.lookup_seeded(name, pid, done),
        }
    }

    fn lookup_seeded<D>(self: &Arc<Self>, name: &OsStr, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
        let name = name.as_bytes().to_owned();
        let find = move |fs: &Self| {
            let mut all = fs.source.seeding().into_iter();
            all.find(|one| one.name.as_bytes() == name)
        };
        self.aside(pid, find, move |fs, found| match found {
            Err(failure) => done(Err(Errno::of_read(failure))),
            Ok(None) => done(Err(Errno::ENOENT)),
            Ok(Some(one)) if one.folder => {
                fs.lookup_way(Way::Seeding(one.name, one.id), pid, done);
            }
            Ok(Some(one)) => fs.lookup_content(one.id, pid, done),
        });
    }

    fn lookup_content<D>(self: &Arc<Self>, id: ContentId, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
        self.find(id, pid, move |fs, found| {
            done(found.map(|info| fs.inodes.found(&info)));
        });
    }

    /// Looks up what a key has published under a name. What that is can change, so the kernel may go
    /// by it for a moment only; what is open stays what it was, since other content is another inode.
    fn lookup_latest<D>(self: &Arc<Self>, of: KeyedName, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
        let fs = Arc::clone(self);
        let named = of.clone();
        let waiting = self.source.latest(
            named,
            Box::new(move |named| match named.map_err(Errno::of_lookup) {
                Err(errno) => done(Err(errno)),
                Ok(Named::Folder) => done(Ok(fs.places.tell(Place::Below(of)))),
                Ok(Named::Published(latest)) => {
                    let id = ContentId::sha256(latest.sha256.0);
                    fs.lookup_published_as(of, id, pid, done);
                }
            }),
        );
        if let Some(waiting) = waiting {
            self.watcher.watch(pid, waiting);
        }
    }

    /// Looks up content that is published under a name: a file, or a folder if it is a listing.
    fn lookup_published_as<D>(self: &Arc<Self>, of: KeyedName, id: ContentId, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
        let fs = Arc::clone(self);
        let found = move |info: Result<ContentInfo, Errno>| {
            let info = match info {
                Ok(info) => info,
                Err(errno) => return done(Err(errno)),
            };
            let way = Way::Latest(of, id);
            let told = Arc::clone(&fs);
            fs.with_tree_if_any(info.clone(), pid, move |tree| {
                done(tree.and_then(|tree| match tree {
                    None => Ok(Attributes {
                        lasting: false,
                        ..told.inodes.found(&info)
                    }),
                    Some(tree) => told.way_attributes(&way, &tree),
                }));
            });
        };
        self.find(id, pid, move |_, info| found(info));
    }

    /// What `stat` shows of a published folder.
    fn way_attributes(&self, way: &Way, tree: &Tree) -> Result<Attributes, Errno> {
        let spot = Spot {
            way: self.published.number(way),
            node: 0,
        };
        let root = tree.node(0).ok_or(Errno::EIO)?;
        Ok(attributes_of(spot, root))
    }

    /// Looks up a published folder.
    fn lookup_way<D>(self: &Arc<Self>, way: Way, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
        self.with_tree(way.listing(), pid, move |fs, tree| {
            done(tree.and_then(|tree| fs.way_attributes(&way, &tree)));
        });
    }

    /// Looks `name` up in a folder of a published folder.
    fn lookup_published<D>(self: &Arc<Self>, parent: Spot, name: &OsStr, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
        if name.len() > names::MAX_NAME {
            return done(Err(Errno::ENAMETOOLONG));
        }
        let Some(way) = self.published.way(parent.way) else {
            return done(Err(Errno::ESTALE));
        };
        let Some(name) = name.to_str().map(str::to_owned) else {
            return done(Err(Errno::ENOENT));
        };
        self.with_tree(way.listing(), pid, move |fs, tree| {
            done(tree.and_then(|tree| {
                let folder = tree.node(parent.node).ok_or(Errno::ESTALE)?;
                if !matches!(folder.what, What::Folder(_)) {
                    return Err(Errno::ENOTDIR);
                }
                let node = tree.find(parent.node, &name).ok_or(Errno::ENOENT)?;
                fs.tell(&tree, Spot { node, ..parent })
            }));
        });
    }

    /// The kernel is being told of a node once more.
    pub(super) fn tell(&self, tree: &Tree, spot: Spot) -> Result<Attributes, Errno> {
        let node = tree.node(spot.node).ok_or(Errno::ESTALE)?;
        let attributes = attributes_of(spot, node);
        Ok(match (&node.what, attributes.listed) {
            (What::File { sha256, length, .. }, Some(listed)) => {
                self.published_file(spot, ContentId::sha256(sha256.0), *length, listed)
            }
            _ => attributes,
        })
    }

    fn published_file(&self, spot: Spot, id: ContentId, length: u64, listed: Listed) -> Attributes {
        self.inodes.published(spot.ino(), id, length, listed)
    }

    /// Asks the source for `id` and has the operation watched if it waits.
    pub(super) fn find<D>(self: &Arc<Self>, id: ContentId, pid: u32, done: D)
    where
        D: FnOnce(&Arc<Self>, Result<ContentInfo, Errno>) + Send + 'static,
    {
        let fs = Arc::clone(self);
        let waiting = self.source.lookup(
            id,
            Box::new(move |found| done(&fs, found.map_err(Errno::of_lookup))),
        );
        if let Some(waiting) = waiting {
            self.watcher.watch(pid, waiting);
        }
    }
}
