//! Round trips that a person waits for, counted: over links so fast that nothing else takes time.

use std::time::Duration;

use cjp2pfs::content::ByteRange;
use cjp2pfs::swarm::Time;

use crate::content::Synthetic;
use crate::deployed::Deployed;
use crate::link::Access;
use crate::net::HostId;
use crate::node::Node;
use crate::world::{World, address, seconds};

const RTT: Duration = Duration::from_millis(100);
const HOLDER: HostId = 0;
const READER: HostId = 1;
const START: u64 = 3;

fn access() -> Access {
    Access::symmetric(1_000_000_000, RTT)
}

/// A node that holds `what` and a node that has never heard of it nor of that one.
fn strangers(seed: u64, what: Synthetic, deployed: bool) -> World {
    let mut world = World::new(seed);
    if deployed {
        world.add_deployed(1, &access(), Deployed::new(seed ^ 1, &[what], &[]));
    } else {
        world.add_node(1, &access(), Node::new(seed ^ 1, &[]).holding(what));
    }
    world.add_node(2, &access(), Node::new(seed ^ 2, &[]));
    world
}

fn trips(from: Time, to: Time) -> f64 {
    to.since(from).as_secs_f64() / RTT.as_secs_f64()
}

/// Round trips until `what` was found and until its first byte came from a peer that was not known.
fn first_byte(seed: u64, deployed: bool) -> (f64, f64) {
    let what = Synthetic::new(seed, 64 << 20);
    let mut world = strangers(seed, what, deployed);
    world.have(seconds(START), READER, move |node, now| {
        node.fetch(now, what);
        node.know(now, address(1));
    });
    let came = world.run(seconds(20), |world| {
        world.node(READER).goal(what).is_some() && world.node(READER).received(what) > 0
    });
    assert!(came);
    // Questions to find it, those of the first window, and a probe.
    let datagrams = world.traffic(READER).sent_to(address(1)).datagrams;
    assert!(datagrams <= 20, "{datagrams}");
    let found = world.goal(READER, what).found[0].0;
    (
        trips(seconds(START), found),
        trips(seconds(START), world.now()),
    )
}

/// The first round trip brings the cookie and the length, the second one the bytes.
#[test]
fn the_first_byte_from_a_stranger_takes_two() {
    let (found, came) = first_byte(91, false);
    println!("first byte: found after {found:.2}, came after {came:.2} round trips");
    assert!(found < 1.05, "{found}");
    assert!((1.95..2.1).contains(&came), "{came}");
}

/// A deployed node answers one stranger in nine with its cookie alone, which costs a third.
#[test]
fn the_first_byte_from_a_deployed_stranger_takes_two_or_three() {
    let all: Vec<f64> = (0..60).map(|n| first_byte(2000 + n, true).1).collect();
    let two = all
        .iter()
        .filter(|came| (1.95..2.1).contains(*came))
        .count();
    let worst = all.iter().copied().fold(0.0, f64::max);
    println!("first byte, deployed: two round trips {two} times of 60, at most {worst:.2}");
    assert!((45..60).contains(&two), "{two}");
    assert!(worst < 3.15, "{worst}");
}

/// Seeks to places far apart, while nothing else is fetched and while all of it is.
#[test]
fn a_seek_takes_one() {
    for (deployed, bulk) in [(false, false), (true, false), (false, true)] {
        let what = Synthetic::new(92, 256 << 20);
        let mut world = strangers(92, what, deployed);
        world.have(seconds(START), READER, move |node, now| {
            node.know(now, address(1));
            if bulk {
                node.fetch(now, what);
            } else {
                node.look_for(now, what);
            }
        });
        for n in 0..20 {
            let at = seconds(START + 1) + Duration::from_millis(150) * n;
            // From the end, where the fetch has not been.
            let range = ByteRange::at((255 - u64::from(n)) << 20, 4096);
            world.have(at, READER, move |node, now| node.read(now, what, range));
        }
        world.run(seconds(START + 5), |_| false);
        let worst = world
            .node(READER)
            .reads
            .iter()
            .map(|read| {
                read.done
                    .map_or(f64::INFINITY, |done| trips(read.asked, done))
            })
            .fold(0.0, f64::max);
        println!("seeks, deployed {deployed}, bulk {bulk}: at most {worst:.2}");
        assert_eq!(world.node(READER).reads.len(), 20);
        assert!(worst < 1.1, "{worst}");
        assert!(world.traffic(HOLDER).sent.datagrams > 20);
    }
}
