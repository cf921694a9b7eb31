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
