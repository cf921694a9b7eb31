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
mod tests {
    use super::super::gate::{Gate, Sender};
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn host(n: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + n).to_be_bytes())
    }

    /// Datagrams of one kind: as whom, and how many a millisecond.
    struct Crowd {
        sender: Sender,
        first: u32,
        /// Each comes from another address of so many.
        addresses: u32,
        each: u32,
        admitted: u32,
    }

    impl Crowd {
        fn new(sender: Sender, first: u32, addresses: u32, each: u32) -> Self {
            Self {
                sender,
                first,
                addresses,
                each,
                admitted: 0,
            }
        }
    }

    /// A gate behind a sieve, and a driver that takes so many datagrams a millisecond from a queue.
    struct Sifted {
        gate: Gate,
        sieve: Sieve,
        known: Vec<IpAddr>,
        now: Time,
        random: fastrand::Rng,
        dropped: u64,
        taken: u64,
        queue: Vec<(usize, IpAddr)>,
        capacity: usize,
    }

    impl Sifted {
        fn new(known: Vec<IpAddr>, capacity: usize) -> Self {
            Self {
                gate: Gate::new(7),
                sieve: Sieve::OPEN,
                known,
                now: Time::ZERO,
                random: fastrand::Rng::with_seed(7),
                dropped: 0,
                taken: 0,
                queue: Vec::new(),
                capacity,
            }
        }

        fn passes(&mut self, host: IpAddr) -> bool {
            let part = self.sieve.hosts.get(&host).unwrap_or(&self.sieve.others);
            self.random.u32(..) <= *part
        }

        fn run(&mut self, crowds: &mut [Crowd], milliseconds: u32) {
            self.queue.clear();
            for _ in 0..milliseconds {
                self.now = self.now + MILLISECOND;
                let waiting = self.queue.len();
                for (n, crowd) in crowds.iter().enumerate() {
                    for _ in 0..crowd.each {
                        let host = host(crowd.first + self.random.u32(..crowd.addresses));
                        match self.passes(host) {
                            true => self.queue.push((n, host)),
                            false => self.dropped += 1,
                        }
                    }
                }
                let arrived = self.queue.get_mut(waiting..).unwrap_or_default();
                self.random.shuffle(arrived);
                let taken = self.queue.len().min(self.capacity);
                self.taken += taken as u64;
                for (n, host) in self.queue.drain(..taken) {
                    let open = self.gate.is_open();
                    let admitted = open || self.gate.admits(self.now, host, crowds[n].sender);
                    crowds[n].admitted += u32::from(admitted);
                }
                self.gate.set_crowded(self.queue.len() > self.capacity);
                // As in a buffer of 8 MB, of which a datagram takes 1,300 bytes.
                self.queue.truncate(6000);
                if !self.gate.is_open() && self.now >= self.gate.sifting.window_ends {
                    let sifting = &mut self.gate.sifting;
                    sifting.begin_window(self.now, std::mem::take(&mut self.dropped));
                    self.sieve = sifting.sieve(&self.known, self.known.len());
                    sifting.told = self.sieve.clone();
                }
            }
        }
    }

    #[test]
    fn a_flood_is_sifted_out_and_the_honest_are_heard() {
        let mut sifted = Sifted::new(vec![host(1), host(2), host(3)], 150);
        let mut crowds = [
            Crowd::new(Sender::Proved, 1, 1, 10),
            Crowd::new(Sender::Awaited(100), 2, 1, 10),
            Crowd::new(Sender::Proved, 3, 1, 200),
            Crowd::new(Sender::Stranger, 1 << 16, 1 << 16, 400),
        ];
        sifted.run(&mut crowds, 1000);
        for crowd in &mut crowds {
            crowd.admitted = 0;
        }
        sifted.taken = 0;
        sifted.run(&mut crowds, 2000);
        let admitted = crowds.each_ref().map(|crowd| crowd.admitted);
        // But for what waits at the end, and a burst where a queue has built up.
        assert!(admitted[0] > 19_900, "{admitted:?}");
        assert!(admitted[1] > 19_900, "{admitted:?}");
        assert!(admitted[2] > 2000, "{admitted:?}");
        assert!(
            admitted[2] < 200_000 / 5,
            "who floods has less: {admitted:?}"
        );
        assert!(admitted[3] > 10_000, "newcomers find in: {admitted:?}");
        let all: u32 = admitted.iter().sum();
        assert!(
            sifted.taken < 2 * u64::from(all),
            "{} taken for {admitted:?}",
            sifted.taken
        );
    }

    #[test]
    fn one_who_proves_nothing_costs_newcomers_nothing() {
        let mut sifted = Sifted::new(Vec::new(), 100);
        let mut crowds = [
            Crowd::new(Sender::Stranger, 1, 1, 500),
            Crowd::new(Sender::Stranger, 1 << 16, 1 << 16, 2),
        ];
        sifted.run(&mut crowds, 1000);
        crowds[1].admitted = 0;
        sifted.taken = 0;
        sifted.run(&mut crowds, 1000);
        assert!(crowds[1].admitted > 1900, "{}", crowds[1].admitted);
        assert!(sifted.taken < 10_000, "{}", sifted.taken);
    }

    #[test]
    fn when_the_flood_is_over_nothing_is_sifted() {
        let mut sifted = Sifted::new(vec![host(1)], 100);
        let mut flood = [
            Crowd::new(Sender::Proved, 1, 1, 500),
            Crowd::new(Sender::Stranger, 1 << 16, 1 << 16, 500),
        ];
        sifted.run(&mut flood, 1000);
        assert!(!sifted.sieve.is_open());
        sifted.run(&mut [Crowd::new(Sender::Proved, 1, 1, 1)], 2000);
        assert!(sifted.sieve.is_open(), "{:?}", sifted.sieve);
        assert!(sifted.gate.is_open());
    }

    #[test]
    fn what_others_send_in_a_hosts_name_costs_it_nothing() {
        let mut sifted = Sifted::new(vec![host(1)], 200);
        let mut crowds = [
            Crowd::new(Sender::Proved, 1, 1, 5),
            Crowd::new(Sender::Stranger, 1, 1, 70),
            Crowd::new(Sender::Stranger, 1 << 16, 1 << 16, 500),
        ];
        sifted.run(&mut crowds, 1000);
        crowds[0].admitted = 0;
        sifted.run(&mut crowds, 1000);
        assert!(sifted.sieve.others < ALL);
        assert_eq!(sifted.sieve.hosts.get(&host(1)), Some(&ALL));
        // But for what waits at the end.
        assert!(crowds[0].admitted > 4990, "{}", crowds[0].admitted);
    }

    #[test]
    fn with_more_hosts_than_can_be_named_nobody_unnamed_is_sifted() {
        for (known, all_pass) in [(MAX_HOSTS, false), (MAX_HOSTS + 1, true)] {
            let known = (1..=known as u32).map(host).collect();
            let mut sifted = Sifted::new(known, 400);
            let mut crowds = [
                Crowd::new(Sender::Proved, 1, 1, 300),
                Crowd::new(Sender::Stranger, 1 << 16, 1 << 16, 500),
            ];
            sifted.run(&mut crowds, 500);
            assert!(sifted.sieve.hosts[&host(1)] < ALL);
            assert_eq!(sifted.sieve.others == ALL, all_pass);
            assert!(sifted.sieve.hosts.len() <= MAX_HOSTS + MAX_LOUD);
        }
    }

    #[test]
    fn peers_are_named_and_a_network_of_ipv6_once() {
        let mut swarm = Swarm::new(crate::swarm::Config::default(), [7; 32], Time::ZERO);
        let mut named = Vec::new();
        for n in 1..=3u16 {
            for address in [format!("10.0.0.{n}:7"), format!("[2001:db8:{n}::{n}:1]:7")] {
                let address: std::net::SocketAddr = address.parse().unwrap();
                let cookie = swarm.secret.cookie(address.ip());
                let proof = format!(r#"[{{"AlwaysReturned":{{"cookie":"{cookie}"}}}}]"#);
                swarm.handle_datagram(Time::ZERO, address, proof.as_bytes());
                named.push(host_of(address.ip()));
            }
        }
        // One who proves nothing.
        let stranger = "10.0.0.9:7".parse().unwrap();
        swarm.handle_datagram(Time::ZERO, stranger, br#"[{"PleaseSendPeers":{}}]"#);
        let (mut hosts, speaking) = swarm.hosts_to_name(Time::ZERO);
        hosts.sort();
        named.sort();
        assert_eq!((hosts, speaking), (named, 6));
        let later = Time::ZERO + SPEAKING * 2;
        for peer in swarm.peers.values_mut() {
            // What was asked when they were met has been answered or given up.
            peer.probe_sent = None;
        }
        assert_eq!(swarm.hosts_to_name(later).1, 0);
    }
}
