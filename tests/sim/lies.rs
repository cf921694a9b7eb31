//! One honest peer beside lying ones: the transfer completes, and only the lies that nobody below
//! the store can see through reach the application.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::content::Synthetic;
use crate::deployed::Deployed;
use crate::liar::Lie;
use crate::link::{Access, FAST_ETHERNET};
use crate::node::Node;
use crate::world::{World, address, seconds};

const LENGTH: u64 = 2 << 20;
const HONEST: u32 = 1;
const FETCHING: u32 = 2;
const LEECHER: usize = 1;
const VICTIM: u32 = 66;

fn access() -> Access {
    Access::symmetric(FAST_ETHERNET, Duration::from_millis(40))
}

/// A deployed node as the honest peer, `liars` of one kind, and a node that knows all of them.
fn beside(lie: &Lie, liars: u32, seed: u64) -> (World, Synthetic) {
    let what = Synthetic::new(30, LENGTH);
    let mut world = World::new(seed);
    world.add_deployed(HONEST, &access(), Deployed::new(seed ^ 1, &[what], &[]));
    let known: Vec<_> = [address(HONEST)]
        .into_iter()
        .chain((3..3 + liars).map(address))
        .collect();
    let node = Node::new(seed ^ 2, &known).fetching(what).distrusting();
    world.add_node(FETCHING, &access(), node);
    for n in 3..3 + liars {
        // The liars are nearer than the honest peer and so are preferred.
        let near = Access::symmetric(FAST_ETHERNET, Duration::from_millis(10));
        world.add_liar(n, &near, lie.clone(), what);
    }
    (world, what)
}

/// Completes beside one liar and beside `liars`; wrong bytes may be delivered only if `visible`.
fn survives(name: &str, lie: &Lie, liars: u32, limit: u64, visible: bool) {
    for (seed, liars) in [(31, 1), (32, liars)] {
        let (mut world, what) = beside(lie, liars, seed);
        let label = format!("{name} x{liars}");
        let done = world.run_transfer(&label, seconds(limit), LEECHER, what);
        let goal = world.goal(LEECHER, what);
        assert!(done, "{label}: not complete; lengths {:?}", goal.found);
        assert!(
            visible || goal.wrong.is_empty(),
            "{label}: {:?}",
            goal.wrong
        );
        assert!(
            !goal.wrong.contains_key(&address(HONEST)),
            "{label}: {:?}",
            goal.wrong
        );
        assert_eq!(goal.again, 0);
        // Half as much again as without liars, and some for each; nothing grows with time.
        let stats = world.node(LEECHER).stats();
        let needed = LENGTH / 900;
        let most = needed * 3 / 2 + 200 * u64::from(liars) + 1000;
        assert!(stats.datagrams_out < most, "{label}: {stats:?}");
        assert!(world.node(LEECHER).known() <= 2048, "{label}");
    }
}

#[test]
fn a_length_too_great() {
    survives("eof x3", &Lie::Eof(3 * LENGTH), 1, 40, false);
}

#[test]
fn a_length_beyond_all_measure() {
    survives("eof 2^62", &Lie::Eof(1 << 62), 1, 40, false);
    survives("eof 2^64-1", &Lie::Eof(u64::MAX), 1, 40, false);
}

/// Two against one: the length that more peers claim is the one to go by, also when the liar was
/// quicker.
#[test]
fn a_length_too_small_is_outvoted() {
    for (seed, claimed) in [(38, LENGTH / 2), (39, 1), (40, 0)] {
        let (mut world, what) = beside(&Lie::Eof(claimed), 1, seed);
        world.add_deployed(50, &access(), Deployed::new(seed ^ 3, &[what], &[]));
        world.have(seconds(0), LEECHER, |node, now| node.know(now, address(50)));
        let name = format!("eof {claimed}, two honest");
        let done = world.run_transfer(&name, seconds(40), LEECHER, what);
        assert!(
            done,
            "{name}: lengths {:?}",
            world.goal(LEECHER, what).found
        );
    }
}

/// One against one, nobody can know; but the shorter length is proved wrong as soon as it is
/// complete, and going on with the other must then be possible.
#[test]
fn a_length_too_small_in_a_tie() {
    survives("eof /2", &Lie::Eof(LENGTH / 2), 1, 40, false);
    survives("eof 0", &Lie::Eof(0), 1, 40, false);
}

#[test]
fn longer_answers() {
    survives("longer answers", &Lie::LongerAnswers, 3, 30, false);
}

#[test]
fn answers_of_one_byte() {
    survives("answers of one byte", &Lie::ShortAnswers, 3, 30, false);
}

#[test]
fn other_offsets() {
    survives("other offsets", &Lie::OtherOffsets, 3, 30, false);
}

#[test]
fn other_ids() {
    survives("other ids", &Lie::OtherIds, 3, 30, false);
}

#[test]
fn empty_data() {
    survives("empty data", &Lie::EmptyData, 3, 30, false);
}

#[test]
fn data_past_the_end() {
    survives("data past the end", &Lie::PastTheEnd, 3, 40, false);
}

#[test]
fn wrong_bytes_are_repaired_from_others() {
    survives("wrong bytes", &Lie::WrongBytes, 3, 30, true);
}

#[test]
fn old_replies_again_and_again() {
    survives("old replies", &Lie::OldReplies, 3, 30, false);
}

#[test]
fn garbage_for_an_answer() {
    survives("garbage answers", &Lie::GarbageAnswers, 3, 30, false);
}

#[test]
fn peers_that_never_give() {
    survives("tarpit", &Lie::Tarpit, 5, 30, false);
}

#[test]
fn a_flood_of_garbage() {
    survives("garbage", &Lie::Garbage(address(FETCHING)), 2, 60, false);
}

#[test]
fn answers_to_questions_never_asked() {
    survives(
        "unasked answers",
        &Lie::Unasked(address(FETCHING), None),
        2,
        60,
        true,
    );
}

/// Blind answers under the honest peer's address: the nonce in the ping is not in them.
#[test]
fn answers_under_the_address_of_the_honest_peer() {
    let lie = Lie::Unasked(address(FETCHING), Some(address(HONEST)));
    let (mut world, what) = beside(&lie, 1, 34);
    let done = world.run_transfer("spoofed answers", seconds(60), LEECHER, what);
    let goal = world.goal(LEECHER, what);
    assert!(done && goal.wrong.is_empty(), "{done} {:?}", goal.wrong);
}

/// Many who name the victim must not make one node knock on its door again and again.
#[test]
fn the_address_of_a_victim() {
    let lie = Lie::OnlyMaybe(vec![address(VICTIM)]);
    survives("only maybe", &lie, 8, 30, false);
    let (mut world, what) = beside(&lie, 40, 35);
    world.run(seconds(60), |_| false);
    let sent = world.traffic(LEECHER).sent_to(address(VICTIM));
    println!("{:<34} {sent:?} to the victim in 60 s", "40 name a victim");
    assert!(sent.datagrams <= 20 && sent.bytes <= 10_000, "{sent:?}");
    assert!(world.node(LEECHER).has_finished(what));
}

#[test]
fn a_hundred_thousand_addresses() {
    let crowd = Ipv4Addr::new(30, 0, 0, 0);
    let (mut world, what) = beside(&Lie::ManyPeers(crowd), 3, 36);
    let done = world.run(seconds(60), |_| false);
    assert!(!done);
    world.print_figures("100,000 addresses x3", LEECHER, what);
    let traffic = world.traffic(LEECHER);
    let strangers = traffic
        .to
        .iter()
        .filter(|(to, _)| to.to_string().starts_with("30."));
    let (mut addresses, mut datagrams) = (0, 0);
    for (_, count) in strangers {
        addresses += 1;
        datagrams += count.datagrams;
    }
    println!(
        "{:<34} {datagrams} datagrams to {addresses} strangers in 60 s",
        "100,000 addresses x3"
    );
    assert!((1..=60 * 20).contains(&datagrams), "{datagrams}");
    assert!(addresses <= 256, "{addresses}");
    assert!(world.node(LEECHER).known() <= 256);
    assert!(world.node(LEECHER).has_finished(what));
}

/// Every lie at once.
#[test]
fn a_den_of_liars() {
    let what = Synthetic::new(30, LENGTH);
    let mut world = World::new(37);
    world.add_deployed(HONEST, &access(), Deployed::new(371, &[what], &[]));
    let lies = [
        Lie::LongerAnswers,
        Lie::ShortAnswers,
        Lie::OtherOffsets,
        Lie::OtherIds,
        Lie::EmptyData,
        Lie::WrongBytes,
        Lie::Tarpit,
        Lie::OnlyMaybe(vec![address(VICTIM)]),
        Lie::ManyPeers(Ipv4Addr::new(30, 0, 0, 0)),
        Lie::Unasked(address(FETCHING), None),
        Lie::OldReplies,
        Lie::GarbageAnswers,
    ];
    let liars = 3..3 + lies.len() as u32;
    let known: Vec<_> = [HONEST].into_iter().chain(liars).map(address).collect();
    let node = Node::new(372, &known).fetching(what).distrusting();
    world.add_node(FETCHING, &access(), node);
    for (n, lie) in (3..).zip(lies) {
        world.add_liar(n, &access(), lie, what);
    }
    assert!(world.run_transfer("every lie at once", seconds(60), LEECHER, what));
    assert!(
        !world
            .goal(LEECHER, what)
            .wrong
            .contains_key(&address(HONEST))
    );
}
