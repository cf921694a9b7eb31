//! A disk that takes no more, or fails: what arrives goes through memory, within the bound of the
//! block cache, instead of into failed reads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::Failure;
use super::messages::Command;
use super::pending::Waiting;
use super::shared::{Shared, lock};
use super::transfer::{LetGo, Transfer};
use crate::content::ByteRange;

/// How long a disk that fails is not asked to take anything.
const AVOIDED: Duration = Duration::from_secs(30);

/// Bytes beyond the bound for what somebody waits for: what is kept for the proof must not be in the
/// way of the bytes that the proof needs next.
const RESERVE: u64 = 2 << 20;

/// What is wrong with the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskTrouble {
    /// The operating system's number.
    pub errno: i32,
    /// A sentence.
    pub reason: String,
    /// Bytes in memory that the disk does not take.
    pub in_memory: u64,
}

/// Errors of a disk that does not take what is written, whatever that is.
fn is_trouble(errno: i32) -> bool {
    matches!(errno, libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::EROFS)
}

impl Shared {
    /// Whether content goes through memory where the disk fails with `errno`; says so once.
    pub(super) fn floats(&self, errno: i32) -> bool {
        if self.config.cache == 0 || !is_trouble(errno) {
            return false;
        }
        let before = lock(&self.trouble).replace((errno, Instant::now()));
        if before.is_none_or(|(before, _)| before != errno) {
            self.cache.pause();
            let reason = Failure::Disk(errno).to_string();
            warn!("{reason}: content is read through memory and not kept");
        }
        true
    }

    /// What is wrong with the disk, if anything is.
    pub(super) fn disk_trouble(&self) -> Option<DiskTrouble> {
        let (errno, _) = (*lock(&self.trouble))?;
        Some(DiskTrouble {
            errno,
            reason: Failure::Disk(errno).to_string(),
            in_memory: self.store.in_memory(),
        })
    }

    /// From now on what the disk does not take of a transfer stays in memory. Who waits for all of
    /// it to be kept waits in vain.
    pub(super) fn go_afloat(&self, transfer: &Transfer, errno: i32) {
        for whole in transfer.go_afloat(errno) {
            whole.ticket.fail(Failure::Disk(errno));
        }
    }

    /// Keeps `data`, which begins at `part`, in memory, since the disk failed with `errno`. Where
    /// there is no room, it is dropped, and fetched again when somebody waits for it.
    pub(super) fn write_to_memory(
        &self,
        transfer: &Arc<Transfer>,
        part: ByteRange,
        data: &[u8],
        errno: i32,
    ) -> bool {
        self.go_afloat(transfer, errno);
        let room = self.config.cache;
        let over = || (self.store.in_memory() + part.len()).saturating_sub(room);
        self.let_go(transfer, over(), LetGo::Done);
        if over() > 0 {
            for other in self.transfers() {
                self.let_go(&other, over(), LetGo::Done);
            }
        }
        let awaited = transfer.comes_first(part);
        if over() > 0 && awaited {
            self.let_go(transfer, over(), LetGo::Ahead);
        }
        let reserve = if awaited { RESERVE } else { 0 };
        if over() > reserve {
            transfer.expect_nothing();
            self.release(transfer, transfer.has_no_room(errno));
            // What is kept for the proof makes room when that has seen it.
            if transfer.needs_proof() {
                let _ = self.to_prove.send(Some(Arc::clone(transfer)));
            }
            return false;
        }
        transfer.partial.write_to_memory(part.start, data).is_ok()
    }

    fn let_go(&self, transfer: &Transfer, bytes: u64, what: LetGo) {
        if bytes == 0 {
            return;
        }
        for gone in transfer.let_go(bytes, what) {
            self.mailbox.post(Command::Refetch(transfer.id, gone));
        }
    }

    /// Whether the disk has lost what it took, lately: it is not asked to take more then.
    pub(super) fn avoids_disk(&self) -> bool {
        lock(&self.trouble).is_some_and(|(errno, _)| errno == libc::EIO)
    }

    /// Nothing is in memory that the disk did not take: the trouble is over until it shows again.
    pub(super) fn look_after_trouble(&self) {
        let afloat = self.transfers().iter().any(|it| it.afloat().is_some());
        let over = |(errno, since): (i32, Instant)| errno != libc::EIO || since.elapsed() > AVOIDED;
        let mut trouble = lock(&self.trouble);
        if !afloat && trouble.is_some_and(over) {
            *trouble = None;
            self.cache.resume();
            info!("content is kept on the disk again");
        }
    }
}
