//! A disk that is full or fails: content is read through memory, right to its last byte, and a fetch
//! that wants it kept is told why not.

use crate::failing_disk::{FailingDisk, Faults};
use crate::node_support::{
    Peer, Place, Running, assert_same, bytes, digests, fetch, get, read, sha256, wait,
};
use cjp2pfs::content::ContentId;
use cjp2pfs::node::{Failure, Reader, Verify};

const MIB: usize = 1 << 20;
const FULL: Failure = Failure::Disk(libc::ENOSPC);

fn writes_fail(errno: i32) -> Faults {
    Faults {
        write: Some(errno),
        ..Faults::default()
    }
}

fn node(peer: &Peer, cache: usize) -> (Running, FailingDisk) {
    let place = Place::new();
    let disk = FailingDisk::below(place.path());
    let node = place.start(&[peer.address], |config| config.cache = cache as u64);
    (node, disk)
}

/// Reads from `from` on, as a program does that reads the whole.
fn read_on(reader: &Reader, from: usize, step: usize) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while (from + all.len()) < reader.length() as usize {
        all.extend(read(reader, (from + all.len()) as u64, step as u32)?);
    }
    Ok(all)
}

#[test]
fn a_full_disk_is_read_past() {
    let data = bytes("past a full disk", 5 * MIB + 1234);
    let peer = Peer::serving(data.clone());
    for errno in [libc::ENOSPC, libc::EDQUOT, libc::EIO] {
        let (node, disk) = node(&peer, 64 * MIB);
        disk.fail(writes_fail(errno));
        let reader = get(&node, sha256(&data));
        assert_same(&read_on(&reader, 0, 128 << 10).unwrap(), &data);
        assert_same(
            &read(&reader, 70_000, 100_000).unwrap(),
            &data[70_000..170_000],
        );
        let status = node.status();
        let trouble = status.disk_trouble.expect("the trouble is told");
        assert_eq!(trouble.errno, errno);
        assert!(trouble.in_memory >= data.len() as u64);
        assert_eq!(status.contents_held, 0);
        assert_eq!(fetch(&node, sha256(&data)).end(), Err(Failure::Disk(errno)));
    }
}

#[test]
fn content_larger_than_the_memory_passes_through() {
    let data = bytes("larger than memory", 24 * MIB + 77);
    let peer = Peer::serving(data.clone());
    let (node, disk) = node(&peer, 4 * MIB);
    disk.fail(writes_fail(libc::ENOSPC));
    let reader = get(&node, sha256(&data));
    let mut at = 0;
    while at < data.len() {
        let step = read(&reader, at as u64, 128 << 10).unwrap();
        assert_same(&step, &data[at..at + step.len()]);
        at += step.len();
        // Two more for what is waited for.
        assert!(node.store().in_memory() <= 6 * MIB as u64);
    }
    // What was let go would come again, and nobody could tell any more whether it is the same.
    assert_eq!(read(&reader, 5000, 60_000), Err(FULL));
    assert_same(
        &read(&get(&node, sha256(&data)), 5000, 60_000).unwrap(),
        &data[5000..65_000],
    );
}

#[test]
fn leaves_that_are_verified_pass_through_too() {
    let data = bytes("larger than memory, with a tree", 24 * MIB);
    let seeder = Running::holding(&data);
    let place = Place::new();
    let disk = FailingDisk::below(place.path());
    let node = place.start(&[seeder.address()], |config| config.cache = 4 * MIB as u64);
    disk.fail(writes_fail(libc::ENOSPC));
    let reader = get(&node, ContentId::blake3(digests(&data).blake3.0));
    assert_same(&read_on(&reader, 0, 128 << 10).unwrap(), &data);
    assert!(node.store().in_memory() <= 6 * MIB as u64);
}

/// It is larger than disk and memory together, and the lie has long been let go when it shows.
#[test]
fn a_lie_is_found_out_at_the_last_byte_all_the_same() {
    let data = bytes("a lie past a full disk", 12 * MIB);
    let peer = Peer::corrupting(data.clone(), &[2 * MIB + 5]);
    let (node, disk) = node(&peer, 4 * MIB);
    disk.fail(writes_fail(libc::ENOSPC));
    let reader = get(&node, sha256(&data));
    let read = read_on(&reader, 0, 128 << 10);
    assert_eq!(read.err(), Some(Failure::WrongContent));
}

/// The proof saw what came first, and the handle was given what came second: who knows whether they
/// are the same.
#[test]
fn what_came_twice_does_not_pass_for_proven() {
    let data = bytes("came twice", 12 * MIB);
    let peer = Peer::serving(data.clone());
    let (node, disk) = node(&peer, 4 * MIB);
    disk.fail(writes_fail(libc::ENOSPC));
    let first = get(&node, sha256(&data));
    let second = get(&node, sha256(&data));
    let last = data.len() - 5000;
    let mut at = 0;
    while at < last {
        let step = read(&first, at as u64, (last - at).min(128 << 10) as u32).unwrap();
        at += step.len();
    }
    wait("the beginning to be let go", || {
        let held = node.info(sha256(&data)).unwrap().present;
        (held < data.len() as u64 / 2).then_some(())
    });
    // All of it was given to the first as it was hashed.
    assert_same(&read(&first, last as u64, 5000).unwrap(), &data[last..]);
    let second = read_on(&second, 0, 128 << 10);
    assert_eq!(second.err(), Some(FULL));
}

#[test]
fn not_even_the_files_can_be_made() {
    let data = bytes("no files", 3 * MIB);
    let peer = Peer::serving(data.clone());
    let (node, disk) = node(&peer, 64 * MIB);
    disk.fail(Faults {
        create: Some(libc::ENOSPC),
        ..Faults::default()
    });
    let reader = get(&node, sha256(&data));
    assert_same(&read_on(&reader, 0, 128 << 10).unwrap(), &data);
    assert_eq!(fetch(&node, sha256(&data)).end(), Err(FULL));
}

#[test]
fn a_fetch_is_told_at_once() {
    let data = bytes("a fetch with a full disk", 8 * MIB);
    let peer = Peer::serving(data.clone());
    let (node, disk) = node(&peer, 64 * MIB);
    disk.fail(writes_fail(libc::ENOSPC));
    assert_eq!(fetch(&node, sha256(&data)).end(), Err(FULL));
    assert_eq!(FULL.to_string(), "no space left on the disk of the store");
}

#[test]
fn with_room_again_it_is_kept_again() {
    let data = bytes("room again", 3 * MIB);
    let peer = Peer::serving(data.clone());
    let (node, disk) = node(&peer, 64 * MIB);
    disk.fail(writes_fail(libc::ENOSPC));
    let reader = get(&node, sha256(&data));
    assert_same(&read_on(&reader, 0, 128 << 10).unwrap(), &data);
    disk.heal();
    drop(reader);
    wait("the trouble to be over", || {
        node.status().disk_trouble.is_none().then_some(())
    });
    assert_eq!(node.store().in_memory(), 0);
    assert!(fetch(&node, sha256(&data)).end().unwrap().proven);
    assert_same(
        &read_on(&get(&node, sha256(&data)), 0, 128 << 10).unwrap(),
        &data,
    );
}

/// What a failed sync lost is fetched again, and this time it does not go to that disk.
#[test]
fn a_disk_that_loses_what_it_took_is_read_past() {
    let data = bytes("a disk that loses", 60 * MIB);
    let peer = Peer::serving(data.clone());
    let (node, disk) = node(&peer, 64 * MIB);
    disk.fail(Faults {
        sync_loses: true,
        ..Faults::default()
    });
    let reader = get(&node, sha256(&data));
    let some = 8 * MIB;
    let mut all = Vec::new();
    while all.len() < some {
        all.extend(read(&reader, all.len() as u64, 128 << 10).unwrap());
    }
    wait("a sync to fail", || (disk.failed_syncs() > 0).then_some(()));
    wait("the trouble to be told", || node.status().disk_trouble);
    // The handle may have been given what was lost before it was hashed; then it does not end well.
    match read_on(&reader, all.len(), 128 << 10) {
        Ok(rest) => {
            all.extend(rest);
            assert_same(&all, &data);
        }
        Err(failure) => assert_eq!(failure, Failure::Disk(libc::EIO)),
    }
    drop(reader);
    wait("it to be let go", || {
        (node.store().in_memory() == 0).then_some(())
    });
    // From now on that disk is avoided.
    let reader = get(&node, sha256(&data));
    assert_same(&read_on(&reader, 0, 128 << 10).unwrap(), &data);
}

/// Nothing of it could be proven before all of it is in one place, and there is none.
#[test]
fn a_strict_read_of_what_there_is_no_room_for_ends_at_once() {
    let data = bytes("no room for the proof", 24 * MIB);
    let peer = Peer::serving(data.clone());
    for (cache, end) in [(4, Err(FULL)), (64, Ok(&data[5000..6000]))] {
        let place = Place::new();
        let disk = FailingDisk::below(place.path());
        let node = place.start(&[peer.address], |config| {
            config.cache = (cache * MIB) as u64;
            config.verify = Verify::Strict;
        });
        disk.fail(writes_fail(libc::ENOSPC));
        let reader = get(&node, sha256(&data));
        let got = read(&reader, 5000, 1000);
        assert_eq!(got.as_deref().map_err(|failure| *failure), end);
    }
}
