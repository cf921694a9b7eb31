//! What a running node says on the wire, and what it does not let others make it say.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::common::{LATER, Node, Place, RawPeer, SOON, Sample, Settings, first, run, wait};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Bytes of IP and UDP headers, counted each way (PROTOCOL.md 2).
const HEADERS: usize = 28;

fn seeder(place: &Place) -> (Node, Sample) {
    let file = place.file("content", 300_001);
    let node = Node::seed(Settings::new(place.path("store")), &[&file.path], 1);
    (node, file)
}

fn question(id: &str, offset: u64, length: u64) -> Value {
    json!({"PleaseSendContent": {"id": id, "offset": offset, "length": length}})
}

fn data(content: &Value) -> Vec<u8> {
    STANDARD
        .decode(content["base64"].as_str().unwrap())
        .unwrap()
}

#[test]
fn a_ping_peers_and_a_list_are_answered() {
    let place = Place::new();
    let (node, file) = seeder(&place);
    let mut peer = RawPeer::new(node.address);
    peer.verify();
    let ping = [json!({"PleaseReturnThisMessage": {"cookie": "1760000000.25 \"é\\"}})];
    let returned = peer.ask(&ping, |heard| first(heard, "ReturnedMessage").cloned());
    assert_eq!(returned["cookie"], "1760000000.25 \"é\\");
    let peers = peer.ask(&[json!({"PleaseSendPeers": {}})], |heard| {
        first(heard, "Peers").cloned()
    });
    assert!(peers["peers"].is_array());
    let list = peer.ask(&[json!({"PleaseListContent": {}})], |heard| {
        first(heard, "ContentList").cloned()
    });
    let listed = json!([file.sha256, file.len()]);
    assert!(
        list["results"].as_array().unwrap().contains(&listed),
        "{list}"
    );
}

#[test]
fn a_verified_asker_gets_exactly_what_it_asked_for() {
    let place = Place::new();
    let (node, file) = seeder(&place);
    let mut peer = RawPeer::new(node.address);
    peer.verify();
    for id in [file.sha256.clone(), format!("blake3/{}", file.blake3)] {
        for (offset, length) in [
            (0, 4096),
            (4096, 100),
            (1, 1),
            (12_345, 40_960),
            (299_000, 4096),
            (300_000, 1),
        ] {
            let content = peer.ask(&[question(&id, offset, length)], |heard| {
                first(heard, "Content")
                    .filter(|it| data(it).len() != 32 || length == 32)
                    .cloned()
            });
            let start = usize::try_from(offset).unwrap();
            let end = (start + usize::try_from(length).unwrap()).min(file.bytes.len());
            assert_eq!(content["offset"], offset);
            assert_eq!(content["eof"], file.len());
            assert_eq!(content["id"], id);
            assert!(
                data(&content) == file.bytes[start..end],
                "{offset}+{length}"
            );
        }
        // Past the end, and of no length: nothing, and the true length.
        for (offset, length) in [(300_001, 4096), (1 << 61, 10), (0, 0)] {
            let content = peer.ask(&[question(&id, offset, length)], |heard| {
                first(heard, "Content").cloned()
            });
            assert_eq!(
                (&content["base64"], &content["eof"]),
                (&json!(""), &json!(file.len()))
            );
        }
    }
    // Questions that ride together are answered together.
    let both = [
        question(&file.sha256, 0, 10),
        question(&file.sha256, 10, 10),
    ];
    let answers = peer.ask(&both, |heard| {
        let answers: Vec<_> = heard
            .iter()
            .filter_map(|it| it.get("Content"))
            .map(data)
            .collect();
        (answers.len() == 2).then_some(answers)
    });
    assert_eq!(answers.concat(), file.bytes[..20]);
}

#[test]
fn a_bad_question_beside_a_good_one_spoils_nothing() {
    let place = Place::new();
    let (node, file) = seeder(&place);
    let mut peer = RawPeer::new(node.address);
    peer.verify();
    let id = &file.sha256;
    let messages = [
        json!(7),
        json!(null),
        json!({"PleaseSendContent": {"id": id}}),
        json!({"PleaseSendContent": {"id": id, "offset": -1, "length": 10}}),
        json!({"PleaseSendContent": {"id": id, "offset": 0.5, "length": 10}}),
        json!({"PleaseSendContent": {"id": "../../etc/passwd", "offset": 0, "length": 10}}),
        json!({"two": {}, "keys": {}}),
        json!({"SomeFutureMessage": {"a": [1]}}),
        json!({"PleaseReturnThisMessage": {"cookie": "still here"}}),
        question(id, 5, 5),
    ];
    let heard = peer.ask(&messages, |heard| {
        first(heard, "Content").map(|_| heard.to_vec())
    });
    let contents: Vec<_> = heard.iter().filter_map(|it| it.get("Content")).collect();
    assert_eq!(contents.len(), 1, "{heard:?}");
    assert_eq!(data(contents[0]), file.bytes[5..10]);
    assert_eq!(
        first(&heard, "ReturnedMessage").unwrap()["cookie"],
        "still here"
    );
}

#[test]
fn an_unverified_asker_gets_a_taste_and_a_cookie() {
    let place = Place::new();
    let (node, file) = seeder(&place);
    let mut peer = RawPeer::new(node.address);
    peer.send(&serde_json::to_vec(&[question(&file.sha256, 4096, 4096)]).unwrap());
    let heard = wait("an answer", SOON, || peer.hear());
    assert!(first(&heard, "PleaseAlwaysReturnThisMessage").unwrap()["cookie"].is_string());
    if let Some(content) = first(&heard, "Content") {
        assert_eq!(content["eof"], file.len());
        assert!(file.bytes[4096..].starts_with(&data(content)));
    }
}

#[test]
fn a_cookie_is_good_for_its_address_only() {
    let place = Place::new();
    let (node, file) = seeder(&place);
    let mut peer = RawPeer::new(node.address);
    let cookie = peer.verify();
    let stolen = json!([question(&file.sha256, 0, 4096), {"AlwaysReturned": cookie}]);
    let stolen = serde_json::to_vec(&stolen).unwrap();
    let elsewhere = UdpSocket::bind("127.0.0.2:0").unwrap();
    elsewhere.set_read_timeout(Some(SOON)).unwrap();
    elsewhere.send_to(&stolen, node.address).unwrap();
    let mut answer = [0; 65_536];
    let (length, _) = elsewhere.recv_from(&mut answer).unwrap();
    assert!(
        length + HEADERS <= 2 * (stolen.len() + HEADERS),
        "a stolen cookie bought {length} bytes"
    );
}

#[test]
fn a_cookie_of_any_form_comes_back_as_it_was() {
    let text = include_str!("../vectors/datagrams.json");
    let vectors: Value = serde_json::from_str(text).unwrap();
    let place = Place::new();
    let (node, _) = seeder(&place);
    let mut tried = 0;
    for vector in vectors["datagrams"].as_array().unwrap() {
        let Some(expected) = vector["answer_must_hold"].as_str() else {
            continue;
        };
        let expected: Value = serde_json::from_str(expected).unwrap();
        let mut peer = RawPeer::new(node.address);
        peer.send(vector["datagram"].as_str().unwrap().as_bytes());
        let heard = wait("an answer", SOON, || peer.hear());
        assert!(heard.contains(&expected), "{expected} not in {heard:?}");
        tried += 1;
    }
    assert!(tried >= 6);
}

#[test]
fn those_who_asked_for_an_id_are_named_to_the_next_who_asks() {
    let place = Place::new();
    let (node, _) = seeder(&place);
    let id = "cd".repeat(32);
    let mut first_asker = RawPeer::new(node.address);
    first_asker.verify();
    let address = first_asker.socket.local_addr().unwrap().to_string();
    let mut second_asker = RawPeer::new(node.address);
    second_asker.verify();
    let named = |heard: &[Value]| {
        let maybe = first(heard, "MaybeTheyHaveSome")?;
        (maybe["id"] == id.as_str() && maybe["peers"].as_array()?.contains(&json!(address)))
            .then_some(())
    };
    // Ask as the first (any answer or none will do), then as the second until it is told.
    first_asker.ask(
        &[
            question(&id, 0, 4096),
            json!({"PleaseReturnThisMessage": {"cookie": "x"}}),
        ],
        |heard| first(heard, "ReturnedMessage").map(|_| ()),
    );
    second_asker.ask(&[question(&id, 0, 4096)], named);
}

#[test]
fn garbage_is_dropped_and_counted_and_the_node_still_serves() {
    let place = Place::new();
    let (node, file) = seeder(&place);
    let mut peer = RawPeer::new(node.address);
    peer.verify();
    let mut nested = b"[{\"A\":".repeat(9_000);
    nested.truncate(60_000);
    let unreadable: Vec<Vec<u8>> = vec![
        vec![],
        b"\0".to_vec(),
        b"hello".to_vec(),
        b"[".to_vec(),
        b"{}".to_vec(),
        vec![0xff; 1500],
        vec![b'['; 65_507],
        vec![b'{'; 65_507],
        nested,
        [vec![b'['; 32_000], vec![b']'; 32_000]].concat(),
        b"[{\"PleaseSendPeers\":{}}".to_vec(),
    ];
    // Readable or not is a matter of taste here; none may do harm.
    let id = &file.sha256;
    let odd: Vec<Vec<u8>> = [
        "[]".to_owned(),
        "[1e999]".to_owned(),
        "[{\"PleaseReturnThisMessage\":{\"cookie\":\"\\ud800\"}}]".to_owned(),
        "\u{feff}[{\"PleaseSendPeers\":{}}]".to_owned(),
        "[{\"PleaseSendPeers\":{}}] x".to_owned(),
        format!("[{{\"PleaseSendContent\":{{\"id\":\"{id}\",\"offset\":-5,\"length\":-7}}}}]"),
        format!("[{{\"PleaseSendContent\":{{\"id\":\"{id}\",\"offset\":18446744073709551615,\"length\":18446744073709551615}}}}]"),
        format!("[{{\"PleaseSendContent\":{{\"id\":\"{id}\",\"offset\":1e308,\"length\":99999999999999999999999999}}}}]"),
        format!("[{{\"Content\":{{\"id\":\"{id}\",\"offset\":9223372036854775807,\"eof\":1,\"base64\":\"AAAA\"}}}}]"),
        format!("[{{\"Content\":{{\"id\":\"{id}\",\"offset\":0,\"eof\":18446744073709551615,\"base64\":\"!!!!\"}}}}]"),
        "[{\"Peers\":{\"peers\":[\"999.1.1.1:0\",\"x\",7,\"[::1]:99999\"]}}]".to_owned(),
        format!("[{}]", vec!["{\"PleaseSendPeers\":{}}"; 2_000].join(",")),
    ]
    .map(String::into_bytes)
    .into();

    let before = node.count("datagrams_dropped");
    let rounds = 20;
    for _ in 0..rounds {
        for datagram in unreadable.iter().chain(&odd) {
            peer.send(datagram);
        }
        // Keeps in step with the node, so that none is lost in a full queue.
        let ping = [json!({"PleaseReturnThisMessage": {"cookie": "step"}})];
        peer.ask(&ping, |heard| first(heard, "ReturnedMessage").map(|_| ()));
    }
    let least = before + rounds * unreadable.len() as u64;
    wait("the garbage to be counted", SOON, || {
        (node.count("datagrams_dropped") >= least).then_some(())
    });

    let out = place.path("out");
    let getter = Settings::new(place.path("getter")).peer(node.address);
    run(&mut getter.get(&file.sha256, &out), LATER).ok();
    file.is_in(&out);
    assert!(!node.said().contains("panicked"), "{}", node.said());
}

/// A generator good enough to vary datagrams, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn random_datagram(dice: &mut Dice, id: &str) -> Vec<u8> {
    let mut messages = Vec::new();
    for _ in 0..=dice.roll(4) {
        messages.push(match dice.roll(9) {
            0 => json!({"PleaseSendPeers": {}}),
            1 => json!({"PleaseListContent": {}}),
            2 => json!({"PleaseReturnThisMessage": {"cookie": "c".repeat(usize::try_from(dice.roll(300)).unwrap())}}),
            3 => json!({"PleaseAlwaysReturnThisMessage": {"cookie": "c".repeat(usize::try_from(dice.roll(300)).unwrap())}}),
            4 => json!({"AlwaysReturned": {"cookie": "guess"}}),
            5 => question(&"ef".repeat(32), dice.roll(1 << 40), dice.roll(1 << 20)),
            6 => json!({"Unknown": {}}),
            _ => question(id, dice.roll(300_000), dice.roll(50_000)),
        });
    }
    serde_json::to_vec(&messages).unwrap()
}

#[test]
fn an_unverified_address_never_gets_more_than_twice_what_it_sent() {
    let place = Place::new();
    let (node, file) = seeder(&place);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    // One datagram each from many addresses, and thousands from a few.
    let single = (0..40).map(|_| 1);
    let many = (0..4).map(|_| 1000);
    let mut buffer = vec![0; 65_536];
    let mut answered = 0;
    let mut sockets = Vec::new();
    for count in single.chain(many) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let (mut sent, mut got) = (0, 0);
        for _ in 0..count {
            let datagram = random_datagram(&mut dice, &file.sha256);
            if socket.send_to(&datagram, node.address).is_ok() {
                sent += datagram.len() + HEADERS;
            }
            while let Ok((length, _)) = socket.recv_from(&mut buffer) {
                got += length + HEADERS;
                answered += 1;
            }
        }
        sockets.push((socket, sent, got));
    }
    // Late answers, and whatever the node sends of its own accord, count too.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        for (socket, _, got) in &mut sockets {
            while let Ok((length, _)) = socket.recv_from(&mut buffer) {
                *got += length + HEADERS;
                answered += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for (socket, sent, got) in &sockets {
        assert!(*got <= 2 * sent, "{socket:?}: {sent} bytes drew {got}");
    }
    assert!(
        answered > 100,
        "only {answered} answers: the test sees nothing"
    );
}

#[test]
fn every_datagram_to_a_peer_returns_its_cookie() {
    let place = Place::new();
    let (node, file) = seeder(&place);
    let mut peer = RawPeer::new(node.address);
    peer.verify();
    let mine = json!({"cookie": "mine"});
    peer.ask(
        &[
            json!({"PleaseAlwaysReturnThisMessage": mine}),
            question(&file.sha256, 0, 10),
        ],
        |heard| first(heard, "Content").map(|_| ()),
    );
    for offset in 0..20 {
        let heard = peer.ask(&[question(&file.sha256, offset, 10)], |heard| {
            first(heard, "Content").map(|_| heard.to_vec())
        });
        assert_eq!(first(&heard, "AlwaysReturned"), Some(&mine), "{heard:?}");
    }
}

#[test]
fn cookies_alone_draw_no_answer() {
    let place = Place::new();
    let (node, _) = seeder(&place);
    let mut peer = RawPeer::new(node.address);
    let cookie = peer.verify();
    while peer.hear().is_some() {}
    // Two nodes that answered this would do so for ever.
    let messages =
        json!([{"AlwaysReturned": cookie}, {"PleaseAlwaysReturnThisMessage": {"cookie": "m"}}]);
    for _ in 0..50 {
        peer.send(&serde_json::to_vec(&messages).unwrap());
    }
    let start = Instant::now();
    let mut heard = 0;
    while start.elapsed() < Duration::from_secs(1) {
        heard += usize::from(peer.hear().is_some());
    }
    // A probe of its own it may send; an answer to each it may not.
    assert!(
        heard < 10,
        "{heard} answers to 50 datagrams that asked for nothing"
    );
}
