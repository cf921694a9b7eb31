//! What a program waits for and the disk may keep, done aside.
//!
//! The threads that answer programs are few, and the network thread is one; a disk that hangs, or a folder
//! on a server that does not answer, must hold up none of them. So whatever may have to wait for the disk is
//! done by [threads of its own](super::disk_threads), each piece with a limit.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::disk_threads::{DiskThreads, Limits};
use super::lookups::MAX_WAITING;
use super::pending::{Pending, Ticket, Waiting};
use super::shared::{Shared, lock};
use super::types::{Done, Failure};
use super::{ContentInfo, Node, Reader};
use crate::content::ContentId;
use crate::store::disks;

/// Four disks of the user's can hang, and the rest goes on.
const LIMITS: Limits = Limits {
    threads: 13,
    of_one_disk: 3,
    waiting: MAX_WAITING,
};

/// What is to be done, and who waits for it.
pub(super) struct Aside {
    pub threads: DiskThreads,
    /// Until when, also for what is being done.
    waiting: Mutex<Vec<(Arc<dyn Waiting>, Instant)>>,
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
    /// Of a store whose disk has the device number `own`.
    pub fn new(own: u64) -> Self {
        Self {
            threads: DiskThreads::new(own, LIMITS),
            waiting: Mutex::default(),
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        let waiting = lock(&self.waiting);
        waiting.iter().filter(|(it, _)| !it.is_done()).count()
    }
}

impl Shared {
    /// Does `work`, which may have to wait for a disk, on another thread; `done` hears what came of it, or
    /// that it took longer than a read may. It may be done from its beginning more than once, see
    /// [`disks`].
    pub fn aside<T: Send + 'static>(
        &self,
        mut work: impl FnMut() -> T + Send + 'static,
        done: Done<T>,
    ) -> Option<Pending> {
        if self.is_stopping() {
            done(Err(Failure::Stopped));
            return None;
        }
        let ticket = Ticket::new(Hears(done));
        let (by_work, waits) = (Arc::clone(&ticket), Arc::clone(&ticket));
        let deadline = Instant::now() + self.config.read_timeout;
        lock(&self.aside.waiting).push((Arc::clone(&ticket) as Arc<dyn Waiting>, deadline));
        let work = move || {
            // Nobody may wait for it any more.
            if by_work.is_done() {
                return;
            }
            let value = work();
            if !disks::is_turned_away()
                && let Some(hears) = by_work.take()
            {
                disks::after_work(|| hears.0(Ok(value)));
            }
        };
        if !self.aside.threads.push(work, move |_| waits.is_done()) {
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
    pub(super) fn aside_some_time(&self, work: impl FnMut() + Send + 'static) {
        let until = Instant::now() + self.config.read_timeout;
        self.aside.threads.push(work, move |now| now > until);
    }

    /// Looks whether `id`, for which a lookup waits, is held; whether that will be done.
    pub(super) fn look_aside(&self, id: ContentId) -> bool {
        let me = self.me.clone();
        let look = move || {
            if let Some(shared) = me.upgrade() {
                shared.end_lookup_of_held(id);
            }
        };
        self.aside.threads.push(look, |_| false)
    }

    /// Ends what has waited beyond its limit, or all of it.
    pub(super) fn expire_aside(&self, now: Option<Instant>) {
        let mut ended = Vec::new();
        lock(&self.aside.waiting).retain(|(ticket, deadline)| {
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
        if let Some(now) = now {
            self.aside.threads.drop_overdue(now);
        }
    }

    /// Gives everybody so much longer.
    pub(super) fn postpone_aside(&self, by: Duration) {
        for (_, deadline) in lock(&self.aside.waiting).iter_mut() {
            *deadline += by;
        }
    }
}

impl Node {
    /// Does `work`, which may have to wait for a disk, on a thread of the node; `done` hears what came of
    /// it, or [`Failure::TimedOut`] at the limit of a read. It may be done from its beginning more than once.
    pub fn aside<T: Send + 'static>(
        &self,
        work: impl FnMut() -> T + Send + 'static,
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
