//! Operations that wait: each ends exactly once, whoever is first to end it.
//!
//! The bytes that come, the limit that passes, the signal that hits the process and the node that
//! stops all race for the same [`Ticket`]; who takes its `done` calls it.

use std::sync::{Arc, Mutex, Weak};

use super::Failure;
use super::names::Named;
use super::shared::Shared;
use super::types::{ContentInfo, Done, DoneRead};
use crate::content::ContentId;

/// The right to end one operation.
pub(super) struct Ticket<D> {
    done: Mutex<Option<D>>,
}

/// The ticket of a read.
pub(super) type ReadTicket = Ticket<DoneRead>;
/// The ticket of an operation that ends with a value.
pub(super) type ValueTicket<T> = Ticket<Done<T>>;

impl<D> Ticket<D> {
    pub fn new(done: D) -> Arc<Self> {
        Arc::new(Self {
            done: Mutex::new(Some(done)),
        })
    }

    /// Takes the right; `None` when somebody else had it.
    pub fn take(&self) -> Option<D> {
        self.done.lock().unwrap_or_else(|e| e.into_inner()).take()
    }

    /// Whether somebody had it.
    pub fn is_taken(&self) -> bool {
        self.done
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .is_none()
    }
}

/// What can be ended without its result.
pub(super) trait Waiting: Send + Sync {
    fn is_done(&self) -> bool;
    /// Ends it with `failure`; whether it had not ended before.
    fn fail(&self, failure: Failure) -> bool;
}

impl Waiting for ReadTicket {
    fn is_done(&self) -> bool {
        self.is_taken()
    }

    fn fail(&self, failure: Failure) -> bool {
        self.take().map(|done| done(Err(failure))).is_some()
    }
}

impl Waiting for ValueTicket<ContentInfo> {
    fn is_done(&self) -> bool {
        self.is_taken()
    }

    fn fail(&self, failure: Failure) -> bool {
        self.take().map(|done| done(Err(failure))).is_some()
    }
}

impl Waiting for ValueTicket<Named> {
    fn is_done(&self) -> bool {
        self.is_taken()
    }

    fn fail(&self, failure: Failure) -> bool {
        self.take().map(|done| done(Err(failure))).is_some()
    }
}

impl Waiting for ValueTicket<u64> {
    fn is_done(&self) -> bool {
        self.is_taken()
    }

    fn fail(&self, failure: Failure) -> bool {
        self.take().map(|done| done(Err(failure))).is_some()
    }
}

/// An operation that waits. Dropping it changes nothing; it ends by itself at its limit.
pub struct Pending {
    ticket: Arc<dyn Waiting>,
    /// Of what content, if it is about content.
    id: Option<ContentId>,
    node: Weak<Shared>,
}

impl Pending {
    pub(super) fn new(ticket: Arc<dyn Waiting>, id: ContentId, node: Weak<Shared>) -> Self {
        let id = Some(id);
        Self { ticket, id, node }
    }

    /// An operation that is not about content.
    pub(super) fn of_value(ticket: Arc<dyn Waiting>, node: Weak<Shared>) -> Self {
        let id = None;
        Self { ticket, id, node }
    }

    /// Whether its `done` has been called.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.ticket.is_done()
    }

    /// Ends it now with `failure`, if it has not ended yet; what it wanted is wanted no more.
    pub fn cancel(&self, failure: Failure) {
        if self.ticket.fail(failure)
            && let Some(node) = self.node.upgrade()
            && let Some(id) = self.id
        {
            node.forget_ended(id);
        }
    }
}
