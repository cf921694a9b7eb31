//! Many peers: of mixed quality for one reader, and all of them after the same thing.

use std::cell::Cell;
use std::time::Duration;

use cjp2pfs::content::ByteRange;

use crate::content::Synthetic;
use crate::deployed::Deployed;
use crate::link::{Access, FAST_ETHERNET};
use crate::net::{Action, HostId};
use crate::node::Node;
use crate::rng::Rng;
use crate::world::{World, address, seconds};

pub const READER: HostId = 0;

/// Forty peers that hold `what`: three dead, four that will die, the others with up to 5% loss,
/// 10 to 200 ms away, 125 KB/s to 12.5 MB/s; half deployed nodes, half swarms.
pub fn forty(seed: u64, what: Synthetic, reader: Node, access: &Access) -> World {
    let mut rng = Rng::new(seed);
    let mut world = World::new(seed);
    world.add_node(1, access, reader);
    for n in 2..42 {
        let rate = FAST_ETHERNET >> rng.below(7);
        let rtt = Duration::from_millis(10 + rng.below(190));
        let loss = rng.below(50) as f64 / 1000.0;
        let mut path = Access::symmetric(rate, rtt);
        path.up.loss = loss;
        let id = if n % 2 == 0 {
            let others: Vec<_> = (2..42)
                .filter(|other| other % 2 == 0)
                .map(address)
                .collect();
            world.add_deployed(n, &path, Deployed::new(rng.next(), &[what], &others))
        } else {
            world.add_node(n, &path, Node::new(rng.next(), &[]).holding(what))
        };
        match n {
            5 | 16 | 27 => world.schedule(seconds(0), id, Action::Die),
            8 | 19 | 30 | 41 => world.schedule(seconds(1 + u64::from(n % 4)), id, Action::Die),
            _ => {}
        }
    }
    world
}

pub fn known() -> Vec<std::net::SocketAddr> {
    (2..42).map(address).collect()
}

#[test]
pub fn forty_peers_of_mixed_quality() {
    let what = Synthetic::new(50, 40 << 20);
    let access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(20));
    let reader = Node::new(501, &known()).fetching(what);
    let mut world = forty(50, what, reader, &access);
    assert!(world.run_transfer("forty peers, bulk", seconds(60), READER, what));
    let goal = world.goal(READER, what);
    println!(
        "{:<34} {} sources",
        "forty peers, bulk",
        goal.supplied.len()
    );
    assert_eq!(goal.again, 0);
    assert!(world.share(READER, what) > 0.35);
}

/// A program reads 128 KiB here and there while the whole is fetched in the background.
#[test]
fn urgent_reads_go_before_bulk() {
    let what = Synthetic::new(51, 40 << 20);
    let access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(20));
    let reader = Node::new(511, &known()).fetching(what);
    let mut world = forty(51, what, reader, &access);
    let mut rng = Rng::new(51);
    for i in 0..60 {
        let at = seconds(1) + Duration::from_millis(60) * i;
        let range = ByteRange::at(rng.below((what.length >> 17) - 1) << 17, 128 << 10);
        world.have(at, READER, move |node, now| node.read(now, what, range));
    }
    world.run_transfer("forty peers, urgent reads", seconds(40), READER, what);
    let mut waits: Vec<Duration> = world
        .node(READER)
        .reads
        .iter()
        .map(|read| {
            read.done
                .map_or(Duration::MAX, |done| done.since(read.asked))
        })
        .collect();
    waits.sort();
    let (median, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!(
        "{:<34} {} reads: p50 {median:?}, worst {worst:?}",
        "forty peers, urgent reads",
        waits.len()
    );
    assert!(median < Duration::from_millis(600), "{median:?}");
    assert!(worst < Duration::from_secs(6), "{worst:?}");
    assert!(world.node(READER).has_finished(what));
}

/// Many nodes want the same bytes, which one of them has; each serves what it completed, and nothing
/// before. They know the seed and three others. Together they must be faster than the seed alone
/// could be.
fn crowd(seed: u64, nodes: u64, length: u64) -> World {
    let what = Synthetic::new(60, length);
    let mut rng = Rng::new(seed);
    let mut world = World::new(seed);
    let access = Access::symmetric(2_500_000, Duration::from_millis(40));
    world.add_node(1, &access, Node::new(rng.next(), &[]).holding(what));
    for n in 0..nodes {
        let mut peers = vec![address(1)];
        peers.extend((0..3).map(|_| address(2 + rng.below(nodes) as u32)));
        let node = Node::new(rng.next(), &peers).reserving();
        let id = world.add_node(2 + n as u32, &access, node);
        let at = seconds(0) + Duration::from_millis(rng.below(10_000));
        world.have(at, id, move |node, now| node.fetch(now, what));
    }
    let (calls, finished) = (Cell::new(0u64), Cell::new(1));
    let all_there = |world: &World| {
        calls.set(calls.get() + 1);
        if calls.get() % 64 != 0 {
            return false;
        }
        while finished.get() <= nodes as usize && world.node(finished.get()).has_finished(what) {
            finished.set(finished.get() + 1);
        }
        finished.get() > nodes as usize
    };
    let alone = (nodes * length) as f64 / 0.7 / 2_500_000.0;
    let limit = 60 + (2.0 * alone) as u64;
    let done = world.run(seconds(limit), all_there);
    let mut ends: Vec<f64> = (1..=nodes as usize)
        .filter_map(|id| world.node(id).goal(what)?.finished)
        .map(|at| at.since_start().as_secs_f64())
        .collect();
    ends.sort_by(f64::total_cmp);
    let sent: u64 = (0..=nodes as usize)
        .map(|id| world.traffic(id).wire_bytes)
        .sum();
    let last = ends.last().copied().unwrap_or(f64::INFINITY);
    println!(
        "{:<34} {} of {nodes} done, median {:.1} s, last {last:.1} s (the seed alone: {alone:.0} s), \
         the seed gave {:.1} copies, overhead {:.3}, {} events",
        "a crowd",
        ends.len(),
        ends.get(ends.len() / 2).copied().unwrap_or(f64::INFINITY),
        world.node(0).served as f64 / length as f64,
        sent as f64 / (nodes * length) as f64,
        world.events(),
    );
    assert!(done, "{} of {nodes} done", ends.len());
    assert!(
        last < 0.8 * alone.max(20.0),
        "{last:.1} s, the seed alone {alone:.0} s"
    );
    world
}

#[test]
fn two_hundred_after_one_file() {
    crowd(60, 200, 256 << 10);
}

/// Others that the only known source names while nothing is wanted yet are asked when something is,
/// though it be in the middle of the content and the source have all of it.
#[test]
fn who_was_named_before_something_is_wanted_is_asked_then() {
    let what = Synthetic::new(62, 16 << 20);
    let mut world = World::new(62);
    let access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(20));
    world.add_node(1, &access, Node::new(621, &[]).holding(what));
    for n in 2..5 {
        let other = Node::new(620 + u64::from(n), &[address(1)]).sharing();
        world.add_node(n, &access, other.fetching(what));
    }
    let reader = world.add_node(9, &access, Node::new(629, &[address(1)]));
    world.have(seconds(10), reader, move |node, now| {
        node.look_for(now, what)
    });
    let middle = ByteRange::at(8 << 20, 128 << 10);
    world.have(seconds(12), reader, move |node, now| {
        node.read(now, what, middle)
    });
    world.run(seconds(13), |_| false);
    let traffic = world.traffic(reader);
    let asked = (2..5).filter(|n| traffic.sent_to(address(*n)).datagrams > 0);
    assert_eq!(asked.count(), 3);
}

/// One seed, one run: the same datagrams at the same moments, though hashing is seeded anew.
#[test]
fn the_same_seed_gives_the_same_swarm() {
    let run = |seed| {
        let what = Synthetic::new(61, 4 << 20);
        let access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(20));
        let reader = Node::new(seed, &known()).fetching(what);
        let mut world = forty(seed, what, reader, &access);
        world.run(seconds(10), |_| false);
        world.trace()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
