//! What the threads of a node share, and the operations that span them.
//!
//! | thread | does | waits for |
//! |---|---|---|
//! | `network` | the socket, the swarm, answers from the page cache | the socket, commands |
//! | `writer` | what arrived into the store; wakes readers | arrivals |
//! | `prover` | hashes complete prefixes | transfers that grew |
//! | `keeper` | syncs, renames, learns other hashes | transfers that are proven, time |
//! | `server` | answers that must wait for the disk | asks that the page cache cannot answer |
//! | `ticker` | limits of waiting operations, idle transfers | time |
//!
//! No lock here is held across I/O, and none while a `done` is called.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use lru::LruCache;
use tracing::{debug, warn};

use super::network::Mailbox;
use super::pending::{Pending, Ticket, ValueTicket, Waiting};
use super::transfer::{Bulk, Phase, Released, Transfer, WholeWaiter};
use super::types::{Config, ContentInfo, Done, Failure};
use crate::content::{ByteRange, ContentId, LEAF};
use crate::store::{BlockCache, Content, Store, StoreError};
use crate::swarm::{Ask, Class, PeerReport, Stats};

/// Reads and lookups that may wait at once.
const MAX_WAITING: usize = 16_384;
/// How long "nobody has it" is remembered.
const MISS_LASTS: Duration = Duration::from_secs(1);
/// How long it is remembered that something exists that nobody opened.
const LOOKED_UP: Duration = Duration::from_secs(60);
/// How long it is remembered that what was sent was wrong.
const WRONG_LASTS: Duration = Duration::from_secs(60);
/// Misses and suspicions remembered.
const REMEMBERED: usize = 1024;
/// How often a whole fetch begins anew after wrong content.
const ATTEMPTS: u32 = 8;

/// What the network thread is told.
pub(super) enum Command {
    Find(ContentId),
    Want(ContentId, Vec<(ByteRange, Class)>),
    /// Searches for it no more; what is known of its sources stays.
    Rest(ContentId),
    /// Wants what the transfer wants when this is handled, and nothing else of it.
    WantAnew(Arc<Transfer>),
    /// Finds what is partly held, of this length.
    Resume(ContentId, u64),
    Forget(ContentId),
    /// What arrived of it is gone: it may be wanted again.
    Refetch(ContentId, ByteRange),
    Distrust(ContentId, Vec<SocketAddr>),
    /// Fetches from this source alone, to find a liar; `None`: from all again.
    Only(ContentId, Option<SocketAddr>),
    Read(Read),
    Report(Sender<Report>),
    Stop,
}

/// What the server thread has read for a peer.
pub(super) struct Read {
    pub ask: Ask,
    /// One for each question: length and bytes, or that it is not here.
    pub answers: Vec<Option<(u64, Vec<u8>)>>,
    /// Content that was opened for it, for the next questions.
    pub opened: Vec<(ContentId, Content)>,
}

/// The state of the network thread, for people.
pub(super) struct Report {
    pub stats: Stats,
    pub peers: Vec<PeerReport>,
    pub fetches: HashMap<ContentId, crate::swarm::FetchReport>,
    pub good_peers: Vec<SocketAddr>,
    pub overflowed: u32,
}

/// What the writer thread is given.
pub(super) enum Arrival {
    Found(ContentId, u64),
    Data {
        id: ContentId,
        offset: u64,
        data: Vec<u8>,
        from: SocketAddr,
    },
    Stop,
}

/// What the keeper thread is given.
pub(super) enum Keep {
    Proven(Arc<Transfer>),
    /// Nobody needs it any more; what it holds is made durable.
    Idle(Arc<Transfer>),
    /// Much has been written since the last sync.
    Sync,
    /// Peers that answer, to be written down.
    Peers(Vec<SocketAddr>),
    Stop,
}

/// Content of which a length and perhaps a part is known, and that nobody has open.
#[derive(Clone, Copy)]
struct LeftOver {
    length: u64,
    present: u64,
    since: Instant,
}

/// A lookup that waits: one id, several askers.
#[derive(Default)]
struct Lookup {
    askers: Vec<Asker>,
}

struct Asker {
    ticket: Arc<ValueTicket<ContentInfo>>,
    deadline: Instant,
    /// The operation that the lookup is a part of.
    part_of: Option<Arc<dyn Waiting>>,
}

impl Asker {
    /// Whether nobody waits for it any more.
    fn is_over(&self) -> bool {
        self.ticket.is_done() || self.part_of.as_ref().is_some_and(|whole| whole.is_done())
    }
}

/// Peers of whom one supplied wrong bytes, and who of them is on trial now.
struct Suspects {
    on_trial: SocketAddr,
    others: Vec<SocketAddr>,
    since: Instant,
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
    /// Bytes written to partial content since the keeper last synced it.
    pub unsynced: AtomicU64,
    pub to_prove: Sender<Option<Arc<Transfer>>>,
    pub to_keep: Sender<Keep>,
    pub stopping: AtomicBool,
    transfers: Mutex<HashMap<ContentId, Arc<Transfer>>>,
    /// Partial content of earlier runs that nobody has opened yet, by length.
    left_over: Mutex<HashMap<ContentId, LeftOver>>,
    lookups: Mutex<HashMap<ContentId, Lookup>>,
    misses: Mutex<LruCache<ContentId, Instant>>,
    suspects: Mutex<LruCache<ContentId, Suspects>>,
    /// Content that proved wrong lately.
    wrong: Mutex<LruCache<ContentId, Instant>>,
}

/// Locks; a thread that panicked in between left nothing half done in these maps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Shared {
    pub fn new(
        me: Weak<Self>,
        config: Config,
        store: Store,
        mailbox: Mailbox,
        arrivals: Sender<Arrival>,
        to_prove: Sender<Option<Arc<Transfer>>>,
        to_keep: Sender<Keep>,
    ) -> Self {
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
        let remembered = NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN);
        Self {
            me,
            cache: BlockCache::new(config.cache),
            config,
            store,
            mailbox,
            arrivals,
            unwritten: AtomicU64::new(0),
            unsynced: AtomicU64::new(0),
            to_prove,
            to_keep,
            stopping: AtomicBool::new(false),
            transfers: Mutex::default(),
            left_over: Mutex::new(left_over),
            lookups: Mutex::default(),
            misses: Mutex::new(LruCache::new(remembered)),
            suspects: Mutex::new(LruCache::new(remembered)),
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

    /// What is known of `id` without asking anybody.
    pub fn known(&self, id: ContentId) -> Option<ContentInfo> {
        if id.is_empty_content() {
            return Some(ContentInfo {
                id,
                length: 0,
                proven: true,
                present: 0,
            });
        }
        if self.store.may_hold(&id)
            && let Ok(Some(content)) = self.store.open_content(&id)
        {
            return Some(ContentInfo {
                id,
                length: content.length(),
                proven: true,
                present: content.length(),
            });
        }
        if let Some(transfer) = self.transfer(&id)
            && transfer.phase() != Phase::Wrong
        {
            return Some(transfer.info());
        }
        let left = *lock(&self.left_over).get(&id)?;
        Some(ContentInfo {
            id,
            length: left.length,
            proven: false,
            present: left.present,
        })
    }

    /// Finds out whether `id` exists and how long it is.
    pub fn lookup(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Pending> {
        self.lookup_as_part(id, None, done)
    }

    fn lookup_as_part(
        &self,
        id: ContentId,
        part_of: Option<Arc<dyn Waiting>>,
        done: Done<ContentInfo>,
    ) -> Option<Pending> {
        if let Some(info) = self.known(id) {
            done(Ok(info));
            return None;
        }
        if self.is_stopping() {
            done(Err(Failure::Stopped));
            return None;
        }
        let now = Instant::now();
        let missed = lock(&self.misses)
            .peek(&id)
            .is_some_and(|at| now.duration_since(*at) < MISS_LASTS);
        if missed {
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
            lookups.entry(id).or_default().askers.push(Asker {
                ticket: Arc::clone(&ticket),
                deadline,
                part_of,
            });
            self.mailbox.post(Command::Find(id));
        }
        // The last sweep of a node that stops may have come just before.
        if self.is_stopping() {
            ticket.fail(Failure::Stopped);
        }
        Some(Pending::new(ticket, id, self.me.clone()))
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
    pub fn found(&self, id: ContentId, length: u64) {
        if let Some(transfer) = self.transfer(&id)
            && transfer.length != length
            && transfer.phase() == Phase::Arriving
        {
            debug!(%id, length, "another length than before is claimed by most");
            self.is_wrong(&transfer, true);
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
        };
        for asker in lookup.askers {
            if let Some(done) = asker.ticket.take() {
                done(Ok(info.clone()));
            }
        }
    }

    /// The transfer of `id`, begun or resumed where there is none.
    pub fn begin(&self, id: ContentId, length: u64) -> Result<Arc<Transfer>, Failure> {
        if let Some(transfer) = self.transfer(&id)
            && transfer.phase() != Phase::Wrong
            && transfer.length == length
        {
            return Ok(transfer);
        }
        let partial = self
            .store
            .partial(&id, length)
            .map_err(|error| disk_failure(&error))?;
        let fresh = Arc::new(Transfer::new(partial));
        let (transfer, replaced) = {
            let mut transfers = lock(&self.transfers);
            let (transfer, replaced) = match transfers.get(&id) {
                Some(other) if other.phase() != Phase::Wrong && other.length == length => {
                    (Arc::clone(other), None)
                }
                _ => {
                    let replaced = transfers.insert(id, Arc::clone(&fresh));
                    (fresh, replaced)
                }
            };
            lock(&self.left_over).remove(&id);
            self.mailbox.post(Command::Resume(id, length));
            (transfer, replaced)
        };
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
                    Ok(info) => node.await_whole(id, info.length, waiter),
                    Err(failure) => {
                        waiter.ticket.fail(failure);
                    }
                }
            }),
        );
    }

    fn await_whole(&self, id: ContentId, length: u64, waiter: WholeWaiter) {
        if waiter.ticket.is_done() {
            return;
        }
        if self.is_stopping() {
            waiter.ticket.fail(Failure::Stopped);
            return;
        }
        let transfer = match self.begin(id, length) {
            Ok(transfer) => transfer,
            Err(failure) => {
                waiter.ticket.fail(failure);
                return;
            }
        };
        match transfer.await_whole(waiter) {
            Ok(()) => {
                let missing = transfer.complete_in_bulk(Bulk::Fetch);
                self.want(&transfer, missing, Class::Bulk);
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

    /// Answers the reads of `released` from the backing file and ends the others.
    pub fn release(&self, transfer: &Transfer, released: Released) {
        for (range, ticket) in released.ready {
            if let Some(done) = ticket.take() {
                self.read_partial(transfer, range, done);
            }
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
        if whole.is_empty() || self.config.cache == 0 {
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

    /// Gives the bytes of `range`, which are all here, to `done`: from the cache or the disk.
    pub fn read_partial(&self, transfer: &Transfer, range: ByteRange, done: super::DoneRead) {
        super::scratch::with(range.len(), |buffer| {
            if self.cache.get(&transfer.id, range.start, buffer) {
                done(Ok(buffer));
                return;
            }
            match transfer.partial.read_at(range.start, buffer) {
                Ok(length) if length == buffer.len() => done(Ok(buffer)),
                Ok(_) => done(Err(Failure::Disk(libc::EIO))),
                Err(error) => done(Err(io_failure(&error))),
            }
        });
    }

    /// The whole of a transfer is not what its id says, or (`other_length`) most peers say that it
    /// has another length. All its bytes are given up, who waits for the whole begins anew.
    pub fn is_wrong(&self, transfer: &Arc<Transfer>, other_length: bool) {
        let id = transfer.id;
        let (mut released, suppliers) = transfer.is_wrong();
        let wholes = std::mem::take(&mut released.wholes);
        // The files go first: who begins anew must not find them.
        transfer.partial.discard();
        self.cache.forget(&id);
        {
            let mut transfers = lock(&self.transfers);
            let current = transfers
                .get(&id)
                .is_some_and(|current| Arc::ptr_eq(current, transfer));
            if current {
                transfers.remove(&id);
            }
            if current || !transfers.contains_key(&id) {
                self.mailbox.post(Command::WantAnew(Arc::clone(transfer)));
                self.mailbox
                    .post(Command::Refetch(id, ByteRange::new(0, u64::MAX)));
            }
        }
        if !other_length {
            warn!(%id, suppliers = suppliers.len(), "what the peers sent is not this content");
            lock(&self.wrong).put(id, Instant::now());
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

    /// The content is in the store: the swarm need not fetch it any more.
    pub fn is_kept(&self, transfer: &Arc<Transfer>) {
        let id = transfer.id;
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

    /// Ends lookups whose limit has passed.
    pub fn expire_lookups(&self, now: Instant) {
        let mut ended = Vec::new();
        lock(&self.lookups).retain(|id, lookup| {
            lookup.askers.retain(|asker| {
                if asker.is_over() {
                    return false;
                }
                if now < asker.deadline {
                    return true;
                }
                ended.push((*id, Arc::clone(&asker.ticket)));
                false
            });
            if lookup.askers.is_empty() {
                self.mailbox.post(Command::Forget(*id));
            }
            !lookup.askers.is_empty()
        });
        for (id, ticket) in ended {
            lock(&self.misses).put(id, now);
            ticket.fail(self.miss(id, now));
        }
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

    /// Reads, lookups and fetches that wait.
    pub fn waiting(&self) -> usize {
        let lookups: usize = lock(&self.lookups)
            .values()
            .map(|lookup| lookup.askers.len())
            .sum();
        let transfers = self.transfers();
        lookups + transfers.iter().map(|t| t.waiting()).sum::<usize>()
    }

    /// What is held or in flight, at most `limit` of it.
    pub fn contents(&self, limit: usize) -> Vec<ContentInfo> {
        let mut known: BTreeMap<ContentId, ContentInfo> = BTreeMap::new();
        for (id, length) in self.store.contents(limit) {
            known.insert(
                id,
                ContentInfo {
                    id,
                    length,
                    proven: true,
                    present: length,
                },
            );
        }
        for (id, left) in lock(&self.left_over).iter() {
            // What was only looked up is neither held nor in flight.
            if left.present > 0 {
                known.entry(*id).or_insert(ContentInfo {
                    id: *id,
                    length: left.length,
                    proven: false,
                    present: left.present,
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
    Failure::Disk(error.raw_os_error().unwrap_or(libc::EIO))
}
