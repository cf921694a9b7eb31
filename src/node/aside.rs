//! What a program waits for and the disk may keep, done aside.
//!
//! The threads that answer programs are few, and the network thread is one; a disk that hangs, or a folder
//! on a server that does not answer, must hold up none of them. So whatever may have to wait for the disk is
//! done by threads of its own, each piece with a limit. There are some of them, so that one piece that hangs
//! does not hold up the others; if all hang, what comes after ends at its limit.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::lookups::MAX_WAITING;
use super::pending::{Pending, Ticket, Waiting};
use super::shared::{Shared, lock};
use super::types::{Done, Failure};
use super::{ContentInfo, Node, Reader};
use crate::content::ContentId;

/// Threads that do it.
pub(super) const THREADS: usize = 8;

thread_local! {
    /// Whether this thread is one of them.
    static IS_ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread may wait for the disk: what it does has been put aside already.
pub(super) fn may_wait() -> bool {
    IS_ASIDE.get()
}

/// What is to be done, and who waits for it.
#[derive(Default)]
pub(super) struct Aside {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Box<dyn FnOnce() + Send>>,
    /// Until when, also for what is being done.
    waiting: Vec<(Arc<dyn Waiting>, Instant)>,
}

/// Who hears what came of it.
struct Hears<T>(Done<T>);

impl<T: 'static> Waiting for Ticket<Hears<T>> {
    fn is_done(&self) -> bool {
        self.is_taken()
    }

    fn fail(&self, failure: Failure) -> bool {
        self.take().map(|hears| hears.0(Err(failure))).is_some()
    }
}

impl Aside {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        let state = lock(&self.state);
        let waiting = state.waiting.iter();
        waiting.filter(|(ticket, _)| !ticket.is_done()).count()
    }

    /// Has the threads see whether the node stops.
    pub fn wake_all(&self) {
        // Under the lock, lest one of them has just looked and waits next.
        let _state = lock(&self.state);
        self.changed.notify_all();
    }

    /// Whether there was room for it.
    fn push(&self, work: Box<dyn FnOnce() + Send>) -> bool {
        let mut state = lock(&self.state);
        // While all hang, also what nobody waits for any more stays.
        let has_room = state.queue.len() < MAX_WAITING;
        if has_room {
            state.queue.push_back(work);
            self.changed.notify_one();
        }
        has_room
    }
}

/// Does what comes until the node stops.
pub(super) fn run(shared: &Shared) {
    IS_ASIDE.set(true);
    let aside = &shared.aside;
    let mut state = lock(&aside.state);
    while !shared.is_stopping() {
        let Some(work) = state.queue.pop_front() else {
            state = aside.changed.wait(state).unwrap_or_else(|e| e.into_inner());
            continue;
        };
        drop(state);
        work();
        state = lock(&aside.state);
    }
    // It may hold the node, which would hold it.
    let left = std::mem::take(&mut state.queue);
    drop(state);
    drop(left);
}

impl Shared {
    /// Does `work`, which may have to wait for the disk, on another thread; `done` hears what came of it, or
    /// that it took longer than a read may.
    pub fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        done: Done<T>,
    ) -> Option<Pending> {
        if self.is_stopping() {
            done(Err(Failure::Stopped));
            return None;
        }
        let ticket = Ticket::new(Hears(done));
        let taken = Arc::clone(&ticket);
        let deadline = Instant::now() + self.config.read_timeout;
        let waits = (Arc::clone(&ticket) as Arc<dyn Waiting>, deadline);
        lock(&self.aside.state).waiting.push(waits);
        let has_room = self.aside.push(Box::new(move || {
            // Nobody may wait for it any more.
            if taken.is_done() {
                return;
            }
            let value = work();
            if let Some(hears) = taken.take() {
                hears.0(Ok(value));
            }
        }));
        if !has_room {
            ticket.fail(Failure::Busy);
            return None;
        }
        // The last sweep of a node that stops may have come just before.
        if self.is_stopping() {
            ticket.fail(Failure::Stopped);
        }
        Some(Pending::of_value(ticket, self.me.clone()))
    }

    /// Does `work` when there is time for it, if there is; nobody waits for it.
    pub(super) fn aside_some_time(&self, work: impl FnOnce() + Send + 'static) {
        self.aside.push(Box::new(work));
    }

    /// Looks whether `id`, for which a lookup waits, is held; whether that will be done.
    pub(super) fn look_aside(&self, id: ContentId) -> bool {
        let me = self.me.clone();
        self.aside.push(Box::new(move || {
            if let Some(shared) = me.upgrade() {
                shared.end_lookup_of_held(id);
            }
        }))
    }

    /// Ends what has waited beyond its limit, or all of it.
    pub(super) fn expire_aside(&self, now: Option<Instant>) {
        let mut ended = Vec::new();
        lock(&self.aside.state)
            .waiting
            .retain(|(ticket, deadline)| {
                let over = now.is_none_or(|now| now >= *deadline);
                if over {
                    ended.push(Arc::clone(ticket));
                }
                !over && !ticket.is_done()
            });
        let failure = now.map_or(Failure::Stopped, |_| Failure::TimedOut);
        for ticket in ended {
            ticket.fail(failure);
        }
    }

    /// Gives everybody so much longer.
    pub(super) fn postpone_aside(&self, by: Duration) {
        for (_, deadline) in &mut lock(&self.aside.state).waiting {
            *deadline += by;
        }
    }
}

impl Node {
    /// Does `work`, which may have to wait for the disk, on a thread of the node; `done` hears what came of
    /// it, or [`Failure::TimedOut`] at the limit of a read.
    pub fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        done: Done<T>,
    ) -> Option<Pending> {
        self.0.shared.aside(work, done)
    }

    /// [`Node::open`] where that need not wait for the disk; `None` where it might.
    #[must_use]
    pub fn open_now(&self, id: ContentId) -> Option<Result<Reader, Failure>> {
        let shared = &self.0.shared;
        if id.is_empty_content() {
            return Some(self.open(id));
        }
        let hold = shared.store.hold(&id);
        if let Some(content) = shared.store.opened(&id) {
            return Some(Ok(Reader::complete(Arc::clone(shared), content, hold)));
        }
        if shared.store.may_hold(&id) {
            return None;
        }
        match shared.known_in_memory(id) {
            None => Some(Err(Failure::NotFound)),
            Some(info) => {
                let transfer = shared.begun(id, info.length)?;
                let verify = shared.config.verify;
                let node = Arc::clone(shared);
                Some(Ok(Reader::arriving(node, transfer, hold, verify)))
            }
        }
    }

    /// [`Node::info`] where that need not wait for the disk; `None` where it might.
    #[must_use]
    pub fn info_now(&self, id: ContentId) -> Option<Option<ContentInfo>> {
        let shared = &self.0.shared;
        let known = shared.known_in_memory(id);
        (known.is_some() || !shared.store.may_hold(&id)).then_some(known)
    }
}

#[cfg(test)]
mod tests;
