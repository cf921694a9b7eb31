//! Whose question is answered next, and whether now: fairness between hosts, and upload limits.
//!
//! While there is no limit and the driver keeps up, questions pass by this. Otherwise each host has
//! a queue, and hosts take turns by the bytes that they ask for (deficit round robin, Shreedhar and
//! Varghese 1995). A host is an IPv4 address or a /64
//! of IPv6, because ports cost nothing; within a host its ports take turns.
//!
//! A queue is short: what would wait for more than [`PATIENCE`] is dropped, as the network would,
//! since its asker will have asked again by then. What is dropped costs its host a little of its next
//! turn, so one that asks for far more than its share gets less than it and not more, but a quarter
//! at least. A queue may hold as much memory as is still free in all (dynamic thresholds, Choudhury
//! and Hahne 1998), and the last of it is for those who have none: a flood cannot fill what a
//! newcomer needs.
//!
//! Addresses that have not proved themselves share one small bucket and never wait. What one of them
//! took is given back when it proves itself: the bucket is there for what may go to a victim, and
//! thousands of real newcomers at once are to be greeted as fast as they answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::time::Duration;

use lru::LruCache;

use super::Time;
use super::address::host_of;
use super::bucket::{BURST, Bucket};

/// The longest that a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of answers that a host gets at each of its turns.
const QUANTUM: i64 = 8192;
/// Bytes of its next turn that a dropped question costs its host: about the reading of it.
const DROPPED: i64 = 64;
/// The most that dropped questions cost of a turn.
const MOST_FINED: i64 = QUANTUM * 3 / 4;
/// Bytes of memory that waiting questions may hold.
const MEMORY: usize = 4 << 20;
/// The part of it that is kept for hosts without a waiting question.
const FOR_NEWCOMERS: usize = MEMORY / 4;
/// The same for one host.
const HOST_MEMORY: usize = 256 << 10;
/// What a question holds beside its own: its place in a queue, and its host's, which may be its own.
const PLACE: usize = 512;
/// Hosts that are remembered for what they owe, those with waiting questions included.
const HOSTS: usize = 8192;
/// What all addresses that have not proved themselves get together: a share of the upload limit or,
/// without one, some bytes a second. A first contact costs about 400.
const STRANGERS_SHARE: u64 = 16;
const STRANGERS: u64 = 1 << 20;
/// Strangers that are remembered until they have proved themselves.
const GREETED: usize = 4096;
/// What strangers may use at once: many of a network's nodes may start at the same moment.
const STRANGERS_BURST: Duration = Duration::from_secs(1);

/// One who competes for the uplink.
type Host = IpAddr;

struct Waiting<T> {
    since: Time,
    cost: u64,
    memory: usize,
    what: T,
}

/// The questions of one port.
struct Line<T> {
    waiting: VecDeque<Waiting<T>>,
    cost: u64,
    memory: usize,
}

struct Queue<T> {
    lines: BTreeMap<SocketAddr, Line<T>>,
    /// The port that had the last turn.
    last: Option<SocketAddr>,
    memory: usize,
    /// Bytes that are left of its turn; negative when the last answer was longer.
    deficit: i64,
    /// What its next turn is shorter by.
    fine: i64,
    limit: Option<Bucket>,
}

impl<T> Queue<T> {
    /// The port whose turn it is.
    fn next_line(&self) -> Option<SocketAddr> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.lines.range((after, Bound::Unbounded));
        let next = later.next().or_else(|| self.lines.first_key_value())?;
        Some(*next.0)
    }

    /// Takes out the oldest question of the port whose turn it is.
    fn pop(&mut self) -> Option<Waiting<T>> {
        let address = self.next_line()?;
        self.last = Some(address);
        let line = self.lines.get_mut(&address)?;
        let waiting = line.waiting.pop_front()?;
        line.cost -= waiting.cost;
        line.memory -= waiting.memory;
        self.memory -= waiting.memory;
        if line.waiting.is_empty() {
            self.lines.remove(&address);
        }
        Some(waiting)
    }

    fn fine(&mut self) {
        self.fine = (self.fine + DROPPED).min(MOST_FINED);
    }
}

/// See the module.
pub(super) struct Uplink<T> {
    now: Time,
    /// The driver takes no questions at the moment.
    held: bool,
    limit: Option<Bucket>,
    per_host: Option<u64>,
    strangers: Bucket,
    /// What strangers took that were answered lately.
    greeted: LruCache<Host, u64>,
    hosts: BTreeMap<Host, Queue<T>>,
    /// Hosts with waiting questions, in turn.
    turns: VecDeque<Host>,
    /// Hosts with waiting questions that have reached their own limit, by when it lets go.
    resting: BTreeSet<(Time, Host)>,
    memory: usize,
    dropped: u64,
}

impl<T> Uplink<T> {
    /// Limits in bytes a second; `None`: unlimited.
    pub fn new(limit: Option<u64>, per_host: Option<u64>) -> Self {
        let strangers = limit.map_or(STRANGERS, |limit| (limit / STRANGERS_SHARE).min(STRANGERS));
        Self {
            now: Time::ZERO,
            held: false,
            limit: limit.map(|rate| Bucket::new(rate, BURST)),
            per_host,
            strangers: Bucket::new(strangers, STRANGERS_BURST),
            // A table of that many from the start would be large for the many nodes that need few.
            greeted: LruCache::unbounded(),
            hosts: BTreeMap::new(),
            turns: VecDeque::new(),
            resting: BTreeSet::new(),
            memory: 0,
            dropped: 0,
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// The latest moment that it was told of.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Whether questions have to wait because the driver takes none.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Whether there is nothing to wait for, so that questions may pass by.
    pub fn is_idle(&self) -> bool {
        !self.held && self.limit.is_none() && self.per_host.is_none() && self.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.memory == 0
    }

    /// Questions that were dropped, since this was asked last.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Whether an address that has not proved itself may be sent `cost` bytes now.
    pub fn admit_stranger(&mut self, from: SocketAddr, cost: u64) -> bool {
        let admitted = self.strangers.is_ready(self.now);
        if admitted {
            self.strangers.take(self.now, cost);
            // Of several answers the last alone: whoever forges the address of one that proves itself
            // all the time gains little.
            self.greeted.put(host_of(from.ip()), cost);
            if self.greeted.len() > GREETED {
                self.greeted.pop_lru();
            }
            if let Some(limit) = &mut self.limit {
                limit.take(self.now, cost);
            }
        }
        admitted
    }

    /// An address proves itself: what it took as a stranger was no forger's.
    pub fn proved(&mut self, from: SocketAddr) {
        if self.greeted.is_empty() {
            return;
        }
        if let Some(cost) = self.greeted.pop(&host_of(from.ip())) {
            self.strangers.give_back(cost);
        }
    }

    /// Queues a question whose answer will take about `cost` bytes, and which holds `memory` bytes
    /// itself; or drops it.
    pub fn push(&mut self, from: SocketAddr, cost: u64, memory: usize, what: T) {
        let memory = memory.saturating_add(PLACE);
        let host = host_of(from.ip());
        if !self.hosts.contains_key(&host) && !self.make_room() {
            self.dropped += 1;
            return;
        }
        let competing = self.turns.len() + self.resting.len();
        let queue = self.hosts.entry(host).or_insert_with(|| Queue {
            lines: BTreeMap::new(),
            last: None,
            memory: 0,
            deficit: 0,
            fine: 0,
            limit: self.per_host.map(|rate| Bucket::new(rate, BURST)),
        });
        let kept = if queue.lines.is_empty() {
            0
        } else {
            FOR_NEWCOMERS
        };
        let free = MEMORY.saturating_sub(self.memory + kept).min(HOST_MEMORY);
        let line = queue.lines.get(&from);
        let (held, ahead) = line.map_or((0, 0), |line| (line.memory, line.cost));
        // A line takes at most half of what its host may, so that another one finds room.
        let left = free.saturating_sub(queue.memory);
        let fits = queue.memory + memory <= free && held + memory <= left;
        let rate = match &self.limit {
            Some(limit) => limit.rate() / competing.max(1) as u64,
            None => u64::MAX,
        };
        let rate = rate.min(self.per_host.unwrap_or(u64::MAX)) / queue.lines.len().max(1) as u64;
        // One question at least, or the limit of a slow line would let nothing through.
        let soon =
            ahead == 0 || u128::from(ahead) <= u128::from(rate) * PATIENCE.as_millis() / 1000;
        if !fits || !soon {
            queue.fine();
            self.dropped += 1;
            return;
        }
        if queue.lines.is_empty() {
            self.turns.push_back(host);
        }
        let line = queue.lines.entry(from).or_insert_with(|| Line {
            waiting: VecDeque::new(),
            cost: 0,
            memory: 0,
        });
        line.waiting.push_back(Waiting {
            since: self.now,
            cost,
            memory,
            what,
        });
        line.cost += cost;
        line.memory += memory;
        queue.memory += memory;
        self.memory += memory;
    }

    /// The next question that may be answered now, and what its answer was taken to cost.
    pub fn pop(&mut self) -> Option<(T, u64)> {
        if self.is_empty() || self.held {
            return None;
        }
        let now = self.now;
        if self
            .limit
            .as_ref()
            .is_some_and(|limit| !limit.is_ready(now))
        {
            return None;
        }
        while let Some((at, host)) = self.resting.first().copied()
            && at <= now
        {
            self.resting.remove(&(at, host));
            self.turns.push_back(host);
        }
        while let Some(host) = self.turns.front().copied() {
            let Some(queue) = self.hosts.get_mut(&host) else {
                self.turns.pop_front();
                continue;
            };
            if let Some(limit) = &queue.limit
                && !limit.is_ready(now)
            {
                self.resting.insert((limit.ready_at(), host));
                self.turns.pop_front();
                continue;
            }
            let alone = self.turns.len() == 1;
            if queue.deficit <= 0 && !alone {
                queue.deficit += QUANTUM - std::mem::take(&mut queue.fine);
                if queue.deficit <= 0 {
                    self.turns.rotate_left(1);
                    continue;
                }
            }
            let Some(waiting) = queue.pop() else {
                self.turns.pop_front();
                continue;
            };
            self.memory -= waiting.memory;
            let stale = now.since(waiting.since) > PATIENCE;
            if stale {
                queue.fine();
                self.dropped += 1;
            } else {
                if !alone {
                    queue.deficit -= i64::try_from(waiting.cost).unwrap_or(i64::MAX);
                }
                for limit in queue.limit.iter_mut().chain(&mut self.limit) {
                    limit.take(now, waiting.cost);
                }
            }
            if queue.lines.is_empty() {
                // A turn that was not used is not saved up.
                queue.deficit = queue.deficit.min(0);
                self.turns.pop_front();
            } else if queue.deficit <= 0 {
                self.turns.rotate_left(1);
            }
            if !stale {
                return Some((waiting.what, waiting.cost));
            }
        }
        None
    }

    /// The answer to a question of `from` that was taken to cost `estimated` bytes took `used`.
    pub fn settle(&mut self, from: SocketAddr, verified: bool, estimated: u64, used: u64) {
        if let Some(limit) = &mut self.limit {
            limit.correct(self.now, estimated, used);
        }
        if !verified {
            self.strangers.correct(self.now, estimated, used);
            if let Some(cost) = self.greeted.peek_mut(&host_of(from.ip())) {
                *cost = (*cost).min(used);
            }
        } else if let Some(queue) = self.hosts.get_mut(&host_of(from.ip()))
            && let Some(limit) = &mut queue.limit
        {
            limit.correct(self.now, estimated, used);
        }
    }

    /// When [`Uplink::pop`] may have something next.
    pub fn next_release(&self) -> Option<Time> {
        if self.is_empty() || self.held {
            return None;
        }
        let host = match (self.turns.is_empty(), self.resting.first()) {
            (true, Some((at, _))) => *at,
            _ => Time::ZERO,
        };
        let all = self.limit.as_ref().map_or(Time::ZERO, Bucket::ready_at);
        Some(host.max(all))
    }

    /// Forgets hosts that wait for nothing and have used nothing of their limit lately.
    pub fn tidy(&mut self) {
        let now = self.now;
        self.hosts.retain(|_, queue| {
            let pays = queue
                .limit
                .as_ref()
                .is_some_and(|limit| !limit.is_full(now));
            !queue.lines.is_empty() || pays
        });
    }

    /// Makes room for another host; `false` when there is none.
    fn make_room(&mut self) -> bool {
        if self.hosts.len() >= HOSTS {
            let now = self.now;
            self.hosts.retain(|_, queue| {
                let pays = queue
                    .limit
                    .as_ref()
                    .is_some_and(|limit| !limit.is_ready(now));
                !queue.lines.is_empty() || pays
            });
        }
        self.hosts.len() < HOSTS
    }
}

#[cfg(test)]
mod tests;
