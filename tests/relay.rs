//! The relay that measurements run over (`examples/relay`): does it do to packets what it says?

#[path = "../examples/relay/ends.rs"]
mod ends;
#[path = "../examples/relay/link.rs"]
mod link;
#[path = "../examples/relay/relay.rs"]
mod relay;
#[path = "../examples/relay/tun.rs"]
mod tun;
#[path = "../examples/relay/udp.rs"]
mod udp;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ends::{Flow, Way};
use link::{Link, Settings, fragments};
use relay::Relay;
use tun::Flows;

fn settings() -> Settings {
    Settings {
        rate: None,
        queue: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
    }
}

#[test]
fn packets_leave_at_the_rate_and_the_queue_drops_from_its_tail() {
    let mut link = Link::new(
        Settings {
            rate: Some(1_000_000.0),
            queue: 50_000.0,
            delay: Duration::from_millis(20),
            ..settings()
        },
        1,
    );
    let now = Duration::from_secs(3);
    let due: Vec<Option<Duration>> = (0..100).map(|_| link.offer(now, 1000, 1)).collect();
    // One is being sent, fifty wait; a millisecond each.
    for (n, due) in due.iter().enumerate() {
        let expected = now + Duration::from_millis(n as u64 + 1 + 20);
        assert_eq!(*due, (n <= 50).then_some(expected), "packet {n}");
    }
    assert_eq!((link.counts.packets, link.counts.dropped), (51, 49));
    assert_eq!(link.counts.bytes, 51_000);
    assert_eq!(link.wait(now), Duration::from_millis(51));
    // The queue has run dry, so nobody waits.
    let later = now + Duration::from_secs(1);
    let due = link.offer(later, 1000, 1).unwrap();
    assert_eq!(due, later + Duration::from_millis(21));
    assert!(
        (24.0..27.0).contains(&link.counts.wait(0.5)),
        "{}",
        link.counts.wait(0.5)
    );
}

#[test]
fn loss_is_per_fragment_and_follows_the_seed() {
    let fate = |seed: u64, fragments: usize| -> Vec<bool> {
        let mut link = Link::new(
            Settings {
                loss: 0.02,
                ..settings()
            },
            seed,
        );
        (0..50_000)
            .map(|n| {
                link.offer(Duration::from_millis(n), 1000, fragments)
                    .is_some()
            })
            .collect()
    };
    let share = |fate: &[bool]| fate.iter().filter(|here| !**here).count() as f64 / 50_000.0;
    let single = fate(7, 1);
    assert_eq!(single, fate(7, 1));
    assert_ne!(single, fate(8, 1));
    assert!((0.018..0.022).contains(&share(&single)));
    // 1 - 0.98^38
    let long = share(&fate(7, 38));
    assert!((0.52..0.55).contains(&long), "{long}");
}

#[test]
fn jitter_stays_within_its_bound_and_reorders() {
    let mut link = Link::new(
        Settings {
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(5),
            ..settings()
        },
        3,
    );
    let due: Vec<Duration> = (0..1000)
        .map(|n| {
            let now = Duration::from_micros(n * 100);
            let due = link.offer(now, 1000, 1).unwrap();
            let delay = due - now;
            assert!((10_000..=15_000).contains(&delay.as_micros()), "{delay:?}");
            due
        })
        .collect();
    assert!(due.windows(2).any(|pair| pair[0] > pair[1]));
}

#[test]
fn datagrams_are_counted_as_they_travel() {
    assert_eq!(fragments(0, 1500), (28, 1));
    assert_eq!(fragments(1472, 1500), (1500, 1));
    assert_eq!(fragments(1473, 1500), (1473 + 8 + 40, 2));
    // About an answer of 40,960 bytes of content.
    assert_eq!(fragments(55_000, 1500), (55_000 + 8 + 38 * 20, 38));
}

#[test]
fn flows_are_told_apart_by_protocol_and_port() {
    let mut packet = [0u8; 28];
    packet[0] = 0x45;
    packet[9] = 17;
    packet[4..6].copy_from_slice(&[7, 7]); // the identification
    packet[6] = 0x20; // further fragments follow
    packet[20..26].copy_from_slice(&[0x10, 0x00, 0x20, 0x01, 0x0b, 0xb8]);
    let (mut there, mut back) = (Flows::of(Way::There), Flows::of(Way::Back));
    assert_eq!(there.look(&packet), (Flow("udp", 0x1000), Some(2992)));
    assert_eq!(back.look(&packet), (Flow("udp", 0x2001), Some(2992)));
    packet[6] = 0;
    packet[7] = 185; // a later fragment has no ports
    assert_eq!(back.look(&packet), (Flow("udp", 0x2001), None));
    packet[5] = 8; // and this one's first never came
    assert_eq!(back.look(&packet), (Flow("other", 0), None));
    assert_eq!(back.look(&packet[..9]), (Flow("other", 0), None));
    assert!(tun::Tun::new("no-device", "none/of/that").is_err());
}

/// Two clients ask an echoing server through the relay; each gets its own back, whole.
#[test]
fn datagrams_pass_both_ways_to_whom_they_belong() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let ends = udp::Udp::new(
        "127.0.0.1:0".parse().unwrap(),
        server.local_addr().unwrap(),
        1500,
    )
    .unwrap();
    let address = ends.address().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let echoing = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut buffer = vec![0; 65_536];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((length, from)) = server.recv_from(&mut buffer) {
                    server.send_to(&buffer[..length], from).unwrap();
                }
            }
        }
    });
    let relaying = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let slow = Settings {
                rate: Some(10_000_000.0),
                queue: 1_000_000.0,
                delay: Duration::from_millis(1),
                ..settings()
            };
            let mut relay = Relay::new(ends, &slow, 1);
            let mut log = Vec::new();
            relay.run(&stop, Some(&mut log)).unwrap();
            (relay.report(), log)
        }
    });
    let clients: Vec<UdpSocket> = (0..2)
        .map(|_| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            client.connect(address).unwrap();
            client
        })
        .collect();
    let mut buffer = vec![0; 65_536];
    for length in [1usize, 900, 1472, 1473, 40_000] {
        for (mark, client) in (1u8..).zip(&clients) {
            client.send(&vec![mark; length]).unwrap();
        }
        for (mark, client) in (1u8..).zip(&clients) {
            let received = client.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..received], vec![mark; length]);
        }
    }
    stop.store(true, Ordering::Relaxed);
    echoing.join().unwrap();
    let (report, log) = relaying.join().unwrap();
    let each: usize = [1, 900, 1472, 1473, 40_000]
        .iter()
        .map(|length| fragments(*length, 1500).0)
        .sum();
    for way in ["there", "back"] {
        assert_eq!(report[way]["packets"], 10, "{report}");
        assert_eq!(report[way]["bytes"], 2 * each);
        for client in &clients {
            let flow = format!("udp:{}", client.local_addr().unwrap().port());
            assert_eq!(report[way]["flows"][&flow], each, "{report}");
        }
    }
    let first = log.split(|byte| *byte == b'\n').next().unwrap();
    let line: serde_json::Value = serde_json::from_slice(first).unwrap();
    assert!(line["time"].as_f64().unwrap() > 1e9);
}
