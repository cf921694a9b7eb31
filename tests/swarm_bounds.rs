//! What strangers can make a swarm hold is bounded: counted in bytes, by an allocator that counts
//! what each test's thread has.

#[path = "../fuzz/bodies/driven.rs"]
mod driven;
#[path = "../fuzz/bodies/forged.rs"]
mod forged;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use arbitrary::Unstructured;
use cjp2pfs::content::{ByteRange, ContentId};
use cjp2pfs::swarm::{Class, Config, Event, Swarm, Time};
use serde_json::json;

use driven::Driven;
use forged::Forger;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: i64) {
    // While a thread ends it has no counter any more.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: all is handed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> i64 {
    LIVE.with(Cell::get)
}

const MIB: i64 = 1 << 20;

/// Bytes that `driven` holds in its swarm, without the records of the driver.
#[track_caller]
fn assert_holds_less(what: &str, mut driven: Driven, most: i64) {
    let before = live();
    let other = Swarm::new(Config::default(), [0; 32], Time::ZERO);
    let empty = live() - before;
    drop(std::mem::replace(&mut driven.swarm, other));
    let held = before - live() + empty;
    println!("{what}: {held} bytes");
    assert!(held < most, "{what}: {} KiB", held >> 10);
}

fn address(n: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x1400_0000 + n), 24254))
}

/// Makes the driver learn the cookie of this address, as everybody may who is reachable there.
fn verify(driven: &mut Driven, from: SocketAddr) {
    let ping =
        br#"[{"PleaseReturnThisMessage":{"cookie":"a ping that is long enough for a cookie"}}]"#;
    driven.deliver(from, ping);
}

/// A datagram with the cookie, if it is known, and `messages`.
fn say(driven: &mut Driven, from: SocketAddr, messages: &[serde_json::Value]) {
    let mut all = messages.to_vec();
    if let Some(told) = driven.overheard.get(&from) {
        if let Some(cookie) = &told.cookie {
            all.push(json!({"AlwaysReturned": {"cookie": cookie}}));
        }
        if let Some(ping) = &told.ping {
            all.push(json!({"ReturnedMessage": {"cookie": ping}}));
        }
    }
    let datagram = serde_json::to_vec(&all).unwrap();
    driven.deliver(from, &datagram);
}

#[test]
fn any_number_of_verified_strangers_with_arbitrary_messages() {
    let mut driven = Driven::new(Config::default());
    let ids = [ContentId::sha256([1; 32]), ContentId::blake3([2; 32])];
    driven.held.insert(ids[0], 1 << 20);
    driven.swarm.find(driven.now, ids[1]);
    driven
        .swarm
        .want(driven.now, ids[1], ByteRange::new(0, 1 << 30), Class::Bulk);
    let mut random = fastrand::Rng::with_seed(5);
    let mut bytes = vec![0; 1024];
    for n in 0..30_000 {
        let from = address(n);
        verify(&mut driven, from);
        for _ in 0..2 {
            random.fill(&mut bytes);
            let overheard = driven.overheard.get(&from).cloned();
            let forger = Forger {
                ids: &ids,
                addresses: &[],
                overheard: overheard.as_ref(),
            };
            let datagram = forger.datagram(&mut Unstructured::new(&bytes)).unwrap();
            driven.deliver(from, &datagram);
        }
        driven.pass(Duration::from_millis(2));
        driven.events.clear();
    }
    let known = driven.swarm.peer_reports(driven.now).len();
    assert!(
        (1000..=Config::default().max_peers).contains(&known),
        "{known}"
    );
    assert_eq!(
        driven.swarm.fetch_reports().len(),
        1,
        "ids that nobody here wants"
    );
    assert_holds_less("verified strangers", driven, 8 * MIB);
}

/// Ids that strangers ask for and talk about, a hundred thousand of them.
#[test]
fn ids_that_nobody_here_wants() {
    let mut driven = Driven::new(Config::default());
    for n in 0..64 {
        verify(&mut driven, address(n));
        driven.pass(Duration::from_millis(10));
    }
    for n in 0..100_000u32 {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&n.to_le_bytes());
        let id = ContentId::sha256(hash).to_string();
        let about = [
            json!({"PleaseSendContent": {"id": id, "offset": 0, "length": 4096}}),
            json!({"WhichPartsDoYouHave": {"id": id}}),
            json!({"IHaveTheseParts": {"id": id, "eof": 9, "parts": [[0, 9]]}}),
            json!({"MaybeTheyHaveSome": {"id": id, "peers": ["20.4.4.4:1"]}}),
            json!({"Content": {"id": id, "offset": 0, "eof": 3, "base64": "AAAA"}}),
            json!({"IDoNotHaveThat": {"id": id}}),
        ];
        say(&mut driven, address(n % 64), &about);
        driven.pass(Duration::from_micros(200));
    }
    assert!(driven.swarm.fetch_reports().is_empty());
    assert!(driven.events.is_empty());
    assert_holds_less("ids of strangers", driven, 4 * MIB);
}

/// One id that is wanted, and thousands who claim it: other lengths, parts, hints, pieces.
#[test]
fn claims_about_one_id() {
    let mut driven = Driven::new(Config::default());
    let id = ContentId::blake3([3; 32]);
    driven.swarm.find(driven.now, id);
    driven
        .swarm
        .want(driven.now, id, ByteRange::new(0, 1 << 40), Class::Urgent);
    for n in 0..5000u32 {
        let from = address(n);
        verify(&mut driven, from);
        let eof = (1u64 << 40) + u64::from(n % 100) * 4096;
        let parts: Vec<_> = (0..256u64).map(|p| [p << 20, (p << 20) + 4096]).collect();
        let hints: Vec<_> = (0..128u32)
            .map(|p| address(100_000 + n * 128 + p).to_string())
            .collect();
        let told = driven.overheard.get(&from).cloned().unwrap_or_default();
        let (_, offset, _) = told.question.unwrap_or_default();
        let id = id.to_string();
        let claims = [
            json!({"IHaveTheseParts": {"id": id, "eof": eof, "parts": parts}}),
            json!({"MaybeTheyHaveSome": {"id": id, "peers": hints}}),
            json!({"Content": {"id": id, "offset": offset, "eof": eof, "base64": "AAAA"}}),
            json!({"PleaseSendContent": {"id": id, "offset": 0, "length": 4096}}),
        ];
        say(&mut driven, from, &claims);
        driven.pass(Duration::from_millis(20));
        driven.events.clear();
    }
    assert_holds_less("claims about one id", driven, 12 * MIB);
}

/// Questions of which no answer is fetched, because the one who drives the swarm is busy: what one
/// asker has waiting is bounded, and so is what all have, and a newcomer still finds room.
#[test]
fn outstanding_work_of_askers() {
    for held in [true, false] {
        let mut driven = Driven::new(Config::default());
        let id = ContentId::sha256([4; 32]);
        for n in 0..200 {
            verify(&mut driven, address(n));
            driven.pass(Duration::from_millis(10));
        }
        driven.swarm.hold_asks(held);
        let ask = |driven: &mut Driven, n: u32, offset: u64| {
            let cookie = driven.overheard[&address(n)].cookie.clone().unwrap();
            let datagram = json!([
                {"AlwaysReturned": {"cookie": cookie}},
                {"PleaseReturnThisMessage": {"cookie": "x".repeat(400)}},
                {"PleaseSendContent": {"id": id.to_string(), "offset": offset, "length": 40_960}},
            ]);
            let datagram = datagram.to_string();
            driven
                .swarm
                .handle_datagram(driven.now, address(n), datagram.as_bytes());
        };
        let before = live();
        for n in 0..50_000 {
            ask(&mut driven, 0, n * 4096);
        }
        let one = live() - before;
        for n in 0..100_000 {
            ask(&mut driven, 1 + (n % 198) as u32, n * 4096);
        }
        let all = live() - before;
        ask(&mut driven, 199, 0);
        driven.swarm.hold_asks(false);
        let mut served = Vec::new();
        while let Some(event) = driven.swarm.poll_event() {
            if let Event::Asked(ask) = event {
                served.push(ask.to);
            }
        }
        println!(
            "held: {held}: {} KiB of one asker, {} KiB of all, {} asks",
            one >> 10,
            all >> 10,
            served.len()
        );
        assert!(all < 16 * MIB && one < 8 * MIB);
        assert!(served.len() <= 16_384, "{}", served.len());
        if held {
            assert!(one < MIB, "{one}");
            assert!(served.contains(&address(199)), "the newcomer found no room");
        }
    }
}

/// A source that never answers: what was asked of it is not remembered for ever.
#[test]
fn questions_that_are_never_answered() {
    let mut driven = Driven::new(Config::default());
    let id = ContentId::sha256([6; 32]);
    for n in 0..40 {
        driven.swarm.add_peer(driven.now, address(n));
    }
    for n in 0..2000u32 {
        let mut hash = id.hash.0;
        hash[..4].copy_from_slice(&n.to_le_bytes());
        driven.swarm.find(driven.now, ContentId::sha256(hash));
        driven.pass(Duration::from_millis(500));
        driven.swarm.forget(ContentId::sha256(hash));
    }
    assert!(driven.swarm.fetch_reports().is_empty());
    assert_holds_less("silent peers", driven, MIB);
}
