//! The network thread: moves datagrams between the socket and the swarm, and does what the swarm
//! says. It never waits for a disk, a hash or a reader.

mod answers;
mod commands;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lru::LruCache;
use tracing::debug;

use super::batches::{BATCH, ReceiveBatch, SendBatch};
use super::claims::Claim;
use super::lan::Beacons;
use super::messages::Arrival;
use super::shared::Shared;
use super::socket::Socket;
use crate::content::{ContentId, Hash};
use crate::store::Content;
use crate::swarm::{Event, Swarm, Time};

/// Content that is kept open for serving.
const OPEN: usize = 128;
/// Hash pairs that are kept at hand for who asks for them.
const PAIRS: usize = 1024;
/// Content bytes that may wait to be written; the swarm asks for less as they grow.
const MAX_UNWRITTEN: u64 = 20 << 20;
/// Datagrams that may wait for the socket: 14 MB of the largest answers.
const MAX_BACKLOG: usize = 4 * BATCH;
/// Batches taken from the socket before something else has its turn.
const BATCHES_A_TURN: usize = 4;

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
    beacons: Option<Beacons>,
    /// Content bytes that the socket's buffer can take.
    receive_budget: u64,
    /// Whether the kernel takes filters, and what it had dropped when it was given the last one.
    sifts: bool,
    drops: u64,
    scratch: Vec<u8>,
}

impl Network {
    pub fn new(shared: Arc<Shared>, socket: Socket, swarm: Swarm, started: Instant) -> Self {
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
            // What came by then has been read: only by then is it known what has not come. This thread may
            // get no time for longer than an answer may take, and the answers are in the socket.
            let mut heard_until = Time::ZERO;
            for _ in 0..BATCHES_A_TURN {
                heard_until = self.now();
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
            let now = heard_until;
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

    fn handle_events(&mut self) {
        loop {
            // What nobody has room for waits in the swarm, where it takes fair turns.
            let disk_busy = self.shared.serving.is_full();
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
