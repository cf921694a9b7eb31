//! Content whose file is read past the node is kept as long as it is.

mod node_support;

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use cjp2pfs::node::Backing;
use cjp2pfs::store::Limits;
use node_support::{Peer, Running, assert_same, bytes, fetch, get, sha256};

fn read(backing: &Backing) -> Vec<u8> {
    let mut data = Vec::new();
    let mut file = File::from(backing.as_fd().try_clone_to_owned().unwrap());
    file.read_to_end(&mut data).unwrap();
    data
}

#[test]
fn what_is_passed_on_is_not_given_up_and_may_be_afterwards() {
    let data = bytes("passed on", 300_000);
    let id = sha256(&data);
    let peer = Peer::serving(data.clone());
    let node = Running::new(&[peer.address]);
    let arriving = get(&node, id);
    assert!(arriving.backing().is_none(), "it is not complete yet");
    fetch(&node, id).end().unwrap();
    drop(arriving);
    let reader = get(&node, id);
    let backing = reader.backing().expect("it is complete");
    drop(reader);
    let nothing = Limits {
        most: Some(1),
        ..Limits::default()
    };
    node.store().collect(Some(nothing), false).unwrap();
    assert!(node.store().open_content(&id).unwrap().is_some());
    assert_same(&read(&backing), &data);
    drop(backing);
    let gone = node.store().collect(Some(nothing), false).unwrap();
    assert!(gone.iter().any(|gone| gone.id == id), "nobody has it open");
    assert!(node.store().open_content(&id).unwrap().is_none());
}
