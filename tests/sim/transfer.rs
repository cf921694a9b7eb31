//! One node fetches from one or two others over paths of all kinds.
//!
//! What can be had of a path at MTU 1500 is about 0.66 of its rate in one-packet answers and 0.72 in
//! larger ones (TRANSPORT.md), times what loss leaves; the bounds here stand well below that, for
//! the start takes its share of a transfer of seconds.

use std::net::SocketAddr;
use std::time::Duration;

use crate::content::Synthetic;
use crate::deployed::Deployed;
use crate::link::{Access, FAST_ETHERNET, Fragments};
use crate::net::{Action, HostId};
use crate::node::Node;
use crate::world::{Program, World, address, seconds};

const MIB: u64 = 1 << 20;
const SEED: HostId = 0;
const LEECHER: HostId = 1;

fn fifty_ms() -> Access {
    Access::symmetric(FAST_ETHERNET, Duration::from_millis(50))
}

/// Host 0 holds `what`, host 1 knows host 0 and fetches it.
fn pair(seed: u64, what: Synthetic, access: &Access) -> World {
    let mut world = World::new(seed);
    world.add_node(1, access, Node::new(seed ^ 1, &[]).holding(what));
    world.add_node(2, access, Node::new(seed ^ 2, &[address(1)]).fetching(what));
    world
}

/// The same with a deployed node as the source.
fn from_deployed(seed: u64, what: Synthetic, access: &Access) -> World {
    let mut world = World::new(seed);
    world.add_deployed(1, access, Deployed::new(seed ^ 1, &[what], &[]));
    world.add_node(2, access, Node::new(seed ^ 2, &[address(1)]).fetching(what));
    world
}

fn check(world: &mut World, name: &str, limit: u64, what: Synthetic, least_share: f64) {
    assert!(
        world.run_transfer(name, seconds(limit), LEECHER, what),
        "{name}: not complete"
    );
    let goal = world.goal(LEECHER, what);
    assert_eq!(goal.wrong_bytes(), 0);
    assert_eq!(goal.again, 0);
    let share = world.share(LEECHER, what);
    assert!(share > least_share, "{name}: {share:.3} of the link");
}

#[test]
fn a_clean_path() {
    let what = Synthetic::new(1, 16 * MIB);
    check(
        &mut pair(1, what, &fifty_ms()),
        "clean 100 Mbit/s 50 ms",
        20,
        what,
        0.45,
    );
}

#[test]
fn a_clean_path_to_a_deployed_node() {
    let what = Synthetic::new(1, 16 * MIB);
    let mut world = from_deployed(1, what, &fifty_ms());
    check(&mut world, "clean, deployed source", 20, what, 0.45);
}

#[test]
fn a_path_that_loses_two_per_cent() {
    let what = Synthetic::new(2, 16 * MIB);
    let access = fifty_ms().lossy(0.02);
    check(&mut pair(2, what, &access), "2% loss", 30, what, 0.35);
    let mut world = from_deployed(2, what, &access);
    check(&mut world, "2% loss, deployed source", 30, what, 0.35);
}

#[test]
fn a_long_path_that_loses_five_per_cent() {
    let what = Synthetic::new(3, 16 * MIB);
    let access = Access::symmetric(10_000_000, Duration::from_millis(300)).lossy(0.05);
    check(
        &mut pair(3, what, &access),
        "10 MB/s 300 ms 5% loss",
        60,
        what,
        0.2,
    );
}

#[test]
fn a_slow_path_with_a_deep_buffer_is_not_filled() {
    let what = Synthetic::new(4, 8 * MIB);
    let mut slow = Access::symmetric(1_000_000, Duration::from_millis(50));
    slow.down.queue = 1_000_000;
    let mut world = World::new(4);
    world.add_node(1, &fifty_ms(), Node::new(41, &[]).holding(what));
    world.add_node(2, &slow, Node::new(42, &[address(1)]).fetching(what));
    check(&mut world, "1 MB/s with 1 s of buffer", 60, what, 0.5);
    let (_, down) = world.waits(LEECHER);
    assert!(down.mean() < Duration::from_millis(120), "{down:?}");
}

#[test]
fn a_path_whose_delay_jumps() {
    let what = Synthetic::new(5, 8 * MIB);
    let mut access = Access::symmetric(5_000_000, Duration::from_millis(60)).lossy(0.01);
    access.down.jitter = Duration::from_millis(60);
    check(
        &mut pair(5, what, &access),
        "5 MB/s jitter 100% 1% loss",
        60,
        what,
        0.25,
    );
}

#[test]
fn a_short_queue_at_the_bottleneck() {
    let what = Synthetic::new(6, 8 * MIB);
    let mut narrow = Access::symmetric(5_000_000, Duration::from_millis(40));
    narrow.down.queue = 30_000;
    let mut world = World::new(6);
    world.add_node(1, &fifty_ms(), Node::new(61, &[]).holding(what));
    world.add_node(2, &narrow, Node::new(62, &[address(1)]).fetching(what));
    check(
        &mut world,
        "5 MB/s with a queue of 20 packets",
        60,
        what,
        0.25,
    );
}

#[test]
fn fragments_that_never_arrive() {
    let what = Synthetic::new(7, 4 * MIB);
    let mut access = fifty_ms();
    access.fragments = Fragments::Dropped;
    check(&mut pair(7, what, &access), "no fragments", 30, what, 0.2);
    let mut world = from_deployed(7, what, &access);
    check(&mut world, "no fragments, deployed source", 30, what, 0.2);
}

/// Replies in fragments over a lossy path fill the receiver's memory for incomplete datagrams, and
/// then none of them arrives any more: going on must not come to an end with it.
#[test]
fn the_fragmentation_cliff_is_not_fallen_off() {
    let what = Synthetic::new(8, 80 * MIB);
    let access = fifty_ms().lossy(0.01);
    let mut world = from_deployed(8, what, &access);
    check(&mut world, "the cliff: 1% loss, 80 MiB", 120, what, 0.3);
    assert!(world.reassembly_failures(LEECHER) < 2000);
}

#[test]
fn loopback_is_fast() {
    let what = Synthetic::new(9, 64 * MIB);
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut world = World::new(9);
    let source = Node::new(91, &[]).holding(what);
    world.add(
        local(1001),
        Access::loopback(),
        Program::Node(Box::new(source)),
    );
    let reader = Node::new(92, &[local(1001)]).fetching(what);
    world.add(
        local(1002),
        Access::loopback(),
        Program::Node(Box::new(reader)),
    );
    check(&mut world, "loopback, 2 GB/s", 5, what, 0.1);
    assert!(
        world.traffic(LEECHER).sent.datagrams < 64 * MIB / 16_384,
        "longer answers"
    );
}

#[test]
fn a_slow_disk_at_the_source_only_adds_delay() {
    let what = Synthetic::new(10, 8 * MIB);
    let mut world = World::new(10);
    let source = Node::new(101, &[])
        .holding(what)
        .with_disk_delay(Duration::from_millis(30));
    world.add_node(1, &fifty_ms(), source);
    world.add_node(2, &fifty_ms(), Node::new(102, &[address(1)]).fetching(what));
    check(&mut world, "30 ms of disk", 20, what, 0.35);
}

#[test]
fn small_content_takes_few_round_trips() {
    for (length, limit) in [(1, 0.4), (4096, 0.5), (65_536, 0.8)] {
        let what = Synthetic::new(11, length);
        let mut world = pair(11, what, &fifty_ms());
        check(&mut world, &format!("{length} bytes"), 5, what, 0.0);
        let took = world.goal(LEECHER, what).took().unwrap_or(f64::MAX);
        assert!(took < limit, "{length} bytes took {took:.3} s");
    }
}

#[test]
fn a_peer_dies_and_another_takes_over() {
    let what = Synthetic::new(12, 16 * MIB);
    let mut world = World::new(12);
    world.add_node(1, &fifty_ms(), Node::new(121, &[]).holding(what));
    let known = [address(1), address(3)];
    world.add_node(2, &fifty_ms(), Node::new(122, &known).fetching(what));
    world.add_node(3, &fifty_ms(), Node::new(123, &[]).holding(what));
    world.schedule(seconds(1), SEED, Action::Die);
    check(&mut world, "one of two dies after 1 s", 30, what, 0.3);
}

#[test]
fn the_only_peer_goes_and_comes_back() {
    let what = Synthetic::new(13, 16 * MIB);
    let mut world = pair(13, what, &fifty_ms());
    world.schedule(seconds(1), SEED, Action::Die);
    world.schedule(seconds(21), SEED, Action::Return);
    check(&mut world, "away from 1 s to 21 s", 90, what, 0.02);
    let during = world.traffic(LEECHER).sent_during(3, 21);
    assert!(
        during < 18 * 20,
        "{during} datagrams to a silent peer in 18 s"
    );
}

#[test]
fn the_fetching_node_moves_to_another_address() {
    let what = Synthetic::new(14, 16 * MIB);
    let mut world = pair(14, what, &fifty_ms());
    world.schedule(seconds(1), LEECHER, Action::Move(address(77)));
    check(&mut world, "the leecher moves after 1 s", 60, what, 0.1);
}

#[test]
fn the_path_loses_most_of_its_rate() {
    let what = Synthetic::new(15, 8 * MIB);
    let mut world = pair(15, what, &fifty_ms());
    let narrow = Access::symmetric(1_000_000, Duration::from_millis(50));
    let at = seconds(0) + Duration::from_millis(500);
    world.schedule(at, LEECHER, Action::Reattach(narrow));
    check(&mut world, "100 Mbit/s becomes 1 MB/s", 60, what, 0.45);
}

#[test]
fn two_nodes_share_a_source_fairly() {
    let what = Synthetic::new(16, 8 * MIB);
    let mut world = pair(16, what, &fifty_ms());
    let second = world.add_node(3, &fifty_ms(), Node::new(163, &[address(1)]).fetching(what));
    let both = |world: &World| {
        world.node(LEECHER).has_finished(what) && world.node(second).has_finished(what)
    };
    assert!(world.run(seconds(30), both));
    world.print_figures("two at one source: first", LEECHER, what);
    world.print_figures("two at one source: second", second, what);
    let (a, b) = (world.share(LEECHER, what), world.share(second, what));
    assert!(
        a.min(b) > 0.18 && a.max(b) < 3.0 * a.min(b),
        "{a:.3} and {b:.3}"
    );
}

/// A deployed client asks again at once, without limit, for whatever is not exactly what it asked
/// for; so it must be given exactly that.
#[test]
fn a_deployed_client_is_served() {
    let what = Synthetic::new(17, 4 * MIB + 1000);
    let mut world = World::new(17);
    world.add_node(1, &fifty_ms(), Node::new(171, &[]).holding(what));
    let client = Deployed::new(172, &[], &[]).fetching(what, &[address(1)]);
    world.add_deployed(2, &fifty_ms(), client);
    let finished = |world: &World| {
        world
            .deployed(1)
            .fetch
            .as_ref()
            .is_some_and(|f| f.finished.is_some())
    };
    let done = world.run(seconds(30), finished);
    let fetch = world.deployed(1).fetch.as_ref();
    println!(
        "{:<34} finished {:?}, asked {:?} times",
        "a deployed client",
        fetch.and_then(|fetch| fetch.finished),
        fetch.map(|fetch| fetch.asked_times),
    );
    assert!(done);
    assert_eq!(fetch.map(|fetch| fetch.wrong_bytes), Some(0));
    assert!(fetch.is_some_and(|fetch| fetch.asked_times < 1400));
}
