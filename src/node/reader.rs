//! One open handle on one piece of content.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::bytes::OfContent;
use super::given::Given;
use super::pending::{Pending, Ticket};
use super::readahead::ReadAhead;
use super::shared::Shared;
use super::transfer::{Admission, Asked, Bulk, Phase, Transfer};
use super::types::{Complete, DoneRead, Failure, Verify};
use crate::content::ByteRange;
use crate::store::{Content, Hold, Passed};
use crate::swarm::Class;

/// How much of complete content a handle has the disk bring before it is read, for all places
/// together. The kernel's own read-ahead sees one request of the mount at a time, and waits in between.
const AHEAD_ON_DISK: u64 = 16 << 20;

/// One open handle: read-ahead and the last byte rule are kept per reader.
pub struct Reader {
    node: Arc<Shared>,
    source: Source,
    /// Content that is read is not given up.
    hold: Option<Arc<Hold>>,
}

/// A file that is read in place of a handle, and that the store keeps as long as this lives.
pub struct Backing {
    file: Passed,
    _hold: Option<Arc<Hold>>,
}

impl AsFd for Backing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

enum Source {
    /// Of length zero.
    Empty,
    /// Complete and verified when it was opened.
    Complete {
        content: Content,
        ahead: Mutex<ReadAhead>,
    },
    /// On its way when it was opened; it may have completed since.
    Arriving {
        transfer: Arc<Transfer>,
        number: u64,
        generation: u64,
        given: Arc<Mutex<Given>>,
        in_pages: Arc<Mutex<Given>>,
        ahead: Mutex<ReadAhead>,
    },
}

impl Reader {
    pub(super) fn empty(node: Arc<Shared>) -> Self {
        Self {
            node,
            source: Source::Empty,
            hold: None,
        }
    }

    pub(super) fn complete(node: Arc<Shared>, content: Content, hold: Hold) -> Self {
        Self {
            node,
            source: Source::Complete {
                content,
                ahead: Mutex::new(ReadAhead::new(AHEAD_ON_DISK)),
            },
            hold: Some(Arc::new(hold)),
        }
    }

    pub(super) fn arriving(
        node: Arc<Shared>,
        transfer: Arc<Transfer>,
        hold: Hold,
        verify: Verify,
    ) -> Self {
        let given = Arc::new(Mutex::new(Given::by(verify)));
        let in_pages = Arc::new(Mutex::new(Given::in_pages(verify)));
        let (number, generation) = transfer.attach_reader([&given, &in_pages]);
        let ahead = Mutex::new(ReadAhead::new(node.config.cache.max(64 << 20)));
        let reader = Self {
            source: Source::Arriving {
                number,
                generation,
                given,
                in_pages,
                ahead,
                transfer,
            },
            node,
            hold: Some(Arc::new(hold)),
        };
        if reader.node.config.complete == Complete::Always {
            reader.complete_in_bulk();
        }
        reader
    }

    /// Bytes of the content.
    #[must_use]
    pub fn length(&self) -> u64 {
        match &self.source {
            Source::Empty => 0,
            Source::Complete { content, .. } => content.length(),
            Source::Arriving { transfer, .. } => transfer.length,
        }
    }

    /// Complete and verified at the time of the call.
    #[must_use]
    pub fn proven(&self) -> bool {
        match &self.source {
            Source::Empty | Source::Complete { .. } => true,
            Source::Arriving { transfer, .. } => {
                matches!(transfer.phase(), Phase::Proven | Phase::Kept)
            }
        }
    }

    /// Bytes that were read through handles of different generations do not belong together, but for
    /// those of complete content.
    #[must_use]
    pub fn generation(&self) -> u64 {
        match &self.source {
            Source::Arriving { generation, .. } => *generation,
            Source::Empty | Source::Complete { .. } => 0,
        }
    }

    /// The file that may be read in place of this handle: there is one if the content was complete
    /// when it was opened, and the store has it for itself.
    #[must_use]
    pub fn backing(&self) -> Option<Backing> {
        let Source::Complete { content, .. } = &self.source else {
            return None;
        };
        Some(Backing {
            file: self.node.store.pass(content)?,
            _hold: self.hold.clone(),
        })
    }

    /// Whether a read waits for the whole, and what that needs is fetched meanwhile.
    fn waits_for_all(&self) -> bool {
        match &self.source {
            Source::Arriving {
                transfer, given, ..
            } => {
                let strict = given.lock().unwrap_or_else(|e| e.into_inner()).is_strict();
                strict && !transfer.is_vouched() && self.node.config.complete != Complete::Never
            }
            Source::Empty | Source::Complete { .. } => false,
        }
    }

    fn complete_in_bulk(&self) {
        if let Source::Arriving { transfer, .. } = &self.source {
            self.node.want(
                transfer,
                transfer.complete_in_bulk(Bulk::Handle),
                Class::Bulk,
            );
            let whole = ByteRange::new(0, transfer.length);
            self.node.want_nodes(transfer, whole, Class::Bulk);
        }
    }

    /// Reads `length` bytes from `offset`, cut at the end of the content (past it: no bytes).
    /// `done` gets exactly that many bytes or a failure. Bytes that are here are given at once, on
    /// this thread, before the call returns (then `None` is returned).
    pub fn read(&self, offset: u64, length: u32, done: DoneRead) -> Option<Pending> {
        self.read_into(None, offset, length, done)
    }

    /// The same, for pages that others see, too: see `given`. The thread `thread` waits for them, if it is
    /// known (not 0).
    pub fn fill(&self, thread: u32, offset: u64, length: u32, done: DoneRead) -> Option<Pending> {
        self.read_into(Some(thread), offset, length, done)
    }

    fn read_into(
        &self,
        filling: Option<u32>,
        offset: u64,
        length: u32,
        done: DoneRead,
    ) -> Option<Pending> {
        let whole = ByteRange::new(0, self.length());
        let range = ByteRange::at(offset, u64::from(length)).intersection(whole);
        if range.is_empty() {
            done(Ok(&[]));
            return None;
        }
        match &self.source {
            Source::Empty => {
                done(Ok(&[]));
                None
            }
            Source::Complete { content, ahead } => {
                let bytes = OfContent(content.clone(), range.start);
                let pending = self.node.give(bytes, range.len(), filling.is_some(), done);
                let mut ahead = ahead.lock().unwrap_or_else(|e| e.into_inner());
                let fresh = ahead.on_read(range, content.length());
                drop(ahead);
                if let Some(fresh) = fresh
                    && !is_in_memory(content, fresh)
                {
                    let content = content.clone();
                    // A disk that has too much to do makes wait whoever has more for it.
                    self.node.aside_some_time(move || content.read_ahead(fresh));
                }
                pending
            }
            Source::Arriving {
                transfer,
                number,
                given,
                in_pages,
                ahead,
                ..
            } => {
                let given = if filling.is_some() { in_pages } else { given };
                let pending = self.read_arriving(transfer, given, filling, range, done);
                if transfer.phase() == Phase::Arriving {
                    self.read_ahead(transfer, *number, ahead, range);
                }
                pending
            }
        }
    }

    fn read_arriving(
        &self,
        transfer: &Arc<Transfer>,
        given: &Arc<Mutex<Given>>,
        filling: Option<u32>,
        range: ByteRange,
        done: DoneRead,
    ) -> Option<Pending> {
        if self.node.is_stopping() {
            done(Err(Failure::Stopped));
            return None;
        }
        let asked = Asked {
            now: Instant::now(),
            limit: self.node.config.read_timeout,
            filling,
        };
        let mut done = Some(done);
        let mut ticket = None;
        let admission = transfer.admit(range, given, asked, || {
            let made = Ticket::new(done.take().unwrap_or_else(|| Box::new(|_| {})));
            ticket = Some(Arc::clone(&made));
            made
        });
        match (admission, done, ticket) {
            (Admission::Ready, Some(done), _) => {
                self.node
                    .give_part(transfer, range, filling.is_some(), done)
            }
            (Admission::Fails(failure), Some(done), _) => {
                done(Err(failure));
                None
            }
            (Admission::Waits(missing), _, Some(ticket)) => {
                self.node.want(transfer, missing, Class::Urgent);
                self.node.want_nodes(transfer, range, Class::Urgent);
                if self.waits_for_all() {
                    // Should this read come to its limit first, the next one has less to wait for.
                    self.complete_in_bulk();
                }
                // The last sweep of a node that stops may have come just before.
                if self.node.is_stopping() {
                    ticket
                        .take()
                        .into_iter()
                        .for_each(|done| done(Err(Failure::Stopped)));
                }
                let me = Arc::downgrade(&self.node);
                Some(Pending::new(ticket, transfer.id, me))
            }
            // `admit` makes a ticket exactly when the read waits.
            _ => None,
        }
    }

    fn read_ahead(
        &self,
        transfer: &Arc<Transfer>,
        number: u64,
        ahead: &Mutex<ReadAhead>,
        range: ByteRange,
    ) {
        let (fresh, windows, committed) = {
            let mut ahead = ahead.lock().unwrap_or_else(|e| e.into_inner());
            let fresh = ahead.on_read(range, transfer.length);
            (fresh, ahead.windows(), ahead.is_committed(transfer.length))
        };
        if let Some(fresh) = fresh {
            let missing = transfer.expect(number, windows, fresh);
            self.node.want(transfer, missing, Class::ReadAhead);
            self.node.want_nodes(transfer, fresh, Class::ReadAhead);
        }
        if committed && self.node.config.complete == Complete::Auto {
            self.complete_in_bulk();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Source::Arriving {
            transfer, number, ..
        } = std::mem::replace(&mut self.source, Source::Empty)
        {
            transfer.detach_reader(number);
            if transfer.phase() == Phase::Arriving {
                self.node.want_anew(&transfer);
            }
            self.node.done_with(transfer);
        }
    }
}

/// Whether the kernel has both ends of `range` in memory, and so the rest, probably.
fn is_in_memory(content: &Content, range: ByteRange) -> bool {
    let has = |at| matches!(content.read_at_nowait(at, &mut [0]), Ok(Some(1)));
    has(range.start) && has(range.end.saturating_sub(1))
}
