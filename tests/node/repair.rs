//! Content by SHA-256 that nothing verifies before it is whole: a liar among its sources costs no
//! more than what it sent, and nobody is given wrong bytes with success.

use std::net::SocketAddr;

use crate::node_support::{Peer, Running, assert_same, bytes, fetch, get, read, sha256};
use cjp2pfs::content::LEAF;
use cjp2pfs::node::{Failure, Reader};

const LENGTH: usize = (16 << 20) + 777;

/// One bit is wrong in every `each`-th leaf.
fn flip_leaves(data: &[u8], each: usize) -> Vec<u8> {
    let mut data = data.to_vec();
    for leaf in data.chunks_mut(LEAF as usize).step_by(each) {
        let middle = leaf.len() / 2;
        leaf[middle] ^= 1;
    }
    data
}

fn addresses(peers: &[Peer]) -> Vec<SocketAddr> {
    peers.iter().map(|peer| peer.address).collect()
}

/// Reads all of it from the start; how it ended, or the bytes.
fn read_all(reader: &Reader) -> Result<Vec<u8>, Failure> {
    let mut got = Vec::new();
    while (got.len() as u64) < reader.length() {
        got.extend(read(reader, got.len() as u64, 1 << 20)?);
    }
    Ok(got)
}

#[test]
fn one_liar_of_five_costs_no_more_than_what_it_sent() {
    // With `CJP2PFS_POISON_MIB=256`, as large as the goal says.
    let mib = std::env::var("CJP2PFS_POISON_MIB");
    let mib = mib.map_or(16, |mib| mib.parse().expect("a number"));
    let length = (mib << 20) + 777;
    let data = bytes("no tree", length);
    let mut peers = vec![Peer::serving(flip_leaves(&data, 100))];
    peers.extend((0..4).map(|_| Peer::serving(data.clone())));
    let node = Running::new(&addresses(&peers));
    let id = sha256(&data);
    fetch(&node, id).end().unwrap();
    assert_same(&read_all(&node.open(id).unwrap()).unwrap(), &data);
    let of_liar: u64 = peers[0].questions().iter().map(|it| it.length).sum();
    let status = node.status();
    let twice = status.bytes_fetched + status.bytes_wasted - length as u64;
    println!(
        "of {length} bytes the liar sent {of_liar}, fetched twice: {twice}, of these {} came twice by themselves",
        status.bytes_wasted
    );
    // What it sent, and blocks of the others by chance until one of its wrong ones was met.
    assert!(twice <= of_liar + (8 << 20), "{twice} {of_liar}");
}

#[test]
fn four_of_five_that_lie_alike_lose_to_the_fifth() {
    let data = bytes("four liars", LENGTH / 4);
    let lie = flip_leaves(&data, 3);
    let mut peers: Vec<Peer> = (0..4).map(|_| Peer::serving(lie.clone())).collect();
    peers.push(Peer::serving(data.clone()));
    let node = Running::new(&addresses(&peers));
    let id = sha256(&data);
    fetch(&node, id).end().unwrap();
    assert_same(&read_all(&node.open(id).unwrap()).unwrap(), &data);
}

#[test]
fn of_two_the_right_one_wins_whichever_it_is() {
    for first in [true, false] {
        let data = bytes("two", LENGTH / 4);
        let mut peers = vec![Peer::serving(flip_leaves(&data, 50))];
        peers.push(Peer::serving(data.clone()));
        if first {
            peers.reverse();
        }
        let node = Running::new(&addresses(&peers));
        let id = sha256(&data);
        fetch(&node, id).end().unwrap();
        assert_same(&read_all(&node.open(id).unwrap()).unwrap(), &data);
    }
}

#[test]
fn a_reader_gets_the_right_bytes_or_an_error() {
    let data = bytes("a reader", LENGTH / 4);
    for each in [1, 10, 200, 2000] {
        let mut peers = vec![Peer::serving(flip_leaves(&data, each))];
        peers.extend((0..2).map(|_| Peer::serving(data.clone())));
        let node = Running::new(&addresses(&peers));
        let reader = get(&node, sha256(&data));
        match read_all(&reader) {
            Ok(got) => assert_same(&got, &data),
            Err(failure) => {
                assert_eq!(failure, Failure::WrongContent);
                for at in [0, 5000, LENGTH as u64 / 4 - 1] {
                    assert_eq!(read(&reader, at, 1), Err(Failure::WrongContent));
                }
            }
        }
        // Whoever opens it then gets all of it.
        let id = sha256(&data);
        fetch(&node, id).end().unwrap();
        assert_same(&read_all(&node.open(id).unwrap()).unwrap(), &data);
    }
}
