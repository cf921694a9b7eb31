//! A node is no lever: who forges a sender's address cannot make it send the victim more than twice
//! what the forger sent, and who names addresses cannot make it contact many of them, often, or any
//! that are none of the namer's business.

#[path = "../fuzz/bodies/driven.rs"]
mod driven;
#[path = "../fuzz/bodies/forged.rs"]
mod forged;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use arbitrary::Unstructured;
use cjp2pfs::content::{ByteRange, ContentId};
use cjp2pfs::swarm::{Class, Config};
use serde_json::json;

use driven::Driven;
use forged::Forger;

const DATAGRAMS: usize = 100_000;

/// A swarm that says nothing of its own accord, so that all that it sends is an answer.
fn silent() -> Driven {
    let mut driven = Driven::new(Config {
        probe: false,
        ..Config::default()
    });
    for n in 0..4 {
        driven.held.insert(ContentId::sha256([n; 32]), 1 << 20);
        driven.held.insert(ContentId::blake3([n; 32]), 10);
    }
    driven
}

fn victims() -> Vec<SocketAddr> {
    let v4 = (0..500u16).map(|n| format!("20.0.{}.{}:24254", n >> 8, n & 255));
    let v6 = (0..500u16).map(|n| format!("[2a01:4f8::{n:x}]:{}", 1 + n));
    v4.chain(v6).map(|text| text.parse().unwrap()).collect()
}

/// Floods `driven` with forged datagrams, one each `pause`, from all of `victims`.
fn flood(driven: &mut Driven, victims: &[SocketAddr], pause: Duration, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let ids: Vec<ContentId> = driven.held.keys().copied().collect();
    let forger = Forger {
        ids: &ids,
        addresses: &victims[..4],
        overheard: None,
    };
    let mut bytes = vec![0; 2048];
    for _ in 0..DATAGRAMS {
        random.fill(&mut bytes);
        let datagram = match random.u8(..8) {
            0 => bytes[..random.usize(..600)].to_vec(),
            1 => format!(
                "[{{\"PleaseSendPeers\":{{}}}}{}]",
                " ".repeat(random.usize(..200))
            )
            .into_bytes(),
            _ => forger.datagram(&mut Unstructured::new(&bytes)).unwrap(),
        };
        let from = victims[random.usize(..victims.len())];
        driven.deliver(from, &datagram);
        driven.pass(pause);
    }
}

#[track_caller]
fn assert_not_amplified(driven: &Driven, victims: &[SocketAddr]) {
    for victim in victims {
        let flow = driven.flows[victim];
        assert!(flow.bytes_out <= 2 * flow.bytes_in, "{victim}: {flow:?}");
    }
    let total = driven.total();
    assert_eq!(total.datagrams_in as usize, DATAGRAMS);
    assert!(total.bytes_out <= 2 * total.bytes_in, "{total:?}");
    let others = driven.flows.keys().filter(|to| !victims.contains(to));
    assert_eq!(others.count(), 0, "somebody else was sent something");
    println!(
        "{} bytes in, {} out, {} datagrams answered",
        total.bytes_in, total.bytes_out, total.datagrams_out
    );
}

#[test]
fn unverified_addresses_get_at_most_twice_what_came_from_them() {
    let (mut driven, victims) = (silent(), victims());
    flood(&mut driven, &victims, Duration::from_millis(1), 1);
    assert_not_amplified(&driven, &victims);
    assert!(driven.total().datagrams_out > 10_000, "hardly any answered");
    assert_eq!(driven.swarm.peer_reports(driven.now).len(), 0);
}

/// A flood faster than strangers are answered is mostly met with silence.
#[test]
fn a_fast_flood_from_unverified_addresses_is_answered_with_far_less_than_it_brings() {
    let (mut driven, victims) = (silent(), victims());
    flood(&mut driven, &victims, Duration::from_micros(5), 2);
    assert_not_amplified(&driven, &victims);
    let total = driven.total();
    assert!(total.bytes_out < total.bytes_in / 10, "{total:?}");
}

/// Addresses of peers that the node knows and fetches nothing from are forged as easily.
#[test]
fn the_addresses_of_known_peers_get_no_more() {
    let (mut driven, victims) = (silent(), victims());
    for victim in &victims {
        driven.swarm.add_peer(driven.now, *victim);
    }
    flood(&mut driven, &victims, Duration::from_millis(1), 3);
    assert_not_amplified(&driven, &victims);
}

/// Peers that answer what they are asked, and so may name others.
struct Namers {
    driven: Driven,
    addresses: Vec<SocketAddr>,
}

impl Namers {
    fn new(addresses: Vec<SocketAddr>) -> Self {
        let mut driven = Driven::new(Config::default());
        for address in &addresses {
            driven.swarm.add_peer(driven.now, *address);
        }
        Self { driven, addresses }
    }

    /// For `time` each of them says `message` to every question, and without one `spontaneously`.
    fn say(&mut self, time: Duration, mut message: impl FnMut(usize) -> serde_json::Value) {
        let step = Duration::from_millis(50);
        let end = self.driven.now + time;
        let mut said = 0;
        while self.driven.now < end {
            self.driven.pass(step);
            for address in self.addresses.clone() {
                let told = self.driven.overheard.get_mut(&address);
                let Some(ping) = told.as_ref().and_then(|told| told.ping.clone()) else {
                    continue;
                };
                let cookie = told.and_then(|told| told.cookie.clone());
                let datagram = json!([
                    {"ReturnedMessage": {"cookie": ping}},
                    {"AlwaysReturned": {"cookie": cookie}},
                    message(said),
                ]);
                said += 1;
                self.driven
                    .deliver(address, datagram.to_string().as_bytes());
            }
        }
    }

    /// Datagrams to each IP address that is not a namer's.
    fn contacted(&self) -> BTreeMap<IpAddr, u64> {
        let mut contacted = BTreeMap::new();
        for (address, flow) in &self.driven.flows {
            if !self.addresses.contains(address) && flow.datagrams_out > 0 {
                *contacted.entry(address.ip()).or_default() += flow.datagrams_out;
            }
        }
        contacted
    }
}

fn public_namers(count: u8) -> Vec<SocketAddr> {
    (0..count)
        .map(|n| SocketAddr::from(([20, 9, n, 1], 24254)))
        .collect()
}

const MINUTES: u64 = 5;
const LONG: Duration = Duration::from_secs(60 * MINUTES);

/// Addresses that a peer on the internet has no business to name, in every spelling.
const NOT_FOR_THE_PUBLIC: &[&str] = &[
    "127.0.0.1:24254",
    "127.8.9.10:80",
    "10.0.0.1:24254",
    "172.16.0.1:24254",
    "172.31.255.255:24254",
    "192.168.1.1:53",
    "169.254.169.254:80",
    "100.64.0.1:24254",
    "192.0.0.8:24254",
    "198.18.0.1:24254",
    "224.0.0.1:24254",
    "239.255.255.250:1900",
    "255.255.255.255:24254",
    "240.0.0.1:24254",
    "0.0.0.0:24254",
    "0.1.2.3:24254",
    "20.1.1.1:0",
    "[::1]:24254",
    "[::]:24254",
    "[fe80::1]:24254",
    "[fec0::1]:24254",
    "[fc00::1]:24254",
    "[fd12::1]:24254",
    "[ff02::1]:24254",
    "[ff0e::1]:24254",
    "[::ffff:127.0.0.1]:24254",
    "[::ffff:10.0.0.1]:24254",
    "[::ffff:192.168.1.1]:24254",
    "[::ffff:169.254.169.254]:80",
    "[::ffff:224.0.0.1]:24254",
    "[::ffff:0.0.0.0]:24254",
    "[::127.0.0.1]:24254",
    "[::10.0.0.1]:24254",
    "[64:ff9b::127.0.0.1]:24254",
    "[64:ff9b::10.0.0.1]:24254",
    "[64:ff9b:1::a00:1]:24254",
    "[2002:7f00:1::1]:24254",
    "[2002:a00:1::1]:24254",
    "[2002:c0a8:101::1]:24254",
];

#[test]
fn near_addresses_named_by_public_peers_are_not_contacted() {
    let wanted = ContentId::sha256([9; 32]);
    for hint in [false, true] {
        let mut namers = Namers::new(public_namers(4));
        let (driven, whole) = (&mut namers.driven, ByteRange::new(0, u64::MAX));
        driven.swarm.find(driven.now, wanted);
        driven.swarm.want(driven.now, wanted, whole, Class::Urgent);
        namers.say(Duration::from_secs(120), |said| {
            // One at a time, so that no bound on how many are taken hides a wrong one, and a good
            // one, so that it is seen that the list as a whole was taken.
            let named = [
                NOT_FOR_THE_PUBLIC[said % NOT_FOR_THE_PUBLIC.len()],
                "20.3.3.3:24254",
            ];
            match hint {
                true => json!({"MaybeTheyHaveSome": {"id": wanted.to_string(), "peers": named}}),
                false => json!({"Peers": {"peers": named}}),
            }
        });
        let contacted: Vec<IpAddr> = namers.contacted().into_keys().collect();
        let good: IpAddr = [20, 3, 3, 3].into();
        assert_eq!(contacted, [good], "hint: {hint}");
    }
}

/// Four peers that name nothing but addresses of one victim, as many as they can.
fn named_addresses(said: usize, victims: u32) -> Vec<String> {
    (0..100)
        .map(|n| {
            let n = (said * 100 + n) as u32;
            let ip = std::net::Ipv4Addr::from_bits(0x1500_0000 + n % victims);
            format!("{ip}:{}", 1 + (n / victims) % 65_535)
        })
        .collect()
}

#[test]
fn what_peers_lists_make_us_send_is_bounded() {
    for victims in [1, 256, 1 << 20] {
        let mut namers = Namers::new(public_namers(4));
        namers.say(
            LONG,
            |said| json!({"Peers": {"peers": named_addresses(said, victims)}}),
        );
        let contacted = namers.contacted();
        let (most, all) = (
            contacted.values().max().copied().unwrap_or_default(),
            contacted.values().sum::<u64>(),
        );
        println!(
            "{victims} victims named in Peers: {all} datagrams, {most} to one, in {MINUTES} min"
        );
        assert!(all > 0, "nobody was contacted, so nothing was tested");
        assert!(most <= 40 * MINUTES, "{most} datagrams to one address");
        assert!(all <= 11 * 60 * MINUTES, "{all} datagrams");
    }
}

#[test]
fn what_hints_make_us_send_is_bounded() {
    let wanted = ContentId::sha256([9; 32]);
    for victims in [1, 256, 1 << 20] {
        let mut namers = Namers::new(public_namers(4));
        let driven = &mut namers.driven;
        driven.swarm.find(driven.now, wanted);
        namers.say(LONG, |said| {
            let named = named_addresses(said, victims);
            json!({"MaybeTheyHaveSome": {"id": wanted.to_string(), "peers": named}})
        });
        let contacted = namers.contacted();
        let (most, all) = (
            contacted.values().max().copied().unwrap_or_default(),
            contacted.values().sum::<u64>(),
        );
        println!(
            "{victims} victims named in hints: {all} datagrams, {most} to one, in {MINUTES} min"
        );
        assert!(all > 0, "nobody was contacted, so nothing was tested");
        assert!(most <= 40 * MINUTES, "{most} datagrams to one address");
        assert!(all <= 320 + 12 * 60 * MINUTES, "{all} datagrams");
    }
}

/// A peer that asks for another cookie to be returned with each datagram, as one does to which we seem to
/// have moved, is greeted anew at once, and then every few seconds.
#[test]
fn a_cookie_that_changes_all_the_time_makes_us_greet_seldom() {
    let peer: SocketAddr = "20.0.0.1:24254".parse().unwrap();
    let mut driven = Driven::new(Config::default());
    driven.swarm.add_peer(driven.now, peer);
    driven.pass(Duration::from_secs(1));
    let greetings = |driven: &Driven| driven.flows[&peer].datagrams_out;
    let mut first = None;
    for n in 0..1200 {
        let told = &driven.overheard[&peer];
        let messages = json!([
            {"AlwaysReturned": {"cookie": told.cookie}},
            {"ReturnedMessage": {"cookie": told.ping}},
            {"PleaseAlwaysReturnThisMessage": {"cookie": format!("cookie {n}")}},
        ]);
        driven.deliver(peer, &serde_json::to_vec(&messages).unwrap());
        driven.pass(Duration::from_millis(100));
        first = first.or((n == 1).then(|| greetings(&driven)));
    }
    let all = greetings(&driven);
    println!("greeted {all} times in two minutes");
    assert!(first >= Some(2), "{first:?} when it had changed once");
    assert!(all <= 40, "{all} greetings");
}
