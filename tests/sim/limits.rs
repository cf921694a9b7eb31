//! What a node gives and takes when it is limited, and who gets it.
//!
//! Bytes are counted at the sockets, with 28 bytes of headers for each datagram, as the limits are.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cjp2pfs::content::ByteRange;
use cjp2pfs::swarm::Config;

use crate::content::Synthetic;
use crate::greedy::Greedy;
use crate::link::{Access, FAST_ETHERNET};
use crate::net::HostId;
use crate::node::Node;
use crate::world::{Program, World, address, seconds};

const MIB: u64 = 1 << 20;
const SEED: HostId = 0;
/// What a bucket saves up is a twentieth of a second; the rest is a datagram, questions, probes.
const SLACK: u64 = 8000;

fn access() -> Access {
    Access::symmetric(FAST_ETHERNET, Duration::from_millis(40))
}

/// A world with a seed of `what` that is limited so.
fn seed(salt: u64, what: Synthetic, config: Config) -> World {
    let mut world = World::new(salt);
    let node = Node::with_config(config, salt ^ 1, &[]).holding(what);
    world.add_node(1, &access(), node);
    world
}

fn uploading(limit: Option<u64>, per_address: Option<u64>) -> Config {
    Config {
        upload_limit: limit,
        upload_limit_per_address: per_address,
        ..Config::default()
    }
}

/// Bytes that `count` gives in each of the seconds from `from` to `until`.
fn by_second(world: &mut World, from: u64, until: u64, count: impl Fn(&World) -> u64) -> Vec<u64> {
    world.run(seconds(from), |_| false);
    let mut before = count(world);
    (from + 1..=until)
        .map(|second| {
            world.run(seconds(second), |_| false);
            let now = count(world);
            let grew = now - before;
            before = now;
            grew
        })
        .collect()
}

fn sent(world: &World) -> u64 {
    world.traffic(SEED).sent.bytes
}

fn sent_to(world: &World, host: u32) -> u64 {
    world.traffic(SEED).sent_to(address(host)).bytes
}

fn keeps_to(limit: u64, name: &str, counted: &[u64]) {
    println!("{name:<34} limit {limit}, by second {counted:?}");
    let most = limit + limit / 20 + SLACK;
    assert!(counted.iter().all(|bytes| *bytes <= most), "{counted:?}");
    let mean = counted.iter().sum::<u64>() / counted.len() as u64;
    assert!(mean > limit * 9 / 10, "{mean} of {limit}: {counted:?}");
}

#[test]
fn all_answers_together_keep_to_the_upload_limit() {
    const LIMIT: u64 = 500_000;
    let what = Synthetic::new(80, 64 * MIB);
    let mut world = seed(80, what, uploading(Some(LIMIT), None));
    for n in 2..5 {
        let node = Node::new(80 ^ u64::from(n), &[address(1)]).fetching(what);
        world.add_node(n, &access(), node);
    }
    keeps_to(LIMIT, "upload limit", &by_second(&mut world, 1, 9, sent));
    // They have equal paths and so get equal shares.
    let shares: Vec<u64> = (2..5).map(|n| sent_to(&world, n)).collect();
    let (least, most) = (shares.iter().min(), shares.iter().max());
    assert!(most.unwrap() * 2 < least.unwrap() * 3, "{shares:?}");
}

/// Two addresses get the limit each; two ports of one address share it.
#[test]
fn each_address_keeps_to_its_own_limit() {
    const LIMIT: u64 = 300_000;
    let what = Synthetic::new(81, 64 * MIB);
    let mut world = seed(81, what, uploading(None, Some(LIMIT)));
    for n in 2..4 {
        let node = Node::new(81 ^ u64::from(n), &[address(1)]).fetching(what);
        world.add_node(n, &access(), node);
    }
    let second_port = SocketAddr::new(address(3).ip(), 999);
    let node = Node::new(814, &[address(1)]).fetching(what);
    world.add(second_port, access(), Program::Node(Box::new(node)));
    let to_host = |host: IpAddr| {
        move |world: &World| -> u64 {
            let to = &world.traffic(SEED).to;
            let there = to.iter().filter(|(address, _)| address.ip() == host);
            there.map(|(_, count)| count.bytes).sum()
        }
    };
    let alone = by_second(&mut world, 1, 7, to_host(address(2).ip()));
    keeps_to(LIMIT, "upload limit of an address", &alone);
    let shared = by_second(&mut world, 7, 13, to_host(address(3).ip()));
    keeps_to(LIMIT, "the same with two ports", &shared);
}

#[test]
fn what_is_fetched_keeps_to_the_download_limit() {
    const LIMIT: u64 = 500_000;
    let what = Synthetic::new(82, 64 * MIB);
    let mut world = World::new(82);
    for n in 2..5 {
        let node = Node::new(82 ^ u64::from(n), &[]).holding(what);
        world.add_node(n, &access(), node);
    }
    let config = Config {
        download_limit: Some(LIMIT),
        ..Config::default()
    };
    let known = [2, 3, 4].map(address);
    let node = Node::with_config(config, 821, &known).fetching(what);
    let leecher = world.add_node(1, &access(), node);
    let received = move |world: &World| world.traffic(leecher).received.bytes;
    keeps_to(
        LIMIT,
        "download limit",
        &by_second(&mut world, 1, 9, received),
    );
    // Somebody who waits does not wait for what nobody waits for, and it evens out afterwards.
    let range = ByteRange::at(32 * MIB, 128 << 10);
    world.have(seconds(9), leecher, move |node, now| {
        node.read(now, what, range);
    });
    let after = by_second(&mut world, 9, 13, received);
    let read = &world.node(leecher).reads[0];
    let waited = read.done.map(|done| done.since(read.asked));
    println!(
        "{:<34} waited {waited:?}, then {after:?}",
        "a read of 128 KiB"
    );
    assert!(
        waited.is_some_and(|waited| waited < Duration::from_millis(400)),
        "{waited:?}"
    );
    assert!(
        after.iter().sum::<u64>() <= 4 * LIMIT + LIMIT / 2 + SLACK,
        "{after:?}"
    );
}

/// How long a node with 2 Mbit/s takes for a megabyte from a seed with a limit of four times that,
/// beside `greedy` others who each ask for forty times what the seed gives.
fn slow_beside(greedy: u32) -> f64 {
    let what = Synthetic::new(83, MIB);
    let large = Synthetic::new(84, 64 * MIB);
    let mut world = World::new(83);
    let config = uploading(Some(1_000_000), None);
    let node = Node::with_config(config, 831, &[]);
    world.add_node(1, &access(), node.holding(what).holding(large));
    let slow = Access::symmetric(250_000, Duration::from_millis(40));
    let reader = Node::new(832, &[address(1)]);
    let reader = world.add_node(2, &slow, reader);
    for n in 3..3 + greedy {
        let every = Duration::from_millis(1);
        let host = Greedy::new(u64::from(n), address(1), large, every);
        world.add(address(n), access(), Program::Greedy(Box::new(host)));
    }
    world.have(seconds(2), reader, move |node, now| node.fetch(now, what));
    let name = format!("2 Mbit/s beside {greedy} greedy");
    assert!(world.run_transfer(&name, seconds(60), reader, what));
    let greedy = world.hosts().map(|host| match host {
        Program::Greedy(greedy) => greedy.got,
        _ => 0,
    });
    println!("{:<34} {} bytes to the greedy", "", greedy.sum::<u64>());
    world.goal(reader, what).took().unwrap()
}

#[test]
fn a_fast_requester_does_not_starve_a_slow_one() {
    let alone = slow_beside(0);
    for greedy in [1, 2] {
        let beside = slow_beside(greedy);
        assert!(beside < 1.5 * alone, "{beside} s, alone {alone} s");
    }
}

/// Who fetches everything from a source on the same machine or network that keeps to a limit far below
/// what the path carries: the queue is at the source, and must be no longer than that of a slow link.
/// Reads of a program beside it wait for that queue.
fn beside_a_fetch_from_a_limited_source(local: bool, all: bool) {
    const LIMIT: u64 = 8_000_000;
    let what = Synthetic::new(85, 64 * MIB);
    let mut world = World::new(85);
    let at = |n: u16| {
        if local {
            SocketAddr::from(([127, 0, 0, 1], 1000 + n))
        } else {
            address(u32::from(n))
        }
    };
    let access = || {
        if local {
            Access::loopback()
        } else {
            Access::symmetric(125_000_000, Duration::from_micros(400))
        }
    };
    let source = Node::with_config(uploading(Some(LIMIT), None), 851, &[]).holding(what);
    world.add(at(1), access(), Program::Node(Box::new(source)));
    let reader = Node::new(852, &[at(1)]);
    let reader = if all {
        reader.fetching(what)
    } else {
        reader.knowing(what)
    };
    let reader = world.add(at(2), access(), Program::Node(Box::new(reader)));
    for i in 0..50 {
        let range = ByteRange::at(MIB * (60 - i), 4096);
        let at = seconds(1) + Duration::from_millis(100 * i);
        world.have(at, reader, move |node, now| node.read(now, what, range));
    }
    // Read ahead of a program: all that is wanted at a time can be in flight.
    for i in 0..70 * u64::from(!all) {
        let ahead = ByteRange::new(0, MIB + 1_000_000 * i);
        let at = seconds(0) + Duration::from_millis(100 * (i + 1));
        world.have(at, reader, move |node, now| {
            node.read_ahead(now, what, ahead)
        });
    }
    world.run(seconds(7), |_| false);
    let asked = world.traffic(reader).sent.datagrams;
    let received = world.node(reader).received(what);
    let reads = world.node(reader).reads.iter();
    let mut waits: Vec<Duration> = reads
        .filter(|read| read.range.len() == 4096)
        .map(|read| {
            read.done
                .map_or(Duration::MAX, |done| done.since(read.asked))
        })
        .collect();
    waits.sort();
    println!(
        "{:<34} {:.2} MB/s, reads p50 {:?}, worst {:?}, {asked} questions\n{}",
        if local {
            "a limited source, loopback"
        } else {
            "a limited source, LAN"
        },
        received as f64 / 7e6,
        waits[waits.len() / 2],
        waits[waits.len() - 1],
        world.node(reader).explain(seconds(7)),
    );
    assert!(received as f64 > 0.6 * 7.0 * LIMIT as f64, "{received}");
    assert!(waits[waits.len() / 2] < Duration::from_millis(60));
    // At its start it is doubled until the queue shows.
    assert!(waits[waits.len() - 1] < Duration::from_millis(700));
}

#[test]
fn a_source_on_this_machine_with_a_limit_is_not_asked_far_ahead() {
    beside_a_fetch_from_a_limited_source(true, true);
    beside_a_fetch_from_a_limited_source(true, false);
}

#[test]
fn a_source_nearby_with_a_limit_is_not_asked_far_ahead() {
    beside_a_fetch_from_a_limited_source(false, true);
}
