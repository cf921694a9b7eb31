//! Complete content that is read onward is brought from the disk before it is asked for.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::node_support::{Place, SOON, assert_same, bytes, get, read, wait};
use cjp2pfs::content::{ByteRange, ContentId};
use cjp2pfs::store::Content;

const LENGTH: usize = 8 << 20;

/// Takes the file out of the page cache.
fn forget(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    // SAFETY: no memory is involved; the descriptor is open.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

fn is_cached(content: &Content, offset: u64) -> bool {
    let mut byte = [0];
    content.read_at_nowait(offset, &mut byte).unwrap().is_some()
}

/// Whether this file system has a page cache that tells; `/tmp` in memory has none.
fn can_forget(path: &Path, content: &Content) -> bool {
    forget(path);
    if is_cached(content, LENGTH as u64 / 2) {
        println!("skipped: what is here never leaves the memory");
        return false;
    }
    true
}

#[test]
fn what_will_be_needed_is_brought() {
    let data = bytes("will be needed", LENGTH);
    let place = Place::new();
    let digests = place.hold(&data);
    let path = place.path().join(digests.sha256.to_string());
    let node = place.start(&[], |_| {});
    let id = ContentId::sha256(digests.sha256.0);
    let content = node.store().open_content(&id).unwrap().unwrap();
    if !can_forget(&path, &content) {
        return;
    }
    content.will_need(ByteRange::new(1 << 20, 7 << 20));
    wait("it is brought", || {
        [1 << 20, 4 << 20, (7 << 20) - 1]
            .iter()
            .all(|offset| is_cached(&content, *offset))
            .then_some(())
    });
    // Past the end there is nothing to bring, and nothing goes wrong.
    content.will_need(ByteRange::new(LENGTH as u64 - 1, u64::MAX));
}

#[test]
fn reading_onward_brings_what_comes_and_gives_the_right_bytes() {
    let data = bytes("read onward", LENGTH);
    let place = Place::new();
    let digests = place.hold(&data);
    let path = place.path().join(digests.sha256.to_string());
    let node = place.start(&[], |_| {});
    let id = ContentId::sha256(digests.sha256.0);
    let content = node.store().open_content(&id).unwrap().unwrap();
    if !can_forget(&path, &content) {
        return;
    }
    let reader = get(&node, id);
    let step = 256 << 10;
    for offset in (0..2 << 20).step_by(step) {
        let part = read(&reader, offset as u64, step as u32).unwrap();
        assert_same(&part, &data[offset..][..step]);
    }
    wait("what comes is brought", || {
        is_cached(&content, (3 << 20) + 5).then_some(())
    });
}

/// The threads that answer programs are few, and a disk may hang.
#[test]
fn what_has_to_come_from_the_disk_holds_up_no_thread_of_programs() {
    let data = bytes("from the disk", LENGTH);
    let place = Place::new();
    let digests = place.hold(&data);
    let path = place.path().join(digests.sha256.to_string());
    let node = place.start(&[], |_| {});
    let id = ContentId::sha256(digests.sha256.0);
    let content = node.store().open_content(&id).unwrap().unwrap();
    let reader = get(&node, id);
    let read_at = |offset: usize| {
        let (tell, told) = std::sync::mpsc::channel();
        let right = data[offset..][..1000].to_vec();
        let pending = reader.read(
            offset as u64,
            1000,
            Box::new(move |read| {
                assert_same(read.unwrap(), &right);
                let _ = tell.send(std::thread::current().id());
            }),
        );
        (pending, told.recv_timeout(SOON).expect("a read ends"))
    };
    if !is_cached(&content, 5000) {
        println!("skipped: this file system does not tell what is in memory");
        return;
    }
    let (pending, by) = read_at(5000);
    assert!(pending.is_none() && by == std::thread::current().id());
    if !can_forget(&path, &content) {
        return;
    }
    let (pending, by) = read_at(LENGTH / 2);
    assert!(pending.is_some() && by != std::thread::current().id());
    wait("it has ended", || {
        pending.as_ref().unwrap().is_done().then_some(())
    });
}
