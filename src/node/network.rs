//! The network thread: moves datagrams between the socket and the swarm, and does what the swarm
//! says. It never waits for a disk, a hash or a reader.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lru::LruCache;
use tracing::debug;

use super::batches::{BATCH, ReceiveBatch, SendBatch};
use super::claims::Claim;
use super::lan::Beacons;
use super::messages::{Arrival, Command, Found, Keep, Lists, Read, Report};
use super::shared::Shared;
use super::socket::{Socket, Waker};
use super::transfer::Transfer;
use crate::content::{ByteRange, ContentId, Hash};
use crate::store::Content;
use crate::swarm::{Answer, Ask, Event, Held, KnownBlake3, MAX_ANSWER, Swarm, Time};

/// Content that is kept open for serving.
const OPEN: usize = 128;
/// Hash pairs that are kept at hand for who asks for them.
const PAIRS: usize = 1024;
/// Asks that may wait for the disk; further ones are dropped, as the network would.
pub(super) const MAX_DISK_ASKS: usize = 1024;
/// Content bytes that may wait to be written; the swarm asks for less as they grow.
const MAX_UNWRITTEN: u64 = 20 << 20;
/// Datagrams that may wait for the socket: 14 MB of the largest answers.
const MAX_BACKLOG: usize = 4 * BATCH;
/// Batches taken from the socket before something else has its turn.
const BATCHES_A_TURN: usize = 4;

/// Commands to the network thread.
pub(super) struct Mailbox {
    commands: Mutex<VecDeque<Command>>,
    waker: Waker,
}

impl Mailbox {
    pub fn new(waker: Waker) -> Self {
        Self {
            commands: Mutex::default(),
            waker,
        }
    }

    pub fn post(&self, command: Command) {
        let mut commands = self.commands.lock().unwrap_or_else(|e| e.into_inner());
        let first = commands.is_empty();
        commands.push_back(command);
        drop(commands);
        if first {
            self.waker.wake();
        }
    }

    fn take(&self) -> VecDeque<Command> {
        std::mem::take(&mut *self.commands.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

/// The network thread's own.
pub(super) struct Network {
    shared: Arc<Shared>,
    socket: Socket,
    swarm: Swarm,
    started: Instant,
    outgoing: SendBatch,
    /// Open content, by id.
    open: LruCache<ContentId, Content>,
    /// BLAKE3s and lengths of content by SHA-256 that was asked for.
    pairs: LruCache<ContentId, (Hash, u64)>,
    /// How often the store had given up content when these were opened.
    given_up: u64,
    to_disk: Sender<Option<Ask>>,
    disk_asks: Arc<AtomicUsize>,
    beacons: Option<Beacons>,
    /// Content bytes that the socket's buffer can take.
    receive_budget: u64,
    /// Whether the kernel takes filters, and what it had dropped when it was given the last one.
    sifts: bool,
    drops: u64,
    scratch: Vec<u8>,
}

impl Network {
    pub fn new(
        shared: Arc<Shared>,
        socket: Socket,
        swarm: Swarm,
        started: Instant,
        to_disk: Sender<Option<Ask>>,
        disk_asks: Arc<AtomicUsize>,
    ) -> Self {
        let beacons = shared.config.lan.then(|| Beacons::new(started));
        // The kernel counts its bookkeeping too, base64 adds a third, and a burst of other
        // traffic needs room as well: about a quarter of the buffer is content.
        let receive_budget = (socket.receive_buffer() as u64 / 4).max(128 << 10);
        Self {
            shared,
            socket,
            swarm,
            started,
            outgoing: SendBatch::new(),
            open: LruCache::new(NonZeroUsize::new(OPEN).unwrap_or(NonZeroUsize::MIN)),
            pairs: LruCache::new(NonZeroUsize::new(PAIRS).unwrap_or(NonZeroUsize::MIN)),
            given_up: 0,
            to_disk,
            disk_asks,
            beacons,
            receive_budget,
            sifts: true,
            drops: 0,
            scratch: Vec::new(),
        }
    }

    fn now(&self) -> Time {
        Time::from_start(self.started.elapsed())
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        let mut incoming = ReceiveBatch::new();
        loop {
            if !self.handle_commands() {
                return;
            }
            let mut idle = true;
            let mut emptied = false;
            for _ in 0..BATCHES_A_TURN {
                match self.socket.receive(&mut incoming) {
                    Ok(received) => {
                        idle = false;
                        let now = self.now();
                        for data in self.shared.pool.take_returned() {
                            self.swarm.reuse(data);
                        }
                        for (from, datagram) in incoming.datagrams() {
                            self.swarm.handle_datagram(now, from, datagram);
                        }
                        self.handle_events();
                        self.transmit();
                        emptied = received < BATCH;
                    }
                    Err(error) => {
                        if error.kind() != io::ErrorKind::WouldBlock {
                            debug!(%error, "receiving failed");
                        }
                        emptied = true;
                    }
                }
                if emptied {
                    break;
                }
            }
            self.swarm.set_crowded(!emptied && self.socket.is_crowded());
            let now = self.now();
            self.sift(now);
            if self.swarm.poll_timeout().is_some_and(|due| due <= now) {
                self.swarm.handle_timeout(now);
            }
            self.adjust_budget();
            self.handle_events();
            self.send_beacons();
            self.transmit();
            if idle {
                self.wait();
            }
        }
    }

    /// Has the kernel drop what the swarm would not read. Where it does not, that is how it stays.
    fn sift(&mut self, now: Time) {
        if !self.sifts || self.swarm.sieve_due().is_none_or(|due| now < due) {
            return;
        }
        let drops = self.socket.drops().total();
        let dropped = drops.saturating_sub(self.drops);
        self.drops = drops;
        if let Some(sieve) = self.swarm.sieve(now, dropped)
            && let Err(error) = self.socket.sift(&sieve)
        {
            debug!(%error, "the kernel sifts no datagrams");
            self.sifts = false;
            self.swarm.cannot_sift();
        }
    }

    fn wait(&mut self) {
        let now = self.now();
        let due = [
            self.swarm.poll_timeout(),
            self.swarm.sieve_due().filter(|_| self.sifts),
        ];
        let mut timeout = due
            .into_iter()
            .flatten()
            .min()
            .map_or(Duration::from_secs(1), |due| due.since(now));
        if let Some(beacons) = &self.beacons {
            timeout = timeout.min(beacons.due_in(Instant::now()));
        }
        // While arrivals wait to be written the swarm may be held back with nothing in flight.
        if self.shared.unwritten.load(Ordering::Relaxed) > MAX_UNWRITTEN / 2 {
            timeout = timeout.min(Duration::from_millis(1));
        }
        if !self.outgoing.is_empty() {
            // What the swarm wants to send next must wait anyway.
            timeout = timeout.max(Duration::from_millis(1));
        }
        self.socket.wait(Some(timeout), !self.outgoing.is_empty());
    }

    fn adjust_budget(&mut self) {
        let unwritten = self.shared.unwritten.load(Ordering::Relaxed);
        let room = MAX_UNWRITTEN.saturating_sub(unwritten);
        self.swarm.set_receive_budget(self.receive_budget.min(room));
    }

    /// Does what other threads want; `false`: stop.
    fn handle_commands(&mut self) -> bool {
        for command in self.shared.mailbox.take() {
            let now = self.now();
            match command {
                Command::Find(id) => self.swarm.find(now, id),
                Command::Want(id, wants) => {
                    for (range, class) in wants {
                        self.swarm.want(now, id, range, class);
                    }
                }
                Command::WantAnew(transfer) => self.want_anew(now, &transfer),
                Command::Resume(id, length, held) => self.swarm.resume(now, id, length, held),
                Command::LengthIsProven(id, length) => self.swarm.prove_length(id, length),
                Command::Rest(id) => self.swarm.rest(id),
                Command::Forget(id) => self.swarm.forget(id),
                Command::Refetch(id, range) => self.swarm.refetch(id, range),
                Command::Distrust(id, peers) => {
                    for peer in peers {
                        self.swarm.distrust(now, id, peer);
                    }
                }
                Command::Only(id, peer) => self.swarm.only_from(now, id, peer),
                Command::AskAgain(id, range, besides) => {
                    self.swarm.ask_again(now, id, range, &besides);
                }
                Command::Suspend(id, peers) => {
                    for peer in peers {
                        self.swarm.suspend(id, peer);
                    }
                }
                Command::Reinstate(id) => self.swarm.reinstate(id),
                Command::Refute(id, blake3) => self.swarm.refute(now, id, blake3),
                Command::PassOver(id, blake3) => self.swarm.pass_over(id, blake3),
                Command::FragmentsFail => self.swarm.fragments_fail(now),
                Command::Moved => self.swarm.handle_move(now),
                Command::Read(read) => self.answer_read(&read),
                Command::Report(to) => {
                    let _ = to.send(self.report());
                }
                Command::Lists { ask, to } => {
                    if ask {
                        self.swarm.ask_for_lists(now);
                    }
                    let _ = to.send(Lists {
                        now,
                        listed: self.swarm.listed(),
                        awaited: self.swarm.lists_awaited(now),
                    });
                }
                Command::Explain(id, to) => {
                    let _ = to.send(self.swarm.explain(now, id));
                }
                Command::KnowLatest(latest) => self.swarm.know_latest(now, *latest, true),
                Command::ForgetLatest(of) => self.swarm.forget_latest(&of),
                Command::WantBlocks(of, blocks) => {
                    for (offset, have) in blocks {
                        self.swarm.want_block(now, &of, offset, have);
                    }
                }
                Command::UnwantBlocks(of) => self.swarm.unwant_blocks(&of),
                Command::AskLatest(of, limit) => self.swarm.ask_latest(now, &of, limit),
                Command::Stop => return false,
            }
        }
        true
    }

    /// Wants of a transfer just what it wants at this moment. It is asked here, on the thread that
    /// wants are posted to, so that no want that was posted meanwhile is undone.
    fn want_anew(&mut self, now: Time, transfer: &Arc<Transfer>) {
        let id = transfer.id;
        let current = self.shared.transfer(&id);
        if current.is_some_and(|current| !Arc::ptr_eq(&current, transfer)) {
            return;
        }
        self.swarm.unwant(id, ByteRange::new(0, u64::MAX));
        for (range, class) in transfer.wants() {
            self.swarm.want(now, id, range, class);
        }
    }

    fn report(&mut self) -> Report {
        let now = self.now();
        Report {
            stats: self.swarm.stats(),
            peers: self.swarm.peer_reports(now),
            fetches: self
                .swarm
                .fetch_reports()
                .into_iter()
                .map(|report| (report.id, report))
                .collect::<HashMap<_, _>>(),
            good_peers: self.swarm.good_peers(now, 200),
            drops: self.socket.drops(),
        }
    }

    fn handle_events(&mut self) {
        loop {
            // What nobody has room for waits in the swarm, where it takes fair turns.
            let disk_busy = self.disk_asks.load(Ordering::Relaxed) >= MAX_DISK_ASKS;
            self.swarm.hold_asks(disk_busy || self.outgoing.is_full());
            let Some(event) = self.swarm.poll_event() else {
                break;
            };
            match event {
                Event::Found { id, length } => {
                    let _ = self.shared.arrivals.send(Arrival::Found(id, length));
                }
                Event::Data {
                    id,
                    offset,
                    data,
                    from,
                } => {
                    self.shared
                        .unwritten
                        .fetch_add(data.len() as u64, Ordering::Relaxed);
                    let _ = self.shared.arrivals.send(Arrival::Data {
                        id,
                        offset,
                        data,
                        from,
                    });
                }
                Event::Claimed {
                    id,
                    length,
                    blake3,
                    by,
                } => {
                    let claim = Claim {
                        length,
                        blake3,
                        by: by.into_iter().collect(),
                    };
                    let _ = self.shared.arrivals.send(Arrival::Claimed(id, claim));
                }
                Event::Again { id, range, answer } => {
                    let _ = self.shared.arrivals.send(Arrival::Again(id, range, answer));
                }
                Event::Asked(ask) => self.handle_ask(ask),
                Event::Latest(latest) => self.shared.found_latest(latest),
                Event::Block(block) => {
                    let _ = self.shared.arrivals.send(Arrival::Block(block));
                }
                Event::LatestAsked { of, answered } => {
                    let _ = self
                        .shared
                        .arrivals
                        .send(Arrival::LatestAsked(of, answered));
                }
            }
        }
    }

    /// Answers at once what is not here at all or lies in the page cache; the rest goes to the
    /// server thread.
    fn handle_ask(&mut self, mut ask: Ask) {
        if self.outgoing.len() >= MAX_BACKLOG {
            // The uplink is slower than what is asked of us: dropped, as the network would.
            return;
        }
        self.close_given_up();
        let mut scratch = std::mem::take(&mut self.scratch);
        let answered = self.answer_from_memory(&mut ask, &mut scratch);
        self.scratch = scratch;
        if answered {
            return;
        }
        if self.disk_asks.load(Ordering::Relaxed) < MAX_DISK_ASKS {
            self.disk_asks.fetch_add(1, Ordering::Relaxed);
            let _ = self.to_disk.send(Some(ask));
        }
    }

    /// Content that was given up is served no more, and its blocks are freed.
    fn close_given_up(&mut self) {
        let given_up = self.shared.store.given_up();
        if given_up != self.given_up {
            self.given_up = given_up;
            let mut files = Vec::with_capacity(self.open.len());
            while let Some((_, content)) = self.open.pop_lru() {
                files.push(content);
            }
            let _ = self.shared.to_keep.send(Keep::Close(files));
        }
    }

    fn answer_from_memory(&mut self, ask: &mut Ask, scratch: &mut Vec<u8>) -> bool {
        if ask.list {
            return false;
        }
        let Some(parts) = self.parts_from_memory(ask) else {
            return false;
        };
        let Some(blake3) = self.blake3_from_memory(ask) else {
            return false;
        };
        ask.parts = parts;
        ask.blake3 = blake3;
        let needed = ask.questions.len() * MAX_ANSWER as usize;
        if scratch.len() < needed {
            // Never shorter again: what is left out here is cleared anew at the next resize.
            scratch.resize(needed, 0);
        }
        let mut answers = Vec::with_capacity(ask.questions.len());
        for (question, room) in ask
            .questions
            .iter()
            .zip(scratch.chunks_exact_mut(MAX_ANSWER as usize))
        {
            if !self.shared.store.may_hold(&question.id) {
                if self.shared.vouching(&question.id).is_some() {
                    return false;
                }
                answers.push(Answer::Absent);
                continue;
            }
            let Some(content) = self.open.get(&question.id) else {
                return false;
            };
            let eof = content.length();
            let range = question.range(eof);
            let Some(room) = room.get_mut(..range.len() as usize) else {
                return false;
            };
            match content.read_at_nowait(range.start, room) {
                Ok(Some(read)) if read == room.len() && content.still_valid() => {
                    answers.push(Answer::Content { eof, data: room });
                }
                Ok(None) => return false,
                // Changed, or unreadable: the server thread opens it anew, or finds it gone.
                Ok(Some(_)) | Err(_) => {
                    self.open.pop(&question.id);
                    return false;
                }
            }
        }
        self.send_answer(ask, &answers);
        true
    }

    /// What is held of the ids whose parts are asked for; `None`: the disk has to be asked.
    fn parts_from_memory(&mut self, ask: &Ask) -> Option<Vec<Held>> {
        let mut parts = Vec::new();
        for id in &ask.parts_of {
            if self.shared.store.may_hold(id) {
                parts.push(Held::whole(*id, self.open.get(id)?.length()));
            } else if let Some(transfer) = self.shared.vouching(id) {
                parts.push(transfer.vouched_parts());
            }
        }
        Some(parts)
    }

    /// The BLAKE3s that are asked for; `None`: the index has to be asked.
    fn blake3_from_memory(&mut self, ask: &Ask) -> Option<Vec<KnownBlake3>> {
        let mut found = Vec::new();
        for id in &ask.blake3_of {
            if self.shared.store.may_hold(id) || self.shared.vouching(id).is_some() {
                let pair = self.pairs.get(id)?;
                found.push((*id, Some(*pair)));
            } else {
                found.push((*id, None));
            }
        }
        Some(found)
    }

    fn answer_read(&mut self, read: &Read) {
        for (id, pair) in &read.ask.blake3 {
            if let Some(pair) = pair {
                self.pairs.put(*id, *pair);
            }
        }
        if read.given_up == self.given_up {
            for (id, content) in &read.opened {
                self.open.put(*id, content.clone());
            }
        }
        if self.outgoing.len() >= MAX_BACKLOG {
            return;
        }
        let answers: Vec<Answer<'_>> = read
            .answers
            .iter()
            .map(|found| match found {
                Found::Content(eof, data) => Answer::Content { eof: *eof, data },
                Found::OtherParts(held) => Answer::OtherParts(held),
                Found::Nothing => Answer::Absent,
            })
            .collect();
        self.send_answer(&read.ask, &answers);
    }

    fn send_answer(&mut self, ask: &Ask, answers: &[Answer<'_>]) {
        let now = self.now();
        let mut datagram = self.outgoing.buffer();
        match self.swarm.answer(now, ask, answers, &mut datagram) {
            Some(to) => {
                self.outgoing.push(to, datagram);
                if self.outgoing.is_full() {
                    self.flush();
                }
            }
            None => self.outgoing.give_back(datagram),
        }
    }

    fn send_beacons(&mut self) {
        let Some(beacons) = &mut self.beacons else {
            return;
        };
        for to in beacons.take_due(Instant::now()) {
            let mut datagram = self.outgoing.buffer();
            self.swarm.write_beacon(&mut datagram);
            self.outgoing.push(to, datagram);
        }
    }

    /// Sends what the swarm has to say, as much as the socket takes.
    fn transmit(&mut self) {
        loop {
            while !self.outgoing.is_full() {
                let mut datagram = self.outgoing.buffer();
                let now = self.now();
                match self.swarm.poll_transmit(now, &mut datagram) {
                    Some(to) => self.outgoing.push(to, datagram),
                    None => {
                        self.outgoing.give_back(datagram);
                        break;
                    }
                }
            }
            let more = self.outgoing.is_full();
            if !self.flush() || !more {
                return;
            }
        }
    }

    /// Sends what is in the batch; `false` when the socket takes no more for now.
    fn flush(&mut self) -> bool {
        while !self.outgoing.is_empty() {
            if let Err(error) = self.socket.send(&mut self.outgoing) {
                if error.kind() != io::ErrorKind::WouldBlock {
                    debug!(%error, "sending failed");
                }
                return false;
            }
        }
        true
    }
}

/// The addresses of `peers` as the swarm knows them.
pub(super) fn resolve(peers: &[&str]) -> Vec<SocketAddr> {
    peers.iter().filter_map(|peer| peer.parse().ok()).collect()
}
