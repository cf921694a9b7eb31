//! What of a crowd need not be taken from the socket at all.
//!
//! What the gate drops has been received, and receiving it costs more than the rest of dropping it.
//! A driver that can have datagrams dropped before that (by a filter in the kernel) is told here which
//! part of whose to let through, by chance: [`MARGIN`] of what the gate admits. So the gate still judges,
//! and sees when less comes.
//!
//! A sieve sees no more than where a datagram says that it comes from. Three are told apart:
//! - Hosts that return our cookie, or that we have asked something. All of theirs passes, unless the
//!   gate refuses what they *prove* to have sent: what others send in their name must not cost them
//!   anything.
//! - Addresses that prove nothing and send more than any of those may.
//! - All others, newcomers among them.
//!
//! Each has a part of its own that follows what comes: at the end of a window it becomes `MARGIN` of what
//! was admitted of what came through, so that it settles where the gate refuses a third, and grows by
//! half in a window when nothing is refused. While a third of what is sent is sifted out, the flood goes on
//! though no crowd is seen, and the gate's share shrinks as in a crowd: what the flood would have of a node
//! that keeps up with it is taken from the programs that share its machine.
//!
//! Where there is no room to name all hosts that speak with us, nothing is sifted but what has a part of
//! its own.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::address::host_of;
use super::{Swarm, Time};

/// How long a sieve is in use before it is made anew. Some rounds of the gate, and what it costs to
/// replace the filter (some tenths of a millisecond) is nothing beside it.
const WINDOW: Duration = Duration::from_millis(50);
/// Three halves of what is admitted come through.
const MARGIN: (u64, u64) = (3, 2);
/// So many more that came through and were admitted are supposed: what chance does to a few datagrams, or
/// a newcomer that says too much at once, is no flood.
const FEW: u64 = 16;
/// A part that is less than an eighth off stays as it is: chance moves it as far.
const NEAR: u32 = 8;
/// The least part that comes through: it must be seen when less comes.
const LEAST: u32 = ALL >> 12;
const ALL: u32 = u32::MAX;
/// Of whom less than this part passes, he does not slow down when he is not answered.
const HEEDLESS: u32 = ALL / 2;
/// Hosts that are named at most: a filter for these fits twice, the old one and the new one, into the
/// 20 KiB that Linux allowed a socket's options before 6.7.
const MAX_HOSTS: usize = 256;
/// Of them, those whose proven datagrams are counted, and addresses that send too much and prove nothing.
const MAX_PROVED: usize = 128;
const MAX_LOUD: usize = 64;
/// Who was heard within this time speaks with us. The rest of the known hosts is named as far as there
/// is room.
const SPEAKING: Duration = Duration::from_secs(120);

/// Which part of the datagrams that arrive is to be taken: each by chance, so many in 2^32, where
/// `u32::MAX` is all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sieve {
    /// Of these hosts. An IPv6 address stands for its /64.
    pub hosts: BTreeMap<IpAddr, u32>,
    /// Of all others.
    pub others: u32,
}

impl Sieve {
    /// Lets everything through.
    pub const OPEN: Self = Self {
        hosts: BTreeMap::new(),
        others: ALL,
    };

    /// Whether everything passes.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.others == ALL && self.hosts.values().all(|part| *part == ALL)
    }
}

/// What came through of one sender or of many, in this window, and the part that was let through.
#[derive(Clone, Copy, Debug)]
struct Flow {
    part: u32,
    seen: u32,
    admitted: u32,
}

impl Flow {
    const NEW: Self = Self {
        part: ALL,
        seen: 0,
        admitted: 0,
    };

    fn note(&mut self, admitted: bool) {
        self.seen = self.seen.saturating_add(1);
        self.admitted = self.admitted.saturating_add(u32::from(admitted));
    }

    /// Begins a window.
    fn adjust(&mut self, crowded: bool) {
        let seen = u64::from(self.seen) + FEW;
        let admitted = u64::from(self.admitted) + FEW;
        let part =
            u128::from(self.part) * u128::from(MARGIN.0 * admitted) / u128::from(MARGIN.1 * seen);
        let most = if crowded { self.part } else { ALL };
        let part = u32::try_from(part).unwrap_or(ALL).clamp(LEAST, most);
        if part == ALL || part.abs_diff(self.part) > self.part / NEAR {
            self.part = part;
        }
        self.seen = 0;
        self.admitted = 0;
    }

    fn is_open(&self) -> bool {
        self.part == ALL
    }
}

/// See the module.
pub(super) struct Sifting {
    window_ends: Time,
    /// What the driver was told last.
    told: Sieve,
    /// Of three datagrams more than one was dropped before it came here.
    flooded: bool,
    /// There was a crowd in this window.
    crowded: bool,
    proved: BTreeMap<IpAddr, Flow>,
    loud: BTreeMap<IpAddr, Flow>,
    others: Flow,
}

/// What the gate knows of the sender of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is where it says, or an answer of it is awaited.
    Proved,
    /// It proves nothing, and has sent what one address may.
    Loud,
    Stranger,
}

impl Sifting {
    pub fn new() -> Self {
        Self {
            window_ends: Time::ZERO,
            told: Sieve::OPEN,
            flooded: false,
            crowded: false,
            proved: BTreeMap::new(),
            loud: BTreeMap::new(),
            others: Flow::NEW,
        }
    }

    /// Whether the driver sifts.
    pub fn is_on(&self) -> bool {
        !self.told.is_open()
    }

    /// Whether this host, which proves where it is, goes on sending although most of it is sifted out.
    pub fn is_heedless(&self, ip: IpAddr) -> bool {
        let flow = self.proved.get(&host_of(ip));
        flow.is_some_and(|flow| flow.part < HEEDLESS)
    }

    /// Whether a third of what is sent is sifted out.
    pub fn is_flooded(&self) -> bool {
        self.flooded
    }

    /// Whether there is a crowd at the socket: then nothing passes more than it did, since less is seen
    /// because less is taken.
    pub fn set_crowded(&mut self, crowded: bool) {
        self.crowded |= crowded;
    }

    /// Counts a datagram that the gate has judged.
    pub fn note(&mut self, ip: IpAddr, standing: Standing, admitted: bool) {
        let host = host_of(ip);
        let (flows, most) = match standing {
            Standing::Proved => (&mut self.proved, MAX_PROVED),
            Standing::Loud | Standing::Stranger => (&mut self.loud, MAX_LOUD),
        };
        if let Some(flow) = flows.get_mut(&host) {
            flow.note(admitted);
        } else if standing != Standing::Stranger && flows.len() < most {
            flows.entry(host).or_insert(Flow::NEW).note(admitted);
        } else if standing != Standing::Proved {
            self.others.note(admitted);
        }
    }

    fn begin_window(&mut self, now: Time, dropped: u64) {
        self.window_ends = now + WINDOW;
        let mut seen = 0;
        let proved = self.proved.values_mut();
        for flow in proved
            .chain(self.loud.values_mut())
            .chain([&mut self.others])
        {
            seen += u64::from(flow.seen);
            flow.adjust(self.crowded);
        }
        self.flooded = self.is_on() && dropped > seen / 2;
        self.crowded = false;
        self.proved.retain(|_, flow| !flow.is_open());
        self.loud.retain(|_, flow| !flow.is_open());
    }

    /// The sieve for the window that has begun. `known` are the hosts that we know, those first that
    /// matter most; so many of them must be named if others are sifted at all.
    fn sieve(&mut self, known: &[IpAddr], speaking: usize) -> Sieve {
        let proved = self.proved.iter().map(|(host, flow)| (*host, flow.part));
        let mut hosts: BTreeMap<IpAddr, u32> = proved.collect();
        for host in known {
            if hosts.len() < MAX_HOSTS {
                hosts.entry(*host).or_insert(ALL);
            }
        }
        let mut speaking = known.iter().take(speaking);
        if !speaking.all(|host| hosts.contains_key(host)) {
            self.others.part = ALL;
        }
        // What others send in the name of a host that we know is for the gate to refuse.
        self.loud.retain(|host, _| !hosts.contains_key(host));
        hosts.extend(self.loud.iter().map(|(host, flow)| (*host, flow.part)));
        let others = self.others.part;
        hosts.retain(|_, part| *part != others);
        Sieve { hosts, others }
    }
}

impl Swarm {
    /// When [`Swarm::sieve`] is to be asked again; `None`: there is no need.
    #[must_use]
    pub fn sieve_due(&self) -> Option<Time> {
        let sifting = &self.gate.sifting;
        (sifting.is_on() || !self.gate.is_open()).then_some(sifting.window_ends)
    }

    /// Which datagrams are to be taken from now on; `None`: those that were said last. `dropped` were
    /// not taken since this was asked last. A driver that cannot sift never asks.
    pub fn sieve(&mut self, now: Time, dropped: u64) -> Option<Sieve> {
        if self.sieve_due().is_none_or(|due| now < due) {
            return None;
        }
        self.gate.sifting.begin_window(now, dropped);
        let (known, speaking) = self.hosts_to_name(now);
        let sifting = &mut self.gate.sifting;
        let sieve = sifting.sieve(&known, speaking);
        if sieve == sifting.told {
            return None;
        }
        sifting.told = sieve.clone();
        Some(sieve)
    }

    /// That the driver cannot sift after all. It does not ask for a sieve any more.
    pub fn cannot_sift(&mut self) {
        self.gate.sifting = Sifting::new();
    }

    /// Hosts that proved where they are or are awaited, those first of which an answer is awaited and then
    /// those heard last; and how many of them speak with us.
    fn hosts_to_name(&self, now: Time) -> (Vec<IpAddr>, usize) {
        let mut hosts = BTreeMap::new();
        for (address, peer) in &self.peers {
            let awaited = peer.awaited() > 0;
            // Whom we have heard is a peer because it proved where it is, or is named by the user.
            if awaited || peer.heard.is_some() {
                let rank = (awaited, peer.heard);
                let best = hosts.entry(host_of(address.ip())).or_insert(rank);
                *best = rank.max(*best);
            }
        }
        let mut hosts: Vec<_> = hosts.into_iter().collect();
        hosts.sort_by_key(|(_, rank)| Reverse(*rank));
        let speaks = |(awaited, heard): &(bool, Option<Time>)| {
            *awaited || heard.is_some_and(|at| now.since(at) < SPEAKING)
        };
        let speaking = hosts.iter().filter(|(_, rank)| speaks(rank)).count();
        (hosts.into_iter().map(|(host, _)| host).collect(), speaking)
    }
}

#[cfg(test)]
mod tests;
