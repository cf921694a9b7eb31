//! Content that the disk does not take: it stays in memory, as much as there is room, and passes on.
//!
//! What a handle has read and the proof has seen is let go when room is needed, so that content of
//! any length can be read from its start to its end. The rule of the last byte holds as always: the
//! hash goes over the bytes as they come, and when it is right, a handle may have the rest if all
//! that it was given are those very bytes. Bytes that came a second time after they were let go may
//! be others; what they touch is `doubtful`, and a handle that was given any of it does not get its
//! last byte.

use super::{Phase, Released, State, Transfer, WholeWaiter};
use crate::content::{ByteRange, LEAF, RangeSet};
use crate::node::Failure;
use crate::node::given::Given;

/// What is known of content that the disk does not take.
pub(super) struct Afloat {
    /// Why.
    errno: i32,
    /// What handles have read.
    read: RangeSet,
    /// What is being read.
    reading: Vec<ByteRange>,
    /// What was let go after the proof had seen it.
    let_go: RangeSet,
    doubtful: RangeSet,
    /// Whether the whole was proven while it passed.
    passed: bool,
}

/// How much may be let go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum LetGo {
    /// What nobody needs any more.
    Done,
    /// What nobody waits for, too.
    Ahead,
}

impl Transfer {
    /// From now on what the disk does not take stays in memory; nobody can have the whole of it
    /// kept. Returns those who waited for that.
    pub fn go_afloat(&self, errno: i32) -> Vec<WholeWaiter> {
        let mut state = self.state();
        state.bulk_for_handles = false;
        state.bulk_for_fetches = false;
        state.afloat.get_or_insert_with(|| Afloat {
            errno,
            read: RangeSet::new(),
            reading: Vec::new(),
            let_go: RangeSet::new(),
            doubtful: RangeSet::new(),
            passed: false,
        });
        std::mem::take(&mut state.wholes)
    }

    /// Why it stays in memory, if it does.
    pub fn afloat(&self) -> Option<i32> {
        self.state().afloat.as_ref().map(|afloat| afloat.errno)
    }

    /// Whether the disk is not even asked: what it took it lost.
    pub fn avoids_disk(&self) -> bool {
        self.afloat() == Some(libc::EIO)
    }

    /// The disk lost what it had taken of `before`, all but `kept`. What the proof saw, it saw.
    pub fn lost_all_but(&self, before: &RangeSet, kept: &RangeSet) {
        let mut state = self.state();
        if state.phase != Phase::Arriving {
            return;
        }
        let lost: Vec<_> = before.iter().flat_map(|range| kept.gaps(range)).collect();
        for range in lost {
            // Somebody may have read it.
            if let Some(afloat) = &mut state.afloat {
                afloat.read.insert(range);
            }
            state.is_let_go(range);
        }
    }

    /// A handle has read `range`.
    pub fn was_read(&self, range: ByteRange) {
        if let Some(afloat) = &mut self.state().afloat {
            afloat.read.insert(range);
            if let Some(at) = afloat.reading.iter().position(|other| *other == range) {
                afloat.reading.swap_remove(at);
            }
        }
    }

    /// Whether `range` is a part of what is seen to first: the read that waits for the first bytes
    /// gets all that it needs before others get what they need, or none might, for want of room.
    pub fn comes_first(&self, range: ByteRange) -> bool {
        let state = self.state();
        let first = state.first_wanted(self.length);
        first.is_some_and(|first| !first.intersection(range).is_empty())
    }

    /// Whether all of it was hashed as it passed, in `epoch`, and not all of it is here any more: then
    /// that it is wrong cannot be repaired.
    pub fn failed_in_passing(&self, epoch: u64) -> bool {
        let state = self.state();
        state.phase == Phase::Arriving
            && state.afloat.is_some()
            && state.epoch == epoch
            && state.hashed >= self.length
            && state.present.bytes() < self.length
    }

    /// There is no room for all of it: a strict read that waits for the proof of the whole, which
    /// needs that, ends.
    pub fn has_no_room(&self, errno: i32) -> Released {
        let mut state = self.state();
        let mut released = Released::default();
        if state.vouched {
            return released;
        }
        state.end_reads(&mut released, |_, waiter| {
            let given = waiter.given.lock().unwrap_or_else(|e| e.into_inner());
            given.is_strict().then_some(Failure::Disk(errno))
        });
        released
    }

    /// What handles expect to read is wanted no more, until they read on.
    pub fn expect_nothing(&self) {
        self.state().ahead.clear();
    }

    /// Lets go about `bytes` that are in memory; returns what was.
    pub fn let_go(&self, bytes: u64, what: LetGo) -> Vec<ByteRange> {
        let mut state = self.state();
        let state = &mut *state;
        if state.phase != Phase::Arriving || state.afloat.is_none() {
            return Vec::new();
        }
        let mut inside = self.partial.in_memory();
        if what == LetGo::Done {
            for waiter in &state.waiters {
                inside.remove(state.wanted_for(&waiter.given, waiter.range, self.length));
            }
        } else if let Some(first) = state.first_wanted(self.length) {
            inside.remove(first);
        }
        for range in state.afloat.iter().flat_map(|afloat| &afloat.reading) {
            inside.remove(*range);
        }
        let (mut gone, mut freed) = (Vec::new(), 0);
        for range in state.to_let_go(&inside, what) {
            if freed >= bytes {
                break;
            }
            // The farther end is needed last, where it is needed at all.
            let most = (bytes - freed).next_multiple_of(LEAF);
            let range = match what {
                LetGo::Done => {
                    ByteRange::new(range.start, range.end.min(range.start.saturating_add(most)))
                }
                LetGo::Ahead => {
                    ByteRange::new(range.start.max(range.end.saturating_sub(most)), range.end)
                }
            };
            let range = whole_leaves(range, self.length);
            if range.is_empty() {
                continue;
            }
            state.is_let_go(range);
            self.partial.let_go(range);
            freed += range.len();
            gone.push(range);
        }
        gone
    }
}

impl State {
    /// What the read that waits for the first bytes needs.
    fn first_wanted(&self, length: u64) -> Option<ByteRange> {
        let waiters = self.waiters.iter();
        let first = waiters.min_by_key(|waiter| waiter.range.start)?;
        Some(self.wanted_for(&first.given, first.range, length))
    }

    /// The parts of `inside` that may be let go, in that order.
    fn to_let_go(&self, inside: &RangeSet, what: LetGo) -> Vec<ByteRange> {
        let Some(afloat) = &self.afloat else {
            return Vec::new();
        };
        // What a handle has read and the proof has yet to see stays, unless what the proof needs next
        // is not here, nor waited for, so that it would wait in vain.
        let next = ByteRange::at(self.hashed, 1);
        let awaited = self
            .waiters
            .iter()
            .any(|waiter| !waiter.range.intersection(next).is_empty());
        let stuck = !awaited && self.present.around(self.hashed).is_none();
        let mut free = inside.clone();
        if !self.vouched && !stuck {
            let unseen = ByteRange::new(self.hashed, u64::MAX);
            let unseen: Vec<_> = afloat.read.within(unseen).collect();
            for range in unseen {
                free.remove(range);
            }
        }
        match what {
            LetGo::Ahead => {
                if !self.vouched && !stuck {
                    // What the proof has seen must not come a second time.
                    free.remove(ByteRange::new(0, self.hashed));
                }
                free.iter().rev().collect()
            }
            LetGo::Done => free
                .iter()
                .flat_map(|range| afloat.read.within(range))
                .collect(),
        }
    }

    fn is_let_go(&mut self, range: ByteRange) {
        self.present.remove(range);
        self.landed.remove(range);
        let Some(afloat) = &mut self.afloat else {
            return;
        };
        if !self.vouched {
            let seen = range.intersection(ByteRange::new(0, self.hashed));
            afloat.let_go.insert(seen);
            let unseen: Vec<_> = afloat
                .read
                .within(ByteRange::new(self.hashed, u64::MAX))
                .map(|read| read.intersection(range))
                .collect();
            for unseen in unseen {
                afloat.doubtful.insert(unseen);
            }
        }
        afloat.read.remove(range);
    }

    /// A handle is about to read `range`.
    pub(super) fn is_reading(&mut self, range: ByteRange) {
        if let Some(afloat) = &mut self.afloat {
            afloat.reading.push(range);
        }
    }

    /// `range` has come, perhaps for the second time.
    pub(super) fn came_anew(&mut self, range: ByteRange) {
        if let Some(afloat) = &mut self.afloat {
            let again: Vec<_> = afloat.let_go.within(range).collect();
            for again in again {
                afloat.doubtful.insert(again);
            }
        }
    }

    /// Whether some handle may have been given other bytes than the proof saw.
    pub(super) fn is_doubtful(&self) -> bool {
        let afloat = self.afloat.as_ref();
        afloat.is_some_and(|afloat| !afloat.doubtful.is_empty())
    }

    /// The proof begins anew: it may see other bytes than were given.
    pub(super) fn is_hashed_anew(&mut self) {
        if let Some(afloat) = &mut self.afloat {
            afloat.passed = false;
            let let_go = std::mem::take(&mut afloat.let_go);
            afloat.doubtful.union(&let_go);
        }
    }

    /// Whether the whole was proven while it passed, and a handle that has been `given` some of it
    /// may have `range`, too.
    pub(super) fn passed(&self, given: &Given, range: ByteRange) -> bool {
        self.afloat.as_ref().is_some_and(|afloat| {
            afloat.passed
                && !afloat.doubtful.intersects(range)
                && !self.given.shows(given, &afloat.doubtful)
        })
    }

    /// Why a handle with `given` will never be given `range`, if that is so.
    pub(super) fn never(&self, given: &Given, range: ByteRange, length: u64) -> Option<Failure> {
        let afloat = self.afloat.as_ref().filter(|afloat| afloat.passed)?;
        // What is not here any more comes a second time, if it does.
        let gone = !self.present.contains(range);
        let barred =
            self.given.would_complete(given, range, length) && (gone || !self.passed(given, range));
        (barred && !self.vouched).then_some(Failure::Disk(afloat.errno))
    }

    /// The whole is hashed and right, though not all of it is here any more. `false`: all of it is
    /// to be here.
    pub(super) fn proved_in_passing(&mut self, length: u64, released: &mut Released) -> bool {
        if self.vouched || self.hashed < length {
            return false;
        }
        let Some(afloat) = &mut self.afloat else {
            return false;
        };
        afloat.passed = true;
        self.end_reads(released, |state, waiter| {
            let given = waiter.given.lock().unwrap_or_else(|e| e.into_inner());
            state.never(&given, waiter.range, length)
        });
        true
    }
}

/// The leaves that lie wholly in `range`; the last one is whole at the end of the content.
fn whole_leaves(range: ByteRange, length: u64) -> ByteRange {
    let start = range.start.next_multiple_of(LEAF);
    let end = if range.end >= length {
        length
    } else {
        range.end - range.end % LEAF
    };
    ByteRange::new(start, end.max(start))
}
