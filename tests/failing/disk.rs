//! A disk that fails: nothing wrong is given out for it, and all goes on when it works again.

use crate::failing_disk::{FailingDisk, Faults};
use crate::node_support::{Peer, Place, assert_same, bytes, fetch, get, lookup, read, sha256};
use cjp2pfs::node::Failure;

const LENGTH: usize = 3_000_000;
const EIO: Failure = Failure::Disk(libc::EIO);

/// Without a cache in memory, so that what is read is what the disk says.
fn failing(place: &Place) -> FailingDisk {
    FailingDisk::below(place.path())
}

const LOSES: Faults = Faults {
    sync_loses: true,
    map_sync: None,
    write: None,
    create: None,
    rename: None,
};

/// The whole had passed and was being made durable when the disk lost it: it read as zeros, with
/// success and as verified.
#[test]
fn what_a_failed_sync_lost_is_not_given_out_as_proven() {
    let data = bytes("lost when proven", LENGTH);
    let id = sha256(&data);
    let peer = Peer::serving(data.clone());
    let place = Place::new();
    let disk = failing(&place);
    let node = place.start(&[peer.address], |config| config.cache = 0);
    disk.fail(LOSES);
    lookup(&node, id).end().unwrap();
    let before = node.open(id).unwrap();
    assert_eq!(fetch(&node, id).end(), Err(EIO));
    assert!(disk.failed_syncs() > 0);
    assert_eq!(read(&before, 0, 1000), Err(EIO));
    assert_eq!(
        read(&before, LENGTH as u64 - 1, 1),
        Err(EIO),
        "it stays failed"
    );
    disk.heal();

    let after = get(&node, id);
    assert_same(&read(&after, 0, LENGTH as u32).unwrap(), &data);
    assert!(fetch(&node, id).end().unwrap().proven);
    assert_same(&read(&get(&node, id), 0, LENGTH as u32).unwrap(), &data);
    assert_eq!(read(&before, 0, 1), Err(EIO));
}
