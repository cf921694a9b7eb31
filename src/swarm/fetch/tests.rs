use std::time::Duration;

use super::lengths::MAX_CLAIMS;
use super::*;
use proptest::prelude::*;

fn peer(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 24254))
}

#[derive(Clone, Debug)]
enum Op {
    Want(u64, u64, usize),
    Unwant(u64, u64),
    Launch(usize, u64),
    Land(usize),
    Arrive(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..64u64, 0..20u64, 0..3usize).prop_map(|(a, n, c)| Op::Want(a, n, c)),
        (0..64u64, 0..20u64).prop_map(|(a, n)| Op::Unwant(a, n)),
        (0..3usize, 1..8u64).prop_map(|(c, n)| Op::Launch(c, n)),
        (0..8usize).prop_map(Op::Land),
        (0..64u64, 0..20u64).prop_map(|(a, n)| Op::Arrive(a, n)),
    ]
}

proptest! {
    /// Every missing byte is in exactly one class or one flight; nothing else is unasked.
    #[test]
    fn each_missing_byte_has_one_place(ops in prop::collection::vec(op(), 1..80)) {
        let now = Time::ZERO;
        let mut fetch = Fetch::new(now);
        let mut sequence = 0;
        for op in ops {
            match op {
                Op::Want(a, n, c) => fetch.want(now, ByteRange::at(a, n), Class::ALL[c]),
                Op::Unwant(a, n) => fetch.unwant(ByteRange::at(a, n)),
                Op::Launch(c, n) => {
                    if let Some(first) = fetch.unasked(Class::ALL[c]).first() {
                        sequence += 1;
                        let range = ByteRange::at(first.start, n.min(first.len()));
                        fetch.launch(range, Class::ALL[c], peer(1), sequence, now);
                    }
                }
                Op::Land(k) => {
                    let flight = fetch.flights.iter().nth(k).map(|(s, f)| (*s, f.copies[0].1));
                    if let Some((start, sequence)) = flight {
                        fetch.land(start, peer(1), sequence);
                    }
                }
                Op::Arrive(a, n) => { fetch.arrive(now, ByteRange::at(a, n)); }
            }
            for byte in 0..100u64 {
                let at = ByteRange::at(byte, 1);
                let classes = fetch.unasked.iter().filter(|set| set.contains(at)).count();
                let flights = fetch.flights.iter().filter(|(s, f)| **s <= byte && byte < f.end).count();
                if fetch.missing.contains(at) {
                    prop_assert_eq!(classes + flights, 1, "byte {}", byte);
                } else {
                    prop_assert_eq!(classes, 0, "byte {}", byte);
                    prop_assert!(flights <= 1);
                }
            }
        }
    }
}

#[test]
fn a_later_urgent_want_overtakes() {
    let mut fetch = Fetch::new(Time::ZERO);
    fetch.want(Time::ZERO, ByteRange::new(0, 100), Class::Bulk);
    fetch.want(Time::ZERO, ByteRange::new(40, 60), Class::Urgent);
    assert_eq!(
        fetch.unasked(Class::Urgent).first(),
        Some(ByteRange::new(40, 60))
    );
    fetch.want(Time::ZERO, ByteRange::new(0, 100), Class::ReadAhead);
    assert_eq!(
        fetch.unasked(Class::Urgent).first(),
        Some(ByteRange::new(40, 60))
    );
    assert_eq!(
        fetch.unasked(Class::ReadAhead).first(),
        Some(ByteRange::new(0, 40))
    );
    assert_eq!(fetch.unasked(Class::Bulk).first(), None);
}

#[test]
fn a_peer_has_one_claim_and_the_most_claimed_length_wins() {
    let mut fetch = Fetch::new(Time::ZERO);
    fetch.claim(peer(1), 10);
    fetch.claim(peer(2), 20);
    assert_eq!(fetch.favourite(), Some(10));
    fetch.claim(peer(3), 20);
    assert_eq!(fetch.favourite(), Some(20));
    for length in 100..200 {
        fetch.claim(peer(1), length);
    }
    assert!(fetch.claims.len() <= MAX_CLAIMS);
    assert_eq!(fetch.favourite(), Some(20));
}

#[test]
fn liars_who_were_first_do_not_keep_a_length_out() {
    let mut fetch = Fetch::new(Time::ZERO);
    fetch.claim(peer(201), 7);
    fetch.claim(peer(202), 7);
    fetch.length = Some(7);
    let liars = MAX_CLAIMS as u8 + 4;
    for liar in 0..liars {
        fetch.claim(peer(liar), 1000 + u64::from(liar));
    }
    for honest in 100..103 {
        fetch.claim(peer(honest), 50);
    }
    assert_eq!(fetch.favourite(), Some(50));
    for liar in 0..liars {
        fetch.claim(peer(liar), 2000 + u64::from(liar));
    }
    assert_eq!(fetch.claims.len(), MAX_CLAIMS);
    assert_eq!(
        fetch.favourite(),
        Some(50),
        "only what is lonely makes room"
    );
    assert!(fetch.claims.contains_key(&7));
}

/// Most say that it is longer: it is gone on with where the rest costs no more than what is here did,
/// for as long again, and whatever they say once it is proven.
#[test]
fn what_is_half_here_is_gone_on_with_for_a_while_though_it_is_outvoted() {
    let at = |seconds| Time::from_start(Duration::from_secs(seconds));
    let outvoted = |held: u64, begun: u64| {
        let mut fetch = Fetch::new(at(begun));
        fetch.claim(peer(1), 100);
        assert!(fetch.decide(100));
        fetch.held = (100, held);
        fetch.want(at(begun), ByteRange::new(held, 100), Class::Bulk);
        fetch.claim(peer(2), 200);
        fetch.claim(peer(3), 200);
        assert!(fetch.is_outvoted());
        fetch
    };
    assert!(!outvoted(49, 0).goes_on(at(1)));
    let mut fetch = outvoted(50, 0);
    assert!(fetch.goes_on(at(1)));
    assert!(fetch.goes_on(at(5)));
    assert!(!fetch.goes_on(at(6)));
    let mut fetch = outvoted(30, 0);
    fetch.arrive(at(60), ByteRange::new(30, 55));
    assert!(fetch.goes_on(at(60)));
    assert!(fetch.goes_on(at(119)));
    assert!(!fetch.goes_on(at(120)));
    // What was here of one length does not count for another.
    assert!(fetch.decide(200));
    fetch.held = (100, 200);
    assert!(!fetch.goes_on(at(121)));
    fetch.length_is_proven = true;
    assert!(fetch.goes_on(at(1000)));
}

/// Addresses within a /64 cost nothing.
#[test]
fn a_host_has_one_vote_whatever_addresses_it_takes() {
    let votes_of = |addresses: &[&str]| {
        let by = addresses.iter().map(|address| address.parse().unwrap());
        votes(&by.collect())
    };
    assert_eq!(votes_of(&["192.0.2.1:1", "192.0.2.1:2"]), 1);
    assert_eq!(votes_of(&["192.0.2.1:1", "192.0.2.2:1"]), 2);
    assert_eq!(votes_of(&["127.0.0.1:1", "127.0.0.1:2"]), 2);
    assert_eq!(votes_of(&["[::1]:1", "[::1]:2"]), 2);
    assert_eq!(votes_of(&["[2001:db8::1]:1", "[2001:db8::ff:2]:1"]), 1);
    assert_eq!(votes_of(&["[2001:db8::1]:1", "[2001:db8:0:1::1]:1"]), 2);
    assert_eq!(votes_of(&["[fe80::1]:1", "[fe80::2]:1", "[fd00::1]:1"]), 3);
}
