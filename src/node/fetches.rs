//! The life of a transfer: begun or resumed, fetched as a whole, kept, dropped when nobody needs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::messages::{Command, Keep};
use super::pending::{Pending, Ticket, Waiting};
use super::shared::{LeftOver, Shared, disk_failure, lock};
use super::transfer::{Bulk, Phase, Transfer, WholeWaiter};
use super::types::{ContentInfo, Done, Failure};
use crate::content::{ByteRange, ContentId};
use crate::swarm::Class;

/// How long it is remembered that something exists that nobody opened.
const LOOKED_UP: Duration = Duration::from_secs(60);
/// How often a whole fetch begins anew after wrong content.
const ATTEMPTS: u32 = 8;

impl Shared {
    /// The transfer of `id`, if there is one already.
    pub fn begun(&self, id: ContentId, length: u64) -> Option<Arc<Transfer>> {
        let transfer = self.transfer(&id)?;
        transfer.is_of(length).then_some(transfer)
    }

    /// The transfer of `id`, begun or resumed where there is none: that may have to wait for the disk.
    pub fn begin(&self, id: ContentId, length: u64) -> Result<Arc<Transfer>, Failure> {
        if let Some(transfer) = self.begun(id, length) {
            return Ok(transfer);
        }
        let (partial, trouble) = match self.store.partial(&id, length) {
            Ok(partial) => (partial, self.avoids_disk().then_some(libc::EIO)),
            Err(error) if self.floats(error.errno()) => {
                let partial = self.store.partial_in_memory(&id, length);
                let partial = partial.map_err(|error| disk_failure(&error))?;
                (partial, Some(error.errno()))
            }
            Err(error) => return Err(disk_failure(&error)),
        };
        let fresh = Transfer::new(partial);
        if let Some(errno) = trouble {
            self.go_afloat(&fresh, errno);
        }
        if let Some(leaves) = self.leaves_for(id, length) {
            fresh.verify_by(leaves);
        }
        self.check_blocks_of(&fresh);
        let fresh = Arc::new(fresh);
        let (transfer, replaced) = {
            let mut transfers = lock(&self.transfers);
            let (transfer, replaced) = match transfers.get(&id) {
                Some(other) if other.is_of(length) => (Arc::clone(other), None),
                _ => {
                    let replaced = transfers.insert(id, Arc::clone(&fresh));
                    (fresh, replaced)
                }
            };
            lock(&self.left_over).remove(&id);
            let held = transfer.partial.present_bytes();
            self.mailbox.post(Command::Resume(id, length, held));
            (transfer, replaced)
        };
        self.await_nodes(&transfer);
        if let Some(replaced) = replaced
            && replaced.phase() == Phase::Arriving
        {
            self.is_wrong(&replaced, true);
        }
        if transfer.needs_proof() {
            let _ = self.to_prove.send(Some(Arc::clone(&transfer)));
        }
        Ok(transfer)
    }

    /// Fetches all of `id`.
    pub fn fetch(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Pending> {
        let ticket = Ticket::new(done);
        self.fetch_whole(
            id,
            WholeWaiter {
                ticket: Arc::clone(&ticket),
                attempts: ATTEMPTS,
            },
        );
        (!Waiting::is_done(ticket.as_ref())).then(|| Pending::new(ticket, id, self.me.clone()))
    }

    /// Looks `id` up and goes on as its transfer says.
    pub fn fetch_whole(&self, id: ContentId, waiter: WholeWaiter) {
        let me = self.me.clone();
        let part_of: Arc<dyn Waiting> = Arc::clone(&waiter.ticket) as _;
        self.lookup_as_part(
            id,
            Some(part_of),
            Box::new(move |found| {
                let Some(node) = me.upgrade() else {
                    waiter.ticket.fail(Failure::Stopped);
                    return;
                };
                match found {
                    Ok(info) if info.proven => {
                        if let Some(done) = waiter.ticket.take() {
                            done(Ok(info));
                        }
                    }
                    Ok(info) => node.begin_whole(id, info.length, waiter),
                    Err(failure) => {
                        waiter.ticket.fail(failure);
                    }
                }
            }),
        );
    }

    fn begin_whole(&self, id: ContentId, length: u64, waiter: WholeWaiter) {
        if waiter.ticket.is_done() {
            return;
        }
        if let Some(transfer) = self.begun(id, length) {
            return self.await_whole(&transfer, waiter);
        }
        let Some(node) = self.me.upgrade() else {
            waiter.ticket.fail(Failure::Stopped);
            return;
        };
        let begins = Arc::clone(&node);
        // This thread may be the one of the network, or answer programs.
        self.aside(
            move || begins.begin(id, length),
            Box::new(move |begun| match begun.and_then(|begun| begun) {
                Ok(transfer) => node.await_whole(&transfer, waiter),
                Err(failure) => {
                    waiter.ticket.fail(failure);
                }
            }),
        );
    }

    fn await_whole(&self, transfer: &Arc<Transfer>, waiter: WholeWaiter) {
        if waiter.ticket.is_done() {
            return;
        }
        if self.is_stopping() {
            waiter.ticket.fail(Failure::Stopped);
            return;
        }
        if let Some(errno) = transfer.afloat() {
            waiter.ticket.fail(Failure::Disk(errno));
            return;
        }
        match transfer.await_whole(waiter) {
            Ok(()) => {
                let missing = transfer.complete_in_bulk(Bulk::Fetch);
                self.want(transfer, missing, Class::Bulk);
                let whole = ByteRange::new(0, transfer.length);
                self.want_nodes(transfer, whole, Class::Bulk);
                if self.is_stopping() {
                    transfer.fail_all(Failure::Stopped);
                }
            }
            Err((Phase::Kept, waiter)) => {
                if let Some(done) = waiter.ticket.take() {
                    done(Ok(transfer.info()));
                }
            }
            Err((_, waiter)) => {
                waiter.ticket.fail(Failure::WrongContent);
            }
        }
    }

    /// The content is in the store: the swarm need not fetch it any more.
    pub fn is_kept(&self, transfer: &Arc<Transfer>) {
        let id = transfer.id;
        self.drop_nodes(transfer);
        lock(&self.suspects).pop(&id);
        self.mailbox.post(Command::Forget(id));
        for whole in transfer.kept() {
            if let Some(done) = whole.ticket.take() {
                done(Ok(transfer.info()));
            }
        }
        let mut transfers = lock(&self.transfers);
        if transfers
            .get(&id)
            .is_some_and(|current| Arc::ptr_eq(current, transfer))
        {
            transfers.remove(&id);
        }
        drop(transfers);
        self.cache.forget(&id);
    }

    /// Drops transfers that nobody needs any more.
    pub fn drop_idle(&self, now: Instant, after: Duration) {
        let idle: Vec<Arc<Transfer>> = {
            let mut transfers = lock(&self.transfers);
            let idle: Vec<_> = transfers
                .values()
                // A clone held elsewhere is a reader that is being made, or work in a queue.
                .filter(|t| Arc::strong_count(t) == 1 && t.is_idle(now, after))
                .map(Arc::clone)
                .collect();
            for transfer in &idle {
                transfers.remove(&transfer.id);
                // Under the lock, so that it cannot undo what a new transfer wants.
                self.mailbox.post(Command::Forget(transfer.id));
                if transfer.phase() == Phase::Arriving {
                    let info = transfer.info();
                    let left = LeftOver {
                        length: info.length,
                        present: info.present,
                        since: now,
                    };
                    lock(&self.left_over).insert(info.id, left);
                }
            }
            idle
        };
        for transfer in idle {
            self.cache.forget(&transfer.id);
            let _ = self.to_keep.send(Keep::Idle(transfer));
        }
        // What was looked up and not opened need not be remembered for long.
        let mut left_over = lock(&self.left_over);
        left_over.retain(|id, left| {
            let keep = left.present > 0 || now.saturating_duration_since(left.since) < LOOKED_UP;
            if !keep {
                self.mailbox.post(Command::Forget(*id));
            }
            keep
        });
    }
}
