//! What is on its way is given to others as far as it is known to be right.

use crate::node_support::{
    Peer, Reply, Running, SHORT, assert_same, bytes, digests, fetch, lookup, part, read, sha256,
    start_read, wait,
};
use cjp2pfs::content::ContentId;

const LENGTH: usize = (6 << 20) + 1234;
const HALF: usize = 3 << 20;

/// A peer that gives the first half of `data` by either id, and the tree.
fn first_half(data: &[u8]) -> Peer {
    let digests = digests(data);
    let tree_id = ContentId::tree_v2(digests.blake3.0);
    let (data, tree) = (data.to_vec(), digests.tree);
    Peer::new(move |question| {
        if question.id == tree_id {
            part(&tree, question)
        } else if question.end() <= HALF as u64 {
            part(&data, question)
        } else {
            Reply::Silence
        }
    })
}

#[test]
fn verified_parts_are_given_while_the_rest_is_still_fetched() {
    let data = bytes("given in parts", LENGTH);
    let id = ContentId::blake3(digests(&data).blake3.0);
    let source = first_half(&data);
    let first = Running::new(&[source.address]);
    let fetching = fetch(&first, id);
    wait("the first half", || {
        (first.info(id)?.present >= HALF as u64).then_some(())
    });
    // The other one knows the first node alone, and has the tree from nobody else.
    let second = Running::new(&[first.address()]);
    lookup(&second, id).end().unwrap();
    let reader = second.open(id).unwrap();
    let got = read(&reader, 1 << 20, 1 << 20).unwrap();
    assert_same(&got, &data[1 << 20..2 << 20]);
    // What nobody has arrives when somebody has it.
    let waiting = start_read(&reader, HALF as u64 + 100_000, 50_000);
    std::thread::sleep(SHORT);
    assert_eq!(waiting.calls(), 0, "nobody has that");
    source.now({
        let data = data.clone();
        move |question| {
            if question.id == id {
                part(&data, question)
            } else {
                Reply::No
            }
        }
    });
    assert_same(&waiting.end().unwrap(), &data[HALF + 100_000..][..50_000]);
    fetching.end().unwrap();
    fetch(&second, id).end().unwrap();
    let reader = second.open(id).unwrap();
    assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), &data);
}

#[test]
fn what_is_not_known_to_be_right_is_given_to_nobody() {
    let data = bytes("not known to be right", LENGTH);
    let id = sha256(&data);
    let source = first_half(&data);
    let first = Running::new(&[source.address]);
    let _fetching = fetch(&first, id);
    wait("the first half", || {
        (first.info(id)?.present >= HALF as u64).then_some(())
    });
    // The first node tells where it has it from, and gives none of it itself.
    let second = Running::new(&[first.address()]);
    lookup(&second, id).end().unwrap();
    let reader = second.open(id).unwrap();
    assert_same(
        &read(&reader, 1 << 20, 1000).unwrap(),
        &data[1 << 20..][..1000],
    );
    assert_eq!(first.status().bytes_served, 0);
}
