//! Content by SHA-256 whose blocks are verified by a list that the user names.

use crate::claims::asked_of;
use crate::node_support::{
    Peer, Reply, Running, SHORT, assert_same, bytes, fetch, get, part, read, sha256,
};
use cjp2pfs::content::{BLOCK, BlockList, ContentId};
use cjp2pfs::node::{Complete, Failure};

const BLOCKS: usize = 24;
const LENGTH: usize = BLOCKS * BLOCK as usize - 1000;

fn list_of(data: &[u8]) -> String {
    let blocks = data.chunks(BLOCK as usize);
    blocks.map(|block| format!("{}\n", sha256(block))).collect()
}

fn list(data: &[u8]) -> BlockList {
    BlockList::parse(list_of(data).as_bytes()).unwrap()
}

/// Changes a bit in each of these blocks.
fn flipped(data: &[u8], blocks: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut data = data.to_vec();
    for block in blocks {
        data[block * BLOCK as usize + 77_777] ^= 1;
    }
    data
}

fn fetched_twice(node: &Running) -> u64 {
    node.status().bytes_fetched.saturating_sub(LENGTH as u64)
}

#[track_caller]
fn is_right(node: &Running, id: ContentId, data: &[u8]) {
    assert!(fetch(node, id).end().unwrap().proven);
    let reader = node.open(id).unwrap();
    assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), data);
}

#[test]
fn a_liar_costs_its_wrong_blocks_and_no_more() {
    let data = bytes("a liar among blocks", LENGTH);
    let liar = Peer::serving(flipped(&data, (0..BLOCKS).step_by(4)));
    let honest = Peer::serving(data.clone());
    let node = Running::new(&[liar.address, honest.address]);
    node.verify_by_blocks(sha256(&data), list(&data));
    is_right(&node, sha256(&data), &data);
    // What was on its way when the first wrong block was noticed may have to come from the other, and
    // of each wrong block what the other had sent.
    let twice = fetched_twice(&node);
    let most = asked_of(&[&liar], sha256(&data)) + BLOCKS.div_ceil(4) as u64 * BLOCK;
    assert!(twice < most, "{twice} of {most} bytes were fetched twice");
}

#[test]
fn four_of_five_that_lie_alike_do_not_matter() {
    let data = bytes("blocks of four of five", LENGTH);
    let lie = flipped(&data, 0..BLOCKS);
    let liars: Vec<Peer> = (0..4).map(|_| Peer::serving(lie.clone())).collect();
    let honest = Peer::serving(data.clone());
    let mut addresses: Vec<_> = liars.iter().map(|liar| liar.address).collect();
    addresses.push(honest.address);
    let node = Running::new(&addresses);
    node.verify_by_blocks(sha256(&data), list(&data));
    is_right(&node, sha256(&data), &data);
}

/// What had come before the list was named is verified as well.
///
/// It takes three seconds: the only peer is suspended for its wrong block, and is asked again once nobody
/// else was found.
#[test]
fn a_list_that_is_named_later_counts_for_what_is_here() {
    let data = bytes("named later", LENGTH);
    let lie = flipped(&data, std::iter::once(1));
    let liar = Peer::serving(lie);
    // Never all of it: that would be found wrong before the list comes.
    let node = Running::with(&[liar.address], |config| config.complete = Complete::Never);
    let id = sha256(&data);
    let reader = get(&node, id);
    read(&reader, 0, 2 * BLOCK as u32).unwrap();
    drop(reader);
    liar.now({
        let data = data.clone();
        move |question| part(&data, question)
    });
    node.verify_by_blocks(id, list(&data));
    is_right(&node, id, &data);
    let twice = fetched_twice(&node);
    assert!(twice <= 2 * BLOCK, "{twice} bytes were fetched twice");
}

#[test]
fn a_list_of_other_content_costs_no_byte() {
    let data = bytes("another's list", LENGTH);
    let peers = [Peer::serving(data.clone()), Peer::serving(data.clone())];
    for other in [bytes("another", LENGTH), bytes("shorter", LENGTH / 2)] {
        let node = Running::new(&[peers[0].address, peers[1].address]);
        node.verify_by_blocks(sha256(&data), list(&other));
        is_right(&node, sha256(&data), &data);
    }
}

/// The list is no proof: that is the hash in the name alone.
#[test]
fn blocks_that_are_right_by_a_wrong_list_are_not_the_content() {
    let data = bytes("a wrong list", LENGTH);
    let lie = flipped(&data, std::iter::once(3));
    let liar = Peer::serving(lie.clone());
    let node = Running::with(&[liar.address], |config| config.lookup_timeout = SHORT);
    node.verify_by_blocks(sha256(&data), list(&lie));
    assert_eq!(
        fetch(&node, sha256(&data)).end().err(),
        Some(Failure::WrongContent)
    );
}

#[test]
fn a_list_is_content_like_any_other() {
    let data = bytes("a list", LENGTH);
    let text = list_of(&data);
    let id = sha256(text.as_bytes());
    let served = text.clone().into_bytes();
    let peer = Peer::new(move |question| match question.id == id {
        true => part(&served, question),
        false => Reply::No,
    });
    let node = Running::new(&[peer.address]);
    assert!(node.block_list(&id).is_err());
    fetch(&node, id).end().unwrap();
    assert_eq!(node.block_list(&id).unwrap(), list(&data));
}
