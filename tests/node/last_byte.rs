//! The last byte rule: nobody gets all bytes of wrong content without an error.

use crate::node_support::{
    Peer, Reply, Running, SHORT, assert_same, bytes, get, part, read, sha256, start_read,
};
use cjp2pfs::content::{ByteRange, ContentId, RangeSet};
use cjp2pfs::node::{Failure, Reader};
use proptest::prelude::*;

const LENGTH: usize = 100_000;

/// Reads all of it in these steps until a read fails; what was given, and how it ended.
fn read_in_steps(
    reader: &Reader,
    steps: impl Iterator<Item = (u64, u32)>,
) -> (RangeSet, Option<Failure>) {
    let mut given = RangeSet::new();
    for (offset, length) in steps {
        match read(reader, offset, length) {
            Ok(data) => {
                given.insert(ByteRange::at(offset, data.len() as u64));
            }
            Err(failure) => return (given, Some(failure)),
        }
    }
    (given, None)
}

fn forwards(length: usize, step: usize, overlap: usize) -> impl Iterator<Item = (u64, u32)> {
    (0..length)
        .step_by(step)
        .map(move |offset| (offset as u64, (step + overlap) as u32))
}

/// One changed bit at `place` must be noticed by whoever reads everything.
#[track_caller]
fn is_noticed(place: usize, steps: impl Iterator<Item = (u64, u32)>) {
    let data = bytes("wrong", LENGTH);
    let liar = Peer::corrupting(data.clone(), &[place]);
    let node = Running::new(&[liar.address]);
    let reader = get(&node, sha256(&data));
    let (given, failure) = read_in_steps(&reader, steps);
    assert_eq!(failure, Some(Failure::WrongContent));
    assert!(given.bytes() < LENGTH as u64);
    assert!(!reader.proven());
    for offset in [0, 4096, LENGTH as u64 - 1] {
        assert_eq!(
            read(&reader, offset, 1),
            Err(Failure::WrongContent),
            "it stays failed"
        );
    }
}

#[test]
fn in_steps_of_1000() {
    for place in [0, LENGTH / 2, LENGTH - 1] {
        is_noticed(place, forwards(LENGTH, 1000, 0));
    }
}

#[test]
fn in_one_read() {
    is_noticed(LENGTH - 1, [(0, LENGTH as u32)].into_iter());
    is_noticed(0, [(0, u32::MAX)].into_iter());
}

#[test]
fn backwards() {
    let steps: Vec<_> = forwards(LENGTH, 1000, 0).collect();
    is_noticed(0, steps.into_iter().rev());
}

#[test]
fn overlapping() {
    is_noticed(LENGTH / 3, forwards(LENGTH, 1000, 700));
}

#[test]
fn all_but_one_byte_first() {
    let last = LENGTH as u64 - 1;
    is_noticed(50, [(0, last as u32), (last, 1)].into_iter());
    is_noticed(50, [(1, LENGTH as u32), (0, 1)].into_iter());
    is_noticed(
        50,
        [(0, 40_000), (40_001, LENGTH as u32), (40_000, 1)].into_iter(),
    );
}

/// The reads wait all at once, so that none knows what the others will have been given.
#[test]
fn all_reads_at_once() {
    let data = bytes("at once", LENGTH);
    let liar = Peer::corrupting(data.clone(), &[LENGTH / 2]);
    let node = Running::new(&[liar.address]);
    let reader = get(&node, sha256(&data));
    let reads: Vec<_> = forwards(LENGTH, 5000, 0)
        .map(|(offset, length)| start_read(&reader, offset, length))
        .collect();
    let ends: Vec<_> = reads.iter().map(|asked| asked.end()).collect();
    assert!(ends.contains(&Err(Failure::WrongContent)));
}

#[test]
fn another_length_is_noticed() {
    let data = bytes("another length", LENGTH);
    let mut longer = data.clone();
    longer.push(0);
    for served in [&longer[..], &data[..LENGTH - 1], &data[..1]] {
        let liar = Peer::serving(served.to_vec());
        let node = Running::new(&[liar.address]);
        let reader = get(&node, sha256(&data));
        let (_, failure) = read_in_steps(&reader, forwards(served.len(), 1000, 0));
        assert_eq!(failure, Some(Failure::WrongContent), "{}", served.len());
    }
}

#[test]
fn who_jumps_to_the_tail_gets_it_at_once() {
    let data = bytes("the tail", LENGTH);
    let tail = LENGTH as u64 - 5000;
    // The rest is not to be had at all.
    let peer = Peer::serving_only(data.clone(), move |question| question.offset >= tail);
    let node = Running::new(&[peer.address]);
    let reader = get(&node, sha256(&data));
    assert_same(&read(&reader, tail, 5000).unwrap(), &data[LENGTH - 5000..]);
    assert_same(
        &read(&reader, tail + 904, 4096).unwrap(),
        &data[LENGTH - 4096..],
    );
    assert!(!reader.proven());
}

/// Each handle counts for itself: what another was given does not hold this one back.
#[test]
fn the_rule_is_kept_for_each_handle() {
    let data = bytes("each handle", LENGTH);
    let half = LENGTH as u64 / 2;
    let liar = Peer::corrupting(data.clone(), &[0]);
    let node = Running::new(&[liar.address]);
    let id = sha256(&data);
    let (one, other) = (get(&node, id), get(&node, id));
    let first = read(&one, 0, half as u32).unwrap();
    assert_eq!(first.len() as u64, half);
    // Read-ahead may have brought the rest, and with it the verdict, by now.
    match read(&other, half, half as u32) {
        Ok(second) => assert_same(&second, &data[LENGTH / 2..]),
        Err(failure) => assert_eq!(failure, Failure::WrongContent),
    }
    assert_eq!(read(&one, half, half as u32), Err(Failure::WrongContent));
    assert_eq!(read(&other, 0, 1), Err(Failure::WrongContent));
}

#[test]
fn one_leaf_is_given_only_when_proven() {
    for length in [1, 100, 4096] {
        let data = bytes("one leaf", length);
        let peer = Peer::serving(data.clone());
        let node = Running::new(&[peer.address]);
        let reader = get(&node, sha256(&data));
        assert_same(&read(&reader, 0, 1).unwrap(), &data[..1]);
        assert!(reader.proven(), "{length} bytes");
        assert_same(&read(&reader, 0, 4096).unwrap(), &data);
    }
}

#[test]
fn nothing_of_one_wrong_leaf_is_given() {
    for length in [1, 100, 4096] {
        let data = bytes("one wrong leaf", length);
        let liar = Peer::corrupting(data.clone(), &[length - 1]);
        let node = Running::new(&[liar.address]);
        let reader = get(&node, sha256(&data));
        assert_eq!(read(&reader, 0, 1), Err(Failure::WrongContent), "{length}");
    }
}

#[test]
fn half_a_leaf_cannot_be_proven() {
    let data = bytes("half a leaf", 4096);
    let content = data.clone();
    let peer = Peer::new(move |question| match part(&content, question) {
        Reply::Content(eof, data) if question.offset < 2048 => {
            let most = 2048 - question.offset as usize;
            Reply::Content(eof, data[..most.min(data.len())].to_vec())
        }
        _ => Reply::Silence,
    });
    let node = Running::with(&[peer.address], |config| config.read_timeout = SHORT);
    let reader = get(&node, sha256(&data));
    assert_eq!(read(&reader, 0, 10), Err(Failure::TimedOut));
}

/// Who opens it after it has been found wrong, with the liar as the only source, gets nothing.
#[test]
fn after_wrong_content_it_is_looked_for_elsewhere() {
    let data = bytes("elsewhere", LENGTH);
    let id = sha256(&data);
    let liar = Peer::corrupting(data.clone(), &[77]);
    let node = Running::with(&[liar.address], |config| config.lookup_timeout = SHORT * 2);
    let reader = get(&node, id);
    assert_eq!(read(&reader, 0, LENGTH as u32), Err(Failure::WrongContent));
    assert_eq!(node.open(id).err(), Some(Failure::NotFound));
    assert_eq!(
        crate::node_support::lookup(&node, id).end().err(),
        Some(Failure::WrongContent)
    );
    assert_eq!(node.contents(10), Vec::new(), "nothing wrong is kept");
}

/// After the liar, an honest source: a new handle reads the right bytes, the old one never does.
#[test]
fn a_failed_handle_never_gets_the_repaired_rest() {
    let data = bytes("repaired", LENGTH);
    let id = sha256(&data);
    let liar = Peer::corrupting(data.clone(), &[77]);
    let honest = Peer::silent();
    let node = Running::new(&[liar.address, honest.address]);
    let old = get(&node, id);
    assert_eq!(read(&old, 0, LENGTH as u32), Err(Failure::WrongContent));
    let content = data.clone();
    honest.now(move |question| part(&content, question));
    let new = get(&node, id);
    assert_same(&read(&new, 0, LENGTH as u32).unwrap(), &data);
    assert_eq!(read(&old, LENGTH as u64 - 1, 1), Err(Failure::WrongContent));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is read in whatever order, one by one or at once, no handle collects all bytes of
    /// wrong content without an error.
    #[test]
    fn no_handle_collects_wrong_content(
        length in 1..40_000usize,
        place in any::<prop::sample::Index>(),
        first in prop::collection::vec((any::<prop::sample::Index>(), 1..9000u32), 0..12),
        step in 1000..9000usize,
        order in any::<u64>(),
        at_once in any::<bool>(),
    ) {
        let data = bytes("property", length);
        let liar = Peer::corrupting(data.clone(), &[place.index(length)]);
        let node = Running::new(&[liar.address]);
        let reader = get(&node, sha256(&data));
        let mut reads: Vec<(u64, u32)> = first
            .into_iter()
            .map(|(offset, most)| (offset.index(length) as u64, most))
            .collect();
        let mut rest: Vec<_> = forwards(length, step, 0).collect();
        fastrand::Rng::with_seed(order).shuffle(&mut rest);
        reads.extend(rest);

        let mut given = RangeSet::new();
        let mut failures = Vec::new();
        let mut note = |offset: u64, end: Result<Vec<u8>, Failure>| match end {
            Ok(data) => { given.insert(ByteRange::at(offset, data.len() as u64)); }
            Err(failure) => failures.push(failure),
        };
        if at_once {
            let asked: Vec<_> = reads
                .iter()
                .map(|(offset, length)| (*offset, start_read(&reader, *offset, *length)))
                .collect();
            for (offset, asked) in asked {
                note(offset, asked.end());
                prop_assert_eq!(asked.calls(), 1);
            }
        } else {
            for (offset, length) in reads {
                note(offset, read(&reader, offset, length));
            }
        }
        prop_assert!(given.bytes() < length as u64, "all bytes were given");
        prop_assert!(!failures.is_empty());
        prop_assert!(failures.iter().all(|failure| *failure == Failure::WrongContent));
    }
}

#[test]
fn blake3_ids_keep_the_rule_too() {
    let data = bytes("by BLAKE3", LENGTH);
    let id = ContentId::blake3(*blake3::hash(&data).as_bytes());
    let liar = Peer::corrupting(data.clone(), &[LENGTH - 1]);
    let node = Running::new(&[liar.address]);
    let reader = get(&node, id);
    let (_, failure) = read_in_steps(&reader, forwards(LENGTH, 1000, 0));
    assert_eq!(failure, Some(Failure::WrongContent));
}
