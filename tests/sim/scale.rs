//! One peer has a file and many want it at once: how long until all have it, and what it costs the
//! one that had it.
//!
//! Every node verifies each leaf as it comes and serves it from then on. Links are equal both ways,
//! so the best that any protocol can do is the time of one transfer and a little for each doubling of
//! those who have something: the time may grow as the logarithm of the number of nodes, no faster.
//!
//! Answers of 16 KiB in one packet make the simulator's work a tenth of what it would be at 900
//! bytes; what is measured here is who asks whom for what, not how packets travel.

use std::cell::Cell;
use std::time::{Duration, Instant};

use cjp2pfs::swarm::Config;

use crate::content::Synthetic;
use crate::link::Access;
use crate::node::Node;
use crate::rng::Rng;
use crate::world::{World, address, from_environment, seconds};

/// Bytes a second of every link, both ways, and the round trip between any two nodes.
const RATE: u64 = 12_500_000;
const RTT: Duration = Duration::from_millis(40);

struct Outcome {
    /// Seconds until the last node had all.
    last: f64,
    /// How often the whole content left the seed.
    copies: f64,
}

fn config() -> Config {
    Config {
        max_peers: 96,
        receive_budget: 1 << 20,
        request_length: from_environment("SIM_REQUEST", 16 << 10),
        probe: false,
        ..Config::default()
    }
}

/// `nodes` nodes that know the seed alone want `length` bytes from some moment of the first second
/// on.
fn flash_crowd(seed: u64, nodes: usize, length: u64) -> Outcome {
    let what = Synthetic::new(seed, length);
    let mut rng = Rng::new(seed);
    let mut world = World::new(seed);
    let mut access = Access::symmetric(RATE, RTT);
    access.mtu = 65_535;
    let holder = Node::with_config(config(), rng.next(), &[]).holding(what);
    world.add_node(1, &access, holder);
    for n in 0..nodes {
        let node = Node::with_config(config(), rng.next(), &[address(1)]).sharing();
        let id = world.add_node(2 + n as u32, &access, node);
        let at = seconds(0) + Duration::from_millis(rng.below(1000));
        world.have(at, id, move |node, now| node.fetch(now, what));
    }
    let (calls, finished) = (Cell::new(0u64), Cell::new(1));
    let all_there = |world: &World| {
        calls.set(calls.get() + 1);
        if calls.get() % 16 != 0 {
            return false;
        }
        while finished.get() <= nodes && world.node(finished.get()).has_finished(what) {
            finished.set(finished.get() + 1);
        }
        finished.get() > nodes
    };
    let started = Instant::now();
    // One node after the other, at half the rate: nothing that shares takes as long.
    let limit = 10 + 2 * nodes as u64 * length / RATE;
    let done = world.run(seconds(limit.min(300)), all_there);
    let mut ends: Vec<f64> = (1..=nodes)
        .filter_map(|id| world.node(id).goal(what)?.finished)
        .map(|at| at.since_start().as_secs_f64())
        .collect();
    ends.sort_by(f64::total_cmp);
    let goals = || (1..=nodes).filter_map(|id| world.node(id).goal(what));
    let again: u64 = goals().map(|goal| goal.again + goal.wrong_bytes()).sum();
    let wire: u64 = (0..=nodes).map(|id| world.traffic(id).wire_bytes).sum();
    let dropped: u64 = (0..=nodes)
        .map(|id| world.traffic(id).dropped_by_queue)
        .sum();
    let outcome = Outcome {
        last: ends.last().copied().unwrap_or(f64::INFINITY),
        copies: goals()
            .filter_map(|goal| goal.supplied.get(&address(1)))
            .sum::<u64>() as f64
            / length as f64,
    };
    println!(
        "{:<34} {} of {nodes} done, first {:.1} s, median {:.1} s, 99% {:.1} s, last {:.1} s, the seed gave {:.1} of {:.1} \
         copies, overhead {:.3}, queue-dropped {dropped}, {} events in {:.1} s of wall time",
        "a flash crowd",
        ends.len(),
        ends.first().copied().unwrap_or(f64::INFINITY),
        ends.get(ends.len() / 2).copied().unwrap_or(f64::INFINITY),
        ends.get(ends.len() * 99 / 100)
            .copied()
            .unwrap_or(f64::INFINITY),
        outcome.last,
        outcome.copies,
        world.node(0).served as f64 / length as f64,
        wire as f64 / (nodes as u64 * length) as f64,
        world.events(),
        started.elapsed().as_secs_f64(),
    );
    assert_eq!(ends.len(), nodes, "not all have it by {limit} s: {done}");
    assert_eq!(again, 0);
    outcome
}

/// Two hundred, or `SIM_NODES`: `SIM_NODES=10000 cargo test --release --test sim thousand`.
#[test]
fn a_thousand_after_one_file() {
    let nodes = from_environment("SIM_NODES", 200) as usize;
    let length = from_environment("SIM_LENGTH", 4 << 20);
    let few = flash_crowd(70, 10, length);
    let many = flash_crowd(70, nodes, length);
    let doublings = (nodes as f64 / 10.0).log2().max(1.0);
    let longer = many.last - few.last;
    assert!(
        longer < 0.7 + 0.4 * doublings,
        "{} s and {} s",
        few.last,
        many.last
    );
    assert!(
        many.copies < 3.0 + 0.75 * doublings,
        "{} copies",
        many.copies
    );
}
