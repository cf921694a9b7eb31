//! The kernel asks more than once: what counts as one read.
//!
//! A page of a memory map is asked for with what lies around it, then alone, and once more alone before the
//! program gets `SIGBUS`; and so does every other process that has waited within the kernel for the same
//! page. If each had a limit of its own, one fault would take three, and those of many processes one after
//! the other. So what fills pages and comes at once after the same bytes did not come in time, with nothing
//! having come since, has had its time.
//!
//! And a program that handles signals gets them by way of a read that ends, after which the kernel asks
//! anew. If that had the whole limit again, a program with a timer would never get to its end. So it goes
//! on with the time that is left.
//!
//! Reads that go to programs are none of this: who tries again means it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{ReadWaiter, State};
use crate::content::{ByteRange, RangeSet};
use crate::node::pending::Waiting;

/// How soon the kernel asks again, if the machine is not too busy. Later it is somebody who tries again.
pub(in crate::node) const AT_ONCE: Duration = Duration::from_secs(1);
/// Content of which nothing has come for so long does not come, at this moment.
const QUIET: Duration = Duration::from_secs(3);
/// So many reads that have ended are remembered, the last ones.
const REMEMBERED: usize = 256;

/// A read that is made now.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Asked {
    pub now: Instant,
    pub limit: Duration,
    /// If it is for pages: the thread that waits for them; 0 where the kernel does not name it.
    pub filling: Option<u32>,
}

/// A read for pages that has ended without them.
struct Ended {
    range: ByteRange,
    thread: u32,
    deadline: Instant,
    at: Instant,
    timed_out: bool,
}

/// The reads for pages that have ended lately without them.
#[derive(Default)]
pub(super) struct EndedLately(VecDeque<Ended>);

impl EndedLately {
    /// A read has ended without its bytes.
    pub fn note(&mut self, waiter: &ReadWaiter, at: Instant, timed_out: bool) {
        let Some(thread) = waiter.filling else { return };
        let is_over = |old: &Ended| at.saturating_duration_since(old.at) > AT_ONCE;
        while self.0.front().is_some_and(is_over) || self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Ended {
            range: waiter.range,
            thread,
            deadline: waiter.deadline,
            at,
            timed_out,
        });
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those of just before `now`.
    fn before(&self, now: Instant) -> impl Iterator<Item = &Ended> {
        let at_once = move |ended: &&Ended| now.saturating_duration_since(ended.at) <= AT_ONCE;
        self.0.iter().filter(at_once)
    }

    /// Whether all of `range` did not come in time just before `now`, for one or for several together.
    fn have_waited_for(&self, range: ByteRange, now: Instant) -> bool {
        let waited = self.before(now).filter(|ended| ended.timed_out);
        let waited: RangeSet = waited.map(|ended| ended.range).collect();
        waited.contains(range)
    }

    /// Until when a read of `range`, or of more around it, was to wait for `thread` that was interrupted
    /// just before `now`.
    fn interrupted(&self, thread: u32, range: ByteRange, now: Instant) -> Option<Instant> {
        let interrupted = self.before(now).filter(|ended| {
            let around = ended.range.intersection(range) == range;
            !ended.timed_out && ended.thread == thread && around
        });
        interrupted.map(|ended| ended.deadline).min()
    }
}

impl State {
    /// How long a read of `range` may wait that was not made before; `None`: it has had its time.
    pub(super) fn deadline(&mut self, range: ByteRange, asked: Asked) -> Option<Instant> {
        let Asked { now, limit, .. } = asked;
        let fresh = now + limit;
        let Some(thread) = asked.filling else {
            return Some(fresh);
        };
        // One that was interrupted this moment may not have been noted yet.
        for waiter in &self.waiters {
            if waiter.filling == Some(thread) && waiter.ticket.is_done() {
                self.ended_lately.note(waiter, now, false);
            }
        }
        let silent = now.saturating_duration_since(self.progress_at) >= QUIET.min(limit / 2);
        if silent && self.ended_lately.have_waited_for(range, now) {
            return None;
        }
        let began = self.ended_lately.interrupted(thread, range, now);
        Some(began.filter(|_| thread != 0).unwrap_or(fresh))
    }
}
