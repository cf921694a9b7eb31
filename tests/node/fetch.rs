//! Fetching all of it: complete, verified, durable, given back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::node_support::{
    Peer, QUIET, Running, SHORT, assert_same, bytes, digests, fetch, get, part, read, sha256,
    start_read, wait,
};
use cjp2pfs::content::ContentId;
use cjp2pfs::node::Failure;

const LENGTH: usize = (2 << 20) + 777;

fn all(running: &Running, id: ContentId) -> Vec<u8> {
    let reader = running.open(id).unwrap();
    assert!(reader.proven());
    read(&reader, 0, reader.length() as u32).unwrap()
}

#[test]
fn what_was_fetched_is_durable_and_given_to_others() {
    let data = bytes("fetched", LENGTH);
    let id = sha256(&data);
    let holder = Running::holding(&data);
    let node = Running::new(&[holder.address()]);
    let asked = fetch(&node, id);
    assert!(asked.pending.is_some());
    let info = asked.end().unwrap();
    assert_eq!(
        (info.length, info.present, info.proven),
        (LENGTH as u64, LENGTH as u64, true)
    );
    assert_same(&all(&node, id), &data);
    assert_eq!(node.status().bytes_fetched, LENGTH as u64);
    drop(holder);

    let third = Running::new(&[node.address()]);
    fetch(&third, id).end().unwrap();
    assert_same(&all(&third, id), &data);
    drop(third);

    // Opened anew, with nobody to ask.
    let node = node.stop().start(&[], |_| {});
    assert_same(&all(&node, id), &data);
    let again = fetch(&node, id);
    assert!(again.pending.is_none());
    assert!(again.ended().unwrap().unwrap().proven);
}

#[test]
fn every_kind_of_id_can_be_fetched() {
    let data = bytes("every kind", LENGTH);
    let digests = digests(&data);
    let holder = Running::holding(&data);
    let node = Running::new(&[holder.address()]);
    for (id, expected) in [
        (ContentId::sha256(digests.sha256.0), &data),
        (ContentId::blake3(digests.blake3.0), &data),
        (ContentId::tree_v2(digests.blake3.0), &digests.tree),
    ] {
        let info = fetch(&node, id).end().unwrap();
        assert!(info.proven, "{id}");
        assert_same(&all(&node, id), expected);
    }
}

#[test]
fn a_wrong_tree_is_not_kept() {
    let data = bytes("a wrong tree", LENGTH);
    let digests = digests(&data);
    let id = ContentId::tree_v2(digests.blake3.0);
    let liar = Peer::corrupting(digests.tree.clone(), &[digests.tree.len() / 2]);
    let node = Running::with(&[liar.address], |config| config.lookup_timeout = SHORT);
    assert_eq!(fetch(&node, id).end(), Err(Failure::WrongContent));
    assert_eq!(node.contents(10), Vec::new());
}

#[test]
fn empty_content_is_fetched_at_once() {
    let node = Running::new(&[]);
    let asked = fetch(&node, sha256(&[]));
    assert!(asked.pending.is_none());
    assert_eq!(asked.ended().unwrap().unwrap().length, 0);
}

#[test]
fn what_nobody_has_is_not_found() {
    let silent = Peer::silent();
    let node = Running::with(&[silent.address], |config| config.lookup_timeout = SHORT);
    let asked = fetch(&node, sha256(b"what nobody has"));
    assert_eq!(asked.end(), Err(Failure::NotFound));
    assert_eq!(asked.calls(), 1);
}

#[test]
fn two_fetches_of_one_id_fetch_once() {
    let data = bytes("two fetches", LENGTH);
    let holder = Running::holding(&data);
    let node = Running::new(&[holder.address()]);
    let asked: Vec<_> = (0..10).map(|_| fetch(&node, sha256(&data))).collect();
    for one in &asked {
        assert!(one.end().unwrap().proven);
    }
    assert_eq!(node.status().bytes_fetched, LENGTH as u64);
}

#[test]
fn wrong_content_from_the_only_peer_ends_as_such() {
    let data = bytes("only a liar", LENGTH);
    let liar = Peer::corrupting(data.clone(), &[LENGTH / 2]);
    let node = Running::with(&[liar.address], |config| config.lookup_timeout = SHORT);
    let asked = fetch(&node, sha256(&data));
    assert_eq!(asked.end(), Err(Failure::WrongContent));
    assert_eq!(asked.calls(), 1);
    assert_eq!(node.contents(10), Vec::new());
}

/// The liar answers as well as the honest one, so that both supply.
#[test]
fn wrong_content_from_one_of_two_ends_right() {
    let data = bytes("one of two", LENGTH);
    let id = sha256(&data);
    let honest = Peer::serving(data.clone());
    let everywhere: Vec<usize> = (0..LENGTH).step_by(1000).collect();
    let liar = Peer::corrupting(data.clone(), &everywhere);
    let node = Running::new(&[liar.address, honest.address]);
    assert!(fetch(&node, id).end().unwrap().proven);
    assert_same(&all(&node, id), &data);
}

#[test]
fn a_peer_with_another_length_does_not_keep_it_from_ending_right() {
    let data = bytes("another length", LENGTH);
    let id = sha256(&data);
    let mut longer = data.clone();
    longer.extend([0; 5000]);
    let shorter = data[..LENGTH - 5000].to_vec();
    for served in [longer, shorter] {
        let honest = Peer::serving(data.clone());
        let liar = Peer::serving(served);
        let node = Running::new(&[liar.address, honest.address]);
        assert_eq!(fetch(&node, id).end().unwrap().length, LENGTH as u64);
        assert_same(&all(&node, id), &data);
    }
}

#[test]
fn a_dead_source_beside_a_living_one_is_no_matter() {
    let data = bytes("a dead source", LENGTH);
    let half = LENGTH as u64 / 2;
    let dying = Peer::serving_only(data.clone(), move |question| question.offset < half);
    let honest = Peer::serving(data.clone());
    let node = Running::new(&[dying.address, honest.address]);
    fetch(&node, sha256(&data)).end().unwrap();
    assert_same(&all(&node, sha256(&data)), &data);
}

#[test]
fn a_fetch_whose_source_dies_ends_and_is_resumed() {
    let data = bytes("dies", LENGTH);
    let id = sha256(&data);
    let half = LENGTH as u64 / 2;
    let peer = Peer::serving_only(data.clone(), move |question| question.offset < half);
    let limit = Duration::from_secs(2);
    let node = Running::with(&[peer.address], |config| config.read_timeout = limit);
    assert_eq!(fetch(&node, id).end(), Err(Failure::TimedOut));
    let info = node.info(id).unwrap();
    assert!(!info.proven);
    assert!(info.present >= half, "{} are here", info.present);
    let there = info.present;

    // It comes back, and is left alone for a while because it was silent.
    peer.questions();
    let asked_again = Arc::new(Mutex::new(0u64));
    let (content, count) = (data.clone(), Arc::clone(&asked_again));
    peer.now(move |question| {
        if !question.is_search() && question.offset < half {
            *count.lock().unwrap() += question.end().min(half) - question.offset;
        }
        part(&content, question)
    });
    let info = wait("the second fetch", || fetch(&node, id).end().ok());
    assert_eq!((info.present, info.proven), (LENGTH as u64, true));
    // What was in flight across the middle may be asked for again.
    let again = *asked_again.lock().unwrap();
    assert!(
        again <= 40_960,
        "{again} bytes of the first part, {there} were here"
    );
    assert_same(&all(&node, id), &data);
}

#[test]
fn a_fetch_is_resumed_after_a_restart_from_another_source() {
    let data = bytes("restart", LENGTH);
    let id = sha256(&data);
    let half = LENGTH as u64 / 2;
    let dying = Peer::serving_only(data.clone(), move |question| question.offset < half);
    let node = Running::with(&[dying.address], |config| config.read_timeout = SHORT);
    assert_eq!(fetch(&node, id).end(), Err(Failure::TimedOut));
    let place = node.stop();
    drop(dying);

    let holder = Running::holding(&data);
    let node = place.start(&[holder.address()], |_| {});
    let present = node.info(id).expect("what was there").present;
    assert!(present >= half - 4096, "{present} are here");
    fetch(&node, id).end().unwrap();
    assert_eq!(node.status().bytes_fetched, LENGTH as u64 - present);
    assert_same(&all(&node, id), &data);
}

#[test]
fn what_was_read_is_not_fetched_again() {
    let data = bytes("read before", LENGTH);
    let id = sha256(&data);
    let holder = Running::holding(&data);
    let node = Running::new(&[holder.address()]);
    let reader = get(&node, id);
    read(&reader, 1 << 20, 100_000).unwrap();
    fetch(&node, id).end().unwrap();
    assert_eq!(node.status().bytes_fetched, LENGTH as u64);
}

/// The handles read what is wanted first; the fetch does not make them wait for all of it.
#[test]
fn a_read_overtakes_a_fetch() {
    let data = bytes("overtakes", LENGTH);
    let id = sha256(&data);
    let tail = LENGTH as u64 - 8192;
    let peer = Peer::serving_only(data.clone(), move |question| question.offset >= tail);
    let node = Running::new(&[peer.address]);
    let whole = fetch(&node, id);
    let reader = get(&node, id);
    assert_same(
        &start_read(&reader, tail, 4096).end().unwrap(),
        &data[tail as usize..tail as usize + 4096],
    );
    assert!(whole.ended().is_none());
}

#[test]
fn a_cancelled_fetch_asks_for_nothing_more() {
    let data = bytes("cancelled", LENGTH);
    let peer = Peer::withholding(data.clone());
    let node = Running::new(&[peer.address]);
    let asked = fetch(&node, sha256(&data));
    peer.asked(|question| !question.is_search());
    asked.cancel(Failure::Interrupted);
    assert_eq!(asked.ended(), Some(Err(Failure::Interrupted)));
    peer.pieces_during(QUIET);
    let more = peer.pieces_during(QUIET * 2);
    assert!(more.is_empty(), "asked again: {more:?}");
}

/// Cancelled before anybody was found: the search ends, too.
#[test]
fn a_fetch_cancelled_while_it_searches_searches_no_more() {
    let data = bytes("cancelled early", LENGTH);
    let peer = Peer::silent();
    let node = Running::new(&[peer.address]);
    let asked = fetch(&node, sha256(&data));
    peer.asked(|question| question.is_search());
    asked.cancel(Failure::Interrupted);
    assert_eq!(asked.ended(), Some(Err(Failure::Interrupted)));
    wait("nothing to be waiting", || {
        (node.status().operations_waiting == 0).then_some(())
    });
    // One may have been on its way.
    assert!(peer.questions_until_quiet(QUIET, |_| true).len() <= 1);
}

#[test]
fn cancelling_one_fetch_leaves_the_other() {
    let data = bytes("another fetch", LENGTH);
    let peer = Peer::withholding(data.clone());
    let node = Running::new(&[peer.address]);
    let one = fetch(&node, sha256(&data));
    let other = fetch(&node, sha256(&data));
    peer.asked(|question| !question.is_search());
    one.cancel(Failure::Interrupted);
    let content = data.clone();
    peer.now(move |question| part(&content, question));
    assert!(other.end().unwrap().proven);
    assert_eq!(one.end(), Err(Failure::Interrupted));
}

/// Nobody wants it any more when it was wrong and its handle is closed: so nobody is asked.
#[test]
fn wrong_content_is_not_searched_for_without_end() {
    let data = bytes("no end", 10_000);
    let id = sha256(&data);
    let liar = Peer::corrupting(data.clone(), &[5000]);
    let bystander = Peer::silent();
    let node = Running::new(&[liar.address, bystander.address]);
    let reader = get(&node, id);
    assert_eq!(read(&reader, 0, 10_000), Err(Failure::WrongContent));
    drop(reader);
    // What was on its way. The pauses between questions to a silent peer grow to 1.6 seconds.
    bystander.questions_during(SHORT);
    let more = bystander.questions_during(QUIET * 2);
    assert!(more.is_empty(), "asked for what nobody wants: {more:?}");
}
