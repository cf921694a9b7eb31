//! Reads that a program waits for, beside a fetch that takes all there is: how long they take, and
//! what the fetch loses by them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use cjp2pfs::content::ByteRange;

use crate::content::Synthetic;
use crate::crowd::{READER, forty, known};
use crate::link::{Access, FAST_ETHERNET, HEADERS};
use crate::node::Node;
use crate::rng::Rng;
use crate::world::{from_environment, seconds};

const MIB: u64 = 1 << 20;
/// Content bytes in one request, and bytes of its answer with the headers.
const PIECE: f64 = 900.0;
const ANSWER: f64 = 1418.0 + HEADERS as f64;
/// What a program reads at a time, the kernel's read-ahead, and how often it does.
const READ: u64 = 128 << 10;
const READS: u32 = 140;

/// How the reads of one run went.
struct Outcome {
    /// Seconds that each read took, in order of length.
    waits: Vec<f64>,
    /// Content that came, bulk and reads, as a share of what the downlink can carry.
    share: f64,
}

/// The wait that `share` of the sorted `waits` did not exceed.
fn percentile(waits: &[f64], share: f64) -> f64 {
    waits[((waits.len() - 1) as f64 * share).ceil() as usize]
}

/// Reads of 128 KiB that take a quarter of the downlink, far before what the fetch has reached.
fn reads_beside_bulk(seed: u64, access: &Access) -> Outcome {
    let what = Synthetic::new(seed, 192 * MIB);
    let reader = Node::new(seed ^ 1, &known()).fetching(what);
    let mut world = forty(seed, what, reader, access);
    let mut rng = Rng::new(seed ^ 2);
    let mut places: Vec<u64> = (96 * MIB / READ..192 * MIB / READ).collect();
    let most = access.down.rate as f64 * (PIECE / ANSWER);
    let every = Duration::from_secs_f64(READ as f64 * 4.0 / most);
    let from = 2;
    let until = from + (every * READS).as_secs() + 1;
    for n in 0..READS {
        let place = places.swap_remove(rng.below(places.len() as u64) as usize);
        let at = seconds(from) + every * n + Duration::from_micros(rng.below(10_000));
        let range = ByteRange::at(place * READ, READ);
        world.have(at, READER, move |node, now| node.read(now, what, range));
    }
    let before = Rc::new(Cell::new(0));
    let note = before.clone();
    world.have(seconds(from), READER, move |node, _| {
        note.set(node.received(what));
    });
    world.run(seconds(until), |_| false);
    let came = (world.node(READER).received(what) - before.get()) as f64;
    let wait = |read: &crate::node::Read| read.done.map(|done| done.since(read.asked));
    let mut waits: Vec<f64> = world
        .node(READER)
        .reads
        .iter()
        .map(|read| wait(read).map_or(f64::INFINITY, |wait| wait.as_secs_f64()))
        .collect();
    waits.sort_by(f64::total_cmp);
    let share = came / most / (until - from) as f64;
    let stats = world.node(READER).stats();
    let (_, down) = world.waits(READER);
    println!(
        "goal: urgent beside bulk, seed {seed:<4} p50 {:.0} p99 {:.0} worst {:.0} ms, downlink {share:.3}, \
         came twice {:.3}, queue p50 {:?} p95 {:?}",
        percentile(&waits, 0.5) * 1e3,
        percentile(&waits, 0.99) * 1e3,
        percentile(&waits, 1.0) * 1e3,
        stats.content_wasted as f64 / stats.content_in as f64,
        down.percentile(0.5),
        down.percentile(0.95),
    );
    assert_eq!(waits.len(), READS as usize);
    Outcome { waits, share }
}

/// The goal: p99 at most 1.5 times the median. One run's p99 is its second worst read, so it is held
/// by the reads of all seeds together, each read in medians of its own run. One run may reach twice
/// its median: where a peer that loses nothing is the nearest by far, most reads take one round and
/// those that lose a packet two.
fn check(name: &str, access: &Access, least_share: f64) {
    let first = from_environment("SIM_FIRST", 70);
    let seeds = from_environment("SIM_SEEDS", 3);
    let mut ratios = Vec::new();
    for seed in first..first + seeds {
        let outcome = reads_beside_bulk(seed, access);
        let median = percentile(&outcome.waits, 0.5);
        let p99 = percentile(&outcome.waits, 0.99);
        assert!(p99 <= 2.0 * median, "seed {seed}: {p99} {median}");
        assert!(outcome.share >= least_share, "{seed}: {}", outcome.share);
        ratios.extend(outcome.waits.iter().map(|wait| wait / median));
    }
    ratios.sort_by(f64::total_cmp);
    let (p99, worst) = (percentile(&ratios, 0.99), percentile(&ratios, 1.0));
    println!("goal: urgent beside bulk, {name:<12} p99 {p99:.2} worst {worst:.2} medians");
    assert!(p99 <= 1.5, "{name}: {p99}");
}

#[test]
fn urgent_reads_beside_bulk_at_100_mbit() {
    let access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(20));
    check("100 Mbit/s", &access, 0.95);
}

#[test]
fn urgent_reads_beside_bulk_at_20_mbit() {
    let access = Access::symmetric(2_500_000, Duration::from_millis(20));
    check("20 Mbit/s", &access, 0.95);
}

#[test]
fn urgent_reads_beside_bulk_at_5_mbit() {
    let access = Access::symmetric(625_000, Duration::from_millis(20));
    check("5 Mbit/s", &access, 0.95);
}
