//! The node as the file system's source.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::{Backing, Listener, Reading, Seeded, Source, Space, Streaming, Waiting};
use crate::content::{ContentId, KeyedName};
use crate::node::seeding::{RootStatus, Seeder};
use crate::node::{
    ContentInfo, Done, DoneRead, Failure, Latest, Named, Node, Pending, Reader, StreamReader,
};

/// A running node and the folder of its store.
pub struct NodeSource {
    node: Node,
    store: PathBuf,
    seeder: Option<Seeder>,
}

impl NodeSource {
    /// `store` is the folder that `node` keeps content in; its file system's size is what `df`
    /// shows for the mount.
    #[must_use]
    pub fn new(node: Node, store: PathBuf) -> Self {
        Self {
            node,
            store,
            seeder: None,
        }
    }

    /// Shows what `seeder` seeds.
    #[must_use]
    pub fn with_seeder(self, seeder: Seeder) -> Self {
        Self {
            seeder: Some(seeder),
            ..self
        }
    }
}

impl Source for NodeSource {
    type Reader = Reader;
    type Waiting = Pending;

    fn lookup(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Pending> {
        self.node.lookup(id, done)
    }

    fn open(&self, id: ContentId) -> Result<Reader, Failure> {
        self.node.open(id)
    }

    fn open_now(&self, id: ContentId) -> Option<Result<Reader, Failure>> {
        self.node.open_now(id)
    }

    fn info(&self, id: ContentId) -> Option<ContentInfo> {
        self.node.info(id)
    }

    fn info_now(&self, id: ContentId) -> Option<Option<ContentInfo>> {
        self.node.info_now(id)
    }

    fn aside<T: Send + 'static>(
        &self,
        work: impl FnMut() -> T + Send + 'static,
        done: Done<T>,
    ) -> Option<Pending> {
        self.node.aside(work, done)
    }

    fn on_rotten(&self, listener: Listener) {
        self.node.store().on_set_aside(listener);
    }

    fn contents(&self, limit: usize) -> Vec<ContentInfo> {
        self.node.contents(limit)
    }

    fn fetch(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Pending> {
        self.node.fetch(id, done)
    }

    fn latest(&self, of: KeyedName, done: Done<Named>) -> Option<Pending> {
        self.node.latest(of, done)
    }

    fn goes_on(&self, of: &KeyedName) -> bool {
        self.node.known_latest(of).is_some()
    }

    fn find_stream(&self, of: &KeyedName, done: Done<u64>) -> Option<Pending> {
        self.node.find_stream(of, done)
    }

    fn open_stream(&self, of: &KeyedName) -> Result<Box<dyn Streaming<Pending>>, Failure> {
        Ok(Box::new(self.node.open_stream(of)?))
    }

    fn stream_length(&self, of: &KeyedName) -> Option<u64> {
        self.node.stream_length(of)
    }

    fn names(&self, limit: usize) -> Vec<(KeyedName, ContentId)> {
        let names = self.node.known_names(limit).into_iter();
        let name = |(of, latest): (KeyedName, Latest)| (of, ContentId::sha256(latest.sha256.0));
        names.map(name).collect()
    }

    fn seeding(&self) -> Vec<Seeded> {
        let roots = self.seeder.as_ref().map(Seeder::roots).unwrap_or_default();
        let store = self.node.store();
        let seeded = |root: RootStatus| {
            let hash = match root.listing {
                Some(listing) => listing,
                None if root.folder => return None,
                None => store.seeded_at(&root.path)?.sha256,
            };
            Some(Seeded {
                name: root.name,
                id: ContentId::sha256(hash.0),
                folder: root.folder,
            })
        };
        roots.into_iter().filter_map(seeded).collect()
    }

    fn space(&self) -> Space {
        space_of(&self.store).unwrap_or_default()
    }

    fn is_layered(&self) -> bool {
        layered(&self.store)
    }
}

impl Streaming<Pending> for StreamReader {
    fn read(&self, offset: u64, length: u32, done: DoneRead) -> Option<Pending> {
        StreamReader::read(self, offset, length, done)
    }
}

impl Reading for Reader {
    type Waiting = Pending;

    fn length(&self) -> u64 {
        Reader::length(self)
    }

    fn proven(&self) -> bool {
        Reader::proven(self)
    }

    fn generation(&self) -> u64 {
        Reader::generation(self)
    }

    fn backing(&self) -> Option<Backing> {
        Some(Arc::new(Reader::backing(self)?))
    }

    fn read(&self, offset: u64, length: u32, done: DoneRead) -> Option<Pending> {
        Reader::read(self, offset, length, done)
    }

    fn fill(&self, thread: u32, offset: u64, length: u32, done: DoneRead) -> Option<Pending> {
        Reader::fill(self, thread, offset, length, done)
    }
}

impl Waiting for Pending {
    fn is_done(&self) -> bool {
        Pending::is_done(self)
    }

    fn cancel(&self, failure: Failure) {
        Pending::cancel(self, failure);
    }
}

/// The size of the file system that `folder` lies on, and what is left of it for this user.
fn space_of(folder: &Path) -> Option<Space> {
    let folder = CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut answer = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path is NUL-terminated and `answer` has room for what the call fills in.
    let result = unsafe { libc::statvfs(folder.as_ptr(), answer.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: the call has succeeded, so it has filled all of `answer`.
    let answer = unsafe { answer.assume_init() };
    Some(Space {
        total: answer.f_blocks.saturating_mul(answer.f_frsize),
        free: answer.f_bavail.saturating_mul(answer.f_frsize),
    })
}

/// Whether `folder` lies on overlayfs or eCryptfs. When it cannot be told it counts as if it did not.
fn layered(folder: &Path) -> bool {
    let Ok(folder) = CString::new(folder.as_os_str().as_bytes()) else {
        return false;
    };
    let mut answer = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is NUL-terminated and `answer` has room for what the call fills in.
    let result = unsafe { libc::statfs(folder.as_ptr(), answer.as_mut_ptr()) };
    if result != 0 {
        return false;
    }
    // SAFETY: the call has succeeded, so it has filled all of `answer`.
    let kind = unsafe { answer.assume_init() }.f_type;
    kind == libc::OVERLAYFS_SUPER_MAGIC || kind == libc::ECRYPTFS_SUPER_MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_that_of_the_file_system_underneath() {
        let space = space_of(Path::new("/")).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
        assert_eq!(space_of(Path::new("/nowhere/at/all")), None);
    }
}
