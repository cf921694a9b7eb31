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
/// What a program reads at a time: the kernel's read-ahead.
const READ: u64 = 128 << 10;
const READS: u32 = 140;

struct Outcome {
    /// Seconds that the median read, the worst of 99% and the worst took.
    median: f64,
    p99: f64,
    worst: f64,
    /// Content that came, bulk and reads, as a share of what the downlink can carry.
    share: f64,
}

/// Ten seconds of reads of 128 KiB, one each 70 ms, far before what the fetch has reached.
fn reads_beside_bulk(seed: u64, access: &Access) -> Outcome {
    let what = Synthetic::new(seed, 192 * MIB);
    let reader = Node::new(seed ^ 1, &known()).fetching(what);
    let mut world = forty(seed, what, reader, access);
    let mut rng = Rng::new(seed ^ 2);
    let mut places: Vec<u64> = (96 * MIB / READ..192 * MIB / READ).collect();
    // A quarter of what the downlink carries.
    let every = Duration::from_secs_f64(READ as f64 * 4.0 / (access.down.rate as f64 * PIECE / ANSWER));
    let from = 2;
    let until = from + (every * READS).as_secs() + 1;
    for n in 0..READS {
        let place = places.swap_remove(rng.below(places.len() as u64) as usize);
        let at = seconds(from)
            + every * n
            + Duration::from_micros(rng.below(10_000));
        let range = ByteRange::at(place * READ, READ);
        world.have(at, READER, move |node, now| node.read(now, what, range));
    }
    let before = Rc::new(Cell::new(0));
    let note = before.clone();
    world.have(seconds(from), READER, move |node, _| {
        note.set(node.received(what))
    });
    world.run(seconds(until), |_| false);
    let came = world.node(READER).received(what) - before.get();
    let most = access.down.rate as f64 * (PIECE / ANSWER) * (until - from) as f64;
    let mut waits: Vec<f64> = world
        .node(READER)
        .reads
        .iter()
        .map(|read| {
            read.done
                .map_or(f64::INFINITY, |done| done.since(read.asked).as_secs_f64())
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share).ceil() as usize];
    let outcome = Outcome {
        median: at(0.5),
        p99: at(0.99),
        worst: at(1.0),
        share: came as f64 / most,
    };
    let stats = world.node(READER).stats();
    let (_, down) = world.waits(READER);
    println!(
        "goal: urgent beside bulk, seed {seed:<4} p50 {:.0} p99 {:.0} ({:.2}) worst {:.0} ms, \
         downlink {:.3}, wasted {:.3}, copied {}, queue there p50 {:?} p95 {:?}",
        outcome.median * 1e3,
        outcome.p99 * 1e3,
        outcome.p99 / outcome.median,
        outcome.worst * 1e3,
        outcome.share,
        stats.content_wasted as f64 / stats.content_in as f64,
        stats.hedged,
        down.percentile(0.5),
        down.percentile(0.95),
    );
    outcome
}

#[test]
fn urgent_reads_beside_bulk() {
    let first = from_environment("SIM_FIRST", 70);
    let seeds = from_environment("SIM_SEEDS", 3);
    for seed in first..first + seeds {
        let access = Access::symmetric(from_environment("SIM_RATE", FAST_ETHERNET), Duration::from_millis(20));
        reads_beside_bulk(seed, &access);
    }
}
