//! Reading what is complete once more, to find what has rotted on the disk.
//!
//! A file that is not what its name says is set aside: under `aside/` nobody finds it who asks for
//! the content, and its owner may look at what became of it.
//!
//! Several files are read at once, and a long one is read and hashed side by side, so that the disk
//! or the hash is always at work. What the page cache has of a file is dropped first, where it can
//! be: the question is what the disk has.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use tracing::warn;

use crate::content::{ContentId, Kind, Proof, tree};

use super::error::StoreError;
use super::file::Content;
use super::layout::{create_folder, kind_name, sync_folder};
use super::{Store, lock};

/// Entries taken from the index at a time.
const BATCH: usize = 256;
/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Chunks that are read ahead of the hash.
const AHEAD: usize = 4;
/// Files read at once at most.
const THREADS: usize = 4;

/// What became of one file that was read.
#[derive(Debug)]
pub enum Verdict {
    /// It is what its id says.
    Right,
    /// It is not; where it lies now.
    Rotten(PathBuf),
    /// It cannot be read.
    Unreadable(StoreError),
}

/// What all of it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were not what their ids say, or could not be read.
    pub bad: u64,
}

/// Those who hear of what is set aside.
#[derive(Default)]
pub(super) struct Listeners(Mutex<Vec<Listener>>);

/// Hears all ids of a file that has been set aside.
pub type Listener = Box<dyn Fn(&[ContentId]) + Send + Sync>;

/// Hears of each file; `false`: no more of them.
pub type Tell<'a> = &'a (dyn Fn(&ContentId, u64, &Verdict) -> bool + Sync);

impl Store {
    /// Reads all complete content, or only that of `ids`, and compares it with its ids. What of
    /// `ids` is not held is left out.
    ///
    /// # Errors
    /// What the index said.
    pub fn scrub(&self, ids: Option<&[ContentId]>, tell: Tell<'_>) -> Result<Scrubbed, StoreError> {
        let threads = thread::available_parallelism().map_or(1, |n| n.get().min(THREADS));
        let next = Mutex::new(Files::new(ids));
        let (files, bytes, bad) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let ended = AtomicBool::new(false);
        let failed: Mutex<Option<StoreError>> = Mutex::new(None);
        let work = || {
            while !ended.load(Ordering::Relaxed) {
                let id = match lock(&next).next(self) {
                    Ok(Some(id)) => id,
                    Ok(None) => return,
                    Err(error) => {
                        *lock(&failed) = Some(error);
                        return;
                    }
                };
                let Some((length, verdict)) = self.scrub_one(&id) else {
                    continue;
                };
                files.fetch_add(1, Ordering::Relaxed);
                bytes.fetch_add(length, Ordering::Relaxed);
                bad.fetch_add(
                    u64::from(!matches!(verdict, Verdict::Right)),
                    Ordering::Relaxed,
                );
                if !tell(&id, length, &verdict) {
                    ended.store(true, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        if let Some(error) = lock(&failed).take() {
            return Err(error);
        }
        Ok(Scrubbed {
            files: files.into_inner(),
            bytes: bytes.into_inner(),
            bad: bad.into_inner(),
        })
    }

    /// `None`: it is not held, or not any more.
    fn scrub_one(&self, id: &ContentId) -> Option<(u64, Verdict)> {
        let content = match self.open_complete(id) {
            Ok(content) => content?,
            Err(error) => return Some((0, Verdict::Unreadable(error))),
        };
        let path = self.layout().complete(id);
        drop_from_page_cache(&content);
        let right = match is_right(id, &content) {
            Ok(right) => right,
            Err(error) => {
                let error = StoreError::io("read", &path, error);
                return Some((content.length(), Verdict::Unreadable(error)));
            }
        };
        // A file of the user's that changed is no content any more, and is found so when opened.
        if !content.still_valid() {
            return None;
        }
        if right {
            return Some((content.length(), Verdict::Right));
        }
        warn!(%id, "a complete file is not what its name says: it is set aside");
        Some(match self.set_aside(id) {
            Ok(Some(aside)) => (content.length(), Verdict::Rotten(aside)),
            Ok(None) => return None,
            Err(error) => (content.length(), Verdict::Unreadable(error)),
        })
    }

    /// Moves the file of complete content to where nobody finds it; `None`: it is not there.
    pub(super) fn set_aside(&self, id: &ContentId) -> Result<Option<PathBuf>, StoreError> {
        let folder = self.layout().aside();
        create_folder(&folder)?;
        let from = self.layout().complete(id);
        let name = format!("{}-{}", kind_name(id.kind), id.hash);
        let to = (0..)
            .map(|number: u32| match number {
                0 => folder.join(&name),
                number => folder.join(format!("{name}.{number}")),
            })
            .find(|path| !path.exists())
            .unwrap_or_else(|| folder.join(&name));
        super::file::note_set_aside();
        self.forget_open(id);
        match fs::rename(&from, &to) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result
                .and_then(|()| sync_folder(&folder))
                .map_err(|e| StoreError::io("set aside", &from, e))?,
        }
        self.take_out(id)?;
        self.forget_open(id);
        let names = self.names_of(id);
        for listener in &*lock(&self.0.set_aside.0) {
            listener(&names);
        }
        self.0.room.given_up.fetch_add(1, Ordering::Relaxed);
        Ok(Some(to))
    }

    /// Has `listener` hear of every file that is set aside from now on: what was read of it and is
    /// kept anywhere may be wrong. It is called under a lock and must not wait.
    pub fn on_set_aside(&self, listener: Listener) {
        lock(&self.0.set_aside.0).push(listener);
    }

    /// Files that were set aside.
    ///
    /// # Errors
    /// What the disk said.
    pub fn aside(&self) -> Result<Vec<PathBuf>, StoreError> {
        let folder = self.layout().aside();
        let list = || -> io::Result<Vec<PathBuf>> {
            fs::read_dir(&folder)?
                .map(|entry| Ok(entry?.path()))
                .collect()
        };
        match list() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            found => found.map_err(|e| StoreError::io("list", &folder, e)),
        }
    }
}

/// What is to be read, in the order of the index.
struct Files {
    page: Vec<ContentId>,
    after: Option<ContentId>,
    whole_store: bool,
}

impl Files {
    fn new(ids: Option<&[ContentId]>) -> Self {
        Self {
            page: ids.map_or_else(Vec::new, |ids| ids.iter().rev().copied().collect()),
            after: None,
            whole_store: ids.is_none(),
        }
    }

    fn next(&mut self, store: &Store) -> Result<Option<ContentId>, StoreError> {
        if self.page.is_empty() && self.whole_store {
            let page = store.0.index.complete_after(self.after, BATCH)?;
            self.after = page.last().map(|entry| entry.id).or(self.after);
            self.page = page.iter().rev().map(|entry| entry.id).collect();
        }
        Ok(self.page.pop())
    }
}

fn is_right(id: &ContentId, content: &Content) -> io::Result<bool> {
    let Some(mut proof) = Proof::new(*id) else {
        let read = |offset, buffer: &mut [u8]| content.file().read_exact_at(buffer, offset);
        return match tree::verify_tree(id.hash, content.length(), read) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            result => result,
        };
    };
    debug_assert!(id.kind != Kind::TreeV2);
    if content.length() <= CHUNK as u64 {
        let mut buffer = vec![0; usize::try_from(content.length()).unwrap_or(0)];
        let read = content.read_at(0, &mut buffer)?;
        proof.update(buffer.get(..read).unwrap_or_default());
        return Ok(proof.holds());
    }
    let (full, filled) = sync_channel::<Vec<u8>>(AHEAD);
    let (empty, emptied) = sync_channel::<Vec<u8>>(AHEAD + 1);
    for _ in 0..=AHEAD {
        let _ = empty.send(vec![0; CHUNK]);
    }
    thread::scope(|scope| {
        let reading = scope.spawn(move || -> io::Result<()> {
            let mut at = 0;
            while at < content.length() {
                let Ok(mut buffer) = emptied.recv() else {
                    break;
                };
                buffer.resize(CHUNK, 0);
                let read = content.read_at(at, &mut buffer)?;
                buffer.truncate(read);
                at += read as u64;
                if full.send(buffer).is_err() {
                    break;
                }
            }
            Ok(())
        });
        while let Ok(buffer) = filled.recv() {
            proof.update(&buffer);
            let _ = empty.send(buffer);
        }
        reading
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })?;
    Ok(proof.holds())
}

/// A hint, as the ones after it: where it fails, what is in memory is read.
fn drop_from_page_cache(content: &Content) {
    let file = content.file().as_raw_fd();
    for advice in [libc::POSIX_FADV_DONTNEED, libc::POSIX_FADV_SEQUENTIAL] {
        // SAFETY: no memory is handed over; the descriptor is open as long as `content`.
        unsafe { libc::posix_fadvise(file, 0, 0, advice) };
    }
}
