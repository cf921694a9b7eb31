//! Content that is on its way: a sparse file, and a map of the leaves that are on disk.
//!
//! Writing, reading and syncing go on side by side (see `syncing` for what a crash leaves), until it
//! has come to one of its ends (see `ending`).

mod ending;
mod syncing;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};

use tracing::warn;

use crate::content::{ByteRange, ContentId, LEAF, RangeSet};

use super::afloat::{self, Afloat};
use super::direct::DirectFile;
use super::error::StoreError;
use super::holes;
use super::layout::{Slot, on_disk};
use super::map::{MapFile, Subject};
use super::nowait::Waits;
use super::partial_files::{remove_files, resume, slot_for_new, start};
use super::{Store, lock, one_leaf, uses};

/// Content of a known length of which some is on disk. Clones are the same content.
#[derive(Clone)]
pub struct Partial(Arc<Shared>);

pub(super) struct Shared {
    /// Keeps the lock on the folder until the last partial content is closed.
    store: Store,
    subject: Subject,
    slot: Slot,
    data: File,
    waits: Waits,
    direct: DirectFile,
    /// What the disk did not take.
    afloat: Afloat,
    /// Whether the disk took nothing at all, not even the files.
    homeless: bool,
    /// Held shared while writing, alone while the file changes its state.
    state: RwLock<State>,
    /// Whether the state is `Open`, for those who must not wait for a change of it.
    open: AtomicBool,
    marks: Mutex<Marks>,
    /// Held while syncing; taken before `marks`.
    map: Mutex<OpenMap>,
}

/// What it is kept in, as far as that differs from one to the next.
struct Files {
    slot: Slot,
    data: File,
    map: OpenMap,
    marks: Marks,
}

struct OpenMap {
    file: MapFile,
    /// Whether the names of both files are durable.
    named: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Complete,
    Discarded,
    /// It stays as it is on the disk, for whoever opens this length again.
    Left,
}

#[derive(Default)]
struct Marks {
    present: RangeSet,
    /// What the map on disk says.
    durable: RangeSet,
    /// Pages of the map that differ from `present`.
    dirty: BTreeSet<u64>,
}

impl Marks {
    fn touch(&mut self, range: ByteRange) {
        self.dirty.extend(Subject::pages(range));
    }
}

impl Partial {
    pub(super) fn from_shared(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Continues what lies on disk if it is of this length, else starts from nothing. What cannot be
    /// looked at is left alone.
    pub(super) fn open(store: &Store, id: ContentId, length: u64) -> Result<Self, StoreError> {
        let layout = store.layout();
        let subject = Subject { id, length };
        for slot in Slot::BOTH {
            if let Some((data, file, present)) = resume(layout, slot, subject)? {
                let marks = Marks {
                    durable: present.clone(),
                    present,
                    dirty: BTreeSet::new(),
                };
                let map = OpenMap { file, named: true };
                let files = Files {
                    slot,
                    data,
                    map,
                    marks,
                };
                return Ok(Self::on_disk(store, subject, files));
            }
        }
        let slot = slot_for_new(layout, &id)?;
        remove_files(layout, &id, slot)?;
        match start(layout, slot, subject) {
            Ok((data, file)) => {
                let files = Files {
                    slot,
                    data,
                    map: OpenMap { file, named: false },
                    marks: Marks::default(),
                };
                Ok(Self::on_disk(store, subject, files))
            }
            Err(error) => {
                // Half of it is of no use, and what is left of a full disk is.
                if let Err(error) = remove_files(layout, &id, slot) {
                    warn!(%id, %error, "partial content could not be removed");
                }
                Err(error)
            }
        }
    }

    /// Begins content of which nothing is on the disk, and nothing will be.
    pub(super) fn open_in_memory(
        store: &Store,
        id: ContentId,
        length: u64,
    ) -> Result<Self, StoreError> {
        let subject = Subject { id, length };
        let begin = || -> io::Result<(File, MapFile)> {
            let map = MapFile::create(one_leaf::empty_in_memory()?, subject)?;
            Ok((one_leaf::empty_in_memory()?, map))
        };
        let (data, file) =
            begin().map_err(|e| StoreError::io("make", &store.layout().partial_root(), e))?;
        let files = Files {
            slot: Slot::First,
            data,
            map: OpenMap { file, named: true },
            marks: Marks::default(),
        };
        let homeless = true;
        Ok(Self(Arc::new(Shared::new(store, subject, files, homeless))))
    }

    fn on_disk(store: &Store, subject: Subject, files: Files) -> Self {
        lock(&store.0.room.left).remove(&subject.id);
        store.note_left(&subject.id, files.slot.other());
        Self(Arc::new(Shared::new(store, subject, files, false)))
    }

    /// The id that the content will have.
    #[must_use]
    pub fn id(&self) -> ContentId {
        self.0.subject.id
    }

    pub(super) fn data_path(&self) -> PathBuf {
        let layout = self.0.store.layout();
        layout.partial_data(&self.id(), self.0.slot)
    }

    /// Bytes of the whole.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.subject.length
    }

    /// What has been written and noted: whole leaves, or up to the end.
    #[must_use]
    pub fn present(&self) -> RangeSet {
        lock(&self.0.marks).present.clone()
    }

    /// Bytes of what is present.
    #[must_use]
    pub fn present_bytes(&self) -> u64 {
        lock(&self.0.marks).present.bytes()
    }

    /// Whether all of `range` is present.
    #[must_use]
    pub fn holds(&self, range: ByteRange) -> bool {
        lock(&self.0.marks).present.contains(range)
    }

    /// Writes `data` at `offset`. It counts as present only once it is noted. Nothing but zeros
    /// becomes a hole, where the file system can have one.
    ///
    /// # Errors
    /// The operating system's, such as a full disk; `InvalidInput` past the end of the content;
    /// `ESTALE` after completion or discarding.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let _open = self.open_for_write(offset, data)?;
        holes::write_all_at(&self.0.data, data, offset)?;
        self.is_on_disk(offset, data);
        Ok(())
    }

    fn is_on_disk(&self, offset: u64, data: &[u8]) {
        let range = ByteRange::at(offset, data.len() as u64);
        self.0.afloat.is_on_disk(range);
    }

    /// Keeps `data`, which the disk did not take, in memory as if it were written at `offset`.
    /// Never durable; gone when the last clone is, or when it is let go ([`Partial::let_go`]).
    ///
    /// # Errors
    /// The operating system's; `InvalidInput` past the end of the content.
    pub fn write_to_memory(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > self.length()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.0.afloat.write(offset, data)
    }

    /// What is in memory because the disk did not take it.
    #[must_use]
    pub fn in_memory(&self) -> RangeSet {
        self.0.afloat.inside()
    }

    /// Lets go what of `range` is in memory. Until it is written anew, reading it is `ESTALE`.
    pub fn let_go(&self, range: ByteRange) {
        self.0.afloat.let_go(range);
    }

    /// The same for a long run of bytes that nobody is about to read: past the page cache, as far
    /// as `data` and `offset` are aligned (see [`AlignedBuffer`](super::AlignedBuffer)) and the file
    /// system knows how.
    ///
    /// # Errors
    /// As [`Partial::write_at`].
    pub fn write_past_cache(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let _open = self.open_for_write(offset, data)?;
        holes::for_each_stretch(data, |start, stretch| {
            let offset = offset + start as u64;
            let written = match holes::is_zero(stretch) {
                true => 0,
                false => self.0.direct.write_at(&self.0.data, stretch, offset),
            };
            holes::write_all_at(&self.0.data, &stretch[written..], offset + written as u64)
        })?;
        self.is_on_disk(offset, data);
        Ok(())
    }

    /// Whether `data` may be written at `offset`; as long as the guard lives.
    fn open_for_write(&self, offset: u64, data: &[u8]) -> io::Result<RwLockReadGuard<'_, State>> {
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > self.length()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.0.homeless {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        // Before the state is held: making room looks at all partial content.
        if !holes::is_zero(data) {
            self.0.store.take_room(data.len() as u64)?;
        }
        let state = self.0.state.read().unwrap_or_else(|e| e.into_inner());
        if *state != State::Open {
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        Ok(state)
    }

    /// Reads from `offset` until `buffer` is full or the content ends; returns the bytes read.
    /// What is not present reads as anything.
    ///
    /// # Errors
    /// The operating system's; `ESTALE` for what was let go.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let buffer = self.cut(offset, buffer);
        for part in self.0.afloat.read(offset, buffer)? {
            if let Some(room) = afloat::part_of(buffer, offset, part) {
                self.0.data.read_exact_at(room, part.start)?;
            }
        }
        Ok(buffer.len())
    }

    /// The same if the kernel has it in memory; `None` if the disk would have to be waited for.
    ///
    /// # Errors
    /// As [`Partial::read_at`].
    pub fn read_at_nowait(&self, offset: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let buffer = self.cut(offset, buffer);
        for part in self.0.afloat.read(offset, buffer)? {
            if let Some(room) = afloat::part_of(buffer, offset, part)
                && !self.0.waits.read_exact_at(&self.0.data, room, part.start)?
            {
                return Ok(None);
            }
        }
        Ok(Some(buffer.len()))
    }

    /// The part of `buffer` that content from `offset` can fill.
    fn cut<'b>(&self, offset: u64, buffer: &'b mut [u8]) -> &'b mut [u8] {
        let left = usize::try_from(self.length().saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        &mut buffer[..length]
    }

    /// Marks `range`, whose bytes have been written, as present. Only the leaves that lie wholly
    /// in it count; the last leaf is whole at the end of the content.
    pub fn note_present(&self, range: ByteRange) {
        let range = self.whole_leaves(range);
        let in_memory = self.in_memory();
        let mut marks = lock(&self.0.marks);
        for range in in_memory.gaps(range) {
            let range = self.whole_leaves(range);
            marks.present.insert(range);
            // Also when nothing is new: bytes that were written again have to be synced again.
            marks.touch(range);
        }
    }

    /// Marks every leaf that `range` touches as not present, for bytes that proved wrong. After a
    /// crash they may count as present again unless [`Partial::sync`] has returned.
    pub fn note_absent(&self, range: ByteRange) {
        let range = range.widened(LEAF, self.length());
        let mut marks = lock(&self.0.marks);
        marks.durable.remove(range);
        if marks.present.remove(range) > 0 {
            marks.touch(range);
        }
    }

    fn whole_leaves(&self, range: ByteRange) -> ByteRange {
        let start = range
            .start
            .checked_next_multiple_of(LEAF)
            .unwrap_or(u64::MAX);
        let end = if range.end >= self.length() {
            self.length()
        } else {
            range.end - range.end % LEAF
        };
        ByteRange::new(start, end)
    }

    /// Whether it can still be written to.
    pub(super) fn is_open(&self) -> bool {
        self.0.open.load(Ordering::Acquire)
    }

    /// Whether it can, and lies in this place.
    pub(super) fn is_open_in(&self, slot: Slot) -> bool {
        self.is_open() && !self.0.homeless && self.0.slot == slot
    }

    /// Returns when a change of its state that has begun is done, and its files are renamed or
    /// gone: they have the names that new partial content of this id will have.
    pub(super) fn wait_for_change(&self) {
        drop(self.0.state.write().unwrap_or_else(|e| e.into_inner()));
    }
}

impl Shared {
    fn new(store: &Store, subject: Subject, files: Files, homeless: bool) -> Self {
        Self {
            store: store.clone(),
            subject,
            slot: files.slot,
            waits: Waits::of(&files.data),
            data: files.data,
            direct: DirectFile::default(),
            afloat: Afloat::new(Arc::clone(&store.0.afloat)),
            homeless,
            state: RwLock::new(State::Open),
            open: AtomicBool::new(true),
            marks: Mutex::new(files.marks),
            map: Mutex::new(files.map),
        }
    }

    /// Bytes that it takes on the disk as partial content.
    pub(super) fn on_disk(&self) -> u64 {
        if !self.open.load(Ordering::Acquire) {
            return 0;
        }
        self.size_on_disk()
    }

    fn size_on_disk(&self) -> u64 {
        if self.homeless {
            return 0;
        }
        self.data.metadata().map_or(0, |found| on_disk(&found))
    }

    /// Notes that nobody has it open any more.
    fn note_left(&self) {
        if !self.homeless {
            let room = &self.store.0.room;
            room.add_left(&self.subject.id, self.size_on_disk(), uses::now());
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.open.load(Ordering::Acquire) {
            self.note_left();
        }
    }
}
