//! Whose datagrams are read when more comes than can be read.
//!
//! While the driver keeps up, everything is read. When it says that it does not, what is not worth
//! its turn is dropped before anything is done with it, so that the rest is taken from the socket in
//! time: a queue that overflows drops the honest as it drops the flood.
//!
//! Hosts that return our cookie, and so are where they say, share by turns: in each [`ROUND`] a host
//! may send so many datagrams, and the share shrinks while the driver does not keep up and grows
//! again afterwards. Who sends less than the share loses nothing (max-min fairness). All that may be
//! forged has a quarter of a share together, and of that no address gets much. Answers that were asked
//! for pass. Who is refused most of what he sends and does not slow down has a quarter of his share. What
//! is dropped need not even be received: see `sieve`.
//!
//! Hosts are counted in a table of fixed size, at a place that depends on a secret: those that meet
//! there share, and nobody can choose to meet a victim.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::cookie::Secret;
use super::peer::Peer;
use super::sieve::{Sifting, Standing};
use super::{Swarm, Time};

/// How often all begin anew.
const ROUND: Duration = Duration::from_millis(10);
/// Places for hosts.
const PLACES: usize = 4096;
/// What all hosts together may send in a round at least, and each of any number of them. That this is
/// read cannot be what keeps the driver from keeping up: it takes a quarter of a slow core.
const ALL: u32 = 512;
const LEAST: u32 = 4;
/// The part of a share for who has sent several shares for some time: what is answered makes no
/// difference to him.
const HEEDLESS: u32 = 4;
/// What all that may be forged has in a round at least: a few per cent of a slow core.
const STRANGERS: u32 = 64;
/// The same at most while the driver keeps up because others are sifted out: a quarter of a core. A
/// newcomer tries a few times a second, so that most of what newcomers send is to come through.
const STRANGERS_SIFTED: u32 = 1024;
/// Of these, one address.
const STRANGER: u16 = 2;
/// With a share of so many there is no flood any more.
const OPEN: u32 = 1 << 14;
/// Where our cookie is looked for in a datagram: at its ends.
const ENDS: usize = 256;

/// See the module.
pub(super) struct Gate {
    key: u64,
    /// What a host may send in a round; `None`: whatever it likes.
    share: Option<u32>,
    /// What all may send in a round that may be forged, if that is more than a quarter of a share.
    strangers_share: u32,
    /// The driver does not keep up; and whether that was so at some time of this round.
    crowded: bool,
    was_crowded: bool,
    round_ends: Time,
    /// What was let through in this round, by host; of the host that sent most; how many hosts proved
    /// where they are; of strangers.
    counts: Box<[u16]>,
    most: u32,
    hosts: u32,
    strangers: u32,
    /// What of all this need not be received.
    pub(super) sifting: Sifting,
}

/// What is known of a sender before its datagram is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// So many requests to it are out.
    Awaited(usize),
    /// The datagram holds our cookie for its address.
    Proved,
    Stranger,
}

impl Gate {
    pub fn new(key: u64) -> Self {
        Self {
            key,
            share: None,
            strangers_share: STRANGERS,
            crowded: false,
            was_crowded: false,
            round_ends: Time::ZERO,
            counts: vec![0; PLACES].into_boxed_slice(),
            most: 0,
            hosts: 0,
            strangers: 0,
            sifting: Sifting::new(),
        }
    }

    pub fn set_crowded(&mut self, crowded: bool) {
        self.crowded = crowded;
        self.was_crowded |= crowded;
        self.sifting.set_crowded(crowded);
    }

    /// Whether everything passes.
    pub(super) fn is_open(&self) -> bool {
        self.share.is_none() && !self.was_crowded && !self.sifting.is_on()
    }

    pub(super) fn admits(&mut self, now: Time, host: IpAddr, sender: Sender) -> bool {
        if now >= self.round_ends {
            self.begin_round(now);
        }
        let share = self.share.unwrap_or(u32::MAX);
        let place = self.place(host);
        let Some(count) = self.counts.get_mut(place) else {
            return true;
        };
        let admitted = match sender {
            // Each may come twice: a peer repeats what it thinks was lost.
            Sender::Awaited(requests) => {
                u32::from(*count) < share.max(u32::try_from(requests).unwrap_or(u32::MAX) * 2)
            }
            Sender::Proved if self.sifting.is_heedless(host) => {
                u32::from(*count) < (share / HEEDLESS).max(LEAST)
            }
            Sender::Proved => u32::from(*count) < share,
            Sender::Stranger => {
                *count < STRANGER && self.strangers < (share / 4).max(self.strangers_share)
            }
        };
        let standing = match sender {
            Sender::Awaited(_) | Sender::Proved => Standing::Proved,
            Sender::Stranger if *count < STRANGER => Standing::Stranger,
            Sender::Stranger => Standing::Loud,
        };
        self.sifting.note(host, standing, admitted);
        if admitted {
            *count = count.saturating_add(1);
            self.hosts += u32::from(*count == 1 && sender != Sender::Stranger);
            self.most = self.most.max(u32::from(*count));
            self.strangers += u32::from(sender == Sender::Stranger);
        }
        admitted
    }

    fn begin_round(&mut self, now: Time) {
        self.round_ends = now + ROUND;
        let flooded = self.sifting.is_flooded();
        if self.was_crowded || flooded {
            let share = self.share.unwrap_or(u32::MAX).min(self.most);
            let shrunk = match self.was_crowded {
                true => share / 4 * 3,
                false => share - share / 16,
            };
            let least = (ALL / self.hosts.max(1)).max(LEAST);
            self.share = Some(shrunk.max(least));
        } else if let Some(share) = self.share {
            self.share = Some(share + share / 8 + 1).filter(|share| *share < OPEN);
        }
        self.strangers_share = match (self.sifting.is_on(), self.was_crowded) {
            (true, false) => {
                (self.strangers_share + self.strangers_share / 8).min(STRANGERS_SIFTED)
            }
            (true, true) => (self.strangers_share / 4 * 3).max(STRANGERS),
            (false, _) => STRANGERS,
        };
        self.was_crowded = self.crowded;
        self.most = 0;
        self.hosts = 0;
        self.strangers = 0;
        self.counts.fill(0);
    }

    fn place(&self, host: IpAddr) -> usize {
        let bits = match host {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            // A /64 is one host: addresses in it cost nothing.
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        };
        let mut hash = (bits ^ self.key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 29)).wrapping_mul(self.key | 1);
        (hash >> 32) as usize % PLACES
    }
}

impl Swarm {
    /// Whether the driver does not keep up: datagrams come faster than it takes them from the socket.
    /// Until it says otherwise, hosts that send more than others lose what is too much.
    pub fn set_crowded(&mut self, crowded: bool) {
        self.gate.set_crowded(crowded);
    }

    /// Whether a datagram is worth reading now.
    pub(super) fn is_read(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) -> bool {
        if self.gate.is_open() {
            return true;
        }
        let peer = self.peers.get(&from);
        let awaited = peer.map_or(0, Peer::awaited);
        let sender = if awaited > 0 {
            Sender::Awaited(awaited)
        } else if brings_cookie(&self.secret, peer, from.ip(), datagram) {
            Sender::Proved
        } else {
            Sender::Stranger
        };
        self.gate.admits(now, from.ip(), sender)
    }
}

/// Whether our cookie for the sender is somewhere near an end of `datagram`: it is where it says.
/// That it stands in the right place is seen when the datagram is read.
fn brings_cookie(secret: &Secret, peer: Option<&Peer>, ip: IpAddr, datagram: &[u8]) -> bool {
    let made;
    let cookie = match peer {
        Some(peer) => &*peer.our_cookie,
        None => {
            made = secret.cookie(ip);
            made.as_str()
        }
    };
    let holds = |part: Option<&[u8]>| {
        part.is_some_and(|part| memchr::memmem::find(part, cookie.as_bytes()).is_some())
    };
    if datagram.len() <= 2 * ENDS {
        holds(Some(datagram))
    } else {
        holds(datagram.first_chunk::<ENDS>().map(|part| &part[..]))
            || holds(datagram.last_chunk::<ENDS>().map(|part| &part[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn host(n: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + n).to_be_bytes())
    }

    /// What is let through of `sent` datagrams a millisecond of each of these, in `rounds` rounds,
    /// where the driver takes `capacity` a millisecond of all.
    fn run(gate: &mut Gate, sent: &[(u32, Sender, u32)], rounds: u32, capacity: u32) -> Vec<u32> {
        let mut passed = vec![0; sent.len()];
        let (mut now, mut queue) = (gate.round_ends, 0u32);
        for _ in 0..rounds * 10 {
            now = now + MILLISECOND;
            for (passed, (who, sender, each)) in passed.iter_mut().zip(sent) {
                for n in 0..*each {
                    let who = if *sender == Sender::Stranger {
                        who + n
                    } else {
                        *who
                    };
                    let open = gate.is_open();
                    if open || gate.admits(now, host(who), *sender) {
                        *passed += 1;
                        queue += 1;
                    }
                }
            }
            queue = queue.saturating_sub(capacity);
            gate.set_crowded(queue > capacity);
        }
        passed
    }

    #[test]
    fn whoever_sends_less_than_his_share_loses_nothing() {
        let mut gate = Gate::new(7);
        let senders = [
            (1, Sender::Proved, 200),
            (2, Sender::Proved, 5),
            (3, Sender::Proved, 1),
        ];
        run(&mut gate, &senders, 20, 20);
        let passed = run(&mut gate, &senders, 100, 20);
        assert!(passed[0] < 20_000, "{passed:?}");
        assert!(passed[0] > 5000, "{passed:?}");
        assert_eq!(passed[1..], [5000, 1000]);
    }

    #[test]
    fn all_that_may_be_forged_has_less_than_one_host() {
        let mut gate = Gate::new(7);
        let senders = [
            (1000, Sender::Stranger, 300),
            (2, Sender::Proved, 10),
            (3, Sender::Awaited(100), 15),
        ];
        run(&mut gate, &senders, 20, 40);
        let passed = run(&mut gate, &senders, 100, 40);
        assert!(passed[0] < 20_000, "{passed:?}");
        assert!(
            passed[0] >= 100 * STRANGERS,
            "newcomers find in: {passed:?}"
        );
        assert_eq!(passed[1..], [10_000, 15_000]);
    }

    #[test]
    fn what_was_asked_for_passes_and_no_more() {
        let mut gate = Gate::new(7);
        let senders = [(1, Sender::Awaited(400), 500)];
        run(&mut gate, &senders, 20, 3);
        let passed = run(&mut gate, &senders, 100, 3);
        assert!((79_000..=81_000).contains(&passed[0]), "{passed:?}");
    }

    #[test]
    fn when_the_flood_is_over_everything_passes_again() {
        let mut gate = Gate::new(7);
        assert!(gate.is_open());
        run(&mut gate, &[(1, Sender::Proved, 500)], 20, 20);
        assert!(!gate.is_open());
        run(&mut gate, &[(1, Sender::Proved, 1)], 100, 20);
        assert!(gate.is_open());
    }

    #[test]
    fn in_a_crowd_who_proves_where_he_is_is_heard() {
        let mut swarm = Swarm::new(crate::swarm::Config::default(), [7; 32], Time::ZERO);
        let honest = SocketAddr::new(host(1), 24254);
        let cookie = swarm.secret.cookie(honest.ip());
        let (mut heard, mut sent) = (0, 0);
        for round in 1..=10 {
            swarm.set_crowded(true);
            let now = Time::ZERO + ROUND * round;
            let question = |offset: u32| {
                let id = "07".repeat(32);
                format!(
                    r#"{{"PleaseSendContent":{{"id":"{id}","offset":{offset},"length":4096}}}}"#
                )
            };
            for n in 0..3000 {
                let stranger = SocketAddr::new(host(1000 + n), 24254);
                swarm.handle_datagram(now, stranger, format!("[{}]", question(n)).as_bytes());
                if n % 100 == 0 {
                    sent += 1;
                    let question = question((round * 3000 + n) * 4096);
                    let proof = format!(r#"{{"AlwaysReturned":{{"cookie":"{cookie}"}}}}"#);
                    let datagram = format!("[{proof},{question}]");
                    swarm.handle_datagram(now, honest, datagram.as_bytes());
                }
            }
            while let Some(event) = swarm.poll_event() {
                if let crate::swarm::Event::Asked(ask) = event {
                    heard += u32::from(ask.to == honest);
                }
            }
        }
        assert_eq!(heard, sent);
        // All but those of the first round, before which nothing was known of a crowd.
        assert!(
            swarm.stats().dropped > 9 * 3000 - 10 * 2 * u64::from(ALL),
            "{:?}",
            swarm.stats()
        );
    }

    #[test]
    fn a_cookie_is_found_at_either_end() {
        let secret = Secret::new([7; 32]);
        let ip = host(1);
        let cookie = secret.cookie(ip);
        let finds = |datagram: &str| brings_cookie(&secret, None, ip, datagram.as_bytes());
        let filler = "x".repeat(5000);
        assert!(finds(&format!("[{cookie}]")));
        assert!(finds(&format!("[{cookie}{filler}]")));
        assert!(finds(&format!("[{filler}{cookie}]")));
        assert!(!finds(&format!("[{filler}{cookie}{filler}]")));
        assert!(!finds(&filler));
        assert!(!finds(""));
        assert!(!finds(&secret.cookie(host(2))));
    }
}
