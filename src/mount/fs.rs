//! The file system: names, inodes, handles and errno, and nothing of FUSE.
//!
//! What may wait takes `done`, which is called exactly once: before the method returns where the
//! answer is here, later and on another thread where it is not. A `done` that is dropped uncalled
//! is the caller's to notice.

mod files;
mod listing;
mod lookup;
mod streams;
mod trees;

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tracing::warn;

use super::attributes::Attributes;
use super::errno::Errno;
use super::folders::{OpenFolder, attributes_of};
use super::handles::{Fh, Handles};
use super::ino::Ino;
use super::inodes::{Inodes, OpenMode, Passage};
use super::places::{Place, Places};
use super::published::{Published, Spot};
use super::source::{Source, Space, Streaming};
use super::watcher::Watcher;
use super::xattrs;
use crate::content::ContentId;
use crate::content::listing::What;
use crate::node::{ContentInfo, Failure};

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

struct OpenFile<R, W> {
    ino: Ino,
    mode: OpenMode,
    /// `None` where the kernel reads by itself.
    reader: Option<R>,
    /// In place of a reader, where it is a stream.
    stream: Option<Box<dyn Streaming<W>>>,
}

/// The tree of names over a source of content. `K` is what a kernel that reads a file by itself
/// knows it by.
pub struct FileSystem<S: Source, K = ()> {
    source: S,
    inodes: Inodes<K>,
    places: Places,
    files: Handles<OpenFile<S::Reader, S::Waiting>>,
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
            places: Places::default(),
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

    /// Has `forget` hear, on a thread of its own, the inodes of which the kernel may have wrong pages:
    /// the file that they were read from has rotted.
    pub fn on_rotten(self: &Arc<Self>, forget: impl Fn(Ino) + Send + Sync + 'static) {
        let (fs, forget) = (Arc::downgrade(self), Arc::new(forget));
        self.source.on_rotten(Box::new(move |ids| {
            let Some(fs) = fs.upgrade() else { return };
            let inodes = fs.inodes.rotten(ids);
            let forget = Arc::clone(&forget);
            // The kernel waits for pages that are being read, and so for us.
            let told = std::thread::Builder::new()
                .name("forget pages".into())
                .spawn(move || inodes.into_iter().for_each(|ino| forget(ino)));
            if let Err(error) = told {
                warn!(%error, "the kernel cannot be told that a file has rotted");
            }
        }));
    }

    /// Ends everything that waits with `ESHUTDOWN`, and from now on whatever would wait. What is
    /// here can still be read.
    pub fn stop(&self) {
        self.watcher.stop();
    }

    /// The caller knows of `ino` `count` times less.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.inodes.forget(ino, count);
        self.places.forget(ino, count);
    }

    fn is_folder(&self, ino: Ino) -> bool {
        let place = self.places.get(ino);
        ino.folder().is_some() || place.is_some_and(|place| !matches!(place, Place::Stream(_)))
    }

    /// What `stat` shows. Never waits.
    pub fn attributes(&self, ino: Ino) -> Result<Attributes, Errno> {
        if self.is_folder(ino) {
            return Ok(Attributes::folder(ino));
        }
        if let Some(of) = self.places.stream(ino) {
            return self.stream_attributes(ino, &of);
        }
        if let Some(spot) = Spot::of(ino)
            && let Some(tree) = self.published.tree_on(spot.way)
        {
            let node = tree.node(spot.node).ok_or(Errno::ESTALE)?;
            return Ok(attributes_of(spot, node));
        }
        self.inodes
            // What the disk would have to be asked for does not change a length that is right.
            .attributes(ino, |id| self.source.info_now(id).flatten())
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

    /// The value of an extended attribute, for the thread `pid`. Waits for the disk at most.
    pub fn xattr<D>(self: &Arc<Self>, ino: Ino, name: &OsStr, pid: u32, done: D)
    where
        D: FnOnce(Result<String, Errno>) + Send + 'static,
    {
        let name = name.as_bytes();
        if !name.starts_with(b"user.") {
            return done(Err(xattrs::absent(name)));
        }
        let Some((id, length)) = self.inodes.content(ino) else {
            return done(Err(Errno::ENODATA));
        };
        let value = move |info: Option<ContentInfo>, name: &[u8]| {
            let nothing_known = ContentInfo {
                id,
                length,
                proven: false,
                present: 0,
                verified: crate::node::Verified::No,
            };
            xattrs::value(&info.unwrap_or(nothing_known), name)
        };
        if let Some(info) = self.source.info_now(id) {
            return done(value(info, name));
        }
        let name = name.to_owned();
        let info = move |fs: &Self| fs.source.info(id);
        self.aside(pid, info, move |_, info| {
            done(
                info.map_err(Errno::of_read)
                    .and_then(|info| value(info, &name)),
            );
        });
    }

    /// Does `work`, which may have to wait for the disk, for the thread `pid`: this one has others to answer.
    fn aside<T, W, D>(self: &Arc<Self>, pid: u32, mut work: W, done: D)
    where
        T: Send + 'static,
        W: FnMut(&Self) -> T + Send + 'static,
        D: FnOnce(&Arc<Self>, Result<T, Failure>) + Send + 'static,
    {
        let (works, hears) = (Arc::clone(self), Arc::clone(self));
        let done = Box::new(move |end| done(&hears, end));
        if let Some(waiting) = self.source.aside(move || work(&works), done) {
            self.watcher.watch(pid, waiting);
        }
    }

    /// Opens content for the thread `pid`.
    fn open_content<D>(self: &Arc<Self>, id: ContentId, pid: u32, done: D)
    where
        D: FnOnce(&Arc<Self>, Result<S::Reader, Failure>) + Send + 'static,
    {
        match self.source.open_now(id) {
            Some(opened) => done(self, opened),
            None => {
                let open = move |fs: &Self| fs.source.open(id);
                self.aside(pid, open, |fs, opened| done(fs, opened.and_then(|it| it)));
            }
        }
    }

    /// The names of the extended attributes, each with a NUL after it.
    #[must_use]
    pub fn xattr_names(&self, ino: Ino) -> Vec<u8> {
        self.inodes
            .content(ino)
            .map(|(id, _)| xattrs::list(&id))
            .unwrap_or_default()
    }

    /// How much room there is, for the thread `pid`. Waits for the disk at most.
    pub fn space<D>(self: &Arc<Self>, pid: u32, done: D)
    where
        D: FnOnce(Result<Space, Errno>) + Send + 'static,
    {
        let space = |fs: &Self| fs.source.space();
        self.aside(pid, space, |_, space| {
            done(space.map_err(Errno::of_read));
        });
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
