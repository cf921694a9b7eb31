//! The simulator itself: links, fragments and mimics behave as TRANSPORT.md says of the real ones.

use std::time::Duration;

use crate::content::Synthetic;
use crate::deployed::Deployed;
use crate::link::{Access, FAST_ETHERNET, Fragments, packet_sizes};
use crate::net::{Action, Network};
use crate::world::{address, seconds};

fn deployed_pair(seed: u64, length: u64, access: &Access) -> Network<Deployed> {
    let what = Synthetic::new(7, length);
    let mut net = Network::new(seed);
    net.add(address(1), access.clone(), Deployed::new(1, &[what], &[]));
    let client = Deployed::new(2, &[], &[]).fetching(what, &[address(1)]);
    net.add(address(2), access.clone(), client);
    net
}

fn finished(net: &Network<Deployed>) -> Option<f64> {
    let fetch = net.host(1).fetch.as_ref()?;
    assert_eq!(fetch.wrong_bytes, 0);
    Some(fetch.finished?.since_start().as_secs_f64())
}

#[test]
fn a_deployed_client_is_as_slow_as_was_measured() {
    let access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(50));
    let mut net = deployed_pair(1, 4 << 20, &access);
    assert!(net.run(seconds(60), |net| finished(net).is_some()));
    let rate = (4 << 20) as f64 / finished(&net).unwrap_or(f64::MAX);
    assert!((1.5e6..2.7e6).contains(&rate), "{rate}");

    let mut net = deployed_pair(1, 1 << 20, &access.lossy(0.005));
    assert!(net.run(seconds(120), |net| finished(net).is_some()));
    let lossy = (1 << 20) as f64 / finished(&net).unwrap_or(f64::MAX);
    assert!(lossy < rate / 2.0, "{lossy}");
}

#[test]
fn distance_is_added_to_what_the_links_take() {
    let access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(20));
    let took = |distance| {
        let mut net = deployed_pair(6, 100, &access);
        net.set_distance(0, 1, Duration::from_millis(distance));
        assert!(net.run(seconds(60), |net| finished(net).is_some()));
        finished(&net).unwrap_or(f64::MAX)
    };
    let (near, far) = (took(0), took(100));
    assert!(far - near >= 0.4, "two round trips, {near} s and {far} s");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let mut access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(20)).lossy(0.02);
    access.up.jitter = Duration::from_millis(3);
    access.up.reorder = 0.05;
    access.up.reorder_by = Duration::from_millis(10);
    access.up.duplicate = 0.01;
    access.up.corrupt = 0.01;
    let trace = |seed| {
        let mut net = deployed_pair(seed, 1 << 20, &access);
        net.run(seconds(5), |_| false);
        net.trace()
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn datagrams_are_cut_as_ip_cuts_them() {
    let sizes = |n, mtu| packet_sizes(n, mtu).collect::<Vec<_>>();
    assert_eq!(sizes(1472, 1500), [1500]);
    assert_eq!(sizes(1473, 1500), [1500, 21]);
    assert_eq!(sizes(65_507, 65_535), [65_535]);
    assert_eq!(packet_sizes(54_700, 1500).count(), 37);
    assert_eq!(sizes(0, 1500), [28]);
}

#[test]
fn a_network_that_drops_fragments_lets_single_packets_through() {
    let mut access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(20));
    access.fragments = Fragments::Dropped;
    let mut net = deployed_pair(3, 900, &access);
    assert!(net.run(seconds(20), |net| finished(net).is_some()));
    let mut net = deployed_pair(3, 9000, &access);
    assert!(!net.run(seconds(20), |net| finished(net).is_some()));
    assert!(net.traffic(0).dropped_as_fragment > 0);
}

#[test]
fn lost_fragments_fill_the_memory_for_reassembly() {
    let mut access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(20)).lossy(0.05);
    access.reassembly = 200_000;
    let mut net = deployed_pair(4, 16 << 20, &access);
    net.run(seconds(40), |net| finished(net).is_some());
    assert!(finished(&net).is_none());
    assert!(net.reassembly_failures(1) > 20);
    assert!(net.reassembly_memory(1) > 150_000);
}

#[test]
fn the_dead_are_silent_and_the_moved_are_found_elsewhere() {
    let access = Access::symmetric(FAST_ETHERNET, Duration::from_millis(20));
    let mut net = deployed_pair(5, 1 << 20, &access);
    net.schedule(seconds(0), 0, Action::Die);
    assert!(!net.run(seconds(5), |net| finished(net).is_some()));
    assert_eq!(net.traffic(0).sent.datagrams, 0);
    net.schedule(seconds(5), 0, Action::Return);
    assert!(net.run(seconds(20), |net| finished(net).is_some()));
    net.schedule(seconds(20), 0, Action::Move(address(9)));
    net.run(seconds(30), |_| false);
    assert!(net.traffic(1).sent_to(address(9)).datagrams > 0);
}
