//! A host that runs the real `Swarm`, with as little around it as its driver needs: content made up
//! on the spot, a disk that takes its time, and records of all that arrives.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use cjp2pfs::content::{ByteRange, ContentId, RangeSet};
use cjp2pfs::swarm::{
    Answer, Ask, Class, Config, Event, Explanation, Held, Question, Stats, Swarm, Time,
};

use crate::content::Synthetic;
use crate::net::{Host, Outgoing};
use crate::rng::Rng;

/// What a node is after, and how it went.
#[derive(Debug)]
pub struct Goal {
    pub what: Synthetic,
    pub started: Time,
    /// Every length that the swarm reported, in order.
    pub found: Vec<(Time, u64)>,
    /// Right bytes of the content that arrived.
    pub received: RangeSet,
    /// Bytes that arrived, by who sent them.
    pub supplied: BTreeMap<SocketAddr, u64>,
    /// Those of them that were wrong.
    pub wrong: BTreeMap<SocketAddr, u64>,
    /// Bytes handed over that were held already.
    pub again: u64,
    pub finished: Option<Time>,
}

impl Goal {
    fn new(what: Synthetic, started: Time) -> Self {
        Self {
            what,
            started,
            found: Vec::new(),
            received: RangeSet::new(),
            supplied: BTreeMap::new(),
            wrong: BTreeMap::new(),
            again: 0,
            finished: None,
        }
    }

    /// Seconds from the start to the last byte.
    pub fn took(&self) -> Option<f64> {
        Some(self.finished?.since(self.started).as_secs_f64())
    }

    pub fn wrong_bytes(&self) -> u64 {
        self.wrong.values().sum()
    }
}

/// A blocking read of a program: how long it waited.
#[derive(Debug)]
pub struct Read {
    pub range: ByteRange,
    pub asked: Time,
    pub done: Option<Time>,
}

/// What a node finds when it is asked for bytes.
enum Found {
    Data(u64, Vec<u8>),
    Elsewhere(Held),
    Nothing,
}

pub struct Node {
    swarm: Swarm,
    held: BTreeMap<ContentId, Synthetic>,
    goals: BTreeMap<ContentId, Goal>,
    pub reads: Vec<Read>,
    waiting_reads: Vec<usize>,
    disk_delay: Duration,
    disk: VecDeque<(Time, Ask)>,
    ready: VecDeque<Ask>,
    /// Whether what was completed is served from then on.
    reserves: bool,
    /// Whether what has arrived of content that is being fetched is served as well, as a store does
    /// that can verify each leaf.
    shares: bool,
    /// Whether a peer that sent wrong bytes is not asked again, as a store that can verify asks.
    distrusts: bool,
    /// Content bytes handed to the swarm for others.
    pub served: u64,
    /// Questions that the swarm passed on.
    pub questions: u64,
}

impl Node {
    pub fn new(seed: u64, known: &[SocketAddr]) -> Self {
        Self::with_config(Config::default(), seed, known)
    }

    pub fn with_config(config: Config, seed: u64, known: &[SocketAddr]) -> Self {
        let mut swarm = Swarm::new(config, Rng::new(seed).seed(), Time::ZERO);
        for peer in known {
            swarm.add_peer(Time::ZERO, *peer);
        }
        Self {
            swarm,
            held: BTreeMap::new(),
            goals: BTreeMap::new(),
            reads: Vec::new(),
            waiting_reads: Vec::new(),
            disk_delay: Duration::ZERO,
            disk: VecDeque::new(),
            ready: VecDeque::new(),
            reserves: false,
            shares: false,
            distrusts: false,
            served: 0,
            questions: 0,
        }
    }

    pub fn holding(mut self, what: Synthetic) -> Self {
        self.held.insert(what.id(), what);
        self
    }

    pub fn with_disk_delay(mut self, delay: Duration) -> Self {
        self.disk_delay = delay;
        self
    }

    pub fn reserving(mut self) -> Self {
        self.reserves = true;
        self
    }

    /// Serves what it fetches from the first leaf on.
    pub fn sharing(mut self) -> Self {
        self.reserves = true;
        self.shares = true;
        self
    }

    pub fn distrusting(mut self) -> Self {
        self.distrusts = true;
        self
    }

    /// Fetches all of `what`, from the start of the run on.
    pub fn fetching(mut self, what: Synthetic) -> Self {
        self.fetch(Time::ZERO, what);
        self
    }

    /// Looks for `what` from the start of the run on, and wants nothing of it by itself.
    pub fn knowing(mut self, what: Synthetic) -> Self {
        self.look_for(Time::ZERO, what);
        self
    }

    /// Looks for `what`, and wants nothing of it by itself.
    pub fn look_for(&mut self, now: Time, what: Synthetic) {
        self.swarm.find(now, what.id());
    }

    /// Bytes of `what` that arrived.
    pub fn received(&self, what: Synthetic) -> u64 {
        self.goal(what).map_or(0, |goal| goal.received.bytes())
    }

    /// Is told of another peer.
    pub fn know(&mut self, now: Time, peer: SocketAddr) {
        self.swarm.add_peer(now, peer);
    }

    /// Looks for `what`, and wants all of it once its length is known.
    pub fn fetch(&mut self, now: Time, what: Synthetic) {
        self.goals.insert(what.id(), Goal::new(what, now));
        self.swarm.find(now, what.id());
    }

    /// Its host notices that it has another address.
    pub fn notice_move(&mut self, now: Time) {
        self.swarm.handle_move(now);
    }

    /// A program is expected to read `range` of `what`, whose length is known.
    pub fn read_ahead(&mut self, now: Time, what: Synthetic, range: ByteRange) {
        self.goals
            .entry(what.id())
            .or_insert_with(|| Goal::new(what, now));
        self.swarm.want(now, what.id(), range, Class::ReadAhead);
    }

    /// A program reads `range` of `what`, whose length is known, and waits.
    pub fn read(&mut self, now: Time, what: Synthetic, range: ByteRange) {
        let goal = self
            .goals
            .entry(what.id())
            .or_insert_with(|| Goal::new(what, now));
        let done = goal.received.contains(range).then_some(now);
        if done.is_none() {
            self.waiting_reads.push(self.reads.len());
            let gaps: Vec<_> = goal.received.gaps(range).collect();
            for gap in gaps {
                self.swarm.want(now, what.id(), gap, Class::Urgent);
            }
        }
        self.reads.push(Read {
            range,
            asked: now,
            done,
        });
    }

    pub fn goal(&self, what: Synthetic) -> Option<&Goal> {
        self.goals.get(&what.id())
    }

    pub fn has_finished(&self, what: Synthetic) -> bool {
        self.goal(what).is_some_and(|goal| goal.finished.is_some())
    }

    /// What the swarm counted.
    pub fn stats(&self) -> Stats {
        self.swarm.stats()
    }

    /// How many peers the swarm keeps.
    pub fn known(&self) -> usize {
        self.swarm.peer_reports(Time::ZERO).len()
    }

    /// What the swarm says of its peers, one line each.
    pub fn explain(&self, now: Time) -> String {
        let mut lines = String::new();
        for peer in self.swarm.peer_reports(now) {
            let _ = writeln!(
                lines,
                "{:9.3} s {} {} rtt {:?} rate {:.3} MB/s loss {:.3} in flight {} of {} by {}",
                now.since_start().as_secs_f64(),
                peer.address,
                peer.phase,
                peer.round_trip.unwrap_or_default(),
                peer.rate.unwrap_or_default() / 1e6,
                peer.loss,
                peer.in_flight,
                peer.window,
                peer.length,
            );
        }
        lines
    }

    /// What the swarm says of `what`.
    pub fn explanation(&self, now: Time, what: Synthetic) -> Option<Explanation> {
        self.swarm.explain(now, what.id())
    }

    fn drain_events(&mut self, now: Time) {
        while let Some(event) = self.swarm.poll_event() {
            match event {
                Event::Found { id, length } => self.found(now, id, length),
                Event::Data {
                    id,
                    offset,
                    data,
                    from,
                } => self.data(now, id, offset, &data, from),
                Event::Claimed { .. } | Event::Again { .. } => {}
                Event::Asked(ask) => {
                    self.questions += ask.questions.len() as u64;
                    if self.disk_delay.is_zero() {
                        self.ready.push_back(ask);
                    } else {
                        self.disk.push_back((now + self.disk_delay, ask));
                    }
                }
                // Nobody publishes here.
                _ => {}
            }
        }
    }

    fn found(&mut self, now: Time, id: ContentId, length: u64) {
        let Some(goal) = self.goals.get_mut(&id) else {
            return;
        };
        if let Some(&(_, before)) = goal.found.last()
            && before > length
        {
            self.swarm.unwant(id, ByteRange::new(length, before));
        }
        goal.found.push((now, length));
        if goal.finished.is_some() {
            return;
        }
        let gaps: Vec<_> = goal.received.gaps(ByteRange::new(0, length)).collect();
        for gap in gaps {
            self.swarm.want(now, id, gap, Class::Bulk);
        }
    }

    fn data(&mut self, now: Time, id: ContentId, offset: u64, data: &[u8], from: SocketAddr) {
        let Some(goal) = self.goals.get_mut(&id) else {
            return;
        };
        let range = ByteRange::at(offset, data.len() as u64);
        *goal.supplied.entry(from).or_default() += range.len();
        let wrong = goal.what.wrong_bytes(offset, data);
        if wrong > 0 {
            *goal.wrong.entry(from).or_default() += wrong;
            if self.distrusts {
                self.swarm.distrust(now, id, from);
            }
            let inside = range.intersection(ByteRange::new(0, goal.what.length));
            if goal.finished.is_none() && !inside.is_empty() {
                self.swarm.refetch(id, inside);
                self.swarm.want(now, id, inside, Class::Bulk);
            }
            return;
        }
        goal.again += range.len() - goal.received.insert(range);
        let (reads, received) = (&mut self.reads, &goal.received);
        self.waiting_reads.retain(|&i| {
            let there = received.contains(reads[i].range);
            if there {
                reads[i].done = Some(now);
            }
            !there
        });
        // All of it by a length that is wrong: its proof fails, as it would in the store.
        let claimed = goal.found.last().map_or(u64::MAX, |(_, length)| *length);
        if claimed < goal.what.length && goal.received.contains(ByteRange::new(0, claimed)) {
            goal.received = RangeSet::new();
            self.swarm.refetch(id, ByteRange::new(0, u64::MAX));
            for supplier in std::mem::take(&mut goal.supplied).into_keys() {
                self.swarm.distrust(now, id, supplier);
            }
            return;
        }
        if goal.received.bytes() == goal.what.length && goal.finished.is_none() {
            goal.finished = Some(now);
            self.swarm.forget(id);
            if self.reserves {
                self.held.insert(id, goal.what);
            }
        }
    }

    /// What is held of `id` for others. A node that shares while it fetches has something to say as
    /// soon as it knows the length.
    fn parts_of(&self, id: ContentId) -> Option<Held> {
        if let Some(what) = self.held.get(&id) {
            return Some(Held::whole(id, what.length));
        }
        let goal = self.goals.get(&id).filter(|_| self.shares)?;
        let (_, eof) = *goal.found.last()?;
        Some(Held {
            id,
            eof,
            parts: goal.received.iter().collect(),
        })
    }

    fn look_up(&self, question: &Question) -> Found {
        assert!(
            question.length <= 65_507,
            "asked the disk for {}",
            question.length
        );
        let Some(held) = self.parts_of(question.id) else {
            return Found::Nothing;
        };
        let range = question.range(held.eof);
        let whole = ByteRange::new(0, held.eof);
        if held.parts != [whole] && !held.parts.iter().any(|p| p.intersection(range) == range) {
            return Found::Elsewhere(held);
        }
        let what = self
            .held
            .get(&question.id)
            .or_else(|| Some(&self.goals.get(&question.id)?.what));
        match what {
            Some(what) => Found::Data(held.eof, what.read(range.start, range.len())),
            None => Found::Nothing,
        }
    }

    /// Answers a question from the content that is held.
    fn answer(&mut self, now: Time, mut ask: Ask) -> Option<Outgoing> {
        if ask.list {
            ask.listing = self
                .held
                .values()
                .map(|what| (what.id(), what.length))
                .collect();
        }
        ask.parts = ask
            .parts_of
            .iter()
            .filter_map(|id| self.parts_of(*id))
            .collect();
        let found: Vec<Found> = ask
            .questions
            .iter()
            .map(|question| self.look_up(question))
            .collect();
        let answers: Vec<Answer<'_>> = found
            .iter()
            .map(|found| match found {
                Found::Data(eof, data) => Answer::Content { eof: *eof, data },
                Found::Elsewhere(held) => Answer::OtherParts(held),
                Found::Nothing => Answer::Absent,
            })
            .collect();
        let given = answers.iter().map(|answer| match answer {
            Answer::Content { data, .. } => data.len() as u64,
            _ => 0,
        });
        let given = given.sum::<u64>();
        self.served += given;
        let mut datagram = Vec::with_capacity(1500 + given as usize * 4 / 3);
        let to = self.swarm.answer(now, &ask, &answers, &mut datagram)?;
        Some(Outgoing {
            to,
            spoofed: None,
            datagram,
        })
    }
}

impl Host for Node {
    fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        self.swarm.handle_datagram(now, from, datagram);
        self.drain_events(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        while let Some((at, _)) = self.disk.front()
            && *at <= now
        {
            self.ready.extend(self.disk.pop_front().map(|(_, ask)| ask));
        }
        self.swarm.handle_timeout(now);
        self.drain_events(now);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing> {
        while let Some(ask) = self.ready.pop_front() {
            if let Some(outgoing) = self.answer(now, ask) {
                return Some(outgoing);
            }
        }
        let mut datagram = Vec::new();
        let to = self.swarm.poll_transmit(now, &mut datagram)?;
        Some(Outgoing {
            to,
            spoofed: None,
            datagram,
        })
    }

    fn poll_timeout(&self) -> Option<Time> {
        let disk = self.disk.front().map(|(at, _)| *at);
        let ready = (!self.ready.is_empty()).then_some(Time::ZERO);
        [self.swarm.poll_timeout(), disk, ready]
            .into_iter()
            .flatten()
            .min()
    }
}
