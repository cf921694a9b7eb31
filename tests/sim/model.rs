//! The swarm against a reference of a few sets: what is wanted comes, once, with the right bytes;
//! nothing else comes, and nothing else is asked for.
//!
//! An application wants, unwants, loses, forgets and looks for content at random, while sources die,
//! return and move, paths lose and reorder, and a liar makes up bytes. After each event the reference
//! says what may happen; at the end, with everything calm, all that is wanted must be there.
//! `MODEL_SEED` and `MODEL_RUNS` make other and longer runs than a test should be.

mod reference;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use cjp2pfs::content::{ByteRange, ContentId};
use cjp2pfs::swarm::{Class, Config, Event, Swarm, Time};

use crate::content::Synthetic;
use crate::deployed::Deployed;
use crate::liar::{Liar, Lie};
use crate::link::{Access, FAST_ETHERNET};
use crate::message;
use crate::net::{Action, Host, Network, Outgoing};
use crate::node::Node;
use crate::rng::Rng;
use crate::world::{Program, address, from_environment, seconds};
use reference::Reference;

const LENGTHS: [u64; 3] = [5000, 700_001, 3 << 20];
const CONTENTS: u64 = 3;
/// Virtual seconds of trouble, and until everything must have come after it.
const TROUBLE: u64 = 20;
const CALM: u64 = 60;

/// The application, and the swarm that it drives.
struct Subject {
    swarm: Swarm,
    rng: Rng,
    references: BTreeMap<ContentId, Reference>,
    sources: Vec<SocketAddr>,
    liar: SocketAddr,
    questions: u64,
    wrong: u64,
    /// Moments at which it does something, one after another, until the calm.
    next: Option<Time>,
}

impl Subject {
    fn new(seed: u64, contents: &[Synthetic], sources: Vec<SocketAddr>, liar: SocketAddr) -> Self {
        let mut swarm = Swarm::new(Config::default(), Rng::new(seed).seed(), Time::ZERO);
        for source in &sources {
            swarm.add_peer(Time::ZERO, *source);
        }
        let references = contents
            .iter()
            .map(|what| (what.id(), Reference::new(*what)));
        Self {
            swarm,
            rng: Rng::new(seed ^ 0x5eed),
            references: references.collect(),
            sources,
            liar,
            questions: 0,
            wrong: 0,
            next: Some(Time::ZERO),
        }
    }

    fn random_id(&mut self) -> ContentId {
        let index = self.rng.below(self.references.len() as u64) as usize;
        *self.references.keys().nth(index).unwrap()
    }

    fn random_range(&mut self, length: u64) -> ByteRange {
        // Now and then beyond the end, which is as good as not wanted.
        let start = self.rng.below(length + 1000);
        let most = [1, 100, 4096, 131_072, length][self.rng.below(5) as usize];
        ByteRange::at(start, 1 + self.rng.below(most))
    }

    fn want(&mut self, now: Time, id: ContentId, range: ByteRange) {
        let class = [Class::Urgent, Class::ReadAhead, Class::Bulk][self.rng.below(3) as usize];
        let reference = self.references.get_mut(&id).unwrap();
        for part in reference.want(range) {
            self.swarm.want(now, id, part, class);
        }
    }

    fn act(&mut self, now: Time) {
        let id = self.random_id();
        let length = self.references[&id].what.length;
        let range = self.random_range(length);
        let reference = self.references.get_mut(&id).unwrap();
        match self.rng.below(20) {
            0 | 1 => {
                reference.unwant(range);
                self.swarm.unwant(id, range);
            }
            2 => {
                reference.unwant(ByteRange::new(0, u64::MAX));
                self.swarm.unwant(id, ByteRange::new(0, u64::MAX));
            }
            3 | 4 => {
                reference.lose(range);
                self.swarm.refetch(id, range);
                self.want(now, id, range);
            }
            5 => {
                reference.forget();
                self.swarm.forget(id);
            }
            6 => {
                reference.sought = false;
                self.swarm.rest(id);
            }
            7 => {
                reference.sought = true;
                self.swarm.find(now, id);
            }
            8 => {
                reference.sought = true;
                let held = self.rng.below(length + 1);
                self.swarm.resume(now, id, length, held);
            }
            9 => {
                let only = self.rng.below(self.sources.len() as u64) as usize;
                self.swarm.only_from(now, id, Some(self.sources[only]));
            }
            10 => self.swarm.only_from(now, id, None),
            11 => {
                let budget = [0, 40_000, 8 << 20][self.rng.below(3) as usize];
                self.swarm.set_receive_budget(budget);
            }
            12 => self.swarm.fragments_fail(now),
            _ => self.want(now, id, range),
        }
    }

    /// From now on it waits for what it wants.
    fn calm_down(&mut self, now: Time) {
        self.next = None;
        self.swarm.set_receive_budget(8 << 20);
        let ids: Vec<_> = self.references.keys().copied().collect();
        for id in ids {
            self.swarm.only_from(now, id, None);
            let length = self.references[&id].what.length;
            let range = self.random_range(length);
            self.want(now, id, range);
        }
        self.drain(now);
    }

    fn drain(&mut self, now: Time) {
        while let Some(event) = self.swarm.poll_event() {
            match event {
                Event::Found { id, length } => {
                    assert_eq!(self.references[&id].what.length, length);
                }
                Event::Data {
                    id,
                    offset,
                    data,
                    from,
                } => {
                    let reference = self.references.get_mut(&id).expect("of no id of ours");
                    if reference.deliver(offset, &data) {
                        continue;
                    }
                    assert_eq!(from, self.liar, "wrong bytes from an honest source");
                    self.wrong += 1;
                    let range = ByteRange::at(offset, data.len() as u64);
                    reference.lose(range);
                    self.swarm.refetch(id, range);
                    self.swarm.distrust(now, id, from);
                    self.want(now, id, range);
                }
                _ => {}
            }
        }
    }

    fn has_all(&self) -> bool {
        self.references
            .values()
            .all(|reference| reference.wanted.is_empty())
    }
}

impl Host for Subject {
    fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        self.swarm.handle_datagram(now, from, datagram);
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.next.is_some_and(|at| at <= now) {
            self.act(now);
            let pause = Duration::from_micros(100 + self.rng.below(80_000));
            self.next = Some(now + pause);
        }
        self.swarm.handle_timeout(now);
        self.drain(now);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing> {
        let mut datagram = Vec::new();
        let to = self.swarm.poll_transmit(now, &mut datagram)?;
        for (kind, value) in message::parse(&datagram) {
            if kind == "PleaseSendContent" {
                let (id, offset, length) = message::question(&value).expect("a question");
                let id = id.parse().expect("an id");
                self.references[&id].ask(ByteRange::at(offset, length));
                self.questions += 1;
            }
        }
        Some(Outgoing {
            to,
            spoofed: None,
            datagram,
        })
    }

    fn poll_timeout(&self) -> Option<Time> {
        let swarm = self.swarm.poll_timeout();
        match self.next {
            Some(at) => Some(swarm.map_or(at, |other| other.min(at))),
            None => swarm,
        }
    }
}

enum Party {
    Subject(Box<Subject>),
    Other(Program),
}

impl Party {
    fn host(&mut self) -> &mut dyn Host {
        match self {
            Self::Subject(subject) => subject.as_mut(),
            Self::Other(program) => program,
        }
    }
}

impl Host for Party {
    fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        self.host().handle_datagram(now, from, datagram);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.host().handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing> {
        self.host().poll_transmit(now)
    }

    fn poll_timeout(&self) -> Option<Time> {
        match self {
            Self::Subject(subject) => subject.poll_timeout(),
            Self::Other(program) => program.poll_timeout(),
        }
    }
}

fn path(rng: &mut Rng) -> Access {
    let mut access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(2 + rng.below(80)));
    if rng.chance(0.5) {
        access = access.lossy(0.02);
    }
    if rng.chance(0.3) {
        access.down.reorder = 0.1;
        access.down.reorder_by = Duration::from_millis(20);
        access.down.duplicate = 0.02;
    }
    access
}

/// Hosts 1 to 3 are honest and have everything, 4 lies; 0 is the subject.
fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    // All of one length: the liar is believed in that until it is found out.
    let length = LENGTHS[seed as usize % LENGTHS.len()];
    let contents: Vec<_> = (0..CONTENTS)
        .map(|n| Synthetic::new(seed * 10 + n, length))
        .collect();
    let sources: Vec<_> = (1..=4).map(address).collect();
    let mut net: Network<Party> = Network::new(seed);
    let subject = Subject::new(seed, &contents, sources, address(4));
    let access = path(&mut rng);
    net.add(address(100), access, Party::Subject(Box::new(subject)));
    for n in 1..=2 {
        let node = contents
            .iter()
            .fold(Node::new(seed * 7 + u64::from(n), &[]), |node, what| {
                node.holding(*what)
            });
        let access = path(&mut rng);
        net.add(
            address(n),
            access,
            Party::Other(Program::Node(Box::new(node))),
        );
    }
    let deployed = Deployed::new(seed * 7 + 3, &contents, &[]);
    let access = path(&mut rng);
    net.add(
        address(3),
        access,
        Party::Other(Program::Deployed(Box::new(deployed))),
    );
    let liar = Liar::new(seed, Lie::WrongBytes, contents[2]);
    let access = path(&mut rng);
    net.add(
        address(4),
        access,
        Party::Other(Program::Liar(Box::new(liar))),
    );

    let mut at = Time::ZERO;
    loop {
        at = at + Duration::from_millis(100 + rng.below(1500));
        if at >= seconds(TROUBLE) {
            break;
        }
        let host = rng.below(5) as usize;
        if host == 0 || rng.chance(0.3) {
            let access = path(&mut rng);
            net.schedule(at, host, Action::Reattach(access));
        } else {
            net.schedule(at, host, Action::Die);
            let back = (at + Duration::from_millis(rng.below(4000))).min(seconds(TROUBLE));
            net.schedule(back, host, Action::Return);
        }
    }
    assert!(!net.run(seconds(TROUBLE), |_| false));
    net.schedule(
        seconds(TROUBLE),
        0,
        Action::Do(Box::new(|party, now| {
            if let Party::Subject(subject) = party {
                subject.calm_down(now);
            }
        })),
    );
    let subject = |net: &Network<Party>| match net.host(0) {
        Party::Subject(subject) => {
            let delivered: u64 = subject.references.values().map(|r| r.delivered).sum();
            let left: Vec<_> = subject
                .references
                .values()
                .map(|r| r.wanted.clone())
                .collect();
            (
                subject.next.is_none() && subject.has_all(),
                delivered,
                subject.questions,
                subject.wrong,
                subject.swarm.stats().content_in,
                left,
            )
        }
        Party::Other(_) => unreachable!("host 0 is the subject"),
    };
    let done = net.run(seconds(TROUBLE + CALM), |net| subject(net).0);
    let (_, delivered, questions, wrong, counted, left) = subject(&net);
    println!(
        "model, seed {seed}: {delivered} bytes, {questions} questions, {wrong} lies, at {:.1} s",
        net.now().since_start().as_secs_f64()
    );
    assert!(done, "seed {seed}: never came: {left:?}");
    assert_eq!(delivered, counted, "seed {seed}: what the swarm counts");
    // And then there is silence, but for what peers ask each other anyway.
    let before = questions;
    net.run(net.now() + Duration::from_secs(20), |_| false);
    let (_, _, after, ..) = subject(&net);
    assert!(
        after - before < 200,
        "{} questions for nothing",
        after - before
    );
}

#[test]
fn what_is_wanted_comes_once_and_nothing_else_is_asked_for() {
    let first = from_environment("MODEL_SEED", 1);
    for seed in first..first + from_environment("MODEL_RUNS", 8) {
        run(seed);
    }
}
