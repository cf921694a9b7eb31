//! What ends because time passes: reads at their limit, fetches that stand still, content that nobody
//! needs any more.

use std::time::{Duration, Instant};

use super::{Phase, Released, Transfer};
use crate::node::Failure;
use crate::node::pending::Waiting;

impl Transfer {
    /// Ends the reads whose limit has passed and drops those that have ended otherwise. `true` when
    /// something is wanted no more.
    pub fn expire(&self, now: Instant, read_timeout: Duration) -> (Released, bool) {
        let mut state = self.state();
        let mut released = Released::default();
        let before = state.waiters.len();
        let stalled = now.saturating_duration_since(state.progress_at) >= read_timeout;
        let all_here = state.present.bytes() == self.length;
        for waiter in std::mem::take(&mut state.waiters) {
            if waiter.ticket.is_done() {
                state.ended_lately.note(&waiter, now, false);
            } else if now < waiter.deadline || (all_here && !stalled) {
                // With all bytes here a read waits for the hash only, which goes on by itself.
                state.waiters.push(waiter);
            } else {
                state.ended_lately.note(&waiter, now, true);
                released.failed.push((Failure::TimedOut, waiter.ticket));
            }
        }
        let mut changed = state.waiters.len() != before;
        let wholes = state.wholes.len();
        state.wholes.retain(|whole| !whole.ticket.is_done());
        if stalled && state.phase == Phase::Arriving {
            released.wholes = std::mem::take(&mut state.wholes);
        }
        if state.wholes.is_empty() && wholes > 0 {
            state.bulk_for_fetches = false;
            changed = true;
        }
        (released, changed)
    }

    /// Gives reads that wait, and all that counts from the last progress, so much longer.
    pub fn postpone_limits(&self, by: Duration) {
        let mut state = self.state();
        for waiter in &mut state.waiters {
            waiter.deadline += by;
        }
        state.progress_at = (state.progress_at + by).min(Instant::now());
    }

    /// Hashing is progress, too.
    pub fn note_progress(&self) {
        self.state().progress_at = Instant::now();
    }

    /// Whether nothing has come for `limit`.
    pub fn is_quiet(&self, now: Instant, limit: Duration) -> bool {
        now.saturating_duration_since(self.state().progress_at) >= limit
    }

    /// Whether nobody needs it any more: no handle, nobody waiting, nothing to complete.
    pub fn is_idle(&self, now: Instant, after: Duration) -> bool {
        let state = self.state();
        // What stays in memory is not waited with: whoever comes next finds a disk that works again,
        // perhaps.
        let after = match state.afloat {
            Some(_) => Duration::ZERO,
            None => after,
        };
        state.readers == 0
            && state.waiters.is_empty()
            && state.wholes.is_empty()
            && !state.queued_for_proof
            && match state.phase {
                Phase::Arriving => {
                    !state.bulk() || now.saturating_duration_since(state.progress_at) > after * 6
                }
                Phase::Proven => false,
                Phase::Kept | Phase::Wrong => true,
            }
            && now.saturating_duration_since(state.used_at) > after
    }

    /// A stall was dealt with: it counts anew.
    pub fn note_retry(&self) {
        self.state().retried_at = Instant::now();
    }

    /// When something came last, if it is wanted and that is `limit` ago, and it was not dealt with since.
    pub fn stalled_since(&self, now: Instant, limit: Duration) -> Option<Instant> {
        let state = self.state();
        let quiet_since = state.progress_at.max(state.retried_at);
        let wanted = !state.waiters.is_empty() || !state.wholes.is_empty();
        let stalled = wanted
            && state.phase == Phase::Arriving
            && state.present.bytes() < self.length
            && now.saturating_duration_since(quiet_since) >= limit;
        stalled.then_some(state.progress_at)
    }

    /// Whether nothing has come since `then`, when something came last.
    pub fn stands_still_since(&self, then: Instant) -> bool {
        let state = self.state();
        state.phase == Phase::Arriving && state.progress_at == then
    }

    /// Reads and whole-waiters that have not ended.
    pub fn waiting(&self) -> usize {
        let state = self.state();
        state.waiters.len() + state.wholes.len()
    }

    /// Ends everything that waits.
    pub fn fail_all(&self, failure: Failure) {
        let (reads, wholes) = {
            let mut state = self.state();
            // What ended is not fetched on in the background either: with a disk that is full that
            // would go round for ever.
            state.bulk_for_handles = false;
            state.bulk_for_fetches = false;
            state.ahead.clear();
            (
                std::mem::take(&mut state.waiters),
                std::mem::take(&mut state.wholes),
            )
        };
        for waiter in reads {
            waiter.ticket.fail(failure);
        }
        for whole in wholes {
            whole.ticket.fail(failure);
        }
    }
}
