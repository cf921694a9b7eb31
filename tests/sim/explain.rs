//! What a swarm tells of an id that somebody waits for: who was asked, what they answered, what is
//! on its way, when it is to be here.

use std::time::Duration;

use cjp2pfs::content::ByteRange;
use cjp2pfs::swarm::{Explanation, Said, SourceState};

use crate::content::Synthetic;
use crate::link::{Access, FAST_ETHERNET};
use crate::net::Action;
use crate::node::Node;
use crate::world::{World, address, seconds};

fn access() -> Access {
    Access::symmetric(FAST_ETHERNET, Duration::from_millis(40))
}

fn explain(world: &World, id: usize, what: Synthetic) -> Explanation {
    let told = world.node(id).explanation(world.now(), what);
    told.expect("it is looked for")
}

/// What `peer` last said, as told to somebody who asks.
fn said(told: &Explanation, peer: u32) -> Option<Said> {
    let asked = told.asked.iter().find(|it| it.address == address(peer));
    asked.expect("it was asked").said.map(|(_, said)| said)
}

/// One source that dies on the way, one that does not have it, one that is dead from the start.
#[test]
fn a_transfer_and_its_end_are_explained() {
    let what = Synthetic::new(50, 64 << 20);
    let known = [address(1), address(3), address(9)];
    let mut world = World::new(50);
    let source = world.add_node(1, &access(), Node::new(501, &[]).holding(what));
    let reader = world.add_node(2, &access(), Node::new(502, &known).fetching(what));
    world.add_node(3, &access(), Node::new(503, &[]));
    world.schedule(seconds(3), source, Action::Die);

    world.run(seconds(2), |_| false);
    let told = explain(&world, reader, what);
    assert_eq!(told.length, Some(64 << 20));
    assert_eq!((told.asked_count, told.answered_count), (3, 2));
    assert_eq!(said(&told, 1), Some(Said::Content(Some(64 << 20))));
    assert_eq!(said(&told, 3), Some(Said::No));
    assert_eq!(said(&told, 9), None);
    assert_eq!(told.asked.last().unwrap().address, address(9));
    assert_eq!((told.claims.len(), told.claims[0].count), (1, 1));
    let [only] = told.sources.as_slice() else {
        panic!("{:?}", told.sources);
    };
    assert_eq!(
        (only.peer.address, only.state),
        (address(1), SourceState::Open)
    );
    assert!(only.peer.round_trip.unwrap() >= Duration::from_millis(40));
    let goal = world.goal(reader, what);
    assert_eq!(only.supplied, goal.received.bytes());
    assert_eq!(told.missing, (64 << 20) - goal.received.bytes());
    // What is in flight is told in a few lines, and lies within what is missing.
    assert!(told.in_flight > 0 && told.in_flight <= told.missing);
    assert!(!told.flights.is_empty() && told.flights.len() <= 64);
    assert!(told.flights[0].requests > 1, "{:?}", told.flights);
    for flight in &told.flights {
        assert!(flight.from.iter().all(|(from, _)| *from == address(1)));
        assert!(flight.from.iter().all(|(_, ago)| ago.as_millis() < 1000));
    }
    // At 100 Mbit/s, less headers and base64, some 8 MB/s.
    let expected = told.expected.unwrap().as_secs_f64();
    let at_best = told.missing as f64 / 12.5e6;
    assert!(
        (at_best..4.0 * at_best).contains(&expected),
        "{expected} s, at best {at_best}"
    );
    assert!(told.quiet.unwrap() < Duration::from_millis(200));

    world.run(seconds(20), |_| false);
    let told = explain(&world, reader, what);
    assert!(told.missing > 0);
    assert!(told.quiet.unwrap() > Duration::from_secs(10));
    let source = &told.sources[0];
    assert!(
        matches!(source.state, SourceState::Benched(_) | SourceState::Overdue),
        "{source:?}"
    );
    assert_eq!(
        (told.rate, told.expected),
        (None, None),
        "nobody can promise anything"
    );
    let nothing = Synthetic::new(51, 1);
    assert!(
        world
            .node(reader)
            .explanation(world.now(), nothing)
            .is_none()
    );
}

#[test]
fn content_that_nobody_has_is_explained_within_bounds() {
    let what = Synthetic::new(52, 1 << 20);
    let dead: Vec<_> = (1000..1300).map(address).collect();
    let mut known = dead.clone();
    known.push(address(3));
    let mut world = World::new(52);
    let reader = world.add_node(2, &access(), Node::new(521, &known).knowing(what));
    world.add_node(3, &access(), Node::new(522, &[]));
    world.run(seconds(20), |_| false);
    let told = explain(&world, reader, what);
    assert_eq!((told.length, told.missing, told.quiet), (None, 0, None));
    assert_eq!(told.expected, Some(Duration::ZERO), "nothing is wanted");
    assert!(told.asked_count > 64, "{}", told.asked_count);
    assert_eq!((told.asked.len(), told.answered_count), (64, 1));
    assert_eq!(told.asked[0].address, address(3));
    assert!(told.asked.iter().all(|asked| asked.times <= 4));
    assert!(told.sources.is_empty() && told.flights.is_empty());
}

/// A read of a part that lies apart from what else is fetched is told apart in what is in flight.
#[test]
fn what_somebody_waits_for_is_told_apart() {
    let what = Synthetic::new(53, 64 << 20);
    let mut world = World::new(53);
    world.add_node(1, &access(), Node::new(531, &[]).holding(what));
    let reader = world.add_node(2, &access(), Node::new(532, &[address(1)]).fetching(what));
    let range = ByteRange::at(48 << 20, 128 << 10);
    world.have(seconds(1), reader, move |node, now| {
        node.read(now, what, range)
    });
    let just_after = seconds(1) + Duration::from_millis(20);
    world.run(just_after, |_| false);
    let told = explain(&world, reader, what);
    let urgent: Vec<_> = told
        .flights
        .iter()
        .filter(|flight| flight.class == cjp2pfs::swarm::Class::Urgent)
        .collect();
    assert!(!urgent.is_empty(), "{:?}", told.flights);
    for flight in urgent {
        assert_eq!(flight.range.intersection(range), flight.range);
    }
}
