//! Lookups: who has it, and how long is it.

use std::sync::mpsc;
use std::time::Instant;

use crate::node_support::{
    Peer, Place, Running, SHORT, SOON, assert_same, bytes, lookup, part, read, sha256,
};
use cjp2pfs::content::ContentId;
use cjp2pfs::node::Failure;

const NOBODY_HAS_IT: ContentId = ContentId {
    kind: cjp2pfs::content::Kind::Sha256,
    hash: cjp2pfs::content::Hash([7; 32]),
};

#[test]
fn what_is_held_is_found_and_answers_before_the_call_returns_when_it_is_open() {
    let data = bytes("held", 10_000);
    let node = Running::holding(&data);
    // The disk is asked by another thread: by then it has been.
    let first = lookup(&node, sha256(&data)).end().unwrap();
    let asked = lookup(&node, sha256(&data));
    assert!(asked.pending.is_none());
    let info = asked.ended().expect("an answer by now").unwrap();
    assert_eq!(
        (info.length, info.present, info.proven),
        (10_000, 10_000, true)
    );
    assert_eq!(first, info);
    assert_eq!(node.info(sha256(&data)), Some(info));
}

#[test]
fn what_nobody_has_is_not_found_after_the_limit_and_at_once_when_asked_again() {
    let silent = Peer::silent();
    let node = Running::with(&[silent.address], |config| config.lookup_timeout = SHORT);
    let start = Instant::now();
    let first = lookup(&node, NOBODY_HAS_IT);
    assert!(first.pending.is_some());
    assert_eq!(first.end(), Err(Failure::NotFound));
    assert!(start.elapsed() >= SHORT, "{:?}", start.elapsed());

    let again = lookup(&node, NOBODY_HAS_IT);
    assert!(again.pending.is_none());
    assert_eq!(again.ended(), Some(Err(Failure::NotFound)));
    assert_eq!(node.open(NOBODY_HAS_IT).err(), Some(Failure::NotFound));
    assert_eq!((first.calls(), again.calls()), (1, 1));
}

#[test]
fn without_any_peer_nothing_is_found() {
    let node = Running::with(&[], |config| config.lookup_timeout = SHORT);
    assert_eq!(lookup(&node, NOBODY_HAS_IT).end(), Err(Failure::NotFound));
}

/// A process that ended too soon had no time to learn the other hash of what it fetched.
#[test]
fn what_is_held_is_found_by_its_other_hash_though_nobody_knew_that() {
    let data = bytes("by its other hash", 300_000);
    let place = Place::new();
    place.hold_unlearnt(&data);
    let node = place.start(&[], |_| {});
    let id = ContentId::blake3(*blake3::hash(&data).as_bytes());
    let info = lookup(&node, id).end().unwrap();
    assert_eq!((info.length, info.proven), (300_000, true));
    let reader = node.open(id).unwrap();
    assert_same(&read(&reader, 0, 300_000).unwrap(), &data);
}

/// Whoever waits for what nobody has is answered when somebody puts it here.
#[test]
fn what_is_put_here_while_it_is_looked_up_is_found() {
    let data = bytes("put here", 300_000);
    let node = Running::new(&[]);
    let asked = lookup(&node, sha256(&data));
    assert!(asked.ended().is_none());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, &data).unwrap();
    node.store().import(&file).unwrap();
    assert_eq!(asked.end().unwrap().length, 300_000);
}

#[test]
fn empty_content_needs_nobody() {
    let node = Running::new(&[]);
    for id in [
        sha256(&[]),
        ContentId::blake3(*blake3::hash(&[]).as_bytes()),
    ] {
        let asked = lookup(&node, id);
        assert!(asked.pending.is_none());
        let info = asked.ended().expect("an answer by now").unwrap();
        assert_eq!((info.length, info.proven), (0, true));
        let reader = node.open(id).unwrap();
        assert!(reader.proven());
        assert_eq!(read(&reader, 0, 4096), Ok(Vec::new()));
    }
}

#[test]
fn a_peer_that_has_it_tells_its_length() {
    let data = bytes("found", 12_345);
    let holder = Running::holding(&data);
    let node = Running::new(&[holder.address()]);
    let info = lookup(&node, sha256(&data)).end().unwrap();
    assert_eq!((info.length, info.proven), (12_345, false));
}

/// Whoever is told that it exists can open it there and then.
#[test]
fn what_was_found_can_be_opened_in_done() {
    let data = bytes("opened in done", 5000);
    let id = sha256(&data);
    let holder = Running::holding(&data);
    let running = Running::new(&[holder.address()]);
    let node = running.node.clone();
    let (end, ends) = mpsc::channel();
    let pending = running.lookup(
        id,
        Box::new(move |found| {
            let opened = node.open(id).map(|reader| reader.length());
            let _ = end.send((found.map(|info| info.length), opened));
        }),
    );
    assert!(pending.is_some());
    let (found, opened) = ends.recv_timeout(SOON).unwrap();
    assert_eq!((found, opened), (Ok(5000), Ok(5000)));
}

#[test]
fn cancelling_ends_it_at_once() {
    let silent = Peer::silent();
    let node = Running::new(&[silent.address]);
    let asked = lookup(&node, NOBODY_HAS_IT);
    asked.cancel(Failure::Interrupted);
    assert_eq!(asked.ended(), Some(Err(Failure::Interrupted)));
    assert!(asked.pending.as_ref().unwrap().is_done());
    assert_eq!(node.status().operations_waiting, 0);
    asked.cancel(Failure::TimedOut);
    assert_eq!(asked.calls(), 1);
}

#[test]
fn cancelling_one_of_two_leaves_the_other() {
    let data = bytes("two askers", 5000);
    let peer = Peer::silent();
    let node = Running::new(&[peer.address]);
    let one = lookup(&node, sha256(&data));
    let other = lookup(&node, sha256(&data));
    one.cancel(Failure::Interrupted);
    peer.now(move |question| part(&data, question));
    assert_eq!(other.end().unwrap().length, 5000);
    assert_eq!(one.end(), Err(Failure::Interrupted));
}

#[test]
fn many_askers_of_one_id_cause_one_search() {
    let data = bytes("many askers", 5000);
    let (open, gate) = mpsc::channel::<()>();
    let content = data.clone();
    let peer = Peer::new(move |question| {
        // Held back until all have asked; afterwards the sender is gone and this returns at once.
        let _ = gate.recv_timeout(SOON);
        part(&content, question)
    });
    let node = Running::new(&[peer.address]);
    let askers: Vec<_> = (0..100).map(|_| lookup(&node, sha256(&data))).collect();
    assert!(askers.iter().all(|asker| asker.pending.is_some()));
    assert_eq!(node.status().operations_waiting, 100);
    drop(open);
    for asker in &askers {
        assert_eq!(asker.end().unwrap().length, 5000);
    }
    // The question may have been repeated while the peer was held back, but not for each asker.
    let questions = peer.questions().len();
    assert!((1..=4).contains(&questions), "{questions} questions");
}
