//! Networks that reorder, double and damage what they carry.

use std::time::Duration;

use crate::content::Synthetic;
use crate::link::{Access, FAST_ETHERNET};
use crate::node::Node;
use crate::world::{World, address, seconds};

const LENGTH: u64 = 8 << 20;

fn rough() -> Access {
    let mut access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(40)).lossy(0.005);
    access.down.reorder = 0.05;
    access.down.reorder_by = Duration::from_millis(15);
    access.down.duplicate = 0.02;
    access
}

#[test]
fn reordering_and_doubling() {
    let what = Synthetic::new(20, LENGTH);
    let mut world = World::new(20);
    world.add_node(1, &rough(), Node::new(201, &[]).holding(what));
    world.add_node(2, &rough(), Node::new(202, &[address(1)]).fetching(what));
    assert!(world.run_transfer("reordering and doubling", seconds(30), 1, what));
    let goal = world.goal(1, what);
    assert_eq!((goal.wrong_bytes(), goal.again), (0, 0));
    assert!(world.share(1, what) > 0.25);
}

/// Flipped bits reach the application where they hit the data, which nobody below can know; they
/// must come from the damaged path alone, and at no higher rate than the path damages.
#[test]
fn damage_on_one_of_two_paths() {
    let what = Synthetic::new(21, LENGTH);
    let mut damaged = rough();
    damaged.up.corrupt = 0.01;
    let mut world = World::new(21);
    world.add_node(1, &damaged, Node::new(211, &[]).holding(what));
    let known = [address(1), address(3)];
    world.add_node(2, &rough(), Node::new(212, &known).fetching(what));
    world.add_node(3, &rough(), Node::new(213, &[]).holding(what));
    assert!(world.run_transfer("damage on one of two paths", seconds(30), 1, what));
    let goal = world.goal(1, what);
    assert_eq!(goal.again, 0);
    assert!(
        goal.wrong.keys().all(|from| *from == address(1)),
        "{:?}",
        goal.wrong
    );
    // At most six bits of one base64 digit differ, which touch two bytes.
    let most = 2 * world.traffic(1).corrupted;
    assert!(
        goal.wrong_bytes() <= most,
        "{} wrong, {most} possible",
        goal.wrong_bytes()
    );
    assert!(world.share(1, what) > 0.25);
}

/// Even where every tenth datagram is damaged in either direction nothing breaks, and it ends.
#[test]
fn heavy_damage() {
    let what = Synthetic::new(22, 1 << 20);
    let mut damaged = rough();
    damaged.up.corrupt = 0.1;
    damaged.down.corrupt = 0.05;
    let mut world = World::new(22);
    world.add_node(1, &damaged, Node::new(221, &[]).holding(what));
    world.add_node(2, &damaged, Node::new(222, &[address(1)]).fetching(what));
    assert!(world.run_transfer("heavy damage", seconds(120), 1, what));
    assert_eq!(world.goal(1, what).again, 0);
}
