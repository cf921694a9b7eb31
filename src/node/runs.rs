//! Arriving content gathered into long runs, for one write each.
//!
//! Where nobody reads yet (a `get`, a fetch in the background) there is time to gather a mebibyte:
//! it is written past the page cache, and hashed from the memory that it was gathered in. That
//! memory is bounded: runs that wait for the prover beyond [`MAX_UNHASHED`] are written through the
//! page cache instead and hashed from there, so a slow hash costs speed and never memory. Runs that came
//! long before their turn give way to those that are hashed soon, and are read back.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::shared::lock;
use super::transfer::Transfer;
use crate::content::ByteRange;
use crate::store::AlignedBuffer;

/// Bytes of a full run, which also begins and ends at multiples of it.
pub(super) const RUN: u64 = 1 << 20;
/// Runs that are gathered at a time; another one ends the oldest.
const MAX_OPEN: usize = 6;
/// How long a run waits for more.
pub(super) const LINGER: Duration = Duration::from_millis(5);
/// Bytes of written runs that may wait to be hashed, of all content.
pub(super) const MAX_UNHASHED: u64 = 12 << 20;
/// Memory kept for the next runs.
const MAX_SPARE: usize = 16;
/// Buffers of single answers on their way back to the network thread.
const MAX_RETURNED: usize = 64;

/// The memory of runs, used again and again.
#[derive(Default)]
pub(super) struct Pool {
    spare: Mutex<Vec<Vec<u8>>>,
    /// Bytes of runs that have been written and are still needed.
    written: AtomicU64,
    /// The memory of answers that have been taken in.
    returned: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// An answer has been taken in: its memory may hold another. Without this every answer touches
    /// fresh pages, which the kernel clears first: a quarter of what the network thread did.
    pub fn return_answer(&self, data: Vec<u8>) {
        let mut returned = lock(&self.returned);
        if returned.len() < MAX_RETURNED {
            returned.push(data);
        }
    }

    /// The memory of answers that came back.
    pub fn take_returned(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *lock(&self.returned))
    }

    fn buffer(&self) -> AlignedBuffer {
        let spare = lock(&self.spare).pop();
        spare.map_or_else(
            || AlignedBuffer::new(RUN as usize),
            AlignedBuffer::from_memory,
        )
    }

    fn give_back(&self, buffer: AlignedBuffer) {
        let mut spare = lock(&self.spare);
        if spare.len() < MAX_SPARE {
            spare.push(buffer.into_memory());
        }
    }
}

/// A run that is being gathered.
pub(super) struct Run {
    pub transfer: Arc<Transfer>,
    start: u64,
    buffer: AlignedBuffer,
    /// When something was added last.
    added: Instant,
    /// Who sent what of it, in order and without a gap.
    pub pieces: Vec<(ByteRange, SocketAddr)>,
}

impl Run {
    pub fn range(&self) -> ByteRange {
        ByteRange::at(self.start, self.bytes().len() as u64)
    }

    pub fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// The bytes of `range`, which lies in the run.
    pub fn slice(&self, range: ByteRange) -> Option<&[u8]> {
        let skip = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        self.bytes()
            .get(skip..skip.checked_add(usize::try_from(range.len()).ok()?)?)
    }

    fn is_full(&self) -> bool {
        let end = self.range().end;
        end == self.transfer.length || end.is_multiple_of(RUN)
    }
}

/// The runs that are being gathered, the oldest first.
pub(super) struct Runs {
    pool: Arc<Pool>,
    open: Vec<Run>,
}

impl Runs {
    pub fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            open: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds `data`, which begins at `offset`; returns runs that are full, and those that had to make
    /// room.
    pub fn add(
        &mut self,
        transfer: &Arc<Transfer>,
        offset: u64,
        mut data: &[u8],
        from: SocketAddr,
        now: Instant,
    ) -> Vec<Run> {
        let mut done = Vec::new();
        let mut at = offset;
        while !data.is_empty() {
            // One that ends at a border waits for what meets its beginning, and goes on no further: it
            // and what it is joined to would be longer than a run.
            let goes_on = |run: &Run| {
                Arc::ptr_eq(&run.transfer, transfer) && run.range().end == at && !run.is_full()
            };
            let index = self.open.iter().position(goes_on).unwrap_or_else(|| {
                if self.open.len() >= MAX_OPEN {
                    done.push(self.open.remove(0));
                }
                self.open.push(Run {
                    transfer: Arc::clone(transfer),
                    start: at,
                    buffer: self.pool.buffer(),
                    added: now,
                    pieces: Vec::new(),
                });
                self.open.len() - 1
            });
            let Some(run) = self.open.get_mut(index) else {
                break;
            };
            let to_border = RUN - at % RUN;
            let most = usize::try_from(to_border).unwrap_or(usize::MAX);
            let added = run.buffer.append(&data[..data.len().min(most)]);
            run.added = now;
            run.pieces.push((ByteRange::at(at, added as u64), from));
            at = at.saturating_add(added as u64);
            data = &data[added..];
            let index = self.join_next(index);
            if self.is_whole(index) || added == 0 {
                done.push(self.open.remove(index));
            }
        }
        done
    }

    /// Whether the run at `index` is full, and nothing is being gathered that may meet its beginning.
    fn is_whole(&self, index: usize) -> bool {
        let Some(run) = self.open.get(index) else {
            return false;
        };
        let may_meet = |other: &Run| {
            Arc::ptr_eq(&other.transfer, &run.transfer)
                && other.start < run.start
                && other.start / RUN == run.start / RUN
        };
        run.is_full() && !self.open.iter().any(may_meet)
    }

    /// Where the run at `index` ends at the beginning of another one, that becomes a part of it: what
    /// follows a gap begins a run of its own, and nothing more would come for the one before it once
    /// the gap is closed. Returns where the run is now.
    fn join_next(&mut self, index: usize) -> usize {
        let Some(run) = self.open.get(index) else {
            return index;
        };
        let end = run.range().end;
        let is_next = |next: &Run| {
            Arc::ptr_eq(&next.transfer, &run.transfer)
                && next.start == end
                && next.range().end - run.start <= RUN
        };
        // Runs end at borders.
        if end.is_multiple_of(RUN) {
            return index;
        }
        let Some(at) = self.open.iter().position(is_next) else {
            return index;
        };
        let next = self.open.remove(at);
        let index = if at < index { index - 1 } else { index };
        if let Some(run) = self.open.get_mut(index) {
            run.buffer.append(next.bytes());
            run.pieces.extend_from_slice(&next.pieces);
            self.pool.give_back(next.buffer);
        }
        index
    }

    /// Ends the gathering of runs to which nothing was added for a while.
    pub fn take_stale(&mut self, now: Instant) -> Vec<Run> {
        let is_stale = |run: &Run| now.saturating_duration_since(run.added) >= LINGER;
        if self.open.iter().any(is_stale) {
            self.take(is_stale)
        } else {
            Vec::new()
        }
    }

    /// Ends the gathering of what `which` picks.
    pub fn take(&mut self, which: impl Fn(&Run) -> bool) -> Vec<Run> {
        let (taken, kept) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|run| which(run));
        self.open = kept;
        taken
    }

    /// Whether there is room for another written run that waits for its hash.
    pub fn may_wait_for_hash(&self) -> bool {
        self.pool.written.load(Ordering::Relaxed) + RUN <= MAX_UNHASHED
    }

    /// `run` has been written.
    pub fn written(&self, run: Run) -> WrittenRun {
        let range = run.range();
        self.pool.written.fetch_add(RUN, Ordering::Relaxed);
        WrittenRun {
            range,
            buffer: Some(run.buffer),
            pool: Arc::clone(&self.pool),
        }
    }
}

/// A run in memory that has been written and perhaps waits for its hash.
pub(super) struct WrittenRun {
    range: ByteRange,
    buffer: Option<AlignedBuffer>,
    pool: Arc<Pool>,
}

impl WrittenRun {
    /// The bytes of `range`, if they lie in it.
    pub fn slice(&self, range: ByteRange) -> Option<&[u8]> {
        let length = usize::try_from(range.len()).ok()?;
        self.from(range.start)?.get(..length)
    }

    /// Its bytes from `offset` on, if it has that offset.
    pub fn from(&self, offset: u64) -> Option<&[u8]> {
        let skip = offset.checked_sub(self.range.start)?;
        let bytes = self.buffer.as_ref()?.bytes();
        bytes
            .get(usize::try_from(skip).ok()?..)
            .filter(|rest| !rest.is_empty())
    }
}

impl Drop for WrittenRun {
    fn drop(&mut self) {
        self.pool.written.fetch_sub(RUN, Ordering::Relaxed);
        if let Some(buffer) = self.buffer.take() {
            self.pool.give_back(buffer);
        }
    }
}

/// The runs of one piece of content that wait for their hash.
#[derive(Default)]
pub(super) struct Unhashed(Mutex<VecDeque<Arc<WrittenRun>>>);

impl Unhashed {
    fn runs(&self) -> MutexGuard<'_, VecDeque<Arc<WrittenRun>>> {
        lock(&self.0)
    }

    pub fn push(&self, run: Arc<WrittenRun>) {
        self.runs().push_back(run);
    }

    /// The run that has the byte at `offset`. Those that end before it are done with.
    pub fn at(&self, offset: u64) -> Option<Arc<WrittenRun>> {
        let mut runs = self.runs();
        runs.retain(|run| run.range.end > offset);
        runs.iter()
            .find(|run| run.range.start <= offset)
            .map(Arc::clone)
    }

    /// Lets go of those that begin at `offset` or later: they are read back when their turn comes.
    pub fn let_go_from(&self, offset: u64) {
        self.runs().retain(|run| run.range.start < offset);
    }

    /// None of them is needed any more.
    pub fn clear(&self) {
        self.runs().clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::ContentId;
    use crate::store::Store;

    const PIECE: u64 = 64 << 10;
    const PIECES: u64 = RUN / PIECE;

    struct Scene {
        transfer: Arc<Transfer>,
        runs: Runs,
        now: Instant,
        _folder: tempfile::TempDir,
    }

    impl Scene {
        fn new(length: u64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).unwrap();
            let partial = store.partial(&ContentId::sha256([3; 32]), length).unwrap();
            Self {
                transfer: Arc::new(Transfer::new(partial)),
                runs: Runs::new(Arc::default()),
                now: Instant::now(),
                _folder: folder,
            }
        }

        fn add(&mut self, range: ByteRange) -> Vec<Run> {
            let from = SocketAddr::from(([192, 0, 2, 1], 24254));
            let data: Vec<u8> = (range.start..range.end).map(byte_at).collect();
            self.runs
                .add(&self.transfer, range.start, &data, from, self.now)
        }

        fn add_piece(&mut self, number: u64) -> Vec<Run> {
            self.add(ByteRange::at(number * PIECE, PIECE))
        }
    }

    fn byte_at(offset: u64) -> u8 {
        (offset / 1021) as u8
    }

    fn ranges(runs: &[Run]) -> Vec<ByteRange> {
        runs.iter().map(Run::range).collect()
    }

    #[test]
    fn a_gap_that_is_closed_late_leaves_one_whole_run() {
        let mut scene = Scene::new(4 * RUN);
        let late = [3, 9];
        let mut done = Vec::new();
        for number in (0..PIECES).filter(|number| !late.contains(number)) {
            done.extend(scene.add_piece(number));
        }
        for number in late.into_iter().rev() {
            done.extend(scene.add_piece(number));
        }
        assert_eq!(ranges(&done), [ByteRange::new(0, RUN)]);
        assert!(scene.runs.is_empty());
    }

    /// A run that waited at a border for what was to meet its beginning went on past it, did not fit
    /// where it was joined to, and its end was lost: fetched again after a standstill of three seconds.
    #[test]
    fn what_comes_after_a_border_is_not_lost_where_a_gap_before_it_is_closed() {
        let mut scene = Scene::new(4 * RUN);
        let mut done = Vec::new();
        for number in (0..2 * PIECES).filter(|number| *number != 1) {
            done.extend(scene.add_piece(number));
        }
        done.extend(scene.add_piece(1));
        done.sort_by_key(|run| run.range().start);
        assert_eq!(
            ranges(&done),
            [ByteRange::new(0, RUN), ByteRange::new(RUN, 2 * RUN)]
        );
        assert!(scene.runs.is_empty());
    }

    #[test]
    fn what_is_hashed_late_makes_room_for_what_is_hashed_soon() {
        let mut scene = Scene::new(40 * RUN);
        let far = (20..20 + MAX_UNHASHED / RUN).map(|number| number * RUN);
        for start in far {
            assert!(scene.runs.may_wait_for_hash());
            for run in scene.add(ByteRange::at(start, RUN)) {
                let written = Arc::new(scene.runs.written(run));
                scene.transfer.unhashed.push(written);
            }
        }
        assert!(!scene.runs.may_wait_for_hash());
        scene.transfer.unhashed.let_go_from(21 * RUN);
        assert!(scene.runs.may_wait_for_hash());
        assert!(scene.transfer.unhashed.at(20 * RUN).is_some());
        assert!(scene.transfer.unhashed.at(21 * RUN).is_none());
    }

    #[test]
    fn a_run_whose_gap_stays_open_is_ended_although_others_go_on() {
        let mut scene = Scene::new(4 * RUN);
        scene.add_piece(0);
        let began = scene.now;
        let mut stale = Vec::new();
        for number in 2..PIECES {
            scene.now += LINGER / 4;
            scene.add_piece(number);
            for run in scene.runs.take_stale(scene.now) {
                stale.push((run.range(), scene.now - began));
            }
        }
        assert_eq!(stale, [(ByteRange::new(0, PIECE), LINGER)]);
    }

    /// As answers of several peers come, some of them late.
    fn nearly_in_order() -> impl Strategy<Value = Vec<u64>> {
        let late = prop_oneof![4 => Just(0), 1 => 0..2 * PIECES];
        prop::collection::vec(late, 3 * PIECES as usize).prop_map(|late| {
            let mut order: Vec<u64> = (0..3 * PIECES).collect();
            order.sort_by_key(|number| number + late[*number as usize]);
            order
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever comes in whatever order: every byte leaves in one run, with its sender's piece.
        #[test]
        fn nothing_is_lost_or_changed_by_gathering(
            order in prop_oneof![
                Just((0..3 * PIECES).collect::<Vec<_>>()).prop_shuffle(),
                nearly_in_order(),
            ],
            cut in 1..PIECE,
        ) {
            let length = 3 * RUN - cut;
            let mut scene = Scene::new(length);
            let mut done = Vec::new();
            for number in order {
                let piece = ByteRange::at(number * PIECE, PIECE);
                done.extend(scene.add(piece.intersection(ByteRange::new(0, length))));
                prop_assert!(scene.runs.open.len() <= MAX_OPEN);
            }
            done.extend(scene.runs.take(|_| true));
            let mut given: Vec<ByteRange> = Vec::new();
            for run in &done {
                let range = run.range();
                prop_assert!(range.len() <= RUN);
                let expected: Vec<u8> = (range.start..range.end).map(byte_at).collect();
                prop_assert_eq!(run.bytes(), &expected[..]);
                let mut at = range.start;
                for (piece, _) in &run.pieces {
                    prop_assert_eq!(piece.start, at);
                    at = piece.end;
                }
                prop_assert_eq!(at, range.end);
                given.push(range);
            }
            given.sort_by_key(|range| range.start);
            let mut at = 0;
            for range in given {
                prop_assert_eq!(range.start, at);
                at = range.end;
            }
            prop_assert_eq!(at, length);
        }
    }
}
