//! Names as the state machine hears of them: what it tells whom, what it believes, what a flood costs.

use std::net::SocketAddr;
use std::time::Duration;

use cjp2pfs::content::{Hash, KeyedName, SecretKey};
use cjp2pfs::swarm::{Config, Event, Swarm, Time};
use cjp2pfs::wire::{Encoder, Message, SignedLatest, decode};

const LIMIT: Duration = Duration::from_secs(5);

fn at(milliseconds: u64) -> Time {
    Time::from_start(Duration::from_millis(milliseconds))
}

fn peer() -> SocketAddr {
    "198.51.100.7:24254".parse().unwrap()
}

fn swarm() -> Swarm {
    let config = Config {
        probe: false,
        ..Config::default()
    };
    Swarm::new(config, [5; 32], Time::ZERO)
}

fn secret() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn of(name: &str) -> KeyedName {
    KeyedName {
        key: secret().public(),
        name: name.parse().unwrap(),
    }
}

fn latest(name: &str, byte: u8, seq: u64) -> SignedLatest {
    SignedLatest::sign(&secret(), of(name), Hash([byte; 32]), seq)
}

fn datagram(write: impl FnOnce(&mut Encoder<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    write(&mut encoder);
    encoder.finish();
    bytes
}

fn sent(swarm: &mut Swarm, now: Time) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut all = Vec::new();
    let mut out = Vec::new();
    while let Some(to) = swarm.poll_transmit(now, &mut out) {
        all.push((to, out.clone()));
        assert!(all.len() < 10_000);
    }
    all
}

fn events(swarm: &mut Swarm) -> Vec<Event> {
    std::iter::from_fn(|| swarm.poll_event()).collect()
}

/// What has to come back of a datagram, for it to count as an answer.
#[derive(Clone, Default)]
struct Cookies {
    always: Option<String>,
    ping: Option<String>,
}

impl Cookies {
    fn read(datagram: &[u8]) -> Self {
        let mut cookies = Self::default();
        for message in decode(datagram).unwrap().messages {
            match message {
                Message::PleaseAlwaysReturnThisMessage(it) => {
                    cookies.always = Some(it.raw().to_owned());
                }
                Message::PleaseReturnThisMessage(it) => cookies.ping = Some(it.raw().to_owned()),
                _ => {}
            }
        }
        cookies
    }

    fn write(&self, encoder: &mut Encoder<'_>) {
        if let Some(raw) = &self.always {
            encoder.always_returned(raw);
        }
        if let Some(raw) = &self.ping {
            encoder.returned_message(raw);
        }
    }
}

fn tell(encoder: &mut Encoder<'_>, latest: &SignedLatest) {
    encoder.signed_message(&latest.of.key, &latest.signature, &latest.payload);
}

/// Asks a swarm that knows one peer; the cookies of its question.
fn asking(swarm: &mut Swarm, name: &str) -> Cookies {
    swarm.add_peer(Time::ZERO, peer());
    swarm.ask_latest(at(1), &of(name), LIMIT);
    let sent = sent(swarm, at(1));
    assert_eq!(sent.len(), 1);
    let decoded = decode(&sent[0].1).unwrap();
    let asked = decoded.messages.iter();
    assert!(
        asked
            .clone()
            .any(|message| *message == Message::GetLatest(of(name)))
    );
    Cookies::read(&sent[0].1)
}

fn learnt(events: &[Event]) -> Vec<u64> {
    let seq = |event: &Event| match event {
        Event::Latest(latest) => Some(latest.seq),
        _ => None,
    };
    events.iter().filter_map(seq).collect()
}

fn has_ended(events: &[Event]) -> Option<bool> {
    events.iter().find_map(|event| match event {
        Event::LatestAsked { answered, .. } => Some(*answered),
        _ => None,
    })
}

#[test]
fn who_has_proved_where_it_is_gets_an_answer_and_nobody_else() {
    let mut swarm = swarm();
    swarm.know_latest(Time::ZERO, latest("x", 1, 7), true);
    let question = datagram(|e| {
        e.get_latest(&of("x"));
        e.please_return_this_message("ping");
    });
    swarm.handle_datagram(at(1), peer(), &question);
    let first = sent(&mut swarm, at(1));
    assert_eq!(first.len(), 1);
    let heard = decode(&first[0].1).unwrap();
    assert!(
        !heard
            .messages
            .iter()
            .any(|m| matches!(m, Message::SignedMessage(_)))
    );
    let cookies = Cookies::read(&first[0].1);
    let ask = |swarm: &mut Swarm, now| {
        let again = datagram(|e| {
            e.get_latest(&of("x"));
            e.get_latest(&of("unknown"));
            cookies.write(e);
        });
        swarm.handle_datagram(now, peer(), &again);
        sent(swarm, now)
    };
    let answer = ask(&mut swarm, at(2));
    let told: Vec<_> = decode(&answer[0].1)
        .unwrap()
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::SignedMessage(signed) => Some(SignedLatest::read(signed)),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(told, [latest("x", 1, 7)]);
    // The same question over and over is not answered each time.
    let answers: usize = (0..100).map(|_| ask(&mut swarm, at(3)).len()).sum();
    assert!(answers < 20, "{answers}");
    swarm.forget_latest(&of("x"));
    assert!(ask(&mut swarm, at(5000)).is_empty());
}

#[test]
fn an_answer_is_believed_if_it_is_signed_newer_and_asked_for() {
    let mut swarm = swarm();
    let cookies = asking(&mut swarm, "x");
    let mut forged = latest("x", 9, 99);
    forged.signature.0[3] ^= 1;
    let other = SecretKey::from_seed(&[2; 32]);
    let not_theirs = SignedLatest::sign(&other, of("x"), Hash([9; 32]), 99);
    let answer = datagram(|e| {
        e.please_always_return_this_message("theirs");
        tell(e, &forged);
        // Signed by another key than the name's, under either key.
        tell(e, &not_theirs);
        e.signed_message(&other.public(), &not_theirs.signature, &not_theirs.payload);
        tell(e, &latest("not asked for", 9, 99));
        tell(e, &latest("x", 1, 7));
        cookies.write(e);
    });
    // Without proof of where it comes from nothing counts.
    let unproven = datagram(|e| tell(e, &latest("x", 9, 99)));
    swarm.handle_datagram(at(2), peer(), &unproven);
    assert!(learnt(&events(&mut swarm)).is_empty());
    swarm.handle_datagram(at(3), peer(), &answer);
    // Two of the forged ones were checked; then enough is enough.
    assert!(learnt(&events(&mut swarm)).is_empty());
    assert!(swarm.stats().signatures_checked <= 2);
    let again = sent(&mut swarm, at(3));
    assert_eq!(again.len(), 1, "it asks again, now with the peer's cookie");
    let cookies = Cookies {
        ping: Cookies::read(&again[0].1).ping,
        ..cookies
    };
    let answer = datagram(|e| {
        tell(e, &latest("x", 1, 7));
        tell(e, &latest("x", 2, 6));
        cookies.write(e);
    });
    swarm.handle_datagram(at(4), peer(), &answer);
    let events = events(&mut swarm);
    assert_eq!(learnt(&events), [7]);
    assert_eq!(has_ended(&events), Some(true), "the only peer has said it");
    assert_eq!(swarm.names_held(), (1, 0));
}

#[test]
fn silence_ends_and_a_peer_that_knows_nothing_ends_it_sooner() {
    let mut swarm = swarm();
    asking(&mut swarm, "x");
    let mut now = Time::ZERO;
    let mut datagrams = 0;
    let ended = loop {
        now = swarm.poll_timeout().unwrap().max(now);
        swarm.handle_timeout(now);
        datagrams += sent(&mut swarm, now).len();
        if let Some(answered) = has_ended(&events(&mut swarm)) {
            break answered;
        }
        assert!(now < at(60_000), "it never ends");
    };
    assert!(!ended && now <= at(5_100) && now >= at(4_900), "{now:?}");
    assert!(datagrams < 10, "{datagrams}");
    let cookies = {
        swarm.ask_latest(at(10_000), &of("x"), LIMIT);
        Cookies::read(&sent(&mut swarm, at(10_000))[0].1)
    };
    swarm.handle_datagram(at(10_040), peer(), &datagram(|e| cookies.write(e)));
    assert_eq!(has_ended(&events(&mut swarm)), Some(true));
}

#[test]
fn a_flood_of_signatures_is_read_and_not_checked() {
    let mut swarm = swarm();
    let cookies = asking(&mut swarm, "x");
    let mut forged = latest("x", 9, 99);
    forged.signature.0[3] ^= 1;
    for number in 0..20_000u64 {
        let flood = datagram(|e| {
            for _ in 0..4 {
                tell(e, &forged);
            }
            if number % 2 == 0 {
                cookies.write(e);
            }
        });
        swarm.handle_datagram(at(2 + number / 100), peer(), &flood);
        sent(&mut swarm, at(2 + number / 100));
    }
    // Two for each of the few times that the peer is asked.
    let checked = swarm.stats().signatures_checked;
    assert!(checked <= 14, "{checked}");
    assert!(learnt(&events(&mut swarm)).is_empty());
    assert_eq!(swarm.names_held().0, 0);
}

#[test]
fn what_is_asked_at_once_is_bounded() {
    let mut swarm = swarm();
    swarm.add_peer(Time::ZERO, peer());
    for number in 0..1000 {
        swarm.ask_latest(at(1), &of(&format!("n{number}")), LIMIT);
    }
    assert_eq!(swarm.names_held(), (0, 64));
    assert_eq!(sent(&mut swarm, at(1)).len(), 64);
    assert_eq!(
        events(&mut swarm).len(),
        1000 - 64,
        "the others end at once"
    );
}

#[test]
fn what_is_remembered_of_others_is_bounded_and_ones_own_stays() {
    let mut swarm = swarm();
    swarm.know_latest(Time::ZERO, latest("own", 1, 1), true);
    let mut other = latest("x", 1, 1);
    for number in 0..5000u64 {
        other.of.name = format!("n{number}").parse().unwrap();
        swarm.know_latest(at(number), other.clone(), false);
    }
    assert_eq!(swarm.names_held().0, 4097);
}

#[test]
fn where_a_key_is_gets_told_and_asked() {
    let mut swarm = swarm();
    let cookies = asking(&mut swarm, "x");
    let owner: SocketAddr = "203.0.113.9:24254".parse().unwrap();
    let answer = datagram(|e| {
        e.please_always_return_this_message("theirs");
        e.forwarded_key(owner, &secret().public());
        // Nobody makes us look into our own network.
        e.forwarded_key("10.0.0.1:22".parse().unwrap(), &secret().public());
        cookies.write(e);
    });
    swarm.handle_datagram(at(2), peer(), &answer);
    swarm.handle_timeout(at(400));
    let asked: Vec<_> = sent(&mut swarm, at(400))
        .into_iter()
        .map(|(to, _)| to)
        .collect();
    assert!(asked.contains(&owner), "{asked:?}");
    assert!(asked.iter().all(|to| *to == owner || *to == peer()));
}
