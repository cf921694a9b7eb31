use super::*;
use crate::swarm::Config;

fn at(seconds: u64) -> Time {
    Time::from_start(Duration::from_secs(seconds))
}

fn peer(host: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, host], 24254))
}

fn id(number: u64) -> ContentId {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    ContentId::sha256(hash)
}

fn list(entries: impl Iterator<Item = (ContentId, u64)>) -> Vec<u8> {
    let mut datagram = Vec::new();
    let mut encoder = Encoder::new(&mut datagram);
    encoder.content_list(entries);
    encoder.finish();
    datagram
}

/// A swarm that knows peers `1..=peers`.
fn swarm(peers: u8) -> Swarm {
    let config = Config {
        probe: false,
        ..Config::default()
    };
    let mut swarm = Swarm::new(config, [7; 32], at(0));
    for host in 1..=peers {
        swarm.add_peer(at(0), peer(host));
    }
    swarm
}

fn sent(swarm: &mut Swarm, now: Time) -> Vec<(SocketAddr, String)> {
    let mut out = Vec::new();
    let mut all = Vec::new();
    while let Some(to) = swarm.poll_transmit(now, &mut out) {
        all.push((to, String::from_utf8_lossy(&out).into_owned()));
    }
    all
}

#[test]
fn lists_are_merged_and_counted() {
    let mut swarm = swarm(3);
    swarm.ask_for_lists(at(1));
    let asked = sent(&mut swarm, at(1));
    let asked = asked
        .iter()
        .filter(|(_, text)| text.contains("PleaseListContent"));
    assert_eq!(asked.count(), 3);
    let lists: [&[(u64, u64)]; 3] = [&[(1, 10), (2, 20)], &[(1, 10)], &[(1, 99), (3, 30)]];
    for (host, entries) in (1..).zip(lists) {
        let datagram = list(entries.iter().map(|(n, length)| (id(*n), *length)));
        swarm.handle_datagram(at(2), peer(host), &datagram);
    }
    let found: Vec<_> = swarm
        .listed()
        .into_iter()
        .map(|listed| (listed.id, listed.length, listed.peers, listed.first))
        .collect();
    let expected = [
        (id(1), 10, 3, at(2)),
        (id(2), 20, 1, at(2)),
        (id(3), 30, 1, at(2)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn only_who_was_asked_is_listened_to_and_once() {
    let mut swarm = swarm(2);
    let named = |n| list(std::iter::once((id(n), 1)));
    swarm.handle_datagram(at(0), peer(1), &named(1));
    swarm.ask_for_lists(at(1));
    swarm.handle_datagram(at(1), peer(9), &named(2));
    swarm.handle_datagram(at(1), peer(1), &named(3));
    swarm.handle_datagram(at(1), peer(1), &named(4));
    swarm.handle_datagram(at(60), peer(2), &named(5));
    let ids: Vec<_> = swarm.listed().into_iter().map(|l| l.id).collect();
    assert_eq!(ids, [id(3)]);
}

#[test]
fn nobody_is_asked_twice_in_a_moment() {
    let mut swarm = swarm(2);
    let questions = |swarm: &mut Swarm, now| {
        swarm.ask_for_lists(now);
        let sent = sent(swarm, now);
        let lists = sent.iter().filter(|(_, t)| t.contains("PleaseListContent"));
        lists.count()
    };
    assert_eq!(questions(&mut swarm, at(1)), 2);
    assert_eq!(questions(&mut swarm, at(3)), 0);
    assert_eq!(questions(&mut swarm, at(6)), 2);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut swarm = swarm(1);
    let mut next = 0u64;
    for round in 0..100 {
        let now = at(10 * (round + 1));
        swarm.ask_for_lists(now);
        let datagram = list((next..next + 70).map(|n| (id(n), n)));
        next += 70;
        swarm.handle_datagram(now, peer(1), &datagram);
    }
    let listed = swarm.listed();
    assert_eq!(listed.len(), MAX_IDS);
    assert!(listed.iter().any(|l| l.id == id(next - 1)));
    assert!(!listed.iter().any(|l| l.id == id(0)));
}

#[test]
fn many_peers_of_one_id_are_bounded() {
    let mut listings = Listings::default();
    for port in 0..10_000 {
        listings.add(at(1), SocketAddr::from(([192, 0, 2, 1], port)), id(1), 5);
    }
    assert_eq!(listings.named[&id(1)].by.len(), MAX_PEERS);
}
