//! The file system: names, inodes, handles and errno, and nothing of FUSE.
//!
//! What may wait takes `done`, which is called exactly once: before the method returns where the
//! answer is here, later and on another thread where it is not. A `done` that is dropped uncalled
//! is the caller's to notice.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::{debug, error};

use super::attributes::{Attributes, Listed};
use super::errno::Errno;
use super::folders::{
    Entry, LISTING_LIMIT, Listing, OpenFolder, attributes_of, listing_at, published_entry,
};
use super::handles::{Fh, Handles};
use super::inodes::{Ino, Inodes, OpenMode, Passage};
use super::names::{self, Folder, Name};
use super::published::{Published, Spot, Way};
use super::source::{Reading, Source, Space};
use super::watcher::Watcher;
use super::xattrs;
use crate::content::ContentId;
use crate::content::listing::{MAX_LISTING, Tree, What};
use crate::node::{ContentInfo, DoneRead, Failure};

/// A file that has been opened.
pub struct Opened<K = ()> {
    /// Its handle.
    pub fh: Fh,
    /// How the handle is to read.
    pub mode: OpenMode,
    /// What the kernel reads by itself, if it does.
    pub passage: Option<Arc<Passage<K>>>,
}

/// One who opens a file.
pub trait Opening<K>: Send + 'static {
    /// Has the kernel prepare for reading `file` by itself.
    fn pass(&self, file: BorrowedFd<'_>) -> io::Result<K>;

    /// It is open, or is not.
    fn done(self, opened: Result<Opened<K>, Errno>);
}

/// One who wants every read to come here.
impl<K, F: FnOnce(Result<Opened<K>, Errno>) + Send + 'static> Opening<K> for F {
    fn pass(&self, _file: BorrowedFd<'_>) -> io::Result<K> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn done(self, opened: Result<Opened<K>, Errno>) {
        self(opened);
    }
}

struct OpenFile<R> {
    ino: Ino,
    mode: OpenMode,
    /// `None` where the kernel reads by itself.
    reader: Option<R>,
}

/// One of the ways to read from a handle.
type Read<S> = fn(&<S as Source>::Reader, u64, u32, DoneRead) -> Option<<S as Source>::Waiting>;

/// The tree of names over a source of content. `K` is what a kernel that reads a file by itself
/// knows it by.
pub struct FileSystem<S: Source, K = ()> {
    source: S,
    inodes: Inodes<K>,
    files: Handles<OpenFile<S::Reader>>,
    folders: Handles<OpenFolder>,
    published: Published,
    watcher: Watcher<S::Waiting>,
    /// Whether the kernel has refused to read files by itself.
    refused: AtomicBool,
}

impl<S: Source, K: Send + Sync + 'static> FileSystem<S, K> {
    /// Over `source`. Starts the thread that watches for signals, which is what can fail.
    pub fn new(source: S) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            source,
            inodes: Inodes::default(),
            files: Handles::default(),
            folders: Handles::default(),
            published: Published::default(),
            watcher: Watcher::start()?,
            refused: AtomicBool::new(false),
        }))
    }

    /// Whether the source's files lie on layers of file systems.
    pub fn is_layered(&self) -> bool {
        self.source.is_layered()
    }

    /// Ends everything that waits with `ESHUTDOWN`, and from now on whatever would wait. What is
    /// here can still be read.
    pub fn stop(&self) {
        self.watcher.stop();
    }

    /// Looks `name` up in the folder `parent` for the thread `pid`. Each success is one more time
    /// that the caller knows of the inode, until it calls [`forget`](Self::forget).
    pub fn lookup<D>(self: &Arc<Self>, parent: Ino, name: &OsStr, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
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
            Ok(Name::Seeded) => {
                let all = self.source.seeding();
                match all
                    .into_iter()
                    .find(|one| one.name.as_bytes() == name.as_bytes())
                {
                    None => done(Err(Errno::ENOENT)),
                    Some(one) if one.folder => {
                        self.lookup_way(Way::Seeding(one.name, one.id), pid, done);
                    }
                    Some(one) => self.lookup_content(one.id, pid, done),
                }
            }
        }
    }

    fn lookup_content<D>(self: &Arc<Self>, id: ContentId, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
        // What is listed must not be waited for: the kernel makes a whole listing wait for a lookup
        // of anything in it.
        match self.source.info(id) {
            Some(info) => done(Ok(self.inodes.found(&info))),
            None => self.find(id, pid, move |fs, found| {
                done(found.map(|info| fs.inodes.found(&info)));
            }),
        }
    }

    /// Looks up a published folder.
    fn lookup_way<D>(self: &Arc<Self>, way: Way, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
        let spot = Spot {
            way: self.published.number(&way),
            node: 0,
        };
        self.with_tree(way.listing(), pid, move |_, tree| {
            done(tree.and_then(|tree| {
                let root = tree.node(0).ok_or(Errno::EIO)?;
                Ok(attributes_of(spot, root))
            }));
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
    fn tell(&self, tree: &Tree, spot: Spot) -> Result<Attributes, Errno> {
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

    /// Calls `done` with the tree of a listing: at once if it is here, else when the listing has
    /// been fetched and read.
    fn with_tree<D>(self: &Arc<Self>, listing: ContentId, pid: u32, done: D)
    where
        D: FnOnce(&Self, Result<Arc<Tree>, Errno>) + Send + 'static,
    {
        if let Some(tree) = self.published.tree(&listing) {
            return done(self, Ok(tree));
        }
        self.find(listing, pid, move |fs, found| match found {
            Ok(info) if info.length > MAX_LISTING => done(fs, Err(Errno::ENOTDIR)),
            Ok(_) => fs.fetch_tree(listing, pid, done),
            Err(errno) => done(fs, Err(errno)),
        });
    }

    fn fetch_tree<D>(self: &Arc<Self>, listing: ContentId, pid: u32, done: D)
    where
        D: FnOnce(&Self, Result<Arc<Tree>, Errno>) + Send + 'static,
    {
        let fs = Arc::clone(self);
        let fetched = move |fetched: Result<ContentInfo, Failure>| match fetched {
            Err(failure) => done(&fs, Err(Errno::of_read(failure))),
            Ok(_) => {
                // A long listing takes a moment to read, and this thread has other things to do.
                let spawned = std::thread::Builder::new()
                    .name("listing".into())
                    .spawn(move || {
                        let tree = read_tree(&fs.source, listing);
                        let tree = tree.map(|tree| fs.published.keep(listing, tree));
                        done(&fs, tree);
                    });
                if let Err(error) = spawned {
                    // The operation ends with it, as one that was dropped.
                    error!(%error, "no thread to read a folder listing");
                }
            }
        };
        if let Some(waiting) = self.source.fetch(listing, Box::new(fetched)) {
            self.watcher.watch(pid, waiting);
        }
    }

    /// Asks the source for `id` and has the operation watched if it waits.
    fn find<D>(self: &Arc<Self>, id: ContentId, pid: u32, done: D)
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

    /// The caller knows of `ino` `count` times less.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.inodes.forget(ino, count);
    }

    /// What `stat` shows. Never waits.
    pub fn attributes(&self, ino: Ino) -> Result<Attributes, Errno> {
        if ino.folder().is_some() {
            return Ok(Attributes::folder(ino));
        }
        if let Some(spot) = Spot::of(ino)
            && let Some(tree) = self.published.tree_on(spot.way)
        {
            let node = tree.node(spot.node).ok_or(Errno::ESTALE)?;
            return Ok(attributes_of(spot, node));
        }
        self.inodes
            .attributes(ino, |id| self.source.info(id))
            // Of a published folder that had to make room: the kernel looks its name up again.
            .ok_or(if Spot::of(ino).is_some() {
                Errno::ESTALE
            } else {
                Errno::ENOENT
            })
    }

    /// Where a symbolic link points. Never waits.
    pub fn link_target(&self, ino: Ino) -> Result<String, Errno> {
        let spot = Spot::of(ino).ok_or(Errno::EINVAL)?;
        let tree = self.published.tree_on(spot.way).ok_or(Errno::ESTALE)?;
        match &tree.node(spot.node).ok_or(Errno::ESTALE)?.what {
            What::Link(target) => Ok(target.to_string()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Opens a file for reading, for the thread `pid`. Waits only where the source has forgotten
    /// the content and has to look for it again.
    pub fn open(self: &Arc<Self>, ino: Ino, pid: u32, opening: impl Opening<K>) {
        if ino.folder().is_some() {
            return opening.done(Err(Errno::EISDIR));
        }
        let Some((id, _)) = self.inodes.content(ino) else {
            return opening.done(Err(Errno::ESTALE));
        };
        // Whatever has become of the content at its source.
        if let Some(passage) = self.inodes.pass_along(ino) {
            return opening.done(Ok(self.handle(ino, OpenMode::Passed, Some(passage), None)));
        }
        match self.source.open(id) {
            Ok(reader) => {
                let opened = self.opened(ino, reader, &opening);
                opening.done(opened);
            }
            Err(Failure::NotFound) => self.find(id, pid, move |fs, found| {
                let opened = found.and_then(|_| {
                    let reader = fs.source.open(id).map_err(Errno::of_lookup)?;
                    fs.opened(ino, reader, &opening)
                });
                opening.done(opened);
            }),
            Err(failure) => opening.done(Err(Errno::of_lookup(failure))),
        }
    }

    fn opened(
        &self,
        ino: Ino,
        reader: S::Reader,
        opening: &impl Opening<K>,
    ) -> Result<Opened<K>, Errno> {
        // A length that was not proven can turn out to be another. The kernel then looks the name
        // up anew, and so learns the new one, before it tries once more.
        match self.inodes.content(ino) {
            Some((_, length)) if length == reader.length() => {}
            // The listing says so, and will say so again.
            Some(_) if self.inodes.is_published(ino) => return Err(Errno::EIO),
            _ => return Err(Errno::ESTALE),
        }
        let offer = self.offer(ino, &reader, opening);
        let (mode, passage) = self
            .inodes
            .opened(ino, reader.proven(), reader.generation(), offer);
        let reader = (mode != OpenMode::Passed).then_some(reader);
        Ok(self.handle(ino, mode, passage, reader))
    }

    /// What the kernel could read by itself in place of `reader`.
    fn offer(&self, ino: Ino, reader: &S::Reader, opening: &impl Opening<K>) -> Option<Passage<K>> {
        if self.refused.load(Ordering::Relaxed) || !self.inodes.may_pass(ino) {
            return None;
        }
        let file = reader.backing()?;
        match opening.pass((*file).as_fd()) {
            Ok(kernel) => Some(Passage::new(kernel, file)),
            Err(error) => {
                let passing = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN];
                if !error.raw_os_error().is_some_and(|e| passing.contains(&e)) {
                    self.refused.store(true, Ordering::Relaxed);
                    debug!(%error, "the kernel does not read files by itself");
                }
                None
            }
        }
    }

    fn handle(
        &self,
        ino: Ino,
        mode: OpenMode,
        passage: Option<Arc<Passage<K>>>,
        reader: Option<S::Reader>,
    ) -> Opened<K> {
        let fh = self.files.insert(OpenFile { ino, mode, reader });
        Opened { fh, mode, passage }
    }

    /// Reads `length` bytes from `offset`, for the thread `pid`: exactly that many, fewer only
    /// where the content ends.
    pub fn read<D>(&self, fh: Fh, offset: u64, length: u32, pid: u32, done: D)
    where
        D: FnOnce(Result<&[u8], Errno>) + Send + 'static,
    {
        self.read_by(S::Reader::read, fh, offset, length, pid, done);
    }

    /// The same, for pages that other processes see, too.
    pub fn fill<D>(&self, fh: Fh, offset: u64, length: u32, pid: u32, done: D)
    where
        D: FnOnce(Result<&[u8], Errno>) + Send + 'static,
    {
        self.read_by(S::Reader::fill, fh, offset, length, pid, done);
    }

    fn read_by<D>(&self, read: Read<S>, fh: Fh, offset: u64, length: u32, pid: u32, done: D)
    where
        D: FnOnce(Result<&[u8], Errno>) + Send + 'static,
    {
        let file = self.files.get(fh);
        let Some(reader) = file.as_ref().and_then(|file| file.reader.as_ref()) else {
            return done(Err(Errno::EBADF));
        };
        let expected = reader
            .length()
            .saturating_sub(offset)
            .min(u64::from(length));
        let waiting = read(
            reader,
            offset,
            length,
            Box::new(move |read| {
                done(match read {
                    // Too little would be taken for the end of the file, or for zeros.
                    Ok(data) if data.len() as u64 != expected => {
                        error!(
                            offset,
                            expected,
                            got = data.len(),
                            "a read came back with the wrong number of bytes"
                        );
                        Err(Errno::EIO)
                    }
                    Ok(data) => Ok(data),
                    Err(failure) => Err(Errno::of_read(failure)),
                });
            }),
        );
        if let Some(waiting) = waiting {
            self.watcher.watch(pid, waiting);
        }
    }

    /// Closes a file.
    pub fn close(&self, fh: Fh) {
        if let Some(file) = self.files.remove(fh) {
            self.inodes.closed(file.ino, file.mode);
        }
    }

    /// Opens a folder, for the thread `pid`. Waits only for a published one whose listing is not
    /// at hand any more.
    pub fn open_folder<D>(self: &Arc<Self>, ino: Ino, pid: u32, done: D)
    where
        D: FnOnce(Result<Fh, Errno>) + Send + 'static,
    {
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

    /// What is in a folder of the tree of names, now.
    fn look(&self, folder: Folder) -> Listing {
        let (mut named, mut contents) = (Vec::new(), Vec::new());
        let published = |way: &Way| {
            let spot = Spot {
                way: self.published.number(way),
                node: 0,
            };
            let tree = self.published.tree(&way.listing());
            let modified = tree.and_then(|tree| Some(tree.node(0)?.modified));
            Attributes::published_folder(spot.ino(), modified.unwrap_or_default())
        };
        match folder {
            Folder::Root | Folder::Blake3 => contents = self.source.contents(LISTING_LIMIT),
            Folder::Published => {
                let all = self.published.listings();
                let entry = |id: ContentId| (id.hash.to_string(), published(&Way::Id(id)));
                named.extend(all.into_iter().map(entry));
            }
            Folder::Seeding => {
                for one in self.source.seeding() {
                    let attributes = if one.folder {
                        published(&Way::Seeding(one.name.clone(), one.id))
                    } else {
                        let Some(info) = self.source.info(one.id) else {
                            continue;
                        };
                        Attributes {
                            ino: Ino::of_content(&one.id),
                            folder: false,
                            length: info.length,
                            lasting: info.proven,
                            listed: None,
                        }
                    };
                    named.push((one.name, attributes));
                }
            }
        }
        Listing::new(folder, named, contents)
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
        let fixed = match &*folder {
            OpenFolder::Fixed { folder, listing } => {
                Some(listing_at(listing, position, || self.look(*folder)))
            }
            OpenFolder::Published { .. } => None,
        };
        let entry = |position| match (&fixed, &*folder) {
            (Some(listing), _) => listing.entry(position),
            (None, OpenFolder::Published { spot, tree }) => published_entry(tree, *spot, position),
            (None, OpenFolder::Fixed { .. }) => None,
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
        let tree = match self.folders.get(fh).as_deref() {
            Some(OpenFolder::Published { tree, .. }) => Some(Arc::clone(tree)),
            _ => None,
        };
        self.list(fh, position, |position, entry| {
            let attributes = match (entry, &tree) {
                (Entry::Content(info), _) => self.inodes.listed(info),
                (Entry::Named(_, attributes), Some(tree)) => match Spot::of(attributes.ino) {
                    Some(spot) => self.tell(tree, spot).unwrap_or(*attributes),
                    None => *attributes,
                },
                // A seeded file.
                (Entry::Named(_, attributes), None) if !attributes.folder => {
                    match self.seeded_info(entry) {
                        Some(info) => self.inodes.listed(&info),
                        None => *attributes,
                    }
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

    fn seeded_info(&self, entry: &Entry<'_>) -> Option<ContentInfo> {
        let all = self.source.seeding();
        let one = entry.with_name(|name| all.into_iter().find(|one| one.name == name))?;
        self.source.info(one.id)
    }

    /// Closes a folder.
    pub fn close_folder(&self, fh: Fh) {
        self.folders.remove(fh);
    }

    /// The value of an extended attribute. Never waits.
    pub fn xattr(&self, ino: Ino, name: &OsStr) -> Result<String, Errno> {
        let name = name.as_bytes();
        if !name.starts_with(b"user.") {
            return Err(xattrs::absent(name));
        }
        let (id, length) = self.inodes.content(ino).ok_or(Errno::ENODATA)?;
        let info = self.source.info(id).unwrap_or(ContentInfo {
            id,
            length,
            proven: false,
            present: 0,
            verified: crate::node::Verified::No,
        });
        xattrs::value(&info, name)
    }

    /// The names of the extended attributes, each with a NUL after it.
    #[must_use]
    pub fn xattr_names(&self, ino: Ino) -> Vec<u8> {
        self.inodes
            .content(ino)
            .map(|(id, _)| xattrs::list(&id))
            .unwrap_or_default()
    }

    /// How much room there is.
    pub fn space(&self) -> Space {
        self.source.space()
    }

    /// How many handles are open on `ino`: those past the page cache, those through it, those that
    /// the kernel reads by itself.
    pub fn open_handles(&self, ino: Ino) -> [u32; 3] {
        self.inodes.open_handles(ino)
    }

    /// How many inodes the caller knows of, and how many files and folders it has open.
    pub fn counts(&self) -> [usize; 3] {
        [self.inodes.len(), self.files.len(), self.folders.len()]
    }
}

/// Reads a listing that has been fetched.
fn read_tree<S: Source>(source: &S, listing: ContentId) -> Result<Tree, Errno> {
    const PART: u32 = 1 << 20;
    const READ_LIMIT: Duration = Duration::from_secs(60);
    let reader = source.open(listing).map_err(Errno::of_read)?;
    let length = reader.length();
    if length > MAX_LISTING {
        return Err(Errno::ENOTDIR);
    }
    let mut text = Vec::new();
    while (text.len() as u64) < length {
        let (part, read) = std::sync::mpsc::channel();
        let done = move |data: Result<&[u8], Failure>| {
            let _ = part.send(data.map(<[u8]>::to_vec));
        };
        // All of it is here, so this does not wait; if it is gone again, no longer than a read may.
        let _waiting = reader.read(text.len() as u64, PART, Box::new(done));
        match read.recv_timeout(READ_LIMIT) {
            Ok(Ok(part)) if !part.is_empty() => text.extend_from_slice(&part),
            Ok(Err(failure)) => return Err(Errno::of_read(failure)),
            Ok(Ok(_)) | Err(_) => return Err(Errno::EIO),
        }
    }
    match crate::content::Listing::parse(&text) {
        Ok(listing) => Ok(Tree::new(&listing)),
        Err(error) => {
            debug!(%error, id = %listing, "no folder");
            Err(Errno::ENOTDIR)
        }
    }
}
