//! Bytes that are here are given at once where the kernel has them in memory, and aside where the disk
//! has to be waited for.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::pending::{Pending, ReadTicket, Ticket};
use super::scratch;
use super::shared::{Shared, io_failure};
use super::transfer::Transfer;
use super::types::{DoneRead, Failure};
use crate::content::ByteRange;
use crate::store::{Content, disks};

/// Where bytes are read from.
pub(super) trait Bytes: Send + 'static {
    /// Fills `buffer`; `None` where that, or finding out whether the bytes are right, would have to wait.
    fn read_now(&self, buffer: &mut [u8]) -> Option<Result<(), Failure>>;

    /// The same, as long as it takes.
    fn read(&self, buffer: &mut [u8]) -> Result<(), Failure>;

    /// The disk of the user's that has to be waited for; `None`: the store's own.
    fn disk(&self) -> Option<u64>;
}

/// Complete content from an offset.
pub(super) struct OfContent(pub Content, pub u64);

impl OfContent {
    /// A seeded file may have changed since it was opened.
    fn judged(read: bool, is_valid: bool) -> Result<(), Failure> {
        match read && is_valid {
            true => Ok(()),
            false => Err(Failure::WrongContent),
        }
    }
}

impl Bytes for OfContent {
    fn read_now(&self, buffer: &mut [u8]) -> Option<Result<(), Failure>> {
        let Self(content, offset) = self;
        match content.read_at_nowait(*offset, buffer).transpose()? {
            Ok(read) => Some(Self::judged(read == buffer.len(), content.valid_now()?)),
            Err(error) => Some(Err(io_failure(&error))),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> Result<(), Failure> {
        let Self(content, offset) = self;
        let read = content
            .come_to_its_disk()
            .and_then(|()| content.read_at(*offset, buffer))
            .map_err(|error| io_failure(&error))?;
        Self::judged(read == buffer.len(), content.still_valid())
    }

    fn disk(&self) -> Option<u64> {
        self.0.disk()
    }
}

/// What has arrived of content, in a part that is here.
struct OfPartial {
    transfer: Arc<Transfer>,
    part: ByteRange,
}

impl OfPartial {
    fn judged(read: io::Result<usize>, length: usize) -> Result<(), Failure> {
        match read {
            Ok(read) if read == length => Ok(()),
            Ok(_) => Err(Failure::Disk(libc::EIO)),
            Err(error) => Err(io_failure(&error)),
        }
    }
}

impl Bytes for OfPartial {
    fn read_now(&self, buffer: &mut [u8]) -> Option<Result<(), Failure>> {
        let partial = &self.transfer.partial;
        let read = partial.read_at_nowait(self.part.start, buffer);
        Some(Self::judged(read.transpose()?, buffer.len()))
    }

    fn read(&self, buffer: &mut [u8]) -> Result<(), Failure> {
        let read = self.transfer.partial.read_at(self.part.start, buffer);
        Self::judged(read, buffer.len())
    }

    fn disk(&self) -> Option<u64> {
        None
    }
}

impl Drop for OfPartial {
    fn drop(&mut self) {
        self.transfer.was_read(self.part);
    }
}

impl Shared {
    /// Gives `length` of `bytes` to `done`.
    ///
    /// The kernel asks more than once for what is to be `filling` pages, also for others who wait for the same.
    /// So it has had its time when a disk has kept somebody to his limit just before and has done nothing since.
    pub(super) fn give(
        &self,
        bytes: impl Bytes,
        length: u64,
        filling: bool,
        done: DoneRead,
    ) -> Option<Pending> {
        let mut done = Some(done);
        if give_now(&bytes, length, || done.take()) {
            return None;
        }
        let is_late = || {
            let disks = &self.aside.threads;
            disks.is_late(bytes.disk(), Instant::now())
        };
        if filling && is_late() {
            end(done, Err(Failure::TimedOut));
            return None;
        }
        self.give_aside(bytes, length, Ticket::new(done?))
    }

    /// Gives the bytes of `part`, which are all here, to `done`.
    pub(super) fn give_part(
        &self,
        transfer: &Arc<Transfer>,
        part: ByteRange,
        filling: bool,
        done: DoneRead,
    ) -> Option<Pending> {
        let mut done = Some(done);
        if self.give_cached(transfer, part, || done.take()) {
            return None;
        }
        let transfer = Arc::clone(transfer);
        self.give(OfPartial { transfer, part }, part.len(), filling, done?)
    }

    /// The same to whoever has waited with `ticket` until they are here.
    pub(super) fn give_awaited(
        &self,
        transfer: &Arc<Transfer>,
        part: ByteRange,
        ticket: Arc<ReadTicket>,
    ) {
        if ticket.is_taken() {
            transfer.was_read(part);
            return;
        }
        if self.give_cached(transfer, part, || ticket.take()) {
            return;
        }
        let transfer = Arc::clone(transfer);
        let bytes = OfPartial { transfer, part };
        if !give_now(&bytes, part.len(), || ticket.take()) {
            // It is told of its signals and its limit by the ticket that it has.
            self.give_aside(bytes, part.len(), ticket);
        }
    }

    /// Gives the bytes of `part` to whom `take` finds, if the cache has them.
    fn give_cached(
        &self,
        transfer: &Transfer,
        part: ByteRange,
        take: impl FnOnce() -> Option<DoneRead>,
    ) -> bool {
        scratch::with(part.len(), |buffer| {
            let has = self.cache.get(&transfer.id, part.start, buffer);
            if has {
                end(take(), Ok(buffer));
                transfer.was_read(part);
            }
            has
        })
    }

    /// Gives what the disk has to be waited for. Whoever takes the `ticket` is the one who ends the read.
    fn give_aside(
        &self,
        bytes: impl Bytes,
        length: u64,
        ticket: Arc<ReadTicket>,
    ) -> Option<Pending> {
        let by_work = Arc::clone(&ticket);
        let (disk, me) = (bytes.disk(), self.me.clone());
        let work = move || {
            scratch::with(length, |buffer| {
                let read = bytes.read(buffer);
                if !disks::is_turned_away() {
                    disks::after_work(|| end(by_work.take(), read.map(|()| &*buffer)));
                }
            });
        };
        let ended = move |ended: Result<(), Failure>| {
            let Err(failure) = ended else { return };
            if failure == Failure::TimedOut
                && let Some(node) = me.upgrade()
            {
                node.aside.threads.note_late(disk, Instant::now());
            }
            end(ticket.take(), Err(failure));
        };
        self.aside(work, Box::new(ended))
    }
}

/// Gives `length` of `bytes` to whom `take` finds; whether that could be done without waiting.
fn give_now(bytes: &impl Bytes, length: u64, take: impl FnOnce() -> Option<DoneRead>) -> bool {
    scratch::with(length, |buffer| {
        let Some(read) = bytes.read_now(buffer) else {
            return false;
        };
        end(take(), read.map(|()| &*buffer));
        true
    })
}

fn end(done: Option<DoneRead>, read: Result<&[u8], Failure>) {
    if let Some(done) = done {
        done(read);
    }
}
