//! What is fetched beside what is read: read-ahead, and completion in the background.

use std::time::Duration;

use crate::node_support::{
    Peer, QUIET, Question, Reply, Running, assert_same, bytes, fetch, get, read, sha256,
    start_read, wait,
};
use cjp2pfs::content::ContentId;
use cjp2pfs::node::{Complete, Failure};

const MIB: u64 = 1 << 20;
const LENGTH: u64 = 64 * MIB;
/// Nobody will ever have all of it, so it need not be the hash of anything.
const LARGE: ContentId = ContentId {
    kind: cjp2pfs::content::Kind::Sha256,
    hash: cjp2pfs::content::Hash([9; 32]),
};

fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn large(question: &Question) -> Reply {
    let range = question.offset.min(LENGTH)..question.end().min(LENGTH);
    Reply::Content(LENGTH, range.map(byte_at).collect())
}

fn piece(question: &Question) -> bool {
    !question.is_search()
}

fn asked_bytes(questions: &[Question]) -> u64 {
    questions.iter().map(|question| question.length).sum()
}

#[test]
fn a_read_in_the_middle_fetches_little() {
    let peer = Peer::new(large);
    let node = Running::with(&[peer.address], |config| config.complete = Complete::Auto);
    let reader = get(&node, LARGE);
    let offset = LENGTH / 2 + 1000;
    let data = read(&reader, offset, 4096).unwrap();
    let expected: Vec<u8> = (offset..offset + 4096).map(byte_at).collect();
    assert_same(&data, &expected);
    // Something is read ahead, and it comes to rest by itself.
    let ahead = peer.asked(|question| question.offset > offset + 4096);
    assert!(ahead.offset < offset + MIB);
    peer.questions_until_quiet(QUIET, piece);
    let fetched = node.status().bytes_fetched;
    assert!(
        (4096..MIB).contains(&fetched),
        "{fetched} bytes for a read of 4096"
    );
}

/// Random reads do not grow the read-ahead.
#[test]
fn scattered_reads_fetch_little_each() {
    let peer = Peer::new(large);
    let node = Running::new(&[peer.address]);
    let reader = get(&node, LARGE);
    for read_at in 1..=10 {
        read(&reader, read_at * 6 * MIB, 4096).unwrap();
    }
    peer.questions_until_quiet(QUIET, piece);
    let fetched = node.status().bytes_fetched;
    assert!(fetched < 10 * 256 * 1024, "{fetched} bytes for ten reads");
}

#[test]
fn what_was_read_ahead_is_given_at_once() {
    let peer = Peer::new(large);
    let node = Running::new(&[peer.address]);
    let reader = get(&node, LARGE);
    read(&reader, 10 * MIB, 4096).unwrap();
    peer.questions_until_quiet(QUIET, piece);
    let next = start_read(&reader, 10 * MIB + 4096, 65_536);
    assert!(next.pending.is_none(), "it was not read ahead");
    assert_eq!(next.ended().unwrap().unwrap().len(), 65_536);
}

/// The peer is slow, so that the window is far larger than what arrives before the handle closes.
#[test]
fn closing_the_handle_stops_read_ahead() {
    let peer = Peer::new(|question| {
        if !question.is_search() {
            std::thread::sleep(Duration::from_millis(10));
        }
        large(question)
    });
    let node = Running::new(&[peer.address]);
    let reader = get(&node, LARGE);
    let start = 16 * MIB;
    for step in 0..10 {
        read(&reader, start + step * 131_072, 131_072).unwrap();
    }
    let before = asked_bytes(&peer.questions());
    drop(reader);
    let after = asked_bytes(&peer.questions_until_quiet(QUIET, piece));
    // The window is 16 MiB by now.
    assert!(
        after < 4 * MIB,
        "{after} bytes after closing, {before} before"
    );
}

/// What a dead source owes is asked for again only while somebody wants it.
#[test]
fn closing_the_handle_ends_the_asking_of_a_silent_peer() {
    let peer = Peer::new(|question| {
        if question.is_search() || question.offset < 17 * MIB {
            large(question)
        } else {
            Reply::Silence
        }
    });
    let node = Running::new(&[peer.address]);
    let reader = get(&node, LARGE);
    read(&reader, 17 * MIB - 4096, 4096).unwrap();
    peer.asked(|question| question.offset >= 17 * MIB);
    drop(reader);
    peer.pieces_during(QUIET);
    let more = peer.pieces_during(QUIET * 2);
    assert!(more.is_empty(), "asked again: {more:?}");
}

#[test]
fn always_completes_what_is_opened() {
    let data = bytes("always", 3 << 20);
    let id = sha256(&data);
    let holder = Running::holding(&data);
    let node = Running::with(&[holder.address()], |config| {
        config.complete = Complete::Always;
    });
    let reader = get(&node, id);
    wait("the proof", || reader.proven().then_some(()));
    assert_same(&read(&reader, 0, 3 << 20).unwrap(), &data);
}

#[test]
fn never_completes_nothing() {
    let data = bytes("never", 3 << 20);
    let id = sha256(&data);
    let peer = Peer::serving(data.clone());
    let node = Running::with(&[peer.address], |config| config.complete = Complete::Never);
    let reader = get(&node, id);
    read(&reader, 0, 65_536).unwrap();
    read(&reader, 65_536, 65_536).unwrap();
    peer.questions_until_quiet(QUIET, piece);
    let info = node.info(id).unwrap();
    assert!(!info.proven);
    assert!(info.present < 2 << 20, "{} bytes are here", info.present);
}

#[test]
fn auto_completes_what_is_read_from_its_start() {
    let data = bytes("from its start", 3 << 20);
    let id = sha256(&data);
    let holder = Running::holding(&data);
    let node = Running::with(&[holder.address()], |config| {
        config.complete = Complete::Auto
    });
    let reader = get(&node, id);
    for offset in (0..2 << 20).step_by(65_536) {
        read(&reader, offset, 65_536).unwrap();
    }
    wait("the proof", || reader.proven().then_some(()));
}

/// A fetch that was given up takes nothing from what the handle is owed.
#[test]
fn a_cancelled_fetch_does_not_end_the_completion() {
    let data = bytes("given up", 3 << 20);
    let id = sha256(&data);
    let peer = Peer::withholding(data.clone());
    let node = Running::with(&[peer.address], |config| {
        config.complete = Complete::Always;
    });
    let reader = get(&node, id);
    let asked = fetch(&node, id);
    peer.asked(piece);
    asked.cancel(Failure::Interrupted);
    assert_eq!(asked.end(), Err(Failure::Interrupted));
    let content = data.clone();
    peer.now(move |question| crate::node_support::part(&content, question));
    wait("the proof", || reader.proven().then_some(()));
}
