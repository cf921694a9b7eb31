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

use tracing::{debug, error};

use super::attributes::Attributes;
use super::errno::Errno;
use super::folders::{Entry, LISTING_LIMIT, Listing, OpenFolder};
use super::handles::{Fh, Handles};
use super::inodes::{Ino, Inodes, OpenMode, Passage};
use super::names::{self, Folder, Name};
use super::places::{self, Place, Places};
use super::source::{Reading, Source, Space};
use super::watcher::Watcher;
use super::xattrs;
use crate::content::{ContentId, KeyedName};
use crate::node::{ContentInfo, DoneRead, Failure, Named};

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

/// The tree of names over a source of content. `K` is what a kernel that reads a file by itself
/// knows it by.
pub struct FileSystem<S: Source, K = ()> {
    source: S,
    inodes: Inodes<K>,
    places: Places,
    files: Handles<OpenFile<S::Reader>>,
    folders: Handles<(Ino, OpenFolder)>,
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
        if let Some(place) = self.places.get(parent) {
            return match place.name(name.as_bytes()) {
                Ok(of) => self.lookup_latest(of, pid, done),
                Err(errno) => done(Err(errno)),
            };
        }
        let Some(folder) = parent.folder() else {
            return done(Err(Errno::ENOTDIR));
        };
        if folder == Folder::Latest {
            let key = places::parse_key(name.as_bytes());
            return done(key.map(|key| self.places.tell(Place::Key(key))));
        }
        match names::parse(folder, name.as_bytes()) {
            Err(errno) => done(Err(errno)),
            Ok(Name::Folder(folder)) => done(Ok(Attributes::folder(Ino::of_folder(folder)))),
            // What is listed must not be waited for: the kernel makes a whole listing wait for a
            // lookup of anything in it.
            Ok(Name::Content(id)) => match self.source.info(id) {
                Some(info) => done(Ok(self.inodes.found(&info))),
                None => self.find(id, pid, move |fs, found| {
                    done(found.map(|info| fs.inodes.found(&info)));
                }),
            },
        }
    }

    /// Looks up what a key has published under a name. What that is can change, so the kernel may go
    /// by it for a moment only; what is open stays what it was, since other content is another inode.
    fn lookup_latest<D>(self: &Arc<Self>, of: KeyedName, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
        let fs = Arc::clone(self);
        let place = Place::Below(of.clone());
        let waiting = self.source.latest(
            of,
            Box::new(move |named| {
                let passing = |attributes| Attributes {
                    lasting: false,
                    ..attributes
                };
                match named.map_err(Errno::of_lookup) {
                    Err(errno) => done(Err(errno)),
                    Ok(Named::Folder) => done(Ok(fs.places.tell(place))),
                    Ok(Named::Published(latest)) => {
                        let id = ContentId::sha256(latest.sha256.0);
                        match fs.source.info(id) {
                            Some(info) => done(Ok(passing(fs.inodes.found(&info)))),
                            None => fs.find(id, pid, move |fs, found| {
                                done(found.map(|info| passing(fs.inodes.found(&info))));
                            }),
                        }
                    }
                }
            }),
        );
        if let Some(waiting) = waiting {
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
        self.places.forget(ino, count);
    }

    fn is_folder(&self, ino: Ino) -> bool {
        ino.folder().is_some() || self.places.get(ino).is_some()
    }

    /// What `stat` shows. Never waits.
    pub fn attributes(&self, ino: Ino) -> Result<Attributes, Errno> {
        if self.is_folder(ino) {
            return Ok(Attributes::folder(ino));
        }
        self.inodes
            .attributes(ino, |id| self.source.info(id))
            .ok_or(Errno::ENOENT)
    }

    /// Opens a file for reading, for the thread `pid`. Waits only where the source has forgotten
    /// the content and has to look for it again.
    pub fn open(self: &Arc<Self>, ino: Ino, pid: u32, opening: impl Opening<K>) {
        if self.is_folder(ino) {
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

    fn read_by<D>(
        &self,
        read: fn(&S::Reader, u64, u32, DoneRead) -> Option<S::Waiting>,
        fh: Fh,
        offset: u64,
        length: u32,
        pid: u32,
        done: D,
    ) where
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

    /// Opens a folder.
    pub fn open_folder(&self, ino: Ino) -> Result<Fh, Errno> {
        if !self.is_folder(ino) {
            return Err(Errno::ENOTDIR);
        }
        Ok(self.folders.insert((ino, OpenFolder::new())))
    }

    /// What is in the folder `ino` now.
    fn look_into(&self, ino: Ino) -> Listing {
        let place = match ino.folder() {
            Some(Folder::Latest) => None,
            Some(folder) => {
                return Listing::new(folder, self.source.contents(LISTING_LIMIT));
            }
            None => self.places.get(ino),
        };
        let parent = match &place {
            None => Ino::ROOT,
            // The kernel knows by itself what is above; programs that ask are told a folder.
            Some(_) => Ino::LATEST,
        };
        let names = self.source.names(LISTING_LIMIT);
        let entries = places::list(place.as_ref(), &names, |id| self.source.info(id));
        Listing::of_place(ino, parent, entries)
    }

    /// Lists an open folder from `position` on: calls `add` with each entry and the position after
    /// it until `add` returns `true`, "no room".
    pub fn list(
        &self,
        fh: Fh,
        position: u64,
        mut add: impl FnMut(u64, &Entry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let open = self.folders.get(fh).ok_or(Errno::EBADF)?;
        let (ino, folder) = &*open;
        let listing = folder.listing(position, || self.look_into(*ino));
        let mut position = position;
        while let Some(entry) = listing.entry(position) {
            position += 1;
            if add(position, &entry) {
                break;
            }
        }
        Ok(())
    }

    /// The same with attributes. Each content that had room is one more time that the caller knows
    /// of its inode.
    pub fn list_with_attributes(
        &self,
        fh: Fh,
        position: u64,
        mut add: impl FnMut(u64, &Entry<'_>, &Attributes) -> bool,
    ) -> Result<(), Errno> {
        self.list(fh, position, |position, entry| match entry {
            Entry::Folder(_, ino) => add(position, entry, &Attributes::folder(*ino)),
            Entry::Place(_, place) => {
                let attributes = self.places.tell((*place).clone());
                let full = add(position, entry, &attributes);
                if full {
                    self.places.forget(attributes.ino, 1);
                }
                full
            }
            Entry::Content(info) | Entry::Named(_, info) => {
                let mut attributes = self.inodes.listed(info);
                attributes.lasting &= matches!(entry, Entry::Content(_));
                let full = add(position, entry, &attributes);
                if full {
                    self.inodes.forget(attributes.ino, 1);
                }
                full
            }
        })
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
