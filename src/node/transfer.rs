//! One piece of content on its way: what is here, who waits for what, what is proven.

mod afloat;
mod again;
mod doubts;
mod leaves;
mod limits;
mod proof;
mod story;
mod wanted;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use super::Failure;
use super::blocks::BlockCheck;
use super::compare::Comparisons;
use super::given::{Given, GivenToAny};
use super::leaves::Leaves;
use super::pending::{ReadTicket, ValueTicket};
use super::pieces::Provenance;
use super::runs::Unhashed;
use super::types::ContentInfo;
use crate::content::{ByteRange, ContentId, LEAF, Proof, RangeSet};
use crate::store::Partial;

use afloat::Afloat;
pub(super) use afloat::LetGo;
use again::EndedLately;
pub(super) use again::{AT_ONCE, Asked};
pub(super) use leaves::NextCheck;
pub(super) use story::Story;

/// How far the proof of the whole has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not all is here, or not all is hashed.
    Arriving,
    /// The whole has the hash of its id; it is being made durable.
    Proven,
    /// It lies in the store as complete content.
    Kept,
    /// The whole has another hash, or another length, or the disk lost it: what was given of it may
    /// be wrong.
    Wrong,
}

/// A read that waits.
struct ReadWaiter {
    range: ByteRange,
    ticket: Arc<ReadTicket>,
    given: Arc<Mutex<Given>>,
    deadline: Instant,
    /// If it is for pages: the thread that waits for them.
    filling: Option<u32>,
}

/// Somebody who waits for all of it.
pub(super) struct WholeWaiter {
    pub ticket: Arc<ValueTicket<ContentInfo>>,
    /// How often it may begin anew after wrong content.
    pub attempts: u32,
}

/// What a reader wants beside what it waits for, by reader.
type Ahead = BTreeMap<u64, Vec<ByteRange>>;

struct State {
    phase: Phase,
    /// How reads end once the phase is `Wrong`.
    failure: Failure,
    /// Bytes that can be read from the backing file; finer than the store's leaves.
    present: RangeSet,
    /// Bytes that are in the backing file and wait for their leaf to be verified.
    landed: RangeSet,
    /// What was given of it while it was not proven.
    given: GivenToAny,
    /// Where what has landed may be verifiable by now.
    recheck: RangeSet,
    /// Whether every present byte was verified, leaf by leaf.
    vouched: bool,
    /// Whether leaves are verified by a claim, and what is here and has not been.
    claimed: bool,
    unchecked: RangeSet,
    /// Bytes that were present and given up: others that come in their place are compared with
    /// them, for who was given them.
    doubted: RangeSet,
    /// Who sent what, while it cannot be told from the bytes whether they are right.
    pieces: Provenance,
    /// Bytes that arrived since some were last compared with a second peer's.
    since_compared: u64,
    /// The whole of what is here is not the content.
    failed: bool,
    /// Of a tree: what leaves are to be verified with, and what of it is right, since they were.
    sought: RangeSet,
    trusted: RangeSet,
    hashed: u64,
    /// Up to where the prover hashes now.
    hashing: u64,
    /// Changes when the proof begins anew.
    epoch: u64,
    /// Whether the prover has it in its queue.
    queued_for_proof: bool,
    waiters: Vec<ReadWaiter>,
    ended_lately: EndedLately,
    wholes: Vec<WholeWaiter>,
    ahead: Ahead,
    /// Whether all of it is wanted because a handle reads on to its end.
    bulk_for_handles: bool,
    /// Whether it is because somebody fetches it.
    bulk_for_fetches: bool,
    suppliers: BTreeMap<SocketAddr, u64>,
    readers: usize,
    /// What each of them has been given.
    handles: BTreeMap<u64, [Weak<Mutex<Given>>; 2]>,
    /// That of the bytes that handles are given from now on. No other has it, not of the same content
    /// either.
    generation: u64,
    next_reader: u64,
    used_at: Instant,
    progress_at: Instant,
    retried_at: Instant,
    /// Whether blocks are verified before they are hashed.
    by_blocks: bool,
    /// Written since the last sync.
    dirty: bool,
    /// Where the disk does not take it.
    afloat: Option<Afloat>,
}

impl State {
    /// Ends the reads for which there is a reason.
    fn end_reads(
        &mut self,
        released: &mut Released,
        why: impl Fn(&Self, &ReadWaiter) -> Option<Failure>,
    ) {
        for waiter in std::mem::take(&mut self.waiters) {
            match why(self, &waiter) {
                Some(failure) => released.failed.push((failure, waiter.ticket)),
                None => self.waiters.push(waiter),
            }
        }
    }

    fn bulk(&self) -> bool {
        self.bulk_for_handles || self.bulk_for_fetches
    }

    /// Whether a handle that has been `given` some of it may be given `range`.
    fn may_give(&self, given: &Given, range: ByteRange, length: u64) -> bool {
        (self.vouched && length > LEAF)
            || !self.given.would_complete(given, range, length)
            || self.passed(given, range)
    }

    /// Gives a handle that has been `given` some of it `range`, which is present, if that may be.
    fn give(&mut self, given: &Mutex<Given>, range: ByteRange, length: u64) -> bool {
        let mut given = given.lock().unwrap_or_else(|e| e.into_inner());
        let may = self.may_give(&given, range, length);
        if may {
            self.given.note(&mut given, range);
            self.is_reading(range);
        }
        may
    }

    /// What has to arrive for a read of `range` that waits, by a handle that has been `given` some.
    fn wanted_for(&self, given: &Mutex<Given>, range: ByteRange, length: u64) -> ByteRange {
        let given = given.lock().unwrap_or_else(|e| e.into_inner());
        if !self.may_give(&given, range, length) {
            // It waits for the proof, which needs all of it, or what it has not seen of what passes.
            let seen = self.afloat.as_ref().map_or(0, |_| self.hashed);
            ByteRange::new(seen.min(range.start), length)
        } else if self.vouched || self.claimed {
            range.widened(LEAF, length)
        } else {
            range
        }
    }
}

/// Why all of it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bulk {
    /// A handle reads on to its end.
    Handle,
    /// Somebody fetches it.
    Fetch,
}

/// One piece of content on its way.
pub(super) struct Transfer {
    pub id: ContentId,
    pub length: u64,
    pub partial: Partial,
    /// Used by the prover alone, with the epoch that it belongs to.
    pub proof: Mutex<(u64, Option<Proof>)>,
    /// Taken before all others.
    pub repairing: Mutex<()>,
    /// What is compared with second peers' bytes, and what followed from that. Taken before `state`.
    pub comparisons: Mutex<Comparisons>,
    /// What lies in memory for the prover.
    pub unhashed: Unhashed,
    /// How leaves are verified as they arrive, if they can be. Taken before `state`.
    leaves: Mutex<Option<Leaves>>,
    /// How blocks are verified before they are hashed, if they are. Taken before `state`.
    pub blocks: Mutex<Option<BlockCheck>>,
    state: Mutex<State>,
}

/// What becomes of a read.
pub(super) enum Admission {
    /// The bytes are here and may be given.
    Ready,
    /// It waits; these parts of it are not here.
    Waits(Vec<ByteRange>),
    /// It cannot be had.
    Fails(Failure),
}

/// Reads that may be answered now, and others that ended.
#[derive(Default)]
pub(super) struct Released {
    pub ready: Vec<(ByteRange, Arc<ReadTicket>)>,
    pub failed: Vec<(Failure, Arc<ReadTicket>)>,
    pub wholes: Vec<WholeWaiter>,
}

/// The next generation of given bytes.
static NUMBER: AtomicU64 = AtomicU64::new(1);

impl Transfer {
    pub fn new(partial: Partial) -> Self {
        let id = partial.id();
        let present = partial.present();
        let now = Instant::now();
        Self {
            id,
            length: partial.length(),
            proof: Mutex::new((0, Proof::new(id))),
            repairing: Mutex::default(),
            comparisons: Mutex::default(),
            unhashed: Unhashed::default(),
            leaves: Mutex::new(None),
            blocks: Mutex::new(None),
            state: Mutex::new(State {
                phase: Phase::Arriving,
                failure: Failure::WrongContent,
                present,
                landed: RangeSet::new(),
                given: GivenToAny::default(),
                recheck: RangeSet::new(),
                vouched: false,
                claimed: false,
                unchecked: RangeSet::new(),
                doubted: RangeSet::new(),
                pieces: Provenance::default(),
                since_compared: 0,
                failed: false,
                sought: RangeSet::new(),
                trusted: RangeSet::new(),
                hashed: 0,
                hashing: 0,
                epoch: 0,
                queued_for_proof: false,
                waiters: Vec::new(),
                ended_lately: EndedLately::default(),
                wholes: Vec::new(),
                ahead: Ahead::new(),
                bulk_for_handles: false,
                bulk_for_fetches: false,
                suppliers: BTreeMap::new(),
                readers: 0,
                handles: BTreeMap::new(),
                generation: NUMBER.fetch_add(1, Ordering::Relaxed),
                next_reader: 0,
                used_at: now,
                progress_at: now,
                retried_at: now,
                by_blocks: false,
                dirty: false,
                afloat: None,
            }),
            partial,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// How leaves are verified as they arrive; held while a group of them is.
    pub fn leaves(&self) -> MutexGuard<'_, Option<Leaves>> {
        self.leaves.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Whether it is the one of content of this length.
    pub fn is_of(&self, length: u64) -> bool {
        let same = self.length == length || self.length_is_proven();
        self.phase() != Phase::Wrong && same
    }

    pub fn phase(&self) -> Phase {
        self.state().phase
    }

    pub fn info(&self) -> ContentInfo {
        let state = self.state();
        ContentInfo {
            id: self.id,
            length: self.length,
            proven: matches!(state.phase, Phase::Proven | Phase::Kept),
            present: state.present.bytes() + state.landed.bytes(),
            verified: state.verified(),
        }
    }

    /// A new handle, which will note what it is `given`; its number, and the generation of what it
    /// will be given.
    pub fn attach_reader(&self, given: [&Arc<Mutex<Given>>; 2]) -> (u64, u64) {
        let mut state = self.state();
        state.readers += 1;
        state.next_reader += 1;
        let number = state.next_reader;
        state.handles.insert(number, given.map(Arc::downgrade));
        state.used_at = Instant::now();
        (number, state.generation)
    }

    /// Whether nobody has it open or waits for a part of it.
    pub fn is_unread(&self) -> bool {
        let state = self.state();
        state.readers == 0 && state.waiters.is_empty()
    }

    /// A handle is closed: what it expected to read is wanted no more.
    pub fn detach_reader(&self, reader: u64) {
        let mut state = self.state();
        state.readers = state.readers.saturating_sub(1);
        state.ahead.remove(&reader);
        state.handles.remove(&reader);
        state.used_at = Instant::now();
    }

    /// Whether a read of `range` by the handle with `given` may be answered now. If it waits,
    /// `ticket` makes it a waiter.
    pub fn admit(
        &self,
        range: ByteRange,
        given: &Arc<Mutex<Given>>,
        asked: Asked,
        ticket: impl FnOnce() -> Arc<ReadTicket>,
    ) -> Admission {
        let mut state = self.state();
        if given.lock().unwrap_or_else(|e| e.into_inner()).is_spoilt() {
            return Admission::Fails(Failure::WrongContent);
        }
        match state.phase {
            Phase::Wrong => return Admission::Fails(state.failure),
            Phase::Proven | Phase::Kept => return Admission::Ready,
            Phase::Arriving => {}
        }
        if state.present.contains(range) && state.give(given, range, self.length) {
            return Admission::Ready;
        }
        let never = {
            let given = given.lock().unwrap_or_else(|e| e.into_inner());
            state.never(&given, range, self.length)
        };
        if let Some(failure) = never {
            return Admission::Fails(failure);
        }
        let Some(deadline) = state.deadline(range, asked) else {
            return Admission::Fails(Failure::TimedOut);
        };
        state.waiters.push(ReadWaiter {
            range,
            ticket: ticket(),
            given: Arc::clone(given),
            deadline,
            filling: asked.filling,
        });
        let wanted = state.wanted_for(given, range, self.length);
        Admission::Waits(state.lacking(wanted))
    }

    /// Adds somebody who waits for all of it; gives the waiter back where it has come to its end.
    pub fn await_whole(&self, waiter: WholeWaiter) -> Result<(), (Phase, WholeWaiter)> {
        let mut state = self.state();
        match state.phase {
            Phase::Arriving | Phase::Proven => {
                state.progress_at = Instant::now();
                state.wholes.push(waiter);
                Ok(())
            }
            phase => Err((phase, waiter)),
        }
    }

    /// Notes that the bytes of `range` are in the backing file; returns the reads that may be
    /// answered now, the part around it that is here without a gap, on leaf boundaries where it can
    /// be, and whether the prover has something to do that it was not told of.
    pub fn arrived(&self, range: ByteRange, from: SocketAddr) -> (Released, ByteRange, bool) {
        let mut state = self.state();
        let mut released = Released::default();
        if state.phase != Phase::Arriving {
            return (released, ByteRange::default(), false);
        }
        state.came_anew(range);
        let fresh = state.present.insert(range);
        *state.suppliers.entry(from).or_default() += fresh;
        state.progress_at = Instant::now();
        state.dirty = true;
        state.pieces.insert(range, from);
        state.failed = false;
        if state.claimed {
            state.unchecked.insert(range);
        }
        let around = state.present.around(range.start).unwrap_or_default();
        let leaves = around.intersection(range.widened(LEAF, self.length));
        self.partial.note_present(leaves);
        self.release_present(&mut state, &mut released);
        let to_prove = Self::queue_for_proof(&mut state, self.length);
        (released, leaves, to_prove)
    }

    /// The parts of `range` that are not here.
    pub fn lacking(&self, range: ByteRange) -> Vec<ByteRange> {
        self.state().lacking(range)
    }

    /// The disk may have lost what it had not made durable: only `kept` is here still. The proof
    /// begins anew.
    pub fn only_kept(&self, kept: &RangeSet) {
        let mut state = self.state();
        if state.phase == Phase::Arriving {
            let mut lost = state.present.clone();
            for range in kept.iter() {
                lost.remove(range);
            }
            if !state.vouched {
                // What comes in its place may differ from what handles have been given of it.
                state.doubted.union(&lost);
            }
            for range in lost.iter() {
                state.unchecked.remove(range);
                state.pieces.remove(range);
            }
            state.present = kept.clone();
            state.landed = RangeSet::new();
            state.prove_anew();
            drop(state);
            self.unhashed.clear();
        }
    }

    /// The prover could not read what is here: it is done with this content until more arrives.
    pub fn unreadable(&self) {
        self.state().queued_for_proof = false;
    }

    /// Whether something was written since this was last asked.
    pub fn take_dirty(&self) -> bool {
        std::mem::take(&mut self.state().dirty)
    }
}

#[cfg(test)]
mod tests;
