//! Wrong content: what becomes of it, and who it was.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::messages::Command;
use super::pending::Waiting;
use super::shared::{LeftOver, Shared, lock};
use super::transfer::Transfer;
use super::types::Failure;
use crate::content::{ByteRange, ContentId};

/// Peers of whom one supplied wrong bytes, and who of them is on trial now.
pub(super) struct Suspects {
    on_trial: SocketAddr,
    others: Vec<SocketAddr>,
    since: Instant,
}

impl Shared {
    /// The whole of a transfer is not what its id says, and all its bytes are given up; or
    /// (`other_length`) most peers say that it has another length, and what is here is left on the
    /// disk, should they be wrong. Who waits for the whole begins anew.
    pub fn is_wrong(&self, transfer: &Arc<Transfer>, other_length: bool) {
        let id = transfer.id;
        let (mut released, suppliers) = transfer.is_wrong(Failure::WrongContent);
        let wholes = std::mem::take(&mut released.wholes);
        if other_length {
            transfer.partial.leave();
        } else {
            // The files go first: who begins anew must not find them.
            transfer.partial.discard();
        }
        self.part_with(transfer, None);
        if !other_length {
            warn!(%id, suppliers = suppliers.len(), "what the peers sent is not this content");
            lock(&self.wrong).put(id, Instant::now());
            self.mailbox.post(Command::Reinstate(id));
            self.suspect(id, suppliers);
            // Searched for again by who wants it again.
            self.mailbox.post(Command::Rest(id));
        }
        self.release(transfer, released);
        for mut whole in wholes {
            if whole.attempts == 0 {
                whole.ticket.fail(Failure::WrongContent);
            } else {
                whole.attempts -= 1;
                self.fetch_whole(id, whole);
            }
        }
    }

    /// The disk lost some of what had been proven: handles that had it as proven end with `failure`,
    /// and so does who waits for the whole. Who opens it again goes on from what is left.
    pub fn is_lost(&self, transfer: &Arc<Transfer>, failure: Failure) {
        let (mut released, _) = transfer.is_wrong(failure);
        let wholes = std::mem::take(&mut released.wholes);
        let left = LeftOver {
            length: transfer.length,
            present: transfer.partial.present_bytes(),
            since: Instant::now(),
        };
        self.part_with(transfer, Some(left));
        self.release(transfer, released);
        for whole in wholes {
            whole.ticket.fail(failure);
        }
    }

    /// A transfer that goes on no more makes way for a next one, which finds what is `left`.
    fn part_with(&self, transfer: &Arc<Transfer>, left: Option<LeftOver>) {
        let id = transfer.id;
        self.cache.forget(&id);
        let mut transfers = lock(&self.transfers);
        let current = transfers
            .get(&id)
            .is_some_and(|current| Arc::ptr_eq(current, transfer));
        if current {
            transfers.remove(&id);
            if let Some(left) = left {
                lock(&self.left_over).insert(id, left);
            }
        }
        if current || !transfers.contains_key(&id) {
            self.mailbox.post(Command::WantAnew(Arc::clone(transfer)));
            self.mailbox
                .post(Command::Refetch(id, ByteRange::new(0, u64::MAX)));
        }
    }

    /// One of `suppliers` sent wrong bytes of `id`. A sole one is found out; of several, one after
    /// another is the only source of a next attempt until it is clear who it was.
    fn suspect(&self, id: ContentId, suppliers: BTreeMap<SocketAddr, u64>) {
        let mut suspects = lock(&self.suspects);
        let known = suspects.pop(&id);
        let suppliers: Vec<SocketAddr> = suppliers.into_keys().collect();
        if let [only] = suppliers.as_slice() {
            self.mailbox.post(Command::Distrust(id, vec![*only]));
        }
        let mut others: Vec<SocketAddr> = match known {
            Some(known) => known.others,
            None if suppliers.len() > 1 => suppliers.clone(),
            None => Vec::new(),
        };
        others.retain(|other| suppliers.len() != 1 || !suppliers.contains(other));
        if let Some(on_trial) = others.pop() {
            self.mailbox.post(Command::Only(id, Some(on_trial)));
            let since = Instant::now();
            suspects.put(
                id,
                Suspects {
                    on_trial,
                    others,
                    since,
                },
            );
        } else {
            self.mailbox.post(Command::Only(id, None));
        }
    }

    /// The source that is on trial for `id` does not deliver: the next one's turn.
    pub fn next_on_trial(&self, id: ContentId, after: Duration) {
        let mut suspects = lock(&self.suspects);
        if suspects
            .peek(&id)
            .is_none_or(|known| known.since.elapsed() < after)
        {
            return;
        }
        let Some(mut known) = suspects.pop(&id) else {
            return;
        };
        debug!(%id, silent = %known.on_trial, "the source on trial is silent");
        match known.others.pop() {
            Some(next) => {
                known.on_trial = next;
                known.since = Instant::now();
                self.mailbox.post(Command::Only(id, Some(next)));
                suspects.put(id, known);
            }
            None => self.mailbox.post(Command::Only(id, None)),
        }
    }
}
