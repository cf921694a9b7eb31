//! What is wanted of a transfer, by whom, and how urgently.

use super::{Bulk, Phase, Transfer};
use crate::content::ByteRange;
use crate::swarm::Class;

impl Transfer {
    /// Sets what `reader` expects to read; returns the parts of `fresh` that are not here.
    pub fn expect(&self, reader: u64, windows: Vec<ByteRange>, fresh: ByteRange) -> Vec<ByteRange> {
        let mut state = self.state();
        if state.phase != Phase::Arriving {
            return Vec::new();
        }
        state.ahead.insert(reader, windows);
        state.lacking(fresh)
    }

    /// Wants all of it from now on; returns what is not here, or nothing if that was so already.
    pub fn complete_in_bulk(&self, why: Bulk) -> Vec<ByteRange> {
        let mut state = self.state();
        let already = state.bulk();
        match why {
            Bulk::Handle => state.bulk_for_handles = true,
            Bulk::Fetch => state.bulk_for_fetches = true,
        }
        if state.afloat.is_some() {
            // There is no place for all of it.
            state.bulk_for_handles = false;
            state.bulk_for_fetches = false;
            return Vec::new();
        }
        if already || state.phase != Phase::Arriving {
            return Vec::new();
        }
        state.lacking(ByteRange::new(0, self.length))
    }

    /// What is lacking of all that is wanted now.
    pub fn lacking_of_wanted(&self) -> Vec<ByteRange> {
        self.wants().into_iter().map(|(range, _)| range).collect()
    }

    /// Everything that is wanted now: what reads wait for, what handles expect, the rest in bulk.
    pub fn wants(&self) -> Vec<(ByteRange, Class)> {
        let state = self.state();
        if state.phase != Phase::Arriving {
            return Vec::new();
        }
        let whole = ByteRange::new(0, self.length);
        let mut wants = Vec::new();
        let mut add = |range: ByteRange, class: Class| {
            wants.extend(state.lacking(range).into_iter().map(|gap| (gap, class)));
        };
        for waiter in &state.waiters {
            let wanted = state.wanted_for(&waiter.given, waiter.range, self.length);
            add(wanted, Class::Urgent);
        }
        for range in state.ahead.values().flatten() {
            add(*range, Class::ReadAhead);
        }
        for range in state.sought.iter() {
            add(range, Class::ReadAhead);
        }
        if state.bulk() {
            add(whole, Class::Bulk);
        }
        wants
    }
}
