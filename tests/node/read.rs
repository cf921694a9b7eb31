//! Reads: the right bytes, or an end in time.

use std::time::{Duration, Instant};

use crate::node_support::{
    Peer, QUIET, Running, SHORT, assert_same, bytes, get, read, sha256, start_read, wait,
};
use cjp2pfs::node::Failure;

const LENGTH: usize = (1 << 20) + 123;

#[test]
fn reading_from_start_to_end_gives_the_right_bytes() {
    let data = bytes("sequential", LENGTH);
    let holder = Running::holding(&data);
    let node = Running::new(&[holder.address()]);
    let reader = get(&node, sha256(&data));
    assert_eq!(reader.length(), LENGTH as u64);
    let mut got = Vec::new();
    while got.len() < LENGTH {
        let part = read(&reader, got.len() as u64, 10_000).unwrap();
        assert_eq!(part.len(), 10_000.min(LENGTH - got.len()));
        got.extend(part);
    }
    assert_same(&got, &data);
    assert!(reader.proven(), "the last read waits for the proof");
}

#[test]
fn reading_at_random_gives_the_right_bytes() {
    let data = bytes("random", LENGTH);
    let holder = Running::holding(&data);
    let node = Running::new(&[holder.address()]);
    let reader = get(&node, sha256(&data));
    let mut random = fastrand::Rng::with_seed(1);
    let reads: Vec<_> = (0..100)
        .map(|_| {
            let offset = random.usize(..LENGTH);
            let length = random.usize(1..=50_000);
            (
                offset,
                length,
                start_read(&reader, offset as u64, length as u32),
            )
        })
        .collect();
    for (offset, length, asked) in reads {
        assert_same(
            &asked.end().unwrap(),
            &data[offset..(offset + length).min(LENGTH)],
        );
        assert_eq!(asked.calls(), 1);
    }
}

#[test]
fn what_is_here_is_given_before_the_call_returns() {
    let data = bytes("at once", LENGTH);
    let holder = Running::holding(&data);
    for node in [&holder, &Running::new(&[holder.address()])] {
        let reader = get(node, sha256(&data));
        let first = read(&reader, 4096, 5000).unwrap();
        let again = start_read(&reader, 4096, 5000);
        assert!(again.pending.is_none());
        assert_eq!(again.ended(), Some(Ok(first)));
    }
}

#[test]
fn past_the_end_there_is_nothing() {
    let data = bytes("the end", LENGTH);
    let peer = Peer::withholding(data.clone());
    let holder = Running::holding(&data);
    for node in [&holder, &Running::new(&[peer.address])] {
        let reader = get(node, sha256(&data));
        for offset in [LENGTH as u64, LENGTH as u64 + 1, u64::MAX / 2, u64::MAX] {
            let asked = start_read(&reader, offset, 4096);
            assert!(asked.pending.is_none());
            assert_eq!(asked.ended(), Some(Ok(Vec::new())), "at {offset}");
        }
        assert_eq!(start_read(&reader, 0, 0).ended(), Some(Ok(Vec::new())));
    }
    let reader = get(&holder, sha256(&data));
    assert_same(
        &read(&reader, LENGTH as u64 - 10, 4096).unwrap(),
        &data[LENGTH - 10..],
    );
}

#[test]
fn two_handles_fetch_once() {
    let data = bytes("two handles", LENGTH);
    let holder = Running::holding(&data);
    let node = Running::new(&[holder.address()]);
    let handles = [get(&node, sha256(&data)), get(&node, sha256(&data))];
    let mut reads = Vec::new();
    for offset in (0..LENGTH).step_by(65_536) {
        for handle in &handles {
            reads.push((offset, start_read(handle, offset as u64, 65_536)));
        }
    }
    for (offset, asked) in reads {
        assert_same(
            &asked.end().unwrap(),
            &data[offset..(offset + 65_536).min(LENGTH)],
        );
    }
    assert_eq!(node.status().bytes_fetched, LENGTH as u64);
}

#[test]
fn a_waiting_read_is_ended_by_its_limit() {
    let data = bytes("limit", LENGTH);
    let peer = Peer::withholding(data.clone());
    let node = Running::with(&[peer.address], |config| config.read_timeout = SHORT);
    let reader = get(&node, sha256(&data));
    let start = Instant::now();
    let asked = start_read(&reader, 8192, 4096);
    assert_eq!(asked.end(), Err(Failure::TimedOut));
    assert!(start.elapsed() >= SHORT);
    assert!(start.elapsed() < SHORT + Duration::from_secs(5));
    assert_eq!(asked.calls(), 1);
}

#[test]
fn a_waiting_read_is_ended_by_stopping() {
    let data = bytes("stopping", LENGTH);
    let peer = Peer::withholding(data.clone());
    let node = Running::new(&[peer.address]);
    let reader = get(&node, sha256(&data));
    let asked = start_read(&reader, 8192, 4096);
    assert!(asked.pending.is_some());
    node.node.stop();
    assert_eq!(asked.ended(), Some(Err(Failure::Stopped)));
    assert_eq!(read(&reader, 0, 4096), Err(Failure::Stopped));
}

/// The end of the content is read, so that there is nothing to read ahead.
#[test]
fn after_cancelling_nothing_more_is_asked_for_it() {
    let data = bytes("cancelled", LENGTH);
    let peer = Peer::withholding(data.clone());
    let node = Running::new(&[peer.address]);
    let reader = get(&node, sha256(&data));
    let asked = start_read(&reader, LENGTH as u64 - 4096, 4096);
    peer.asked(|question| !question.is_search());
    asked.cancel(Failure::Interrupted);
    assert_eq!(asked.ended(), Some(Err(Failure::Interrupted)));
    assert_eq!(node.status().operations_waiting, 0);
    // What was on its way when it was cancelled.
    peer.pieces_during(QUIET);
    let more = peer.pieces_during(QUIET * 2);
    assert!(more.is_empty(), "asked again: {more:?}");
}

#[test]
fn a_cancelled_read_does_not_disturb_another_of_the_same_bytes() {
    let data = bytes("one of two", LENGTH);
    let peer = Peer::withholding(data.clone());
    let node = Running::new(&[peer.address]);
    let reader = get(&node, sha256(&data));
    let one = start_read(&reader, 8192, 4096);
    let other = start_read(&reader, 8192, 4096);
    one.cancel(Failure::Interrupted);
    let content = data.clone();
    peer.now(move |question| crate::node_support::part(&content, question));
    assert_same(&other.end().unwrap(), &data[8192..12_288]);
    assert_eq!(one.end(), Err(Failure::Interrupted));
}

#[test]
fn a_source_that_wakes_up_is_enough() {
    let data = bytes("late", LENGTH);
    let peer = Peer::withholding(data.clone());
    let node = Running::new(&[peer.address]);
    let reader = get(&node, sha256(&data));
    let asked = start_read(&reader, 300_000, 70_000);
    peer.asked(|question| !question.is_search());
    let content = data.clone();
    peer.now(move |question| crate::node_support::part(&content, question));
    assert_same(&asked.end().unwrap(), &data[300_000..370_000]);
}

/// What an answer lacks is asked for again. (A source that never gives what it is asked for is left
/// alone for longer and longer; that is the swarm's affair.)
#[test]
fn short_answers_are_put_together() {
    let data = bytes("short answers", 200_000);
    let content = data.clone();
    let mut turn = 0;
    let peer = Peer::new(move |question| {
        let mut shorter = *question;
        turn += 1;
        if turn % 2 == 0 && !question.is_search() {
            shorter.length = shorter.length.min(1000);
        }
        crate::node_support::part(&content, &shorter)
    });
    let node = Running::new(&[peer.address]);
    let reader = get(&node, sha256(&data));
    assert_same(&read(&reader, 5000, 100_000).unwrap(), &data[5000..105_000]);
}

/// Bytes that nobody asked for, too many of them, or past the end, are not taken.
#[test]
fn more_than_was_asked_for_is_not_taken() {
    let data = bytes("too much", 200_000);
    let content = data.clone();
    let liar = Peer::new(move |question| {
        if question.is_search() {
            return crate::node_support::part(&content, question);
        }
        let mut longer = *question;
        longer.length += 1000;
        match crate::node_support::part(&content, &longer) {
            crate::node_support::Reply::Content(eof, mut data) => {
                data.resize(longer.length as usize, 0);
                crate::node_support::Reply::Content(eof, data)
            }
            other => other,
        }
    });
    let node = Running::with(&[liar.address], |config| config.read_timeout = SHORT);
    let reader = get(&node, sha256(&data));
    assert_eq!(read(&reader, 8192, 4096), Err(Failure::TimedOut));
    assert_eq!(node.status().bytes_fetched, 0);
}

/// A handle that was opened while the content arrived goes on when it is complete.
#[test]
fn a_handle_outlives_the_completion() {
    let data = bytes("outlives", LENGTH);
    let holder = Running::holding(&data);
    let node = Running::new(&[holder.address()]);
    let id = sha256(&data);
    let reader = get(&node, id);
    assert!(!reader.proven());
    crate::node_support::fetch(&node, id).end().unwrap();
    wait("the handle to know", || reader.proven().then_some(()));
    assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), &data);
    let later = node.open(id).unwrap();
    assert!(later.proven());
    assert_same(&read(&later, 0, LENGTH as u32).unwrap(), &data);
}
