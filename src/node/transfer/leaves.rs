//! What a transfer knows of bytes that are verified leaf by leaf before they count as present.
//!
//! Such bytes land first: they are in the backing file, and nobody is given them. Once their leaf has
//! been found right they are present like any others, and right for good.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Phase, Released, State, Transfer};
use crate::content::{ByteRange, GROUP, LEAF, RangeSet};
use crate::node::leaves::Leaves;
use crate::swarm::Held;

/// Parts told at most. With more the swarm would choose among them; this bounds the copy.
const MAX_PARTS_TOLD: usize = 4096;

/// What the prover has to do next with content that is verified leaf by leaf.
pub(in crate::node) enum NextCheck {
    /// These bytes have landed and may be verifiable by now; they lie in one group.
    Check(ByteRange),
    /// Every leaf is verified.
    Whole,
    /// Leaves are verified no more: it is hashed as a whole.
    Hash,
    /// Nothing until more arrives.
    Nothing,
}

impl Transfer {
    /// From now on bytes are verified by `leaves` before they are present; what an earlier run left
    /// is, too. To be called before anybody else knows of the transfer.
    pub fn verify_by(&self, leaves: Leaves) {
        let mut state = self.state();
        state.vouched = true;
        state.landed = std::mem::take(&mut state.present);
        state.recheck = state.landed.clone();
        drop(state);
        *self.leaves() = Some(leaves);
    }

    /// Whether what is present has been verified leaf by leaf.
    pub fn is_vouched(&self) -> bool {
        self.state().vouched
    }

    /// Whether what is present is known to be right and can be read here.
    pub fn vouches(&self) -> bool {
        self.state().vouched_for().is_some()
    }

    /// The same of all bytes of `range`.
    pub fn vouches_for(&self, range: ByteRange) -> bool {
        let state = self.state();
        state
            .vouched_for()
            .is_some_and(|right| right.contains(range))
    }

    /// What is here and known to be right, for those who want the same.
    pub fn vouched_parts(&self) -> Held {
        let state = self.state();
        let right = state.vouched_for().into_iter();
        let parts = right
            .flat_map(RangeSet::iter)
            .take(MAX_PARTS_TOLD)
            .collect();
        Held {
            id: self.id,
            eof: self.length,
            parts,
        }
    }

    /// Notes that the bytes of `range` are in the backing file, to be verified.
    pub fn land(&self, range: ByteRange, from: SocketAddr) {
        let mut state = self.state();
        if state.phase == Phase::Arriving {
            let fresh = state.landed.insert(range);
            *state.suppliers.entry(from).or_default() += fresh;
            state.progress_at = Instant::now();
        }
    }

    /// The whole leaves that have landed, are not present, and touch `range`; cut at groups.
    pub fn landed_leaves(&self, range: ByteRange) -> Vec<ByteRange> {
        let state = self.state();
        if state.phase != Phase::Arriving {
            return Vec::new();
        }
        let near = range.widened(LEAF, self.length);
        let mut found = Vec::new();
        for part in state.landed.within(near) {
            let start = part.start.next_multiple_of(LEAF);
            let end = if part.end == self.length {
                part.end
            } else {
                part.end - part.end % LEAF
            };
            let mut rest = ByteRange::new(start, end.max(start));
            while !rest.is_empty() {
                let border = (rest.start / GROUP + 1).saturating_mul(GROUP);
                let piece = ByteRange::new(rest.start, rest.end.min(border));
                found.push(piece);
                rest.start = piece.end;
            }
        }
        found
    }

    /// The leaves of `range` are right.
    pub fn verified(&self, range: ByteRange) -> (Released, bool) {
        let mut state = self.state();
        let mut released = Released::default();
        if state.phase != Phase::Arriving {
            return (released, false);
        }
        state.landed.remove(range);
        state.present.insert(range);
        state.dirty = true;
        self.partial.note_present(range);
        self.release_present(&mut state, &mut released);
        let to_prove = Self::queue_for_proof(&mut state, self.length);
        (released, to_prove)
    }

    /// The bytes of `range` are wrong: they are as good as not here.
    pub fn reject(&self, range: ByteRange) {
        let mut state = self.state();
        state.landed.remove(range);
        state.present.remove(range);
        drop(state);
        self.unhashed.clear();
        self.partial.note_absent(range);
    }

    /// What has landed of `range` may be verifiable by now; whether the prover is to be told.
    pub fn check_again(&self, range: ByteRange) -> bool {
        let mut state = self.state();
        if state.landed.is_empty() || state.phase != Phase::Arriving {
            return false;
        }
        state.recheck.insert(range);
        Self::queue_for_proof(&mut state, self.length)
    }

    /// What the prover has to do next. After [`NextCheck::Nothing`] it is done until it is told again.
    pub fn next_check(&self) -> NextCheck {
        let mut state = self.state();
        while let Some(range) = state.recheck.first() {
            let landed = state.landed.within(range).next();
            let Some(landed) = landed.filter(|_| state.phase == Phase::Arriving) else {
                state.recheck.remove(range);
                continue;
            };
            let border = (landed.start / GROUP + 1).saturating_mul(GROUP);
            let check = ByteRange::new(landed.start, landed.end.min(border));
            state.recheck.remove(ByteRange::new(range.start, check.end));
            return NextCheck::Check(check);
        }
        if state.phase == Phase::Arriving {
            if !state.vouched {
                return NextCheck::Hash;
            }
            if state.present.bytes() == self.length {
                return NextCheck::Whole;
            }
        }
        state.queued_for_proof = false;
        NextCheck::Nothing
    }

    /// Whether bytes wait to be verified.
    pub fn has_landed(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Arriving && !state.landed.is_empty()
    }

    /// Leaves cannot be verified: what has landed is present, and proven, like the rest, as a whole.
    pub fn verify_as_a_whole(&self) -> Released {
        *self.leaves() = None;
        let mut state = self.state();
        let mut released = Released::default();
        if state.phase != Phase::Arriving || !state.vouched {
            return released;
        }
        state.vouched = false;
        let landed = std::mem::take(&mut state.landed);
        state.recheck = RangeSet::new();
        state.present.union(&landed);
        state.hashed = 0;
        for range in landed.iter() {
            self.partial.note_present(range);
        }
        state.dirty = true;
        self.release_present(&mut state, &mut released);
        released
    }

    /// Of a tree: wants these parts of it, for verifying leaves. Returns what is not here.
    pub fn seek(&self, parts: &RangeSet) -> Vec<ByteRange> {
        let mut state = self.state();
        if state.phase != Phase::Arriving {
            return Vec::new();
        }
        state.sought.union(parts);
        let gaps = parts.iter().flat_map(|part| state.present.gaps(part));
        gaps.collect()
    }

    /// Of a tree: these nodes of it are right.
    pub fn trust(&self, nodes: &[ByteRange]) {
        let mut state = self.state();
        for node in nodes {
            state.trusted.insert(*node);
        }
    }

    /// Of a tree: whether all bytes of `range` are here.
    pub fn holds(&self, range: ByteRange) -> bool {
        self.state().present.contains(range)
    }
}

impl State {
    /// What is here and known to be right, if that can be said of anything.
    fn vouched_for(&self) -> Option<&RangeSet> {
        match self.phase {
            Phase::Arriving if self.vouched => Some(&self.present),
            Phase::Arriving if !self.trusted.is_empty() => Some(&self.trusted),
            Phase::Proven => Some(&self.present),
            Phase::Arriving | Phase::Kept | Phase::Wrong => None,
        }
    }

    /// The parts of `range` that are not in the backing file.
    pub(super) fn lacking(&self, range: ByteRange) -> Vec<ByteRange> {
        let gaps = self.present.gaps(range);
        gaps.flat_map(|gap| self.landed.gaps(gap)).collect()
    }
}
