//! The network: a heap of events in virtual time, and hosts that know of it only what a socket and
//! a timer would tell them.
//!
//! Everything that happens is an event with a moment and a serial number; events of one moment run
//! in the order in which they were made, and all chance comes from one seeded generator. So a run is
//! a function of its seed, and [`Network::trace`] is a hash of it by which two runs are compared.
//! Every IP packet is an event of its own: loss, queues and reassembly see fragments, not datagrams.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use cjp2pfs::swarm::Time;

use crate::agenda::Agenda;
pub use crate::host::{Action, Host, Outgoing};
use crate::link::{Access, Fragments, Pipe, Reassembly, Waits, packet_sizes};
use crate::rng::{Rng, digest, mix};
use crate::traffic::Traffic;

/// Index of a host, in the order in which they were added.
pub type HostId = usize;

struct Datagram {
    serial: u64,
    from: SocketAddr,
    payload: Vec<u8>,
    packets: u32,
    corrupted: bool,
}

enum Event<H> {
    Packet {
        to: HostId,
        datagram: Rc<Datagram>,
        index: u32,
        bytes: u64,
    },
    Deliver {
        to: HostId,
        datagram: Rc<Datagram>,
    },
    Timer {
        host: HostId,
        at: Time,
    },
    Script {
        host: HostId,
        action: Action<H>,
    },
}

struct Slot<H> {
    host: H,
    address: SocketAddr,
    up: Pipe,
    down: Pipe,
    mtu: usize,
    fragments: Fragments,
    reassembly_limit: u64,
    reassembly: Reassembly,
    alive: bool,
    /// While the program stands still.
    queued: Option<Vec<Rc<Datagram>>>,
    armed: Option<Time>,
    traffic: Traffic,
    /// How often its timer ran without time passing.
    idle_turns: u32,
}

/// How late a timer fires: the kernel's default timer slack. It also lets time pass under a state
/// machine that asks to be woken at once, over and over.
const TIMER_SLACK: Duration = Duration::from_micros(50);

/// Datagrams that a host may send in one moment before the run is given up as endless.
const MOST_IN_A_MOMENT: usize = 200_000;

/// Datagrams that wait for a program that stands still.
const SOCKET_BUFFER: usize = 256;

/// Turns of a host's timer, each as soon as possible, after which the run is given up as spinning.
const MOST_IDLE_TURNS: u32 = 100_000;

pub struct Network<H> {
    now: Time,
    rng: Rng,
    slots: Vec<Slot<H>>,
    routes: BTreeMap<SocketAddr, HostId>,
    distances: BTreeMap<(HostId, HostId), Duration>,
    /// When the last packet of a path arrives, so that jitter does not reorder.
    arrivals: BTreeMap<(HostId, HostId), Time>,
    agenda: Agenda<Event<H>>,
    /// Datagrams sent by anybody.
    datagrams: u64,
    trace: u64,
    events: u64,
}

impl<H: Host> Network<H> {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Time::ZERO,
            rng: Rng::new(seed),
            slots: Vec::new(),
            routes: BTreeMap::new(),
            distances: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            agenda: Agenda::new(),
            datagrams: 0,
            trace: 0,
            events: 0,
        }
    }

    /// Attaches a host at `address`; it is first given the chance to send when the run goes on.
    pub fn add(&mut self, address: SocketAddr, access: Access, host: H) -> HostId {
        let id = self.slots.len();
        assert!(
            self.routes.insert(address, id).is_none(),
            "{address} is taken"
        );
        self.slots.push(Slot {
            host,
            address,
            up: Pipe::new(access.up),
            down: Pipe::new(access.down),
            mtu: access.mtu,
            fragments: access.fragments,
            reassembly_limit: access.reassembly,
            reassembly: Reassembly::default(),
            alive: true,
            queued: None,
            armed: None,
            traffic: Traffic::default(),
            idle_turns: 0,
        });
        self.schedule(self.now, id, Action::Do(Box::new(|_, _| ())));
        id
    }

    pub fn now(&self) -> Time {
        self.now
    }

    pub fn host(&self, id: HostId) -> &H {
        &self.slots[id].host
    }

    pub fn hosts(&self) -> impl Iterator<Item = &H> {
        self.slots.iter().map(|slot| &slot.host)
    }

    pub fn traffic(&self, id: HostId) -> &Traffic {
        &self.slots[id].traffic
    }

    /// Bytes a second of this host's downlink.
    pub fn down_rate(&self, id: HostId) -> u64 {
        self.slots[id].down.link.rate
    }

    /// What packets waited in this host's queues, on the way out and on the way in.
    pub fn waits(&self, id: HostId) -> (&Waits, &Waits) {
        (self.slots[id].up.waits(), self.slots[id].down.waits())
    }

    /// Bytes that incomplete datagrams hold at this host now.
    pub fn reassembly_memory(&self, id: HostId) -> u64 {
        self.slots[id].reassembly.memory()
    }

    /// Datagrams that could not be put together at this host, as `ReasmFails` counts them.
    pub fn reassembly_failures(&self, id: HostId) -> u64 {
        self.slots[id].reassembly.failures
    }

    /// A hash of all that happened so far, in order.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// Events handled so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// A further delay between two hosts, both ways, on top of their links' own.
    pub fn set_distance(&mut self, a: HostId, b: HostId, delay: Duration) {
        self.distances.insert((a.min(b), a.max(b)), delay);
    }

    /// Has `action` happen to `host` at a moment.
    pub fn schedule(&mut self, at: Time, host: HostId, action: Action<H>) {
        self.agenda.push(at, Event::Script { host, action });
    }

    /// Runs until `limit`, or until `done` holds (looked at after every datagram handed over and
    /// every timer); true when `done` held.
    pub fn run(&mut self, limit: Time, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            let Some((at, event)) = self.agenda.pop(limit) else {
                self.now = limit;
                return done(self);
            };
            self.now = at;
            self.events += 1;
            match event {
                Event::Packet {
                    to,
                    datagram,
                    index,
                    bytes,
                } => {
                    self.receive(to, datagram, index, bytes);
                    continue;
                }
                Event::Deliver { to, datagram } => self.deliver(to, &datagram),
                Event::Timer { host, at } => self.wake(host, at),
                Event::Script { host, action } => self.act(host, action),
            }
            if done(self) {
                return true;
            }
        }
    }

    fn note(&mut self, what: u64) {
        let moment = self.now.since_start().as_nanos() as u64;
        self.trace = mix(self.trace ^ mix(moment) ^ what.rotate_left(17));
    }

    /// A packet has come to its receiver's downlink.
    fn receive(&mut self, to: HostId, datagram: Rc<Datagram>, index: u32, bytes: u64) {
        let now = self.now;
        let slot = &mut self.slots[to];
        if !slot.alive {
            slot.traffic.unreachable += 1;
            return;
        }
        let Some(through) = slot.down.pass(now, bytes) else {
            slot.traffic.dropped_by_queue += 1;
            return;
        };
        let limit = slot.reassembly_limit;
        if slot
            .reassembly
            .take(now, limit, datagram.serial, index, datagram.packets)
        {
            self.agenda.push(through, Event::Deliver { to, datagram });
        }
    }

    fn deliver(&mut self, to: HostId, datagram: &Rc<Datagram>) {
        let now = self.now;
        let slot = &mut self.slots[to];
        if !slot.alive {
            slot.traffic.unreachable += 1;
            return;
        }
        if let Some(queued) = &mut slot.queued {
            if queued.len() < SOCKET_BUFFER {
                queued.push(Rc::clone(datagram));
            } else {
                slot.traffic.dropped_by_queue += 1;
            }
            return;
        }
        slot.traffic.received.add(datagram.payload.len());
        slot.traffic
            .from
            .entry(datagram.from)
            .or_default()
            .add(datagram.payload.len());
        slot.idle_turns = 0;
        if datagram.corrupted && !datagram.payload.is_empty() {
            slot.traffic.corrupted += 1;
            let mut payload = datagram.payload.clone();
            let at = self.rng.below(payload.len() as u64) as usize;
            payload[at] ^= 1 << self.rng.below(8);
            slot.host.handle_datagram(now, datagram.from, &payload);
        } else {
            slot.host
                .handle_datagram(now, datagram.from, &datagram.payload);
        }
        self.note(to as u64 ^ digest(&datagram.payload));
        self.drain(to);
    }

    fn wake(&mut self, id: HostId, at: Time) {
        let now = self.now;
        let slot = &mut self.slots[id];
        if slot.armed != Some(at) || !slot.alive || slot.queued.is_some() {
            return;
        }
        slot.armed = None;
        if slot.host.poll_timeout().is_some_and(|due| due <= now) {
            slot.idle_turns += 1;
            assert!(
                slot.idle_turns < MOST_IDLE_TURNS,
                "host {id} spins on its timer at {now:?}"
            );
            slot.host.handle_timeout(now);
        }
        self.drain(id);
    }

    fn act(&mut self, id: HostId, action: Action<H>) {
        let now = self.now;
        let slot = &mut self.slots[id];
        match action {
            Action::Die => {
                slot.alive = false;
                return;
            }
            Action::Return => {
                slot.alive = true;
                slot.armed = None;
            }
            Action::Suspend => {
                slot.queued.get_or_insert_default();
                return;
            }
            Action::Resume => {
                slot.armed = None;
                for datagram in slot.queued.take().unwrap_or_default() {
                    self.agenda.push(now, Event::Deliver { to: id, datagram });
                }
            }
            Action::Move(address) => {
                self.routes.remove(&slot.address);
                slot.address = address;
                assert!(
                    self.routes.insert(address, id).is_none(),
                    "{address} is taken"
                );
            }
            Action::Reattach(access) => {
                slot.up.link = access.up;
                slot.down.link = access.down;
                slot.mtu = access.mtu;
                slot.fragments = access.fragments;
                slot.reassembly_limit = access.reassembly;
            }
            Action::Do(what) => what(&mut slot.host, now),
        }
        self.note(id as u64);
        if self.slots[id].alive && self.slots[id].queued.is_none() {
            self.drain(id);
        }
    }

    fn drain(&mut self, id: HostId) {
        let now = self.now;
        let mut sent = 0;
        while let Some(outgoing) = self.slots[id].host.poll_transmit(now) {
            sent += 1;
            assert!(
                sent < MOST_IN_A_MOMENT,
                "host {id} sends without end at {now:?}"
            );
            self.send(id, outgoing);
        }
        let slot = &mut self.slots[id];
        if sent > 0 {
            slot.idle_turns = 0;
        }
        let Some(due) = slot.host.poll_timeout() else {
            return;
        };
        let at = due.max(now) + TIMER_SLACK;
        if slot.armed.is_none_or(|armed| at < armed) {
            slot.armed = Some(at);
            self.agenda.push(at, Event::Timer { host: id, at });
        }
    }

    fn send(&mut self, id: HostId, outgoing: Outgoing) {
        let now = self.now;
        let Outgoing {
            to,
            spoofed,
            datagram: payload,
        } = outgoing;
        assert!(
            payload.len() <= 65_507,
            "host {id} sends {} bytes to {to}",
            payload.len()
        );
        self.note(id as u64 ^ digest(&payload).rotate_left(1) ^ mix(u64::from(to.port())));
        let target = self.routes.get(&to).copied();
        let slot = &mut self.slots[id];
        slot.traffic.note_sent(now, to, payload.len());
        let mtu = target.map_or(slot.mtu, |target| {
            self.slots[target].mtu.min(self.slots[id].mtu)
        });
        let sizes = packet_sizes(payload.len(), mtu);
        let packets = packet_sizes(payload.len(), mtu).count() as u32;
        let slot = &mut self.slots[id];
        let from = spoofed.unwrap_or(slot.address);
        let mut corrupted = self.rng.chance(slot.up.link.corrupt);
        let mut blocked = slot.fragments == Fragments::Dropped;
        if let Some(target) = target {
            corrupted |= self.rng.chance(self.slots[target].down.link.corrupt);
            blocked |= self.slots[target].fragments == Fragments::Dropped;
        }
        blocked &= packets > 1;
        self.datagrams += 1;
        let datagram = Rc::new(Datagram {
            serial: self.datagrams,
            from,
            payload,
            packets,
            corrupted,
        });
        for (index, bytes) in (0..).zip(sizes) {
            let slot = &mut self.slots[id];
            slot.traffic.wire_bytes += bytes;
            let Some(left) = slot.up.pass(now, bytes) else {
                slot.traffic.dropped_by_queue += 1;
                continue;
            };
            match target {
                None => slot.traffic.unreachable += 1,
                Some(_) if blocked => slot.traffic.dropped_as_fragment += 1,
                Some(target) => self.carry(id, target, &datagram, left, index, bytes),
            }
        }
    }

    /// Carries one packet that leaves `from` at `left` to the downlink of `to`.
    fn carry(
        &mut self,
        from: HostId,
        to: HostId,
        datagram: &Rc<Datagram>,
        left: Time,
        index: u32,
        bytes: u64,
    ) {
        let pair = (from.min(to), from.max(to));
        let mut delay = self.distances.get(&pair).copied().unwrap_or_default();
        let mut held_back = Duration::ZERO;
        let mut copies = 1;
        for link in [&self.slots[from].up.link, &self.slots[to].down.link] {
            if self.rng.chance(link.loss) {
                copies = 0;
            }
            if self.rng.chance(link.duplicate) {
                copies *= 2;
            }
            if self.rng.chance(link.reorder) {
                held_back +=
                    Duration::from_nanos(self.rng.below(link.reorder_by.as_nanos() as u64));
            }
            if !link.jitter.is_zero() {
                delay += Duration::from_nanos(self.rng.below(link.jitter.as_nanos() as u64));
            }
            delay += link.delay;
        }
        if copies == 0 {
            self.slots[from].traffic.lost += 1;
            return;
        }
        let latest = self.arrivals.entry((from, to)).or_default();
        let at = (left + delay).max(*latest);
        *latest = at;
        for _ in 0..copies {
            let datagram = Rc::clone(datagram);
            self.agenda.push(
                at + held_back,
                Event::Packet {
                    to,
                    datagram,
                    index,
                    bytes,
                },
            );
        }
    }
}
