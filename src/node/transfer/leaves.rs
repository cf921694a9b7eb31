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

    /// From now on leaves are verified by a claim; `false` when they are verified already, or need
    /// not be any more.
    pub fn check_by(&self, leaves: Leaves) -> bool {
        let mut slot = self.leaves();
        let mut state = self.state();
        if slot.is_some() || state.phase != Phase::Arriving {
            return false;
        }
        state.claimed = true;
        state.unchecked = state.present.clone();
        *slot = Some(leaves);
        true
    }

    /// Leaves are verified by a claim no more: what waited for that is present.
    pub fn check_no_more(&self) -> Released {
        let mut state = self.state();
        let mut released = Released::default();
        state.claimed = false;
        state.unchecked = RangeSet::new();
        if state.phase != Phase::Arriving || state.vouched {
            return released;
        }
        self.take_landed(&mut state, &mut released);
        released
    }

    /// What has landed is present, verified or not.
    fn take_landed(&self, state: &mut State, released: &mut Released) {
        let landed = std::mem::take(&mut state.landed);
        state.recheck = RangeSet::new();
        state.present.union(&landed);
        for range in landed.iter() {
            self.partial.note_present(range);
        }
        state.dirty = true;
        self.release_present(state, released);
    }

    /// Whether leaves are verified by a claim.
    pub fn is_claimed(&self) -> bool {
        self.state().claimed
    }

    /// Whether the length is proven: it is when the last leaf is. A leaf is bound to its place in
    /// the content, and the end of a tree to the number of its leaves.
    pub fn length_is_proven(&self) -> bool {
        let state = self.state();
        match state.phase {
            Phase::Arriving => {
                let last = ByteRange::new(self.length.saturating_sub(1), self.length);
                state.vouched && state.present.contains(last)
            }
            Phase::Proven | Phase::Kept => true,
            Phase::Wrong => false,
        }
    }

    /// Whether leaves are verified, by whatever.
    pub fn checks_leaves(&self) -> bool {
        let state = self.state();
        state.claimed || state.vouched
    }

    /// Whether every byte is here and every leaf agrees with the claim.
    pub fn all_checked(&self) -> bool {
        let state = self.state();
        state.claimed && state.unchecked.is_empty() && state.present.bytes() == self.length
    }

    /// Whether whole leaves are here that the claim has not verified.
    pub fn has_unchecked_leaves(&self) -> bool {
        !self
            .landed_leaves(ByteRange::new(0, self.length))
            .is_empty()
    }

    /// What is here, and all that is wanted.
    pub fn held_or_wanted(&self) -> Vec<ByteRange> {
        let mut set: RangeSet = self.wants().into_iter().map(|(range, _)| range).collect();
        let state = self.state();
        set.union(&state.present);
        set.union(&state.landed);
        set.iter().collect()
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
            if state.claimed {
                state.unchecked.insert(range);
                state.pieces.insert(range, from);
            }
            *state.suppliers.entry(from).or_default() += fresh;
            state.progress_at = Instant::now();
        }
    }

    /// The whole leaves that are here, wait to be verified, and touch `range`; cut at groups.
    pub fn landed_leaves(&self, range: ByteRange) -> Vec<ByteRange> {
        let state = self.state();
        if state.phase != Phase::Arriving {
            return Vec::new();
        }
        let near = range.widened(LEAF, self.length);
        let mut found = Vec::new();
        for part in state.to_check().within(near) {
            let (start, end) = if state.claimed {
                // The rest of a leaf may have been present before its verifying began.
                let wide = part.widened(LEAF, self.length);
                (wide.start, wide.end)
            } else {
                (
                    part.start.next_multiple_of(LEAF),
                    self.whole_until(part.end),
                )
            };
            let mut rest = ByteRange::new(start, end.max(start));
            while !rest.is_empty() {
                let border = (rest.start / GROUP + 1).saturating_mul(GROUP);
                let piece = ByteRange::new(rest.start, rest.end.min(border));
                rest.start = piece.end;
                if state.claimed {
                    self.whole_leaves(&state, piece, &mut found);
                } else {
                    found.push(piece);
                }
            }
        }
        found.dedup();
        found
    }

    fn whole_until(&self, end: u64) -> u64 {
        if end == self.length {
            end
        } else {
            end - end % LEAF
        }
    }

    /// Adds the runs of leaves in `piece` of which every byte is here.
    fn whole_leaves(&self, state: &State, piece: ByteRange, found: &mut Vec<ByteRange>) {
        let lacking: RangeSet = state
            .lacking(piece)
            .into_iter()
            .map(|gap| gap.widened(LEAF, self.length))
            .collect();
        found.extend(lacking.gaps(piece));
    }

    /// The leaves of `range` are right. Returns the reads that may be answered, whether bytes waited
    /// for this, and whether the prover has something to do.
    pub fn verified(&self, range: ByteRange) -> (Released, bool, bool) {
        let mut state = self.state();
        let mut released = Released::default();
        if state.phase != Phase::Arriving {
            return (released, false, false);
        }
        state.unchecked.remove(range);
        let waited = state.landed.remove(range) > 0;
        if waited {
            state.present.insert(range);
            state.dirty = true;
            state.failed = false;
            self.partial.note_present(range);
            self.release_present(&mut state, &mut released);
        }
        let to_prove = Self::queue_for_proof(&mut state, self.length);
        (released, waited, to_prove)
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
        if state.to_check().is_empty() || state.phase != Phase::Arriving {
            return false;
        }
        state.recheck.insert(range);
        Self::queue_for_proof(&mut state, self.length)
    }

    /// What the prover has to do next. After [`NextCheck::Nothing`] it is done until it is told again.
    pub fn next_check(&self) -> NextCheck {
        let mut state = self.state();
        while let Some(range) = state.recheck.first() {
            let landed = state.to_check().within(range).next();
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

    /// Whether the prover, which was about to be done, has leaves to verify.
    pub fn has_more_to_verify(&self) -> bool {
        self.state().queued_for_proof
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
        state.prove_anew();
        self.take_landed(&mut state, &mut released);
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
    /// What waits to be verified.
    fn to_check(&self) -> &RangeSet {
        if self.claimed {
            &self.unchecked
        } else {
            &self.landed
        }
    }

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
