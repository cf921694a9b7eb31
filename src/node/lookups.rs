//! Finding out whether content exists and how long it is: what is known here, who waits to know, and
//! what was learnt lately that spares asking again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::debug;

use super::messages::Command;
use super::pending::{Pending, Ticket, ValueTicket, Waiting};
use super::shared::{LeftOver, Shared, lock};
use super::transfer::Phase;
use super::types::{ContentInfo, Done, Failure, Verified};
use crate::content::ContentId;
use crate::store::disks;

/// Reads and lookups that may wait at once.
pub(super) const MAX_WAITING: usize = 16_384;
/// How long "nobody has it" is remembered.
const MISS_LASTS: Duration = Duration::from_secs(1);
/// How long it is remembered that what was sent was wrong.
const WRONG_LASTS: Duration = Duration::from_secs(60);

/// A lookup that waits: one id, several askers.
#[derive(Default)]
pub(super) struct Lookup {
    pub askers: Vec<Asker>,
    /// The network is asked. What may be held is looked for on the disk first.
    pub sought: bool,
    /// Somebody is to look on the disk, or does.
    pub looking: bool,
}

pub(super) struct Asker {
    pub ticket: Arc<ValueTicket<ContentInfo>>,
    pub deadline: Instant,
    /// The operation that the lookup is a part of.
    part_of: Option<Arc<dyn Waiting>>,
}

impl Asker {
    pub fn new(
        ticket: Arc<ValueTicket<ContentInfo>>,
        deadline: Instant,
        part_of: Option<Arc<dyn Waiting>>,
    ) -> Self {
        Self {
            ticket,
            deadline,
            part_of,
        }
    }

    /// Whether nobody waits for it any more.
    pub fn is_over(&self) -> bool {
        self.ticket.is_done() || self.part_of.as_ref().is_some_and(|whole| whole.is_done())
    }
}

/// Of content that is here in whole.
pub(super) fn complete(id: ContentId, length: u64) -> ContentInfo {
    ContentInfo {
        id,
        length,
        proven: true,
        present: length,
        verified: Verified::Yes,
    }
}

impl Shared {
    /// What is known of `id` without asking anybody.
    pub fn known(&self, id: ContentId) -> Option<ContentInfo> {
        if id.is_empty_content() {
            return Some(complete(id, 0));
        }
        if self.store.may_hold(&id)
            && let Ok(Some(content)) = self.store.open_content(&id)
        {
            return Some(complete(id, content.length()));
        }
        self.arriving(id).or_else(|| self.left_over(id))
    }

    /// The same as far as neither the disk nor the index has to be asked.
    pub(super) fn known_in_memory(&self, id: ContentId) -> Option<ContentInfo> {
        if id.is_empty_content() {
            return Some(complete(id, 0));
        }
        if let Some(content) = self.store.opened(&id) {
            return Some(complete(id, content.length()));
        }
        // What is held in whole by now is another story than what was left of it.
        let left_over = || self.left_over(id).filter(|_| !self.store.may_hold(&id));
        self.arriving(id).or_else(left_over)
    }

    fn arriving(&self, id: ContentId) -> Option<ContentInfo> {
        let transfer = self.transfer(&id)?;
        (transfer.phase() != Phase::Wrong).then(|| transfer.info())
    }

    fn left_over(&self, id: ContentId) -> Option<ContentInfo> {
        let left = *lock(&self.left_over).get(&id)?;
        Some(ContentInfo {
            id,
            length: left.length,
            proven: false,
            present: left.present,
            verified: Verified::No,
        })
    }

    /// Finds out whether `id` exists and how long it is. What is known in memory is told at once. What may
    /// be held is looked at aside, since this thread may be one that answers programs, and
    /// the disk may hang.
    pub fn lookup(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Pending> {
        self.lookup_as_part(id, None, done)
    }

    pub(super) fn lookup_as_part(
        &self,
        id: ContentId,
        part_of: Option<Arc<dyn Waiting>>,
        done: Done<ContentInfo>,
    ) -> Option<Pending> {
        if let Some(info) = self.known_in_memory(id) {
            done(Ok(info));
            return None;
        }
        if self.is_stopping() {
            done(Err(Failure::Stopped));
            return None;
        }
        let now = Instant::now();
        let may_be_here = self.store.may_hold(&id);
        let missed = lock(&self.misses)
            .peek(&id)
            .is_some_and(|at| now.duration_since(*at) < MISS_LASTS);
        if missed && !may_be_here {
            done(Err(self.miss(id, now)));
            return None;
        }
        if self.waiting() >= MAX_WAITING {
            done(Err(Failure::Busy));
            return None;
        }
        let ticket = Ticket::new(done);
        let deadline = now + self.config.lookup_timeout;
        {
            let mut lookups = lock(&self.lookups);
            let asker = Asker::new(Arc::clone(&ticket), deadline, part_of);
            let lookup = lookups.entry(id).or_default();
            lookup.askers.push(asker);
            if !may_be_here {
                lookup.sought = true;
                self.mailbox.post(Command::Find(id));
            } else if !lookup.looking {
                lookup.looking = self.look_aside(id);
            }
        }
        // The last sweep of a node that stops may have come just before.
        if self.is_stopping() {
            ticket.fail(Failure::Stopped);
        }
        Some(Pending::new(ticket, id, self.me.clone()))
    }

    /// Has what waits for content looked at that may be here by now, because it was seeded, imported, or is
    /// other content whose hashes have been learnt. The network is asked for what is not, if it is not yet.
    pub(super) fn look_for_held(&self) {
        for (id, lookup) in lock(&self.lookups).iter_mut() {
            if self.store.may_hold(id) {
                if !lookup.looking {
                    lookup.looking = self.look_aside(*id);
                }
            } else if !lookup.looking && !std::mem::replace(&mut lookup.sought, true) {
                self.mailbox.post(Command::Find(*id));
            }
        }
    }

    /// Ends the lookup of what is held; waits for the disk. If it is not, the network is asked, if it is not
    /// yet.
    pub(super) fn end_lookup_of_held(&self, id: ContentId) {
        let held = self.known(id).filter(|info| info.proven);
        if disks::is_turned_away() {
            return;
        }
        let lookup = {
            let mut lookups = lock(&self.lookups);
            if held.is_none() {
                if let Some(lookup) = lookups.get_mut(&id) {
                    lookup.looking = false;
                    if !std::mem::replace(&mut lookup.sought, true) {
                        self.mailbox.post(Command::Find(id));
                    }
                }
                return;
            }
            if self.transfer(&id).is_none() {
                self.mailbox.post(Command::Forget(id));
            }
            lookups.remove(&id)
        };
        let (Some(info), Some(lookup)) = (held, lookup) else {
            return;
        };
        let dones = lookup.askers.iter().filter_map(|asker| asker.ticket.take());
        disks::after_work(|| dones.for_each(|done| done(Ok(info.clone()))));
    }

    /// Gives lookups that wait so much longer.
    pub(super) fn postpone_lookups(&self, by: Duration) {
        let mut lookups = lock(&self.lookups);
        for asker in lookups.values_mut().flat_map(|lookup| &mut lookup.askers) {
            asker.deadline += by;
        }
    }

    /// Why `id` is not to be had: nobody has it, or nobody but those who sent something else.
    fn miss(&self, id: ContentId, now: Instant) -> Failure {
        let wrong = lock(&self.wrong)
            .peek(&id)
            .is_some_and(|at| now.duration_since(*at) < WRONG_LASTS);
        if wrong {
            Failure::WrongContent
        } else {
            Failure::NotFound
        }
    }

    /// The swarm found `id`: `length` is what most of its sources say.
    pub fn found(&self, id: ContentId, mut length: u64) {
        if let Some(transfer) = self.transfer(&id)
            && transfer.length != length
            && transfer.phase() == Phase::Arriving
        {
            if transfer.length_is_proven() || self.is_awaited(&id) {
                length = transfer.length;
                self.mailbox.post(Command::LengthIsProven(id, length));
                self.want_anew(&transfer);
            } else {
                debug!(%id, length, "another length than before is claimed by most");
                self.is_wrong(&transfer, true);
            }
        }
        let mut left_over = lock(&self.left_over);
        if left_over.get(&id).is_some_and(|old| old.length != length) {
            left_over.remove(&id);
        }
        drop(left_over);
        let Some(lookup) = lock(&self.lookups).remove(&id) else {
            return;
        };
        // Remembered, so that the open that follows need not ask again.
        if self.transfer(&id).is_none() {
            let fresh = LeftOver {
                length,
                present: 0,
                since: Instant::now(),
            };
            lock(&self.left_over).entry(id).or_insert(fresh);
        }
        let info = ContentInfo {
            id,
            length,
            proven: false,
            present: 0,
            verified: Verified::No,
        };
        for asker in lookup.askers {
            if let Some(done) = asker.ticket.take() {
                done(Ok(info.clone()));
            }
        }
    }

    /// An operation on `id` ended before its time.
    pub fn forget_ended(&self, id: ContentId) {
        {
            let mut lookups = lock(&self.lookups);
            if let Some(lookup) = lookups.get_mut(&id) {
                lookup.askers.retain(|asker| !asker.is_over());
                if lookup.askers.is_empty() {
                    lookups.remove(&id);
                    // Posted under the lock, so that it cannot undo a later lookup's question.
                    if self.transfer(&id).is_none() {
                        self.mailbox.post(Command::Forget(id));
                    }
                }
            }
        }
        if let Some(transfer) = self.transfer(&id) {
            let (released, changed) = transfer.expire(Instant::now(), Duration::MAX);
            self.release(&transfer, released);
            if changed {
                self.want_anew(&transfer);
            }
        }
    }

    /// Ends lookups whose limit has passed.
    pub fn end_overdue_lookups(&self, now: Instant) {
        let mut ended = Vec::new();
        lock(&self.lookups).retain(|id, lookup| {
            lookup.askers.retain(|asker| {
                if asker.is_over() {
                    return false;
                }
                if now < asker.deadline {
                    return true;
                }
                ended.push((*id, Arc::clone(&asker.ticket), lookup.sought));
                false
            });
            if lookup.askers.is_empty() {
                self.mailbox.post(Command::Forget(*id));
            }
            !lookup.askers.is_empty()
        });
        for (id, ticket, sought) in ended {
            if !sought {
                // The disk has not said yet whether it is here.
                ticket.fail(Failure::TimedOut);
                continue;
            }
            lock(&self.misses).put(id, now);
            ticket.fail(self.miss(id, now));
        }
    }
}
