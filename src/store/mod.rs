//! The persistent store: complete content, partial content, the index of seeded files.
//!
//! What a crash can leave behind is thought out here, once:
//!
//! - Complete content is one file, named by its hash, that appears by a rename after its bytes were
//!   made durable. So a file under `complete/` is always whole, and finding it needs no index: the
//!   path follows from the id.
//! - Partial content is a sparse file and a map (see [`Partial`]). Of what is in the file, only what
//!   the map says counts, and the map is written after the data that it speaks of. Of one id there may
//!   be two, of different lengths, as long as nobody knows which is right.
//! - Completing goes: data and map durable, rename, both folders durable, index entry, index durable,
//!   map removed. A map without data therefore says "renamed, perhaps not in the index yet", and
//!   opening the store needs to look at these alone, never at a million complete files.
//! - The index (`index`) can be lost. What is complete is found again by listing the files; seeded
//!   files have to be hashed again.
//!
//! A file that was found to be something else than its name says lies under `aside/` (see `scrub`).
//!
//! A stranger's question for content that is not held is answered from memory alone
//! ([`Store::may_hold`]). Content that is asked for often stays open in a bounded set of descriptors.
//! No lock is held across an fsync where a reader would wait for it.

mod afloat;
mod cache;
mod closing;
mod direct;
mod disk_ahead;
pub(crate) mod disks;
mod error;
mod eviction;
mod file;
#[doc(hidden)]
pub mod fuzzing;
mod hashing;
mod held;
mod holes;
mod identity;
mod import;
mod index;
mod landing;
mod layout;
mod lent;
mod link_free;
mod listing;
mod loan;
mod map;
mod node_key;
mod nowait;
mod one_leaf;
mod open_files;
mod pairs;
mod partial;
mod partial_files;
mod passed;
mod prefixes;
mod published;
mod record;
mod recovery;
mod room;
mod roots;
mod scrub;
mod seeded;
mod stat_cached;
mod streaming_hasher;
mod trees;
mod uses;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::content::{ContentId, Kind, MAX_LENGTH};

pub use cache::BlockCache;
pub use direct::{ALIGNMENT, AlignedBuffer};
pub use error::StoreError;
pub use eviction::GivenUp;
pub use file::Content;
pub use hashing::{Hashed, Hashing};
pub use held::{Held, HeldAs};
pub use identity::Identity;
pub use import::{Imported, ImportedBy, Offered};
pub use link_free::open_link_free;
pub use loan::{Loan, offered_in};
pub use partial::Partial;
pub use passed::Passed;
pub use published::Published;
pub use room::{Limits, Usage};
pub use roots::Root;
pub use scrub::{Scrubbed, Verdict};
pub use seeded::Seeded;
pub use streaming_hasher::StreamingHasher;
pub use uses::Hold;

use index::{Entry, Index};
use layout::Layout;
use open_files::OpenFiles;
use passed::PassedFiles;
use prefixes::Prefixes;
use room::Room;
use scrub::Listeners;
use uses::Uses;

/// Changes of the index after which it is made durable.
const FLUSH_AFTER_CHANGES: usize = 1024;
/// The time after which the next change makes it durable.
const FLUSH_AFTER: Duration = Duration::from_secs(5);
/// Places that one id is tried at before it counts as not held.
const PLACES: usize = 64;
/// Peers remembered at most.
const PEERS: usize = 1024;

/// Locks `mutex`. A thread that panicked while it held the lock left whole values behind: every
/// critical section of this room is a few assignments.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// How much is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Complete content in the store, tree files among it.
    pub held: u64,
    /// Files seeded from where they lie.
    pub seeded: u64,
}

/// An open store. Clones are the same store; the folder stays locked until the last of them, and
/// the last [`Partial`], is gone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    layout: Layout,
    device: u64,
    index: Index,
    prefixes: Prefixes,
    /// Held while a folder of complete content is made durable.
    making_folder: Mutex<()>,
    open_files: OpenFiles,
    passed: PassedFiles,
    set_aside: Listeners,
    partials: Mutex<HashMap<ContentId, Weak<partial::Shared>>>,
    unsaved: Mutex<Unsaved>,
    uses: Arc<Uses>,
    room: Room,
    afloat: Arc<AtomicU64>,
    empty: Content,
    /// Dropped last of all.
    _lock: File,
}

/// What is in the index but not yet durable.
struct Unsaved {
    changes: usize,
    since: Instant,
    /// Complete content whose map is to be removed once the index is durable.
    landed: Vec<Entry>,
}

impl Store {
    /// Opens the store in `dir`, creating what is missing, and takes back what a crash left.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process has it open, [`StoreError::NewerVersion`], or
    /// what the disk said.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let layout = Layout::new(dir);
        let lock = layout.prepare()?;
        let prefixes = Prefixes::default();
        let index = recovery::open_index(&layout, &prefixes)?;
        let path = layout.empty();
        let empty = File::open(&path).map_err(|e| StoreError::io("open", &path, e))?;
        let found = empty.metadata();
        let found = found.map_err(|e| StoreError::io("look at", &path, e))?;
        let store = Self(Arc::new(Inner {
            layout,
            device: found.dev(),
            index,
            prefixes,
            making_folder: Mutex::default(),
            open_files: OpenFiles::new(),
            passed: PassedFiles::default(),
            set_aside: Listeners::default(),
            partials: Mutex::new(HashMap::new()),
            unsaved: Mutex::new(Unsaved {
                changes: 0,
                since: Instant::now(),
                landed: Vec::new(),
            }),
            uses: Arc::default(),
            room: Room::new(),
            afloat: Arc::default(),
            empty: Content::stored(empty, 0),
            _lock: lock,
        }));
        if !store.0.index.is_whole()? {
            store.rebuild_index()?;
        }
        store.recover_partials()?;
        Ok(store)
    }

    /// The store's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.0.layout.dir()
    }

    /// The number of the device on which it lies.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.0.device
    }

    fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// Whether content may be held, complete or seeded. Never wrong when it says no, hardly ever
    /// when it says yes; answered from memory.
    #[must_use]
    pub fn may_hold(&self, id: &ContentId) -> bool {
        id.is_empty_content()
            || self.0.prefixes.may_hold(id)
            // The tree of one leaf is made from its content.
            || id.kind == Kind::TreeV2 && self.0.prefixes.may_hold(&ContentId::blake3(id.hash.0))
    }

    /// Complete content that is open from before: [`Store::open_content`] without waiting for the disk.
    #[must_use]
    pub fn opened(&self, id: &ContentId) -> Option<Content> {
        let content = self.0.open_files.get_now(id)?;
        self.0.uses.note(id);
        Some(content)
    }

    /// Opens content that is complete: in the store, or seeded and unchanged, or a tree file.
    ///
    /// # Errors
    /// What the disk or the index said; content that is gone or changed is `None`.
    pub fn open_content(&self, id: &ContentId) -> Result<Option<Content>, StoreError> {
        if id.is_empty_content() {
            return Ok(Some(self.0.empty.clone()));
        }
        let found = self.open_file(id)?;
        if found.is_none() && id.kind == Kind::TreeV2 {
            return self.tree_of_one_leaf(id);
        }
        Ok(found)
    }

    /// [`Store::open_content`] where there is a file of it.
    fn open_file(&self, id: &ContentId) -> Result<Option<Content>, StoreError> {
        if !self.0.prefixes.may_hold(id) {
            return Ok(None);
        }
        let open = self.0.open_files.get(id);
        if let Some(content) =
            open.map_err(|e| StoreError::io("open", &self.layout().complete(id), e))?
        {
            self.0.uses.note(id);
            return Ok(Some(content));
        }
        let forgotten = self.0.open_files.forgotten();
        let found = self.find(id)?;
        if let Some(content) = &found {
            self.0.uses.note(id);
            self.0.open_files.put(id, content, forgotten);
        }
        Ok(found)
    }

    /// Closes files that nobody asked for since the call before, and seeded ones that changed or
    /// are gone, so that they do not keep their file system busy or their blocks allocated. To be
    /// called every minute or so.
    pub fn close_unused(&self) {
        self.0.open_files.close_unused();
    }

    fn find(&self, id: &ContentId) -> Result<Option<Content>, StoreError> {
        if let Some(content) = self.open_complete(id)? {
            return Ok(Some(content));
        }
        if let Some(other) = self.0.index.paired(id)?
            && let Some(content) = self.open_complete(&other)?
        {
            return Ok(Some(content));
        }
        for (path, record) in self.0.index.seeded_as(id, PLACES)? {
            let opened = Content::seeded(&path, &record.identity)
                .map_err(|e| StoreError::io("open", &path, e))?;
            if opened.is_some() {
                return Ok(opened);
            }
        }
        Ok(None)
    }

    fn open_complete(&self, id: &ContentId) -> Result<Option<Content>, StoreError> {
        let path = self.layout().complete(id);
        let open = || -> io::Result<Option<(File, fs::Metadata)>> {
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            Ok(metadata.is_file().then_some((file, metadata)))
        };
        match open() {
            Ok(None) => Ok(None),
            Ok(Some((file, metadata))) if id.kind == Kind::TreeV2 => {
                Ok(self.checked_tree(id, Content::stored(file, metadata.len())))
            }
            Ok(Some((file, metadata))) => {
                // Whoever has its other name may have protected it again after writing to it.
                let others = metadata.nlink() > 1 || lent::is_lent(&metadata);
                if others || self.0.index.lent(id)?.is_some() {
                    return self.open_lent(id, file, &metadata);
                }
                Ok(Some(Content::stored(file, metadata.len())))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io("open", &path, e)),
        }
    }

    /// The length of content that [`Store::open_content`] would open.
    ///
    /// # Errors
    /// As [`Store::open_content`].
    pub fn length_of(&self, id: &ContentId) -> Result<Option<u64>, StoreError> {
        Ok(self.open_content(id)?.map(|content| content.length()))
    }

    /// How much is held.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (held, seeded) = self.0.index.counts().unwrap_or_else(|error| {
            warn!(%error, "the index could not be counted");
            (0, 0)
        });
        Counts { held, seeded }
    }

    /// Opens partial content of `length` bytes: continues what an earlier run left of it or starts
    /// from nothing. Opened twice it is the same; of another length, it ends the former, and what
    /// there is of that stays: of two lengths, those of which most is here.
    ///
    /// # Errors
    /// [`StoreError::Length`], or what the disk said.
    pub fn partial(&self, id: &ContentId, length: u64) -> Result<Partial, StoreError> {
        self.partial_by(id, length, Partial::open)
    }

    /// The same where the disk takes nothing: what there is of it stays in memory.
    ///
    /// # Errors
    /// [`StoreError::Length`], or there is no memory.
    pub fn partial_in_memory(&self, id: &ContentId, length: u64) -> Result<Partial, StoreError> {
        self.partial_by(id, length, Partial::open_in_memory)
    }

    /// Bytes of all partial content that the disk did not take ([`Partial::write_to_memory`]).
    #[must_use]
    pub fn in_memory(&self) -> u64 {
        self.0.afloat.load(Ordering::Relaxed)
    }

    fn partial_by(
        &self,
        id: &ContentId,
        length: u64,
        open: impl Fn(&Self, ContentId, u64) -> Result<Partial, StoreError>,
    ) -> Result<Partial, StoreError> {
        if length == 0 || length > MAX_LENGTH {
            return Err(StoreError::Length { length });
        }
        let mut partials = loop {
            let partials = lock(&self.0.partials);
            let shared = partials.get(id).and_then(Weak::upgrade);
            match shared.map(Partial::from_shared) {
                Some(former) if former.is_open() => {
                    if former.length() == length {
                        return Ok(former);
                    }
                    // Without the lock: it waits for the disk.
                    drop(partials);
                    former.leave();
                }
                Some(former) => {
                    former.wait_for_change();
                    break partials;
                }
                None => break partials,
            }
        };
        // Its map is from now on that of new partial content.
        lock(&self.0.unsaved)
            .landed
            .retain(|landed| landed.id != *id);
        let partial = open(self, *id, length)?;
        partials.retain(|_, shared| shared.strong_count() > 0);
        partials.insert(*id, Arc::downgrade(partial.shared()));
        Ok(partial)
    }

    /// Partial content on disk: id, length, bytes present.
    #[must_use]
    pub fn partials(&self) -> Vec<(ContentId, u64, u64)> {
        self.list_partials().unwrap_or_else(|error| {
            warn!(%error, "partial content could not be listed");
            Vec::new()
        })
    }

    /// The peers given to [`Store::remember_peers`] last, in that order.
    #[must_use]
    pub fn remembered_peers(&self) -> Vec<SocketAddr> {
        let found = self.0.index.peers().unwrap_or_else(|error| {
            warn!(%error, "the remembered peers could not be read");
            Vec::new()
        });
        found.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// Remembers these peers, at most the first 1024, in place of those before.
    ///
    /// # Errors
    /// What the index said.
    pub fn remember_peers(&self, peers: &[SocketAddr]) -> Result<(), StoreError> {
        let peers: Vec<_> = peers.iter().take(PEERS).map(ToString::to_string).collect();
        self.0.index.set_peers(&peers)?;
        self.changed(1, None)
    }

    /// Makes the index durable. The store does so by itself every thousand changes, with a change
    /// five seconds after the last time, and when it is dropped.
    ///
    /// # Errors
    /// What the index said.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.note_uses()?;
        self.0.flush()
    }
}

impl Inner {
    fn flush(&self) -> Result<(), StoreError> {
        let (changes, landed) = {
            let mut unsaved = lock(&self.unsaved);
            unsaved.since = Instant::now();
            let landed = std::mem::take(&mut unsaved.landed);
            (std::mem::take(&mut unsaved.changes), landed)
        };
        if changes == 0 {
            return Ok(());
        }
        if let Err(error) = self.index.flush(&landed) {
            let mut unsaved = lock(&self.unsaved);
            unsaved.changes += changes;
            unsaved.landed.extend(landed);
            return Err(error.into());
        }
        // Under the lock, so that none of them is that of new partial content of the same id.
        let partials = lock(&self.partials);
        for Entry { id, .. } in landed {
            let reopened = partials
                .get(&id)
                .and_then(Weak::upgrade)
                .is_some_and(|shared| Partial::from_shared(shared).is_open());
            if !reopened {
                eviction::remove_maps(&self.layout, &id);
            }
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            warn!(%error, "the index could not be made durable");
        }
    }
}
