//! Published folders: their listings, fetched and read.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use tracing::{debug, error};

use super::super::errno::Errno;
use super::super::source::{Reading, Source, Waiting};
use super::FileSystem;
use crate::content::ContentId;
use crate::content::Listing;
use crate::content::listing::{MAX_LISTING, Tree};
use crate::node::{ContentInfo, Failure};

/// As much of some content as tells whether it is a listing, in bytes.
const HEAD: u32 = 64;

impl<S: Source, K: Send + Sync + 'static> FileSystem<S, K> {
    /// Calls `done` with the tree of a listing: at once if it is here, else when the listing has
    /// been fetched and read.
    pub(super) fn with_tree<D>(self: &Arc<Self>, listing: ContentId, pid: u32, done: D)
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

    /// Whether content is the listing of a folder, as far as that is known.
    fn is_known_listing(&self, info: &ContentInfo) -> Option<bool> {
        if self.published.tree(&info.id).is_some() {
            return Some(true);
        }
        (info.length > MAX_LISTING || self.published.is_file(&info.id)).then_some(false)
    }

    /// The same, as far as that can be told without waiting for more than the disk.
    pub(super) fn is_listing(&self, info: &ContentInfo) -> Option<bool> {
        let known = self.is_known_listing(info);
        if known.is_some() || !info.proven {
            return known;
        }
        let reader = self.source.open(info.id).ok()?;
        let (head, read) = mpsc::channel();
        let done = move |data: Result<&[u8], Failure>| {
            let _ = head.send(data.is_ok_and(Listing::is_announced));
        };
        if let Some(waiting) = reader.read(0, HEAD, Box::new(done)) {
            waiting.cancel(Failure::NotFound);
        }
        read.try_recv().ok()
    }

    /// Calls `done` with the tree of what `info` is, if that is a listing; `None` if it is not. Of
    /// what is not known yet, the head is read.
    pub(super) fn with_tree_if_any<D>(self: &Arc<Self>, info: ContentInfo, pid: u32, done: D)
    where
        D: FnOnce(Result<Option<Arc<Tree>>, Errno>) + Send + 'static,
    {
        let id = info.id;
        match self.is_known_listing(&info) {
            Some(false) => return done(Ok(None)),
            Some(true) => return self.with_tree_unless_broken(id, pid, done),
            None => {}
        }
        self.open_content(id, pid, move |fs, reader| {
            let reader = match reader {
                Ok(reader) => reader,
                Err(failure) => return done(Err(Errno::of_open(failure))),
            };
            let read_by = Arc::clone(fs);
            let read = move |head: Result<&[u8], Failure>| match head {
                Ok(head) if Listing::is_announced(head) => {
                    read_by.with_tree_unless_broken(id, pid, done);
                }
                Ok(_) => {
                    read_by.published.note_file(id);
                    done(Ok(None));
                }
                Err(failure) => done(Err(Errno::of_read(failure))),
            };
            if let Some(waiting) = reader.read(0, HEAD, Box::new(read)) {
                fs.watcher.watch(pid, waiting);
            }
        });
    }

    /// What begins as a listing and is none is a file like any other.
    fn with_tree_unless_broken<D>(self: &Arc<Self>, id: ContentId, pid: u32, done: D)
    where
        D: FnOnce(Result<Option<Arc<Tree>>, Errno>) + Send + 'static,
    {
        self.with_tree(id, pid, move |fs, tree| match tree {
            Err(Errno::ENOTDIR) => {
                fs.published.note_file(id);
                done(Ok(None));
            }
            tree => done(tree.map(Some)),
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
        let (part, read) = mpsc::channel();
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
    match Listing::parse(&text) {
        Ok(listing) => Ok(Tree::new(&listing)),
        Err(error) => {
            debug!(%error, id = %listing, "no folder");
            Err(Errno::ENOTDIR)
        }
    }
}
