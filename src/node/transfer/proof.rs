//! The proof of the whole: what is to be hashed next, and what follows from how it ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Phase, Released, State, Transfer, WholeWaiter};
use crate::content::{BLOCK, ByteRange};
use crate::node::Failure;

impl Transfer {
    /// What was here from an earlier run may need proof though nothing arrives.
    pub fn needs_proof(&self) -> bool {
        let mut state = self.state();
        state.phase == Phase::Arriving && Self::queue_for_proof(&mut state, self.length)
    }

    pub(super) fn queue_for_proof(state: &mut State, length: u64) -> bool {
        let enough = if state.vouched {
            state.present.bytes() == length || !state.recheck.is_empty()
        } else if state.failed || !state.recheck.is_empty() {
            !state.recheck.is_empty()
        } else {
            let prefix = state.present.around(state.hashed).map_or(0, |r| r.end);
            // What is in memory makes room only after it was hashed.
            let least = if state.afloat.is_some() { 1 } else { 1 << 20 };
            prefix == length || prefix.saturating_sub(state.hashed) >= least
        };
        if state.queued_for_proof || !enough {
            return false;
        }
        state.queued_for_proof = true;
        true
    }

    pub(super) fn release_present(&self, state: &mut State, released: &mut Released) {
        let mut index = 0;
        while let Some(waiter) = state.waiters.get(index) {
            let (range, given) = (waiter.range, Arc::clone(&waiter.given));
            let ready = state.present.contains(range) && state.give(&given, range, self.length);
            if ready {
                let waiter = state.waiters.swap_remove(index);
                released.ready.push((waiter.range, waiter.ticket));
            } else {
                index += 1;
            }
        }
    }

    /// Whether the prover has something of this to hash, and knows of it.
    pub fn is_being_hashed(&self) -> bool {
        let state = self.state();
        let end = state.present.around(state.hashed).map_or(0, |r| r.end);
        state.phase == Phase::Arriving && end > state.hashed && state.queued_for_proof
    }

    /// The next bytes to hash, if the prefix that is here goes on. Without any the prover is done
    /// with this content until it is queued again.
    pub fn next_to_hash(&self, most: u64) -> Option<(u64, ByteRange)> {
        let mut state = self.state();
        let end = state.present.around(state.hashed).map_or(0, |r| r.end);
        if state.phase != Phase::Arriving || end <= state.hashed {
            // Leaves that came to be verified meanwhile are its business, too.
            state.queued_for_proof = !state.recheck.is_empty();
            return None;
        }
        let mut range = ByteRange::new(state.hashed, end.min(state.hashed.saturating_add(most)));
        if state.by_blocks {
            let block = ByteRange::at(range.start - range.start % BLOCK, BLOCK);
            range.end = block.end.min(self.length);
            if range.end > end {
                state.queued_for_proof = !state.recheck.is_empty();
                return None;
            }
        }
        state.hashing = range.end;
        Some((state.epoch, range))
    }

    /// Notes that everything before `end` is hashed, unless the proof began anew meanwhile.
    pub fn hashed(&self, epoch: u64, end: u64) {
        let mut state = self.state();
        if state.epoch == epoch {
            state.hashed = end;
        }
    }

    /// Everything is hashed and right: all reads may be answered. Unless the disk has lost some of
    /// it meanwhile: that has to come and be hashed once more.
    pub fn proved(&self) -> Released {
        let mut state = self.state();
        let mut released = Released::default();
        if state.phase != Phase::Arriving {
            return released;
        }
        let here = state.present.bytes().min(self.partial.present_bytes());
        let lacks = here < self.length || state.is_doubtful();
        if lacks || !state.vouched && state.hashed < self.length {
            state.queued_for_proof = false;
            if state.proved_in_passing(self.length, &mut released) {
                self.release_present(&mut state, &mut released);
            }
            return released;
        }
        state.phase = Phase::Proven;
        state.ahead.clear();
        for waiter in state.waiters.drain(..) {
            released.ready.push((waiter.range, waiter.ticket));
        }
        released
    }

    /// It lies in the store as complete content: returns those who waited for that.
    pub fn kept(&self) -> Vec<WholeWaiter> {
        let mut state = self.state();
        state.phase = Phase::Kept;
        std::mem::take(&mut state.wholes)
    }

    /// Those who wait for it to be kept, when that cannot be.
    pub fn take_wholes(&self) -> Vec<WholeWaiter> {
        std::mem::take(&mut self.state().wholes)
    }

    /// It is not what its id says, or is lost: every read fails so from now on. Returns who supplied
    /// it.
    pub fn is_wrong(&self, failure: Failure) -> (Released, BTreeMap<SocketAddr, u64>) {
        let mut state = self.state();
        state.phase = Phase::Wrong;
        state.failure = failure;
        state.ahead.clear();
        let failed = state
            .waiters
            .drain(..)
            .map(|waiter| (failure, waiter.ticket))
            .collect();
        let released = Released {
            ready: Vec::new(),
            failed,
            wholes: std::mem::take(&mut state.wholes),
        };
        (released, std::mem::take(&mut state.suppliers))
    }
}
