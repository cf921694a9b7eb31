//! Many small files of one peer, among others that have none of them.

use std::time::Duration;

use crate::content::Synthetic;
use crate::link::Access;
use crate::net::HostId;
use crate::node::Node;
use crate::world::{World, address, seconds};

const FILES: u64 = 1000;
const OTHERS: u32 = 12;
const READER: HostId = 1;
const START: u64 = 5;

fn file(number: u64) -> Synthetic {
    Synthetic::new(7000 + number, 3000)
}

/// How long the files take once something else, as the listing of their folder, has come from the
/// same peer; and how many datagrams the others were sent meanwhile.
fn fetch_all(holder_has: u64) -> (World, f64, u64) {
    let access = Access::symmetric(100_000_000, Duration::from_millis(20));
    let listing = Synthetic::new(6999, 200_000);
    let mut world = World::new(70);
    let mut holder = Node::new(71, &[]).holding(listing);
    for number in 0..holder_has {
        holder = holder.holding(file(number));
    }
    let known: Vec<_> = [1].into_iter().chain(3..3 + OTHERS).map(address).collect();
    world.add_node(1, &access, holder);
    world.add_node(2, &access, Node::new(72, &known));
    for n in 3..3 + OTHERS {
        world.add_node(n, &access, Node::new(u64::from(n), &[]));
    }
    world.have(seconds(START - 1), READER, move |node, now| {
        node.fetch(now, listing);
    });
    world.run(seconds(START), |_| false);
    assert!(world.node(READER).has_finished(listing));
    let to_others = |world: &World| -> Vec<u64> {
        let sent_to = |n| world.traffic(READER).sent_to(address(n)).datagrams;
        (3..3 + OTHERS).map(sent_to).collect()
    };
    let before = to_others(&world);
    world.have(seconds(START), READER, |node, now| {
        for number in 0..FILES {
            node.fetch(now, file(number));
        }
    });
    world.run(seconds(START + 30), |world| {
        (0..holder_has.max(1)).all(|number| world.node(READER).has_finished(file(number)))
    });
    let took = world.now().since(seconds(START)).as_secs_f64();
    let told = to_others(&world).iter().sum::<u64>() - before.iter().sum::<u64>();
    (world, took, told)
}

/// As fast as it answers, not as fast as strangers may be asked (200 a second, of which each file
/// took eight); and they are left in peace.
#[test]
fn many_small_files_come_as_fast_as_their_peer_answers() {
    let (world, took, told) = fetch_all(FILES);
    println!("{FILES} files of one peer took {took:.2} s; the others were sent {told} datagrams");
    assert!((0..FILES).all(|number| world.node(READER).has_finished(file(number))));
    assert!(took < 2.0, "{took}");
    assert!(told < FILES / 2, "{told}");
}

/// What nobody has is asked of everybody, but no faster than strangers may be asked.
#[test]
fn what_nobody_has_is_asked_for_slowly() {
    let (_, took, told) = fetch_all(0);
    println!("{FILES} files of nobody: in {took:.0} s the others were sent {told} datagrams");
    // And what the node says at rest.
    let questions = 64.0 + took * 200.0 + 10.0 * f64::from(OTHERS);
    assert!((told as f64) < questions, "{told} of {questions}");
}
