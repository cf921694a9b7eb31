use std::collections::BTreeMap;

use super::*;

fn at(millis: u64) -> Time {
    Time::from_start(Duration::from_millis(millis))
}

fn asker(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], port))
}

/// Runs for `millis` with askers of `(address, questions a millisecond, bytes of each answer)`;
/// returns the bytes that each of them got.
fn run(
    uplink: &mut Uplink<(SocketAddr, u64)>,
    millis: u64,
    askers: &[(SocketAddr, u64, u64)],
) -> BTreeMap<SocketAddr, u64> {
    let mut got = BTreeMap::new();
    for now in 0..millis {
        uplink.tick(at(now));
        for (from, questions, size) in askers {
            for _ in 0..*questions {
                uplink.push(*from, *size, 300, (*from, *size));
            }
        }
        assert!(uplink.memory <= MEMORY, "{}", uplink.memory);
        while let Some(((from, size), _)) = uplink.pop() {
            *got.entry(from).or_insert(0) += size;
        }
    }
    got
}

#[test]
fn nothing_is_held_back_without_a_limit() {
    let mut uplink = Uplink::new(None, None);
    assert!(uplink.is_idle());
    let got = run(&mut uplink, 100, &[(asker(1, 1), 10, 1400)]);
    assert_eq!(got[&asker(1, 1)], 100 * 10 * 1400);
    assert!(uplink.is_idle() && uplink.next_release().is_none());
}

#[test]
fn a_fast_asker_does_not_starve_a_slow_one() {
    // The fast one asks for twenty times the limit, in large answers.
    let (fast, slow) = (asker(1, 1), asker(2, 1));
    let mut uplink = Uplink::new(Some(2_000_000), None);
    let got = run(&mut uplink, 10_000, &[(fast, 1, 40_000), (slow, 1, 900)]);
    let all = got[&fast] + got[&slow];
    assert!((19_900_000..=20_200_000).contains(&all), "{got:?}");
    assert!(got[&slow] >= 8_900_000, "{got:?}");
}

#[test]
fn ports_of_one_host_share_its_turns() {
    let mut uplink = Uplink::new(Some(1_000_000), None);
    let mut askers: Vec<_> = (1..=50).map(|port| (asker(1, port), 1, 1000)).collect();
    askers.push((asker(2, 1), 1, 1000));
    let got = run(&mut uplink, 10_000, &askers);
    assert!(got[&asker(2, 1)] > 4_900_000, "{}", got[&asker(2, 1)]);
    let ports: Vec<u64> = (1..=50).map(|port| got[&asker(1, port)]).collect();
    assert!(ports.iter().all(|bytes| *bytes > 0), "{ports:?}");
}

#[test]
fn a_64_of_ipv6_is_one_host() {
    let of = |text: &str| host_of(text.parse::<SocketAddr>().unwrap().ip());
    assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:2]:9"));
    assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
    assert_ne!(of("192.0.2.1:1"), of("192.0.2.2:1"));
}

#[test]
fn each_host_keeps_to_its_own_limit() {
    let mut uplink = Uplink::new(None, Some(100_000));
    let askers = [
        (asker(1, 1), 1, 1400),
        (asker(1, 2), 1, 1400),
        (asker(2, 1), 1, 1400),
    ];
    let got = run(&mut uplink, 10_000, &askers);
    let one = got[&asker(1, 1)] + got[&asker(1, 2)];
    let other = got[&asker(2, 1)];
    for bytes in [one, other] {
        assert!((980_000..=1_020_000).contains(&bytes), "{got:?}");
    }
    let next = uplink.next_release().unwrap();
    assert!(next > at(9_999) && next < at(10_050), "{next:?}");
}

#[test]
fn a_flood_gets_less_than_its_share_and_a_quarter_at_least() {
    let (flood, honest) = (asker(1, 1), asker(2, 1));
    let mut uplink = Uplink::new(Some(1_000_000), None);
    let got = run(&mut uplink, 10_000, &[(flood, 10, 1400), (honest, 1, 800)]);
    assert!(got[&honest] > 7_000_000, "{got:?}");
    assert!(got[&flood] > 1_500_000, "{got:?}");
}

#[test]
fn what_would_wait_too_long_is_dropped() {
    let mut uplink = Uplink::new(Some(100_000), None);
    uplink.tick(at(0));
    for n in 0..1000 {
        uplink.push(asker(1, 1), 1000, 300, n);
    }
    // A second's worth and the one that began the queue.
    assert!((850..=900).contains(&uplink.take_dropped()));
    // What nobody took out in time is dropped as well.
    uplink.hold(true);
    uplink.tick(at(5000));
    assert!(uplink.pop().is_none() && uplink.next_release().is_none());
    uplink.hold(false);
    assert!(uplink.pop().is_none() && uplink.is_empty());
    assert!(uplink.take_dropped() > 0);
}

#[test]
fn a_large_answer_gets_through_a_small_limit() {
    let mut uplink = Uplink::new(Some(10_000), None);
    let got = run(&mut uplink, 60_000, &[(asker(1, 1), 1, 60_000)]);
    assert!((540_000..=660_000).contains(&got[&asker(1, 1)]), "{got:?}");
}

#[test]
fn memory_is_bounded_and_a_newcomer_finds_room() {
    let mut uplink = Uplink::new(None, None);
    uplink.hold(true);
    for host in 0..200 {
        for n in 0..2000 {
            let size = if n % 2 == 0 { 300 } else { 60_000 };
            uplink.push(asker(host, n), 1000, size, host);
        }
    }
    assert!(uplink.memory <= MEMORY);
    assert!(uplink.memory > MEMORY / 2);
    let before = uplink.memory;
    uplink.push(asker(201, 1), 1000, 300, 201);
    assert!(uplink.memory > before, "no room for a newcomer");
    uplink.hold(false);
    let served: std::collections::BTreeSet<u8> = std::iter::from_fn(|| uplink.pop())
        .map(|(host, _)| host)
        .collect();
    assert_eq!(served.len(), 201);
    assert!(uplink.is_empty() && uplink.is_idle());
    uplink.tick(at(10_000));
    uplink.tidy();
    assert!(uplink.hosts.is_empty());
}

#[test]
fn more_hosts_than_are_remembered_are_served() {
    let mut uplink = Uplink::new(None, Some(1_000_000));
    for n in 0..3 * HOSTS as u32 {
        uplink.tick(at(u64::from(n)));
        let from = SocketAddr::from((std::net::Ipv4Addr::from_bits(n << 8), 1));
        uplink.push(from, 1000, 300, n);
        assert_eq!(uplink.pop().map(|(n, _)| n), Some(n));
        assert!(uplink.hosts.len() <= HOSTS);
    }
}

#[test]
fn strangers_get_a_small_share_together() {
    let mut uplink: Uplink<()> = Uplink::new(Some(1_600_000), None);
    let mut got = 0;
    for now in 0..10_000 {
        uplink.tick(at(now));
        for port in 0..10 {
            if uplink.admit_stranger(asker(1, port), 1000) {
                // Most turn out to be short.
                uplink.settle(asker(1, 1), false, 1000, 400);
                got += 400;
            }
        }
    }
    // A sixteenth, and what had been saved up in a second.
    assert!((990_000..=1_110_000).contains(&got), "{got}");
}

#[test]
fn strangers_that_prove_themselves_are_as_many_as_come() {
    let mut uplink: Uplink<()> = Uplink::new(None, None);
    let newcomer = |n: u32| SocketAddr::from(((0x0a00_0000 + n).to_be_bytes(), 24254));
    let (mut greeted, mut refused) = (0u32, 0u32);
    for n in 0..40_000 {
        uplink.tick(at(5000 + u64::from(n / 20)));
        match uplink.admit_stranger(newcomer(n), 1000) {
            true => {
                greeted += 1;
                uplink.settle(newcomer(n), false, 1000, 600);
            }
            false => refused += 1,
        }
        // A round trip of 50 ms; every fourth is a forger's.
        if n > 1000 && n % 4 != 0 {
            uplink.proved(newcomer(n - 1000));
        }
        assert!(uplink.greeted.len() <= GREETED);
    }
    // 20,000 a second ask in these two. Only those that never come back are paid for: 150 bytes for
    // each that is greeted, of three seconds' worth.
    let most = 3 * STRANGERS / 150;
    assert!(u64::from(greeted) > most * 2 / 3, "{greeted} {refused}");
    assert!(u64::from(greeted) < most * 11 / 10, "{greeted} {refused}");
}

#[test]
fn who_proves_itself_gives_back_no_more_than_its_last_answer() {
    let mut uplink: Uplink<()> = Uplink::new(None, None);
    let victim = asker(1, 1);
    let mut got = 0;
    for now in 0..10_000 {
        uplink.tick(at(now));
        for _ in 0..10 {
            got += 1000 * u64::from(uplink.admit_stranger(victim, 1000));
        }
        if now % 10 == 0 {
            uplink.proved(victim);
        }
    }
    let proved = 1000 * 1000;
    assert!(got <= 11 * STRANGERS + proved, "{got}");
}

#[test]
fn an_answer_that_was_shorter_than_expected_is_not_charged_in_full() {
    let mut uplink = Uplink::new(Some(1_000_000), Some(1_000_000));
    let mut got = 0;
    for now in 0..10_000 {
        uplink.tick(at(now));
        for _ in 0..5 {
            uplink.push(asker(1, 1), 40_000, 300, ());
        }
        while let Some(((), charged)) = uplink.pop() {
            uplink.settle(asker(1, 1), true, charged, 1000);
            got += 1000;
        }
    }
    assert!((9_900_000..=10_100_000).contains(&got), "{got}");
}
