//! What a transfer knows of itself, for a person who waits: what is here, who wants what and why.

use std::time::{Duration, Instant};

use super::{Phase, Transfer};
use crate::content::{ByteRange, ContentId, RangeSet};
use crate::node::leaves::Leaves;
use crate::node::pending::Waiting;

/// A transfer at one moment.
pub(in crate::node) struct Story {
    pub phase: Phase,
    /// Bytes that are in the backing file.
    pub present: RangeSet,
    /// How many of these wait for their leaf to be verified.
    pub unverified: u64,
    /// Whether leaves are verified as they arrive, and not the whole at the end.
    pub by_leaves: bool,
    /// The tree that leaves wait for, while it is fetched.
    pub tree: Option<ContentId>,
    /// Everything before this byte is hashed.
    pub hashed: u64,
    /// Reads that wait, the one that has waited longest first.
    pub reads: Vec<WaitingRead>,
    /// What handles expect to read and is not here.
    pub ahead: RangeSet,
    /// Of a tree: what leaves are to be verified with and is not here.
    pub sought: RangeSet,
    /// All of it is wanted because a handle reads on to its end.
    pub completed: bool,
    /// All of it is wanted because somebody fetches it.
    pub fetched: bool,
    /// How many wait for all of it.
    pub wholes: usize,
    /// Open handles.
    pub readers: usize,
}

/// A read that waits.
pub(in crate::node) struct WaitingRead {
    pub range: ByteRange,
    /// Bytes that it needs and that are not here. Zero: it waits for the proof.
    pub missing: u64,
    pub deadline: Instant,
}

impl Transfer {
    /// How it is at this moment.
    pub fn story(&self) -> Story {
        let tree = self.leaves().as_ref().and_then(Leaves::awaited_tree);
        let state = self.state();
        let lacking = |ranges: &mut dyn Iterator<Item = ByteRange>| {
            let mut set = RangeSet::new();
            for gap in ranges.flat_map(|range| state.lacking(range)) {
                set.insert(gap);
            }
            set
        };
        let mut reads: Vec<WaitingRead> = state
            .waiters
            .iter()
            .filter(|waiter| !waiter.ticket.is_done())
            .map(|waiter| WaitingRead {
                range: waiter.range,
                missing: state
                    .lacking(state.wanted_for(&waiter.given, waiter.range, self.length))
                    .iter()
                    .map(ByteRange::len)
                    .sum(),
                deadline: waiter.deadline,
            })
            .collect();
        reads.sort_by_key(|read| (read.deadline, read.range.start));
        let mut present = state.present.clone();
        present.union(&state.landed);
        Story {
            phase: state.phase,
            present,
            unverified: state.landed.bytes(),
            by_leaves: state.vouched,
            tree,
            hashed: state.hashed,
            reads,
            ahead: lacking(&mut state.ahead.values().flatten().copied()),
            sought: lacking(&mut state.sought.iter()),
            completed: state.bulk_for_handles,
            fetched: state.bulk_for_fetches,
            wholes: state.wholes.len(),
            readers: state.readers,
        }
    }
}

impl WaitingRead {
    /// Since when it waits, where reads may wait for `limit`; and how much longer it may.
    pub fn times(&self, now: Instant, limit: Duration) -> (Duration, Duration) {
        let left = self.deadline.saturating_duration_since(now);
        let late = now.saturating_duration_since(self.deadline);
        (limit.saturating_sub(left).saturating_add(late), left)
    }
}
