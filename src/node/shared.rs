//! What the threads of a node share. The operations that span them are in `lookups`, `fetches` and
//! `suspects`.
//!
//! | thread | does | waits for |
//! |---|---|---|
//! | `network` | the socket, the swarm, answers from the page cache | the socket, commands |
//! | `writer` | what arrived into the store; wakes readers | arrivals |
//! | `prover` | hashes complete prefixes | transfers that grew |
//! | `keeper` | syncs, renames, learns other hashes | transfers that are proven, time |
//! | `server`, several | answers that must wait for a disk | asks that the page cache cannot answer |
//! | `aside`, several | what programs wait for and a disk may keep | opens, cold reads, listings |
//! | `ticker` | limits of waiting operations, idle transfers | time |
//! | `disk ticker` | lookups of what is here by now, trees that do not come | the ticker, lookups |
//!
//! No lock here is held across I/O, and none while a `done` is called.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use lru::LruCache;

use super::aside::Aside;
use super::backlog::Backlog;
use super::claims::Claim;
use super::disk_threads::DiskThreads;
use super::lookups::{Lookup, complete};
use super::mailbox::Mailbox;
use super::messages::{Arrival, Command, Keep};
use super::names::Names;
use super::pending::Waiting;
use super::runs::Pool;
use super::server;
use super::streams::Streams;
use super::suspects::Suspects;
use super::transfer::{Phase, Released, Transfer};
use super::types::{Config, ContentInfo, Failure, Verified};
use crate::content::{BlockList, ByteRange, ContentId, LEAF};
use crate::store::{BlockCache, Store, StoreError};
use crate::swarm::Class;

/// Misses and suspicions remembered.
const REMEMBERED: usize = 1024;
/// Block lists kept: 8 MiB each at most.
const BLOCK_LISTS: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// Content of which a length and perhaps a part is known, and that nobody has open.
#[derive(Clone, Copy)]
pub(super) struct LeftOver {
    pub length: u64,
    pub present: u64,
    pub since: Instant,
}

/// What the threads of a node share.
pub(super) struct Shared {
    pub me: Weak<Shared>,
    pub config: Config,
    pub store: Store,
    pub cache: BlockCache,
    pub mailbox: Mailbox,
    pub arrivals: Sender<Arrival>,
    /// Content bytes that arrived and are not written yet.
    pub unwritten: AtomicU64,
    /// The memory that arriving content is gathered in.
    pub pool: Arc<Pool>,
    /// Bytes written to partial content since the keeper last synced it.
    pub unsynced: AtomicU64,
    pub to_prove: Sender<Option<Arc<Transfer>>>,
    pub to_keep: Sender<Keep>,
    pub disk_ticker: SyncSender<()>,
    pub backlog: Backlog,
    pub aside: Aside,
    /// Reads for peers.
    pub serving: DiskThreads,
    pub stopping: AtomicBool,
    pub transfers: Mutex<HashMap<ContentId, Arc<Transfer>>>,
    /// Partial content of earlier runs that nobody has opened yet, by length.
    pub left_over: Mutex<HashMap<ContentId, LeftOver>>,
    pub lookups: Mutex<HashMap<ContentId, Lookup>>,
    pub misses: Mutex<LruCache<ContentId, Instant>>,
    pub suspects: Mutex<LruCache<ContentId, Suspects>>,
    /// Trees that are fetched, and the transfers whose leaves are verified with them.
    pub awaiting_nodes: Mutex<HashMap<ContentId, Vec<Weak<Transfer>>>>,
    /// What the disk failed with, while content goes through memory for it.
    pub trouble: Mutex<Option<(i32, Instant)>>,
    /// What most peers say the BLAKE3 of some content is.
    pub claims: Mutex<LruCache<ContentId, Claim>>,
    /// The block lists that users have named, by the content that they are of.
    pub block_lists: Mutex<LruCache<ContentId, Arc<BlockList>>>,
    /// What is published under names.
    pub names: Mutex<Names>,
    /// Streams that are read.
    pub streams: Mutex<Streams>,
    /// Content that proved wrong lately.
    pub wrong: Mutex<LruCache<ContentId, Instant>>,
}

/// Locks; a thread that panicked in between left nothing half done in these maps.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// The ways to the threads that work a queue off.
pub(super) struct Queues {
    pub arrivals: Sender<Arrival>,
    pub to_prove: Sender<Option<Arc<Transfer>>>,
    pub to_keep: Sender<Keep>,
    pub disk_ticker: SyncSender<()>,
}

impl Shared {
    pub fn new(
        me: Weak<Self>,
        config: Config,
        store: Store,
        mailbox: Mailbox,
        queues: Queues,
        names: Names,
    ) -> Self {
        let Queues {
            arrivals,
            to_prove,
            to_keep,
            disk_ticker,
        } = queues;
        let left_over = store
            .partials()
            .into_iter()
            .map(|(id, length, present)| {
                let left = LeftOver {
                    length,
                    present,
                    since: Instant::now(),
                };
                (id, left)
            })
            .collect();
        let disk = store.device();
        let remembered = NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN);
        Self {
            me,
            cache: BlockCache::new(config.cache),
            config,
            store,
            mailbox,
            arrivals,
            unwritten: AtomicU64::new(0),
            pool: Arc::default(),
            unsynced: AtomicU64::new(0),
            to_prove,
            to_keep,
            disk_ticker,
            backlog: Backlog::default(),
            aside: Aside::new(disk),
            serving: DiskThreads::new(disk, server::LIMITS),
            stopping: AtomicBool::new(false),
            transfers: Mutex::default(),
            left_over: Mutex::new(left_over),
            lookups: Mutex::default(),
            misses: Mutex::new(LruCache::new(remembered)),
            suspects: Mutex::new(LruCache::new(remembered)),
            awaiting_nodes: Mutex::default(),
            trouble: Mutex::default(),
            claims: Mutex::new(LruCache::new(remembered)),
            block_lists: Mutex::new(LruCache::new(BLOCK_LISTS)),
            names: Mutex::new(names),
            streams: Mutex::default(),
            wrong: Mutex::new(LruCache::new(remembered)),
        }
    }

    /// Whether the node is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub fn transfer(&self, id: &ContentId) -> Option<Arc<Transfer>> {
        lock(&self.transfers).get(id).map(Arc::clone)
    }

    pub fn transfers(&self) -> Vec<Arc<Transfer>> {
        lock(&self.transfers).values().map(Arc::clone).collect()
    }

    /// Is done with a transfer. Who happens to be the last with it would close its file, which may take as
    /// long as the disk likes: that is the keeper's.
    pub fn done_with(&self, transfer: Arc<Transfer>) {
        if let Some(last) = Arc::into_inner(transfer) {
            let _ = self.to_keep.send(Keep::Ended(Box::new(last)));
        }
    }

    /// Wants `ranges` of a transfer.
    pub fn want(&self, transfer: &Transfer, ranges: Vec<ByteRange>, class: Class) {
        if !ranges.is_empty() {
            let wants = ranges.into_iter().map(|range| (range, class)).collect();
            self.mailbox.post(Command::Want(transfer.id, wants));
        }
    }

    /// Tells the network what of a transfer is still wanted after some of it no longer is.
    pub fn want_anew(&self, transfer: &Arc<Transfer>) {
        self.mailbox.post(Command::WantAnew(Arc::clone(transfer)));
    }

    /// What arrived of `range` went astray: it is fetched again if it is still wanted.
    pub fn lost(&self, id: ContentId, range: ByteRange) {
        self.mailbox.post(Command::Refetch(id, range));
        if let Some(transfer) = self.transfer(&id) {
            self.want_anew(&transfer);
        }
    }

    /// Answers the reads of `released` from the backing file and ends the others.
    pub fn release(&self, transfer: &Arc<Transfer>, released: Released) {
        for (range, ticket) in released.ready {
            self.give_awaited(transfer, range, ticket);
        }
        for (failure, ticket) in released.failed {
            ticket.fail(failure);
        }
    }

    /// Keeps what arrived in the block cache, by whole leaves: `data` where it holds them, or read
    /// back once the last piece of a leaf has come.
    pub fn remember_leaves(
        &self,
        transfer: &Transfer,
        part: ByteRange,
        data: &[u8],
        leaves: ByteRange,
    ) {
        let end = if leaves.end == transfer.length {
            leaves.end
        } else {
            leaves.end - leaves.end % LEAF
        };
        let start = leaves.start.next_multiple_of(LEAF);
        let whole = ByteRange::new(start, end.max(start));
        // Who reads later finds it on the disk.
        if whole.is_empty() || self.config.cache == 0 || transfer.is_unread() {
            return;
        }
        if whole == part {
            self.cache.put(&transfer.id, part.start, data);
            return;
        }
        super::scratch::with(whole.len(), |buffer| {
            if transfer
                .partial
                .read_at(whole.start, buffer)
                .is_ok_and(|read| read == buffer.len())
            {
                self.cache.put(&transfer.id, whole.start, buffer);
            }
        });
    }

    /// Reads, lookups and fetches that wait.
    pub fn waiting(&self) -> usize {
        let lookups: usize = lock(&self.lookups)
            .values()
            .map(|lookup| lookup.askers.len())
            .sum();
        lookups + self.aside.waiting() + self.waiting_for_bytes()
    }

    /// Reads and fetches that wait.
    pub fn waiting_for_bytes(&self) -> usize {
        self.transfers().iter().map(|t| t.waiting()).sum()
    }

    /// What is held or in flight, at most `limit` of it.
    pub fn contents(&self, limit: usize) -> Vec<ContentInfo> {
        let mut known: BTreeMap<ContentId, ContentInfo> = BTreeMap::new();
        for (id, length) in self.store.contents(limit) {
            known.insert(id, complete(id, length));
        }
        for (id, left) in lock(&self.left_over).iter() {
            // What was only looked up is neither held nor in flight.
            if left.present > 0 {
                known.entry(*id).or_insert(ContentInfo {
                    id: *id,
                    length: left.length,
                    proven: false,
                    present: left.present,
                    verified: Verified::No,
                });
            }
        }
        for transfer in self.transfers() {
            if transfer.phase() != Phase::Wrong {
                known.entry(transfer.id).or_insert_with(|| transfer.info());
            }
        }
        known.into_values().take(limit).collect()
    }

    /// Ends everything that waits.
    pub fn fail_everything(&self) {
        let lookups: Vec<Lookup> = lock(&self.lookups).drain().map(|(_, l)| l).collect();
        for asker in lookups.into_iter().flat_map(|lookup| lookup.askers) {
            asker.ticket.fail(Failure::Stopped);
        }
        self.expire_aside(None);
        self.expire_names(None);
        self.expire_streams(None);
        for transfer in self.transfers() {
            transfer.fail_all(Failure::Stopped);
        }
    }
}

/// How an error of the store ends an operation.
pub(super) fn disk_failure(error: &StoreError) -> Failure {
    Failure::Disk(error.errno())
}

/// How an error of the disk ends an operation.
pub(super) fn io_failure(error: &std::io::Error) -> Failure {
    Failure::Disk(errno(error))
}

/// The operating system's number of an error of the disk.
pub(super) fn errno(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
