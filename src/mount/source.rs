//! What a file system needs of a node, and nothing more.
//!
//! The traits mirror the node's public face so that implementing them costs nothing at run time,
//! and are all that the rest of this room sees: a test puts a source behind them that stalls, lies
//! or answers late, and needs no network for it.

use std::os::fd::AsFd;
use std::sync::Arc;

use crate::content::{ContentId, KeyedName};
use crate::node::{ContentInfo, Done, DoneRead, Failure, Named};

/// Where content comes from.
pub trait Source: Send + Sync + 'static {
    /// One open handle on one piece of content.
    type Reader: Reading<Waiting = Self::Waiting>;
    /// An operation that has not ended yet.
    type Waiting: Waiting;

    /// Finds out whether `id` exists and how long it is. What is known answers on this thread
    /// before the call returns, and then `None` is returned.
    fn lookup(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Self::Waiting>;

    /// Opens content whose length is known. Never waits for the network, but may for the disk; content that
    /// has been forgotten meanwhile is [`Failure::NotFound`] and wants another lookup.
    fn open(&self, id: ContentId) -> Result<Self::Reader, Failure>;

    /// The same, or `None` where that might have to wait for the disk.
    fn open_now(&self, id: ContentId) -> Option<Result<Self::Reader, Failure>> {
        Some(self.open(id))
    }

    /// What is known of `id` now. May wait for the disk.
    fn info(&self, id: ContentId) -> Option<ContentInfo>;

    /// The same, or `None` where that might have to wait for the disk.
    fn info_now(&self, id: ContentId) -> Option<Option<ContentInfo>> {
        Some(self.info(id))
    }

    /// Does `work`, which may have to wait for the disk, on another thread and with a limit, perhaps more than
    /// once; or here, before the call returns, where no disk is; then `None` is returned.
    fn aside<T: Send + 'static>(
        &self,
        mut work: impl FnMut() -> T + Send + 'static,
        done: Done<T>,
    ) -> Option<Self::Waiting> {
        done(Ok(work()));
        None
    }

    /// Has `listener` hear the ids of content that was complete and whose file has rotted: what was
    /// read of it may be wrong. It does not wait.
    fn on_rotten(&self, listener: Listener) {
        let _ = listener;
    }

    /// What is held or in flight, at most `limit` of it: content of which `info` knows. May wait for the disk.
    fn contents(&self, limit: usize) -> Vec<ContentInfo>;

    /// Finds out what a name under a key stands for. What is known and fresh answers on this thread
    /// before the call returns, and then `None` is returned.
    fn latest(&self, of: KeyedName, done: Done<Named>) -> Option<Self::Waiting> {
        let _ = of;
        done(Err(Failure::NotFound));
        None
    }

    /// Whether names are known that go on below `of`. Never waits.
    fn goes_on(&self, of: &KeyedName) -> bool {
        let _ = of;
        false
    }

    /// Finds out whether there is a stream, and how many bytes of it are known.
    fn find_stream(&self, of: &KeyedName, done: Done<u64>) -> Option<Self::Waiting> {
        let _ = of;
        done(Err(Failure::NotFound));
        None
    }

    /// Opens a stream that was found. Never waits.
    fn open_stream(&self, of: &KeyedName) -> Result<Box<dyn Streaming<Self::Waiting>>, Failure> {
        let _ = of;
        Err(Failure::NotFound)
    }

    /// How many bytes of a stream are known. Never waits.
    fn stream_length(&self, of: &KeyedName) -> Option<u64> {
        let _ = of;
        None
    }

    /// Names that are known and what they stand for, at most `limit` of them.
    fn names(&self, limit: usize) -> Vec<(KeyedName, ContentId)> {
        let _ = limit;
        Vec::new()
    }

    /// How much room there is, for `statfs`. May wait for the disk.
    fn space(&self) -> Space;

    /// Fetches all of `id`, whose lookup has succeeded; afterwards a handle on it reads without
    /// waiting. A source that has everything at hand need not do anything.
    fn fetch(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Self::Waiting> {
        self.lookup(id, done)
    }

    /// What is given to others from where it lies. May wait for the disk.
    fn seeding(&self) -> Vec<Seeded> {
        Vec::new()
    }

    /// Whether the files that it keeps lie on a file system that lies on others itself (overlayfs).
    /// The kernel allows few such layers, and wants to know before it reads those files.
    fn is_layered(&self) -> bool {
        false
    }
}

/// One open handle on a stream.
pub trait Streaming<W>: Send + Sync {
    /// Reads up to `length` bytes from `offset`: what is here, or, at the end, what comes next; no
    /// bytes when nothing has come for a while.
    fn read(&self, offset: u64, length: u32, done: DoneRead) -> Option<W>;
}

/// Hears ids, all of the same content.
pub type Listener = Box<dyn Fn(&[ContentId]) + Send + Sync>;

/// A file that holds all of some content and cannot change as long as this is held.
pub type Backing = Arc<dyn AsFd + Send + Sync>;

/// One open handle on one piece of content.
pub trait Reading: Send + Sync + 'static {
    /// A read that has not ended yet.
    type Waiting: Waiting;

    /// Bytes of the content.
    fn length(&self) -> u64;

    /// Whether the content is complete and verified now.
    fn proven(&self) -> bool;

    /// While it is not proven: bytes that were read through handles of different generations do not
    /// belong together. What proved wrong and is fetched anew is of another one.
    fn generation(&self) -> u64;

    /// The file that the kernel may read in place of this handle, if there is one.
    fn backing(&self) -> Option<Backing> {
        None
    }

    /// Reads `length` bytes from `offset`, cut at the end of the content: exactly that many, or a
    /// failure. Bytes that are here are given on this thread before the call returns, and then
    /// `None` is returned.
    fn read(&self, offset: u64, length: u32, done: DoneRead) -> Option<Self::Waiting>;

    /// The same, for pages that whoever has the content mapped into memory sees, too. `thread` waits for
    /// them; 0 where it is not known. The kernel may ask several times for what is one operation of it.
    fn fill(&self, thread: u32, offset: u64, length: u32, done: DoneRead) -> Option<Self::Waiting> {
        let _ = thread;
        self.read(offset, length, done)
    }
}

/// An operation that has not ended yet. Dropping it changes nothing: it ends by itself, at its own
/// limit at the latest.
pub trait Waiting: Send + 'static {
    /// Whether it has ended.
    fn is_done(&self) -> bool;

    /// Ends it with `failure` unless it has ended already. Its `done` may be called on this thread.
    fn cancel(&self, failure: Failure);
}

/// Something that is given to others from where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeded {
    /// What it is called.
    pub name: String,
    /// The listing of a folder, or the content of a file.
    pub id: ContentId,
    /// Whether it is a folder.
    pub folder: bool,
}

/// Room for content, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What is not used.
    pub free: u64,
}
