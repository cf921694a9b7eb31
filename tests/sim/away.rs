//! Peers whose address changes, and a machine whose own network goes away and comes back.

use std::net::SocketAddr;
use std::time::Duration;

use cjp2pfs::content::ByteRange;
use cjp2pfs::swarm::Time;

use crate::content::Synthetic;
use crate::deployed::Deployed;
use crate::link::{Access, FAST_ETHERNET};
use crate::net::Action;
use crate::node::Node;
use crate::world::{World, address, seconds};

const LENGTH: u64 = 16 << 20;

fn access() -> Access {
    Access::symmetric(FAST_ETHERNET, Duration::from_millis(40))
}

/// The same links, through which nothing comes.
fn cut_off() -> Access {
    let mut access = access();
    access.up.loss = 1.0;
    access.down.loss = 1.0;
    access
}

fn tenths(n: u64) -> Time {
    seconds(0) + Duration::from_millis(100) * n as u32
}

/// The only source gets another port, as behind an address translator that forgot it, or another
/// address: the reader hears of it from the source itself, which keeps in touch every minute or so, or
/// at once when its host has noticed, and the transfer goes on from there.
#[test]
fn the_only_source_moves_in_mid_transfer() {
    let port = SocketAddr::new(address(1).ip(), 999);
    for (name, to, notices, limit) in [
        ("port", port, false, 100),
        ("address", address(77), false, 100),
        ("address, and notices", address(77), true, 8),
    ] {
        let what = Synthetic::new(100, LENGTH);
        let mut world = World::new(100);
        let source = Node::new(1001, &[address(2)]).holding(what);
        let source = world.add_node(1, &access(), source);
        let reader = Node::new(1002, &[address(1)]).fetching(what);
        let reader = world.add_node(2, &access(), reader);
        world.schedule(seconds(1), source, Action::Move(to));
        if notices {
            world.have(tenths(20), source, Node::notice_move);
        }
        let name = format!("the source has another {name}");
        assert!(world.run_transfer(&name, seconds(limit), reader, what));
        let goal = world.goal(reader, what);
        assert_eq!((goal.wrong_bytes(), goal.again), (0, 0));
        assert!(goal.supplied.contains_key(&to));
        let idle = world.traffic(reader).sent_during(3, 30);
        println!("{:<34} {idle} datagrams from 3 s to 30 s", "");
        assert!(notices || idle < 100, "{idle}");
    }
}

/// One source has another address every second, the other one stays: what is asked of addresses that
/// nobody has any more must not hold the transfer up.
#[test]
fn a_source_that_moves_all_the_time_delays_nobody() {
    let what = Synthetic::new(101, LENGTH);
    let mut world = World::new(101);
    let restless = Node::new(1011, &[address(3)]).holding(what);
    let restless = world.add_node(1, &access(), restless);
    world.add_deployed(2, &access(), Deployed::new(1012, &[what], &[]));
    let known = [address(1), address(2)];
    let reader = world.add_node(3, &access(), Node::new(1013, &known).fetching(what));
    for n in 0..40 {
        let at = tenths(5 + 10 * n);
        world.schedule(at, restless, Action::Move(address(1000 + n as u32)));
    }
    assert!(world.run_transfer("a restless source", seconds(40), reader, what));
    assert_eq!(world.goal(reader, what).wrong_bytes(), 0);
    // The steady one alone would take 2.3 s.
    let took = world.goal(reader, what).took().unwrap();
    assert!(took < 6.0, "{took}");
}

/// The reader's own interface is down for some seconds: reads go on by themselves soon after it is
/// up, and meanwhile little is sent into the void.
#[test]
fn the_own_network_goes_away_and_comes_back() {
    for (name, sources, away) in [("one source", 1, 3), ("four sources", 4, 15)] {
        let what = Synthetic::new(102, 2 * LENGTH);
        let mut world = World::new(102);
        for n in 0..sources {
            let node = Node::new(1020 + u64::from(n), &[]).holding(what);
            world.add_node(10 + n, &access(), node);
        }
        let known: Vec<_> = (10..10 + sources).map(address).collect();
        let reader = world.add_node(1, &access(), Node::new(1029, &known).fetching(what));
        world.schedule(seconds(1), reader, Action::Reattach(cut_off()));
        world.schedule(seconds(1 + away), reader, Action::Reattach(access()));
        let name = format!("own network away for {away} s, {name}");
        assert!(world.run_transfer(&name, seconds(60), reader, what));
        let goal = world.goal(reader, what);
        assert_eq!((goal.wrong_bytes(), goal.again), (0, 0));
        let took = goal.took().unwrap() - away as f64;
        let void = world.traffic(reader).sent_during(2, 1 + away);
        println!(
            "{:<34} {took:.1} s beside that, {void} datagrams meanwhile",
            ""
        );
        // 5 s of transfer, and half of the time away for the next try, 8 s at most.
        assert!(took < 7.0 + (away as f64).min(8.0), "{took}");
        assert!(void < 60 * (1 + away), "{void}");
    }
}

/// The only source falls silent and comes back, whenever that is: who reads meanwhile has what it waits
/// for a second or so later, not when a long bench happens to end.
#[test]
fn a_read_goes_on_soon_after_the_only_source_is_back() {
    for tenth in [60, 83, 118, 151, 199, 246, 307] {
        let what = Synthetic::new(103, LENGTH);
        let mut world = World::new(103);
        let source = world.add_node(1, &access(), Node::new(1031, &[]).holding(what));
        let reader = Node::new(1032, &[address(1)]).knowing(what);
        let reader = world.add_node(2, &access(), reader);
        let (first, second) = (ByteRange::at(0, 4096), ByteRange::at(8 << 20, 4096));
        world.have(seconds(1), reader, move |node, now| {
            node.read(now, what, first)
        });
        world.schedule(seconds(2), source, Action::Die);
        world.have(seconds(3), reader, move |node, now| {
            node.read(now, what, second)
        });
        world.schedule(tenths(tenth), source, Action::Return);
        world.run(tenths(tenth) + Duration::from_secs(10), |world| {
            let reads = &world.node(reader).reads;
            reads.len() == 2 && reads.iter().all(|read| read.done.is_some())
        });
        let done = world.node(reader).reads[1].done.expect("the read ends");
        let late = done.since(tenths(tenth));
        println!(
            "silent until {:.1} s: read {late:.1?} after that",
            tenth as f64 / 10.0
        );
        // A second for which a try is waited for, half of one until the next, and round trips.
        assert!(late < Duration::from_secs(2), "{tenth}: {late:?}");
    }
}

/// The only source stands still in mid-transfer, as a laptop does whose lid is shut, and answers all that
/// has queued up when it goes on, some of it too late and some not at all: the transfer goes on at once.
/// That the round trips of that are not believed is shown by the unit tests of `congestion`.
#[test]
fn a_suspended_source_is_gone_on_with_at_once() {
    let what = Synthetic::new(104, LENGTH);
    let mut world = World::new(104);
    let source = world.add_node(1, &access(), Node::new(1041, &[]).holding(what));
    let reader = Node::new(1042, &[address(1)]).fetching(what);
    let reader = world.add_node(2, &access(), reader);
    let lossy = || {
        let mut access = access();
        access.up.loss = 0.3;
        access
    };
    world.schedule(tenths(5), source, Action::Suspend);
    // Most of what it says at once when it goes on is lost.
    world.schedule(tenths(65), source, Action::Reattach(lossy()));
    world.schedule(tenths(65), source, Action::Resume);
    world.schedule(tenths(66), source, Action::Reattach(access()));
    assert!(world.run_transfer("source suspended for 6 s", seconds(30), reader, what));
    let goal = world.goal(reader, what);
    assert_eq!(goal.wrong_bytes(), 0);
    let took = goal.took().unwrap() - 6.0;
    println!("{:<34} {took:.1} s beside that", "");
    // 2.3 s without all that.
    assert!(took < 4.0, "{took}");
}
