//! Peers whose address changes, and a machine whose own network goes away and comes back.

use std::net::SocketAddr;
use std::time::Duration;

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
/// address: the reader hears of it from the source itself, which keeps in touch every minute or so, and
/// the transfer goes on from there. Another address takes two such turns, for the cookie is bound to it.
#[test]
fn the_only_source_moves_in_mid_transfer() {
    let port = SocketAddr::new(address(1).ip(), 999);
    for (name, to, limit) in [("port", port, 100), ("address", address(77), 180)] {
        let what = Synthetic::new(100, LENGTH);
        let mut world = World::new(100);
        let source = Node::new(1001, &[address(2)]).holding(what);
        let source = world.add_node(1, &access(), source);
        let reader = Node::new(1002, &[address(1)]).fetching(what);
        let reader = world.add_node(2, &access(), reader);
        world.schedule(seconds(1), source, Action::Move(to));
        let name = format!("the source has another {name}");
        assert!(world.run_transfer(&name, seconds(limit), reader, what));
        let goal = world.goal(reader, what);
        assert_eq!((goal.wrong_bytes(), goal.again), (0, 0));
        assert!(goal.supplied.contains_key(&to));
        let idle = world.traffic(reader).sent_during(3, 30);
        println!("{:<34} {idle} datagrams from 3 s to 30 s", "");
        assert!(idle < 100, "{idle}");
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
