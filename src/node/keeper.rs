//! The keeper thread: makes durable what may be lost, at a moment when nobody waits for it.
//!
//! Partial content is synced every few seconds, more seldom where the disk is slow; proven content
//! is renamed into its place; content that is complete is hashed once more, with the other hashes,
//! when there is nothing better to do, so that it can be served by its BLAKE3 id as well.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::messages::Keep;
use super::shared::{Shared, disk_failure, errno, io_failure, lock};
use super::transfer::{Phase, Transfer};
use crate::content::{ByteRange, ContentId, Kind, LEAF};
use crate::store::{Content, Hashing, StoreError};

/// How often partial content is synced, and by what multiple of the time it took at least.
const SYNC_EVERY: Duration = Duration::from_secs(2);
const SYNC_SHARE: u32 = 4;
/// How long after the last transfer there is nothing better to do: who fetched something is likely
/// to read it, or to fetch more.
const QUIET: Duration = Duration::from_secs(3);
/// Proven content that is kept before anything else is looked at.
const BATCH: usize = 64;
/// Of these, how many at once. They wait for the disk, not for the processor.
const AT_ONCE: usize = 16;
/// Content whose other hashes are to be learnt; more is learnt when it is asked for again.
const MAX_TO_LEARN: usize = 4096;
/// Bytes that are hashed before the queue is looked at again.
const LEARN_STEP: u64 = 16 << 20;

/// Runs until it is told to stop.
pub(super) fn run(shared: &Shared, queue: &Receiver<Keep>) {
    let mut sync_at = Instant::now() + SYNC_EVERY;
    let mut to_learn = left_to_learn(shared);
    let mut learning: Option<Learning> = None;
    let mut learn_from = Instant::now();
    // What came behind content that is kept together.
    let mut behind = None;
    loop {
        // A lookup that waits may be for the very id that is to be learnt.
        let quiet = Instant::now() >= learn_from && shared.waiting_for_bytes() == 0;
        let busy = learning.is_some() || !to_learn.is_empty();
        let wait = if busy && quiet {
            Duration::ZERO
        } else {
            sync_at.saturating_duration_since(Instant::now())
        };
        let next = match behind.take() {
            Some(next) => Ok(next),
            None => queue.recv_timeout(wait.min(SYNC_EVERY)),
        };
        match next {
            Ok(Keep::Proven(transfer)) => {
                let mut proven = vec![transfer];
                // Else the disk is left to those who wait for it.
                if shared.backlog.is_pressing() {
                    behind = more_proven(queue, &mut proven);
                }
                let ids: Vec<_> = proven.iter().map(|transfer| transfer.id).collect();
                keep_together(shared, proven);
                learn_from = Instant::now() + QUIET;
                for id in ids {
                    if id.kind != Kind::TreeV2 && to_learn.len() < MAX_TO_LEARN {
                        to_learn.push_back(id);
                    }
                }
            }
            Ok(Keep::Sync) => {
                sync_partials(shared);
                learn_from = Instant::now() + QUIET;
            }
            Ok(Keep::Idle(transfer)) => sync(shared, &transfer),
            Ok(Keep::Latest(latest)) => shared.keep_latest(&latest),
            Ok(Keep::Peers(peers)) => {
                if let Err(error) = shared.store.remember_peers(&peers) {
                    debug!(%error, "could not remember peers");
                }
                // About once a minute, beside it: descriptors of content that nobody asked for.
                shared.store.close_unused();
            }
            // Here, where nobody waits: closing the last of a file that was removed frees its blocks.
            Ok(Keep::Close(files)) => drop(files),
            Ok(Keep::Ended(transfer)) => drop(transfer),
            Ok(Keep::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                if quiet {
                    learning = match learning.take() {
                        Some(learning) => learning.go_on(shared),
                        None => to_learn
                            .pop_front()
                            .and_then(|id| Learning::begin(shared, id)),
                    };
                }
            }
        }
        if Instant::now() >= sync_at {
            let took = sync_partials(shared);
            shared.store.tend();
            shared.look_after_trouble();
            sync_at = Instant::now() + SYNC_EVERY.max(took * SYNC_SHARE);
        }
    }
}

/// What an earlier run kept and did not come round to.
fn left_to_learn(shared: &Shared) -> VecDeque<ContentId> {
    let mut left: VecDeque<ContentId> = VecDeque::new();
    for (id, length) in shared.store.contents(MAX_TO_LEARN) {
        if id.kind != Kind::TreeV2 && !is_learnt(shared, id, length) {
            left.push_back(id);
        }
    }
    left
}

/// Whether all ids of complete content are known and its tree is here. A pair alone is also known
/// where peers claimed it and the content proved it.
fn is_learnt(shared: &Shared, id: ContentId, length: u64) -> bool {
    let blake3 = match id.kind {
        Kind::Blake3 => shared.store.paired(&id).map(|_| id),
        _ => shared.store.paired(&id),
    };
    blake3.is_some_and(|blake3| {
        length <= LEAF || shared.store.may_hold(&ContentId::tree_v2(blake3.hash.0))
    })
}

/// Takes what else is proven from the queue, up to a batch; gives what came behind it.
fn more_proven(queue: &Receiver<Keep>, proven: &mut Vec<Arc<Transfer>>) -> Option<Keep> {
    while proven.len() < BATCH {
        match queue.try_recv().ok()? {
            Keep::Proven(transfer) => proven.push(transfer),
            other => return Some(other),
        }
    }
    None
}

/// Keeps each of them, several at once: a file system with a journal makes durable together what it
/// is asked for at the same time, and most of the time that a small file takes is spent waiting for
/// that. What is done for each, and in which order, is the same as for one alone.
fn keep_together(shared: &Shared, proven: Vec<Arc<Transfer>>) {
    let threads = AT_ONCE.min(proven.len());
    let left = Mutex::new(proven.into_iter());
    let take = || lock(&left).next();
    let work = || {
        while let Some(transfer) = take() {
            keep(shared, &transfer);
            // Its descriptors are closed first.
            drop(transfer);
            shared.backlog.done();
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            let spawned = thread::Builder::new()
                .name("keeping".into())
                .spawn_scoped(scope, work);
            // Then it takes longer.
            if let Err(error) = spawned {
                debug!(%error, "no thread to keep content");
                break;
            }
        }
        work();
    });
}

fn keep(shared: &Shared, transfer: &Arc<Transfer>) {
    if transfer.phase() != Phase::Proven {
        return;
    }
    match transfer.partial.complete() {
        Ok(_) => shared.is_kept(transfer),
        Err(error) if transfer.partial.present_bytes() < transfer.length => {
            warn!(id = %transfer.id, %error, "the disk lost complete content; it is fetched again");
            shared.is_lost(transfer, disk_failure(&error));
        }
        Err(error) => {
            // It stays readable as it is, and is completed after the next start.
            warn!(id = %transfer.id, %error, "could not keep complete content");
            for whole in transfer.take_wholes() {
                if let Some(done) = whole.ticket.take() {
                    done(Err(disk_failure(&error)));
                }
            }
        }
    }
}

/// Makes durable what has arrived; returns how long it took.
pub(super) fn sync_partials(shared: &Shared) -> Duration {
    let started = Instant::now();
    shared.unsynced.store(0, Ordering::Relaxed);
    for transfer in shared.transfers() {
        sync(shared, &transfer);
    }
    started.elapsed()
}

fn sync(shared: &Shared, transfer: &Arc<Transfer>) {
    let before = transfer.partial.present();
    if transfer.take_dirty()
        && let Err(error) = transfer.partial.sync()
    {
        warn!(id = %transfer.id, %error, "could not make partial content durable");
        // The kernel may have dropped what it could not write: it is fetched again.
        let mut kept = transfer.partial.present();
        kept.union(&transfer.partial.in_memory());
        if transfer.phase() == Phase::Arriving && shared.floats(errno(&error)) {
            shared.go_afloat(transfer, errno(&error));
            transfer.lost_all_but(&before, &kept);
        } else {
            transfer.only_kept(&kept);
        }
        shared.lost(transfer.id, ByteRange::new(0, u64::MAX));
        if transfer.phase() == Phase::Proven && transfer.partial.present_bytes() < transfer.length {
            shared.is_lost(transfer, io_failure(&error));
        }
    }
}

/// Content that is being hashed for its other ids.
struct Learning {
    content: Content,
    hashing: Hashing,
    at: u64,
    id: ContentId,
}

impl Learning {
    fn begin(shared: &Shared, id: ContentId) -> Option<Self> {
        let content = shared.store.open_content(&id).ok()??;
        let hashing = shared.store.hashing(content.length());
        Some(Self {
            hashing: hashing.map_err(|error| not_learnt(id, &error)).ok()?,
            content,
            at: 0,
            id,
        })
    }

    /// Hashes a step; `None` when it is done or cannot be.
    fn go_on(mut self, shared: &Shared) -> Option<Self> {
        let id = self.id;
        let mut buffer = vec![0; 256 << 10];
        let until = self
            .at
            .saturating_add(LEARN_STEP)
            .min(self.content.length());
        while self.at < until {
            let length = (until - self.at).min(buffer.len() as u64) as usize;
            let chunk = buffer.get_mut(..length)?;
            let read = self.content.read_at(self.at, chunk).ok()?;
            self.hashing
                .update(chunk.get(..read)?)
                .map_err(|error| not_learnt(id, &error))
                .ok()?;
            self.at += read as u64;
        }
        if self.at < self.content.length() {
            return Some(self);
        }
        let hashed = self
            .hashing
            .finish()
            .map_err(|error| not_learnt(id, &error))
            .ok()??;
        let expected = match id.kind {
            Kind::Sha256 => hashed.digests().sha256,
            Kind::Blake3 | Kind::TreeV2 => hashed.digests().blake3,
        };
        if expected != id.hash {
            warn!(%id, "complete content does not have its hash any more");
            return None;
        }
        let kept = hashed.keep_tree().map_err(|error| not_learnt(id, &error));
        debug!(%id, "learnt the other hashes");
        shared.store.learned_digests(&kept.ok()?);
        None
    }
}

fn not_learnt(id: ContentId, error: &StoreError) {
    warn!(%id, %error, "the other hashes of content could not be learnt");
}
