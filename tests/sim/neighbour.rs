//! What a node does to others: to the dead, to those whose address is abused, to the network when
//! it has nothing to do.

use std::time::Duration;

use crate::content::Synthetic;
use crate::flood::Flooder;
use crate::link::{Access, FAST_ETHERNET};
use crate::node::Node;
use crate::world::{Program, World, address, seconds};

fn access() -> Access {
    Access::symmetric(FAST_ETHERNET, Duration::from_millis(40))
}

#[test]
fn dead_peers_are_asked_ever_more_rarely() {
    let what = Synthetic::new(40, 1 << 20);
    let dead: Vec<_> = (100..120).map(address).collect();
    let mut world = World::new(40);
    world.add_node(1, &access(), Node::new(401, &dead).fetching(what));
    world.run(seconds(300), |_| false);
    let sent = world.traffic(0);
    let (first, last) = (sent.sent_during(0, 60), sent.sent_during(240, 300));
    println!(
        "{:<34} {} datagrams in 300 s, {first} in the first minute, {last} in the last, at most {} a second",
        "20 dead peers",
        sent.sent.datagrams,
        sent.peak(),
    );
    assert!(sent.peak() <= 100, "{}", sent.peak());
    assert!(first <= 600 && last <= 300, "{first}, {last}");
}

/// The only source dies in the middle of a transfer and stays away.
#[test]
fn a_source_that_stays_away_is_asked_ever_more_rarely() {
    let what = Synthetic::new(41, 64 << 20);
    let mut world = World::new(41);
    world.add_node(1, &access(), Node::new(411, &[]).holding(what));
    world.add_node(2, &access(), Node::new(412, &[address(1)]).fetching(what));
    world.schedule(seconds(2), 0, crate::net::Action::Die);
    world.run(seconds(300), |_| false);
    let sent = world.traffic(1);
    let (soon, late) = (sent.sent_during(4, 60), sent.sent_during(240, 300));
    println!(
        "{:<34} {soon} datagrams from 4 s to 60 s, {late} in the last minute",
        "the source stays away"
    );
    assert!(soon <= 600 && late <= 120, "{soon}, {late}");
}

#[test]
fn a_node_at_rest_says_little() {
    let mut world = World::new(42);
    let all: Vec<_> = (1..=10).map(address).collect();
    for n in 1..=10 {
        world.add_node(n, &access(), Node::new(420 + u64::from(n), &all));
    }
    world.run(seconds(300), |_| false);
    let busiest = (0..10)
        .map(|id| world.traffic(id).sent.datagrams)
        .max()
        .unwrap_or_default();
    println!(
        "{:<34} {busiest} datagrams by the busiest in 300 s",
        "ten nodes at rest"
    );
    assert!(busiest <= 300 * 10, "{busiest}");
    for id in 0..10 {
        let late = world.traffic(id).sent_during(240, 300);
        assert!(
            late <= 600,
            "host {id}: {late} datagrams in the last minute"
        );
    }
}

/// Nobody's datagram buys more than twice its bytes for an address that did not prove itself, and
/// nobody is contacted again later because of it for more than that.
#[test]
fn abuse_as_an_amplifier_is_bounded() {
    let what = Synthetic::new(43, 10 << 20);
    let victims: Vec<_> = (200..240).map(address).collect();
    let mut world = World::new(43);
    world.add_node(1, &access(), Node::new(431, &[]).holding(what));
    let flooder = Flooder::new(
        432,
        address(1),
        victims.clone(),
        what,
        Duration::from_micros(500),
        20_000,
    );
    world.add(address(2), access(), Program::Flooder(Box::new(flooder)));
    world.run(seconds(60), |_| false);
    let traffic = world.traffic(0);
    let (bytes_in, bytes_out) = (traffic.received.bytes, traffic.sent.bytes);
    let worst = victims
        .iter()
        .map(|victim| {
            let (came, went) = (traffic.received_from(*victim), traffic.sent_to(*victim));
            went.bytes as f64 / came.bytes.max(1) as f64
        })
        .fold(0.0, f64::max);
    println!(
        "{:<34} {bytes_in} bytes in, {bytes_out} out ({:.2}), worst address {worst:.2}",
        "20,000 unverified datagrams",
        bytes_out as f64 / bytes_in as f64,
    );
    assert!(traffic.received.datagrams > 19_000);
    assert!(bytes_out > 0, "not even a cookie for newcomers");
    assert!(worst <= 2.0, "{worst:.2}");
}

/// The same, one datagram each from many addresses: each alone is bounded too.
#[test]
fn a_single_unverified_datagram_is_not_amplified() {
    let what = Synthetic::new(44, 10 << 20);
    let victims: Vec<_> = (1000..3000).map(address).collect();
    let mut world = World::new(44);
    world.add_node(1, &access(), Node::new(441, &[]).holding(what));
    let flooder = Flooder::new(
        442,
        address(1),
        victims.clone(),
        what,
        Duration::from_micros(500),
        3000,
    );
    world.add(address(2), access(), Program::Flooder(Box::new(flooder)));
    world.run(seconds(60), |_| false);
    let traffic = world.traffic(0);
    for victim in victims {
        let (came, went) = (traffic.received_from(victim), traffic.sent_to(victim));
        assert!(
            went.bytes <= 2 * came.bytes,
            "{victim}: {came:?} in, {went:?} out"
        );
    }
}
