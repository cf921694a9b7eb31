//! What the transport is to reach on single paths: goodput as a share of the most content that the
//! path can carry in one-packet answers, after its loss.

use std::time::Duration;

use cjp2pfs::content::ByteRange;

use crate::content::Synthetic;
use crate::cubic::{Beside, Sender};
use crate::link::{Access, FAST_ETHERNET, HEADERS};
use crate::net::HostId;
use crate::node::Node;
use crate::world::{Program, World, address, seconds};

const MIB: u64 = 1 << 20;
const LEECHER: HostId = 1;

/// Content bytes in one request, and bytes of its answer with the headers: what a node asks of a
/// network and what it gets.
const PIECE: f64 = 900.0;
const ANSWER: f64 = 1418.0 + HEADERS as f64;

struct Outcome {
    /// Share of what the path can carry, over the whole transfer.
    whole: f64,
    /// The same from one second after the start.
    settled: f64,
}

/// Fetches `mebibytes` over `access`, which is the leecher's; the source's own is ten times as fast.
fn fetch(name: &str, mebibytes: u64, access: &Access, seed: u64) -> (Outcome, World) {
    let what = Synthetic::new(seed, mebibytes * MIB);
    let mut world = World::new(seed);
    let mut source = access.clone();
    source.up.rate *= 10;
    source.up.queue *= 10;
    source.down.rate *= 10;
    source.up.loss = 0.0;
    source.down.loss = 0.0;
    source.down.jitter = Duration::ZERO;
    source.up.jitter = Duration::ZERO;
    world.add_node(1, &source, Node::new(seed ^ 1, &[]).holding(what));
    world.add_node(2, access, Node::new(seed ^ 2, &[address(1)]).fetching(what));
    let held_at_one = std::rc::Rc::new(std::cell::Cell::new(0));
    let note = held_at_one.clone();
    world.have(seconds(1), LEECHER, move |node, _| {
        note.set(node.received(what));
    });
    assert!(
        world.run_transfer(name, seconds(600), LEECHER, what),
        "{name}: not complete"
    );
    let goal = world.goal(LEECHER, what);
    assert_eq!((goal.wrong_bytes(), goal.again), (0, 0), "{name}");
    let took = goal.took().unwrap();
    let most = access.down.rate as f64 * (PIECE / ANSWER) * (1.0 - access.down.loss);
    let length = (mebibytes * MIB) as f64;
    let outcome = Outcome {
        whole: length / took / most,
        settled: (length - held_at_one.get() as f64) / (took - 1.0) / most,
    };
    println!(
        "goal: {name:<30} whole {:.3} settled {:.3} of {:.2} MB/s, took {took:.2} s",
        outcome.whole,
        outcome.settled,
        most / 1e6
    );
    (outcome, world)
}

fn path(rate: u64, rtt: u64) -> Access {
    let mut access = Access::symmetric(rate, Duration::from_millis(rtt));
    // The source's links add their half.
    access.down.queue = (rate / 10).max(100_000);
    access
}

/// Loss for one direction only: the answers'. Requests are small and lost as rarely.
fn lossy(mut access: Access, loss: f64) -> Access {
    access.down.loss = loss;
    access
}

#[test]
fn a_clean_100_mbit_path() {
    let (outcome, _) = fetch("100 Mbit/s, 50 ms", 64, &path(FAST_ETHERNET, 50), 1);
    assert!(outcome.settled > 0.95, "{}", outcome.settled);
    assert!(outcome.whole > 0.90, "{}", outcome.whole);
}

#[test]
fn a_100_mbit_path_that_loses_half_a_per_cent() {
    let access = lossy(path(FAST_ETHERNET, 50), 0.005);
    let (outcome, _) = fetch("100 Mbit/s, 50 ms, 0.5% loss", 64, &access, 2);
    assert!(outcome.whole > 0.90, "{}", outcome.whole);
}

#[test]
fn a_100_mbit_path_that_loses_two_per_cent() {
    let access = lossy(path(FAST_ETHERNET, 50), 0.02);
    let (outcome, _) = fetch("100 Mbit/s, 50 ms, 2% loss", 64, &access, 3);
    assert!(outcome.whole > 0.85, "{}", outcome.whole);
}

#[test]
fn a_satellite_path() {
    let access = lossy(path(2_500_000, 300), 0.01);
    let (outcome, _) = fetch("20 Mbit/s, 300 ms, 1% loss", 32, &access, 4);
    assert!(outcome.whole > 0.85, "{}", outcome.whole);
}

#[test]
fn a_slow_path_with_a_second_of_buffer() {
    let mut access = path(1_000_000, 40);
    access.down.queue = 1_000_000;
    let (outcome, world) = fetch("8 Mbit/s, 1 s of buffer", 16, &access, 5);
    assert!(outcome.whole > 0.90, "{}", outcome.whole);
    let (_, down) = world.waits(LEECHER);
    let queue = down.percentile(0.95);
    println!("goal: the queue there               p95 {queue:?}");
    assert!(queue < Duration::from_millis(30), "{queue:?}");
}

#[test]
fn a_gigabit_path() {
    let (outcome, _) = fetch("1 Gbit/s, 10 ms", 256, &path(125_000_000, 10), 6);
    assert!(outcome.whole > 0.80, "{}", outcome.whole);
}

/// 64 MiB are fetched beside a TCP flow with CUBIC that has been there for five seconds: neither has less
/// than a quarter of its fair share from three seconds on, and the link is full.
#[test]
fn beside_a_tcp_flow() {
    let what = Synthetic::new(48, 64 * MIB);
    let mut world = World::new(48);
    let access = path(FAST_ETHERNET, 50);
    let mut far = access.clone();
    far.up.rate *= 10;
    far.down.rate *= 10;
    world.add_node(1, &far, Node::new(481, &[]).holding(what));
    let node = Node::new(482, &[address(1)]);
    let both = Program::Beside(Box::new(Beside::new(node, address(3))));
    let id = world.add(address(2), access.clone(), both);
    let tcp = Sender::new(address(2), seconds(0));
    world.add(address(3), far, Program::Cubic(Box::new(tcp)));
    world.have(seconds(5), id, move |node, now| node.fetch(now, what));
    let got = |world: &World| match world.host(id) {
        Program::Beside(both) => (both.got, both.node.received(what)),
        _ => unreachable!(),
    };
    world.run(seconds(5), |_| false);
    let alone = got(&world).0 as f64 / 5.0 / access.down.rate as f64;
    world.run(seconds(8), |_| false);
    let before = got(&world);
    assert!(world.run(seconds(120), |world| world.node(id).has_finished(what)));
    let after = got(&world);
    let all = world.now().since(seconds(8)).as_secs_f64() * access.down.rate as f64;
    let theirs = (after.0 - before.0) as f64 / all;
    let ours = (after.1 - before.1) as f64 / PIECE * ANSWER / all;
    println!("goal: beside TCP: alone {alone:.2}, then {theirs:.2}, and we {ours:.2}");
    assert!(alone > 0.85, "{alone}");
    assert!(theirs > 0.125 && ours > 0.125, "{theirs} {ours}");
    assert!(theirs + ours > 0.9, "{theirs} {ours}");
}

#[test]
fn a_path_with_jitter() {
    let mut access = lossy(path(5_000_000, 60), 0.01);
    access.down.jitter = Duration::from_millis(60);
    for seed in [7, 107, 207] {
        let (outcome, _) = fetch("5 MB/s, 60 ms, jitter 100%", 32, &access, seed);
        assert!(outcome.whole > 0.85, "{}", outcome.whole);
    }
}

/// Seeks: single reads far apart, one after the other, on a path with 1% loss.
#[test]
fn a_seek_costs_little_more_than_a_round_trip() {
    let what = Synthetic::new(8, 256 * MIB);
    let access = lossy(path(FAST_ETHERNET, 50), 0.01);
    let mut world = World::new(8);
    for n in [1, 3] {
        world.add_node(n, &access, Node::new(8 ^ u64::from(n), &[]).holding(what));
    }
    let reader = Node::new(82, &[address(1), address(3)]).knowing(what);
    let reader = world.add_node(2, &access, reader);
    for n in 0..200u64 {
        let at = seconds(1) + Duration::from_millis(400) * n as u32;
        let range = ByteRange::at((n * 7919 % 256) * MIB, 4096);
        world.have(at, reader, move |node, now| node.read(now, what, range));
    }
    world.run(seconds(90), |_| false);
    let mut waits: Vec<f64> = world
        .node(reader)
        .reads
        .iter()
        .map(|read| {
            read.done
                .map_or(f64::INFINITY, |done| done.since(read.asked).as_secs_f64())
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    // Both ends' links: four of 12.5 ms.
    let rtt = 0.050;
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize] / rtt;
    println!(
        "goal: seeks at 1% loss               p50 {:.2} p99 {:.2} worst {:.2} round trips",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    assert_eq!(waits.len(), 200);
    assert!(at(0.5) < 1.3, "{}", at(0.5));
    assert!(at(0.99) < 2.5, "{}", at(0.99));
}
