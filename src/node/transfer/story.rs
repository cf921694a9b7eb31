//! What a transfer knows of itself, for a person who waits: what is here, who wants what and why.

use std::time::{Duration, Instant};

use super::{Phase, Transfer};
use crate::content::{ByteRange, LEAF, RangeSet};
use crate::node::pending::Waiting;

/// A transfer at one moment.
pub(in crate::node) struct Story {
    pub phase: Phase,
    /// Bytes that can be read from the backing file.
    pub present: RangeSet,
    /// Everything before this byte is hashed.
    pub hashed: u64,
    /// Reads that wait, the one that has waited longest first.
    pub reads: Vec<WaitingRead>,
    /// What handles expect to read and is not here.
    pub ahead: RangeSet,
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
        let state = self.state();
        let whole = ByteRange::new(0, self.length);
        let lacking = |range| -> u64 { state.present.gaps(range).map(|gap| gap.len()).sum() };
        let mut reads: Vec<WaitingRead> = state
            .waiters
            .iter()
            .filter(|waiter| !waiter.ticket.is_done())
            .map(|waiter| WaitingRead {
                range: waiter.range,
                // Content of one leaf waits for its proof, which needs all of it.
                missing: lacking(if self.length <= LEAF {
                    whole
                } else {
                    waiter.range
                }),
                deadline: waiter.deadline,
            })
            .collect();
        reads.sort_by_key(|read| (read.deadline, read.range.start));
        let mut ahead = RangeSet::new();
        for range in state.ahead.values().flatten() {
            for gap in state.present.gaps(*range) {
                ahead.insert(gap);
            }
        }
        Story {
            phase: state.phase,
            present: state.present.clone(),
            hashed: state.hashed,
            reads,
            ahead,
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
