//! Content that proves rotten while it is open.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::node_support::{Peer, Running, assert_same, bytes, fetch, read, sha256};
use cjp2pfs::node::Failure;

/// Who has content open that `verify` finds rotten gets nothing more of it; who opens it anew does.
#[test]
fn what_is_set_aside_while_it_is_open_is_read_no_more() {
    let data = bytes("set aside", 300_000);
    let id = sha256(&data);
    let peer = Peer::serving(data.clone());
    let node = Running::new(&[peer.address]);
    fetch(&node, id).end().unwrap();
    let reader = node.open(id).unwrap();
    assert_same(&read(&reader, 0, 1000).unwrap(), &data[..1000]);
    let name = id.to_string();
    let file = node.store().dir().join("complete/sha256");
    let file = file.join(&name[..2]).join(&name);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let open = File::options().write(true).open(&file).unwrap();
    open.write_all_at(&[data[5000] ^ 1], 5000).unwrap();
    open.set_permissions(fs::Permissions::from_mode(0o444))
        .unwrap();
    let sum = node.store().scrub(Some(&[id]), &|_, _, _| true).unwrap();
    assert_eq!(sum.bad, 1);
    assert_eq!(read(&reader, 0, 1000), Err(Failure::WrongContent));
    fetch(&node, id).end().unwrap();
    let anew = node.open(id).unwrap();
    assert_same(&read(&anew, 0, 300_000).unwrap(), &data);
    assert_eq!(read(&reader, 0, 1000), Err(Failure::WrongContent));
}
