//! Content whose BLAKE3 is known: every leaf is verified before anybody is given it.

use crate::node_support::{
    Peer, Question, Reply, Running, assert_same, bytes, digests, fetch, part, read, start_read,
    wait,
};
use cjp2pfs::content::{ContentId, Digests, LEAF};

const LENGTH: usize = (5 << 20) + 777;

struct Known {
    data: Vec<u8>,
    digests: Digests,
    id: ContentId,
    tree: ContentId,
}

fn known(name: &str) -> Known {
    let data = bytes(name, LENGTH);
    let digests = digests(&data);
    Known {
        id: ContentId::blake3(digests.blake3.0),
        tree: ContentId::tree_v2(digests.blake3.0),
        data,
        digests,
    }
}

impl Known {
    /// What a peer says that gives `data` for the content and `tree` for its tree.
    fn rule(&self, data: Vec<u8>, tree: Vec<u8>) -> impl FnMut(&Question) -> Reply + use<> {
        let (id, tree_id) = (self.id, self.tree);
        move |question| {
            if question.id == id {
                part(&data, question)
            } else if question.id == tree_id {
                part(&tree, question)
            } else {
                Reply::No
            }
        }
    }

    fn honest(&self) -> Peer {
        Peer::new(self.rule(self.data.clone(), self.digests.tree.clone()))
    }

    /// Gives wrong bytes in every `each`-th leaf.
    fn corrupting(&self, each: usize) -> Peer {
        let mut data = self.data.clone();
        for leaf in data.chunks_mut(LEAF as usize).step_by(each) {
            let middle = leaf.len() / 2;
            leaf[middle] ^= 1;
        }
        Peer::new(self.rule(data, self.digests.tree.clone()))
    }
}

#[test]
fn a_part_is_given_out_verified_and_the_rest_is_not_fetched() {
    let known = known("a part");
    let peer = known.honest();
    let node = Running::new(&[peer.address]);
    crate::node_support::lookup(&node, known.id).end().unwrap();
    let reader = node.open(known.id).unwrap();
    let at = 3 << 20;
    let got = read(&reader, at, 100_000).unwrap();
    assert_same(&got, &known.data[at as usize..][..100_000]);
    let fetched = node.status().bytes_fetched;
    assert!(
        fetched < 600_000,
        "{fetched} bytes were fetched for 100,000"
    );
    // The last byte rule is for what is not proven: this is, leaf by leaf.
    let mut all = Vec::new();
    while all.len() < LENGTH {
        all.extend(read(&reader, all.len() as u64, 1 << 20).unwrap());
    }
    assert_same(&all, &known.data);
}

#[test]
fn no_wrong_leaf_is_given_out_and_who_sent_it_is_dropped() {
    let known = known("a liar among two");
    let (honest, liar) = (known.honest(), known.corrupting(7));
    let node = Running::new(&[liar.address, honest.address]);
    fetch(&node, known.id).end().unwrap();
    let reader = node.open(known.id).unwrap();
    assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), &known.data);
    let before = liar.questions().len();
    assert!(before > 0, "the liar was asked");
    let status = node.status();
    let peers = node.peers();
    assert!(
        status.bytes_fetched < LENGTH as u64 * 2,
        "{status:?} {peers:?}"
    );
}

#[test]
fn a_reader_gets_right_leaves_while_a_liar_sends_wrong_ones() {
    let known = known("a reader");
    let (honest, liar) = (known.honest(), known.corrupting(1));
    let node = Running::new(&[liar.address, honest.address]);
    crate::node_support::lookup(&node, known.id).end().unwrap();
    let reader = node.open(known.id).unwrap();
    for at in (0..LENGTH).step_by(300_007) {
        let got = read(&reader, at as u64, 5000).unwrap();
        assert_same(&got, &known.data[at..LENGTH.min(at + 5000)]);
    }
}

#[test]
fn a_wrong_tree_from_one_peer_is_replaced_by_another_s() {
    let known = known("a wrong tree");
    let mut tree = known.digests.tree.clone();
    for node in tree[64..].chunks_mut(32) {
        node[7] ^= 1;
    }
    let liar = Peer::new(known.rule(known.data.clone(), tree));
    let honest = known.honest();
    let node = Running::new(&[liar.address, honest.address]);
    fetch(&node, known.id).end().unwrap();
    let reader = node.open(known.id).unwrap();
    assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), &known.data);
}

#[test]
fn without_a_tree_the_whole_is_proven() {
    let known = known("no tree");
    let (id, data) = (known.id, known.data.clone());
    let peer = Peer::new(move |question| {
        if question.id == id {
            part(&data, question)
        } else {
            Reply::No
        }
    });
    let node = Running::new(&[peer.address]);
    assert!(fetch(&node, known.id).end().unwrap().proven);
    let reader = node.open(known.id).unwrap();
    assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), &known.data);
}

#[test]
fn what_was_verified_can_be_read_after_a_restart_with_nobody_there() {
    let known = known("a restart");
    let peer = known.honest();
    let node = Running::new(&[peer.address]);
    crate::node_support::lookup(&node, known.id).end().unwrap();
    let reader = node.open(known.id).unwrap();
    let at = 2 << 20;
    let got = read(&reader, at, 300_000).unwrap();
    assert_same(&got, &known.data[at as usize..][..300_000]);
    drop(reader);
    let node = node.stop().start(&[], |_| {});
    drop(peer);
    let reader = node.open(known.id).unwrap();
    let got = read(&reader, at, 300_000).unwrap();
    assert_same(&got, &known.data[at as usize..][..300_000]);
}

#[test]
fn bytes_that_were_spoilt_on_disk_are_fetched_again() {
    let known = known("spoilt");
    let peer = known.honest();
    let node = Running::new(&[peer.address]);
    crate::node_support::lookup(&node, known.id).end().unwrap();
    let reader = node.open(known.id).unwrap();
    read(&reader, 1 << 20, 300_000).unwrap();
    drop(reader);
    let place = node.stop();
    place.spoil_partial((1 << 20) + 5000);
    let node = place.start(&[peer.address], |_| {});
    let reader = node.open(known.id).unwrap();
    let got = read(&reader, 1 << 20, 300_000).unwrap();
    assert_same(&got, &known.data[1 << 20..][..300_000]);
    // Still waiting reads of it end as well.
    let asked = start_read(&reader, (1 << 20) + 4096, 4096);
    wait("the leaf", || asked.ended()).unwrap();
}
