//! `Verify::Strict`: nothing that is not proven is given out.

use crate::node_support::{
    Peer, Reply, Running, SHORT, assert_same, bytes, digests, fetch, get, lookup, part, read,
    sha256, start_read, wait,
};
use cjp2pfs::content::{ContentId, Digests};
use cjp2pfs::node::{Complete, Failure, Verified, Verify};

const LENGTH: usize = (2 << 20) + 777;
const HALF: u64 = 1 << 20;

fn strict(peer: &Peer) -> Running {
    Running::with(&[peer.address], |config| config.verify = Verify::Strict)
}

/// Gives the first half of `data` by both ids, with the tree, and claims its BLAKE3 if told to.
fn first_half(data: &[u8], claims: bool) -> Peer {
    let digests = digests(data);
    let tree_id = ContentId::tree_v2(digests.blake3.0);
    let (content, tree) = (data.to_vec(), digests.tree);
    let peer = Peer::new(move |question| {
        if question.id == tree_id {
            part(&tree, question)
        } else if question.end() <= HALF {
            part(&content, question)
        } else {
            Reply::Silence
        }
    });
    if claims {
        peer.claim(sha256(data), digests.blake3, data.len() as u64);
    }
    peer
}

fn whole(data: &[u8]) -> impl FnMut(&crate::node_support::Question) -> Reply + use<> {
    let Digests { blake3, tree, .. } = digests(data);
    let (tree_id, content) = (ContentId::tree_v2(blake3.0), data.to_vec());
    move |question| match question.id == tree_id {
        true => part(&tree, question),
        false => part(&content, question),
    }
}

#[test]
fn a_read_waits_until_the_whole_is_proven() {
    let data = bytes("strict", LENGTH);
    for claims in [false, true] {
        // A claim counts where there are several to ask.
        let peers = [first_half(&data, claims), first_half(&data, claims)];
        let node = Running::with(&[peers[0].address, peers[1].address], |config| {
            config.verify = Verify::Strict;
        });
        assert_eq!(node.status().verify, Verify::Strict);
        let reader = get(&node, sha256(&data));
        let waiting = start_read(&reader, 4096, 10_000);
        wait("the first half", || {
            (node.info(sha256(&data))?.present >= HALF).then_some(())
        });
        if claims {
            wait("the claim", || {
                (node.info(sha256(&data))?.verified == Verified::Claimed).then_some(())
            });
        }
        // Another handle of the same finds the bytes here, and is not given them either.
        let other = start_read(&get(&node, sha256(&data)), 0, 1);
        assert_eq!((waiting.calls(), other.calls()), (0, 0));
        for peer in &peers {
            peer.now(whole(&data));
        }
        assert_same(&waiting.end().unwrap(), &data[4096..14_096]);
        assert!(reader.proven());
        assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), &data);
    }
}

#[test]
fn a_read_that_waits_in_vain_ends_at_the_limit_and_what_came_is_kept() {
    let data = bytes("strict in vain", LENGTH);
    let peer = first_half(&data, false);
    let node = Running::with(&[peer.address], |config| {
        config.verify = Verify::Strict;
        config.read_timeout = SHORT;
    });
    let reader = get(&node, sha256(&data));
    assert_eq!(read(&reader, 0, 1), Err(Failure::TimedOut));
    assert!(node.info(sha256(&data)).unwrap().present > 0);
}

/// With `complete` the next read has less to wait for, even if the first one comes to its limit.
#[test]
fn all_of_it_is_fetched_on_after_the_limit() {
    let data = bytes("strict and fetched on", LENGTH);
    let peer = first_half(&data, false);
    let node = Running::with(&[peer.address], |config| {
        config.verify = Verify::Strict;
        config.read_timeout = SHORT;
        config.complete = Complete::Auto;
    });
    let reader = get(&node, sha256(&data));
    assert_eq!(read(&reader, 0, 1), Err(Failure::TimedOut));
    peer.now(whole(&data));
    wait("the rest", || reader.proven().then_some(()));
    assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), &data);
}

#[test]
fn nothing_of_wrong_content_is_given() {
    let data = bytes("strict and wrong", LENGTH);
    let liar = Peer::corrupting(data.clone(), &[LENGTH - 1]);
    let node = strict(&liar);
    let reader = get(&node, sha256(&data));
    for offset in [0, HALF, LENGTH as u64 - 1] {
        assert_eq!(read(&reader, offset, 1), Err(Failure::WrongContent));
    }
}

/// Leaves that a known BLAKE3 proves are given as they come: by its id, and by the SHA-256 that is
/// known to be of the same content.
#[test]
fn leaves_that_are_proven_are_given_as_they_come() {
    let data = bytes("strict leaves", LENGTH);
    let digests = digests(&data);
    let by_blake3 = ContentId::blake3(digests.blake3.0);
    for id in [by_blake3, sha256(&data)] {
        let peer = first_half(&data, false);
        let node = strict(&peer);
        node.store()
            .add_pair(digests.sha256, digests.blake3)
            .unwrap();
        let reader = get(&node, id);
        assert_same(&read(&reader, 5000, 100_000).unwrap(), &data[5000..105_000]);
        assert!(!reader.proven());
        assert_eq!(node.info(id).unwrap().verified, Verified::Leaves);
    }
}

#[test]
fn one_reader_may_be_stricter_than_its_node() {
    let data = bytes("one strict reader", LENGTH);
    let peer = first_half(&data, false);
    let node = Running::new(&[peer.address]);
    let id = sha256(&data);
    lookup(&node, id).end().unwrap();
    let (strict, other) = (
        node.open_to(id, Verify::Strict).unwrap(),
        node.open(id).unwrap(),
    );
    assert_same(&read(&other, 0, 5000).unwrap(), &data[..5000]);
    let waiting = start_read(&strict, 0, 5000);
    assert_eq!(waiting.ended(), None);
    peer.now(whole(&data));
    assert_same(&waiting.end().unwrap(), &data[..5000]);
    assert_eq!(node.status().verify, Verify::Auto);
}

/// The other way round it is not to be had.
#[test]
fn no_reader_is_less_strict_than_its_node() {
    let data = bytes("no reader", LENGTH);
    let peer = first_half(&data, false);
    let node = strict(&peer);
    lookup(&node, sha256(&data)).end().unwrap();
    let reader = node.open_to(sha256(&data), Verify::Auto).unwrap();
    let waiting = start_read(&reader, 0, 5000);
    wait("the first half", || {
        (node.info(sha256(&data))?.present >= HALF).then_some(())
    });
    assert_eq!(waiting.ended(), None);
}

#[test]
fn a_fetch_and_what_is_complete_are_as_ever() {
    let data = bytes("strict and complete", LENGTH);
    let peer = Peer::serving(data.clone());
    let node = strict(&peer);
    assert!(fetch(&node, sha256(&data)).end().unwrap().proven);
    let reader = node.open(sha256(&data)).unwrap();
    assert_same(&read(&reader, 100, 100).unwrap(), &data[100..200]);
}
