//! What a transfer knows of bytes that may be wrong: who sent them, who was given them, and what is
//! left of them when others come in their place.
//!
//! Nothing of content by SHA-256 is known to be right before the whole is. Bytes that are taken for
//! wrong meanwhile stay in the backing file until others come; a handle that had been given bytes
//! which then change is spoilt.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Weak;
use std::sync::atomic::Ordering;

use super::{NUMBER, Phase, Released, State, Transfer};
use crate::content::{ByteRange, RangeSet};
use crate::node::blocks::BlockCheck;
use crate::node::pieces::Piece;
use crate::node::types::{Failure, Verified};

impl State {
    /// Hashing begins at the first byte again.
    pub(super) fn prove_anew(&mut self) {
        self.hashed = 0;
        self.hashing = 0;
        self.epoch += 1;
        self.failed = false;
        self.is_hashed_anew();
    }

    /// How far it is verified.
    pub(super) fn verified(&self) -> Verified {
        match self.phase {
            Phase::Proven | Phase::Kept => Verified::Yes,
            Phase::Wrong => Verified::No,
            Phase::Arriving if self.vouched => Verified::Leaves,
            Phase::Arriving if self.claimed => Verified::Claimed,
            Phase::Arriving => Verified::No,
        }
    }

    /// `range`, which is present, is taken for wrong.
    fn doubt(&mut self, range: ByteRange) {
        let was_present: Vec<ByteRange> = self.present.within(range).collect();
        let hashed = self.hashed.max(self.hashing);
        for part in &was_present {
            self.doubted.insert(*part);
        }
        self.present.remove(range);
        self.landed.remove(range);
        self.unchecked.remove(range);
        self.pieces.remove(range);
        if was_present.iter().any(|part| part.start < hashed) {
            self.prove_anew();
        }
    }
}

impl Transfer {
    /// The bytes of `range` are taken for wrong: they are as good as not here.
    pub fn doubt(&self, range: ByteRange) {
        self.state().doubt(range);
        self.unhashed.clear();
        self.partial.note_absent(range);
    }

    /// The same of what is about to be hashed and was not.
    pub fn doubt_unhashed(&self, range: ByteRange) {
        let mut state = self.state();
        state.hashing = state.hashed;
        state.doubt(range);
        drop(state);
        self.unhashed.clear();
        self.partial.note_absent(range);
    }

    /// From now on blocks are verified before they are hashed; what was hashed is hashed anew.
    pub fn check_blocks(&self, check: BlockCheck) {
        *self.block_check() = Some(check);
        let mut state = self.state();
        if state.phase == Phase::Arriving {
            state.by_blocks = true;
            state.prove_anew();
        }
    }

    /// Takes for wrong what these peers sent, but for what is `agreed`; returns that.
    pub fn doubt_senders(&self, senders: &BTreeSet<SocketAddr>, agreed: &RangeSet) -> RangeSet {
        self.doubt_pieces(agreed, |sender| {
            sender.is_some_and(|sender| senders.contains(&sender))
        })
    }

    /// Takes for wrong what others than this peer sent, and what nobody knows the sender of.
    pub fn doubt_all_but(&self, sender: SocketAddr) -> RangeSet {
        self.doubt_pieces(&RangeSet::new(), |other| other != Some(sender))
    }

    /// Takes for wrong what nobody knows the sender of, but for what is `agreed`.
    pub fn doubt_unknown(&self, agreed: &RangeSet) -> RangeSet {
        self.doubt_pieces(agreed, |sender| sender.is_none())
    }

    fn doubt_pieces(
        &self,
        agreed: &RangeSet,
        wrong: impl Fn(Option<SocketAddr>) -> bool,
    ) -> RangeSet {
        let mut state = self.state();
        let mut doubted = RangeSet::new();
        if state.phase != Phase::Arriving {
            return doubted;
        }
        for (range, sender) in state.supplied(self.length) {
            if wrong(sender) {
                for part in agreed.gaps(range) {
                    doubted.insert(part);
                }
            }
        }
        for range in doubted.iter() {
            state.doubt(range);
        }
        drop(state);
        self.unhashed.clear();
        for range in doubted.iter() {
            self.partial.note_absent(range);
        }
        doubted
    }

    /// Whether bytes that are given up would be written over.
    pub fn has_doubted(&self, range: ByteRange) -> bool {
        self.state().doubted.intersects(range)
    }

    /// `data` is about to be written over the bytes of `range`: who was given others there is spoilt,
    /// and its reads end.
    pub fn replace(&self, range: ByteRange, data: &[u8]) -> io::Result<Released> {
        let doubted: Vec<ByteRange> = self.state().doubted.within(range).collect();
        let mut changed = Vec::new();
        for part in doubted {
            let mut old = vec![0; usize::try_from(part.len()).unwrap_or(0)];
            self.partial.read_at(part.start, &mut old)?;
            let skip = usize::try_from(part.start - range.start).unwrap_or(usize::MAX);
            let new = data.get(skip..).and_then(|rest| rest.get(..old.len()));
            if new != Some(old.as_slice()) {
                changed.push(part);
            }
        }
        let mut state = self.state();
        state.doubted.remove(range);
        let mut released = Released::default();
        let handles = state.handles.values().flatten();
        let handles: Vec<_> = handles.filter_map(Weak::upgrade).collect();
        for part in changed {
            if state.given.replaced(part, &handles) {
                // What pages hold and what is given from now on do not belong together.
                state.generation = NUMBER.fetch_add(1, Ordering::Relaxed);
            }
        }
        state.end_reads(&mut released, |_, waiter| {
            let given = waiter.given.lock().unwrap_or_else(|e| e.into_inner());
            given.is_spoilt().then_some(Failure::WrongContent)
        });
        Ok(released)
    }

    /// The whole of what is here is not the content; `false` when it has changed since the hash of
    /// `epoch` was begun.
    pub fn note_failed(&self, epoch: u64) -> bool {
        let mut state = self.state();
        state.queued_for_proof = false;
        let current = state.phase == Phase::Arriving
            && state.epoch == epoch
            && state.present.bytes() == self.length;
        state.failed |= current;
        current
    }

    /// Whether the whole of what is here is known not to be the content.
    pub fn has_failed(&self) -> bool {
        let state = self.state();
        state.failed && state.phase == Phase::Arriving
    }

    /// Who sent which of the bytes of `range`.
    pub fn senders(&self, range: ByteRange) -> Vec<Piece> {
        self.state().pieces.senders(range)
    }

    /// What is present, in pieces of one sender; `None`: nobody knows of whom.
    pub fn supplied(&self) -> Vec<(ByteRange, Option<SocketAddr>)> {
        self.state().supplied(self.length)
    }

    /// Who sent what is here, and whether the sender of some of it is not known.
    pub fn suppliers(&self) -> (BTreeMap<SocketAddr, u64>, bool) {
        let state = self.state();
        let mut by = BTreeMap::new();
        let mut known = 0;
        for (range, sender) in state.pieces.iter() {
            *by.entry(sender).or_default() += range.len();
            known += range.len();
        }
        (by, known < state.present.bytes())
    }

    /// How many peers have sent something.
    pub fn supplier_count(&self) -> usize {
        self.state().suppliers.len()
    }

    /// Counts `arrived` bytes; whether so many have come that some are to be compared: `each` tells
    /// for how many, given how many are here.
    pub fn is_to_compare(&self, arrived: u64, each: impl Fn(u64) -> u64) -> bool {
        let mut state = self.state();
        state.since_compared += arrived;
        let due = state.since_compared >= each(state.present.bytes());
        if due {
            state.since_compared = 0;
        }
        due && !state.claimed && !state.vouched && state.suppliers.len() > 1
    }
}

impl State {
    fn supplied(&self, length: u64) -> Vec<(ByteRange, Option<SocketAddr>)> {
        let mut known = RangeSet::new();
        let mut supplied = Vec::new();
        for (range, sender) in self.pieces.iter() {
            known.insert(range);
            supplied.push((range, Some(sender)));
        }
        for gap in known.gaps(ByteRange::new(0, length)) {
            let unknown = self.present.within(gap);
            supplied.extend(unknown.map(|range| (range, None)));
        }
        supplied
    }
}
