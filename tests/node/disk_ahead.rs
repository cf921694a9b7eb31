//! Complete content that is read onward is brought from the disk before it is asked for.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::node_support::{Place, Running, SOON, assert_same, bytes, get, read, wait};
use cjp2pfs::content::{ByteRange, ContentId};
use cjp2pfs::store::Content;

const LENGTH: usize = 8 << 20;

/// A node with content that is complete and open.
struct Held {
    data: Vec<u8>,
    path: PathBuf,
    node: Running,
    id: ContentId,
    content: Content,
}

impl Held {
    fn new(what: &str) -> Self {
        let data = bytes(what, LENGTH);
        let place = Place::new();
        let digests = place.hold(&data);
        let path = place.path().join(digests.sha256.to_string());
        let node = place.start(&[], |_| {});
        let id = ContentId::sha256(digests.sha256.0);
        Self {
            path,
            content: node.store().open_content(&id).unwrap().unwrap(),
            data,
            node,
            id,
        }
    }
}

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
fn can_forget(held: &Held) -> bool {
    forget(&held.path);
    if is_cached(&held.content, LENGTH as u64 / 2) {
        println!("skipped: what is here never leaves the memory");
        return false;
    }
    true
}

#[test]
fn what_will_be_needed_is_brought() {
    let held = Held::new("will be needed");
    if !can_forget(&held) {
        return;
    }
    held.content.will_need(ByteRange::new(1 << 20, 7 << 20));
    wait("it is brought", || {
        [1 << 20, 4 << 20, (7 << 20) - 1]
            .iter()
            .all(|offset| is_cached(&held.content, *offset))
            .then_some(())
    });
    // Past the end there is nothing to bring, and nothing goes wrong.
    held.content
        .will_need(ByteRange::new(LENGTH as u64 - 1, u64::MAX));
}

#[test]
fn reading_onward_brings_what_comes_and_gives_the_right_bytes() {
    let held = Held::new("read onward");
    if !can_forget(&held) {
        return;
    }
    let reader = get(&held.node, held.id);
    let step = 256 << 10;
    for offset in (0..2 << 20).step_by(step) {
        let part = read(&reader, offset as u64, step as u32).unwrap();
        assert_same(&part, &held.data[offset..][..step]);
    }
    wait("what comes is brought", || {
        is_cached(&held.content, (3 << 20) + 5).then_some(())
    });
}

/// The threads that answer programs are few, and a disk may hang.
#[test]
fn what_has_to_come_from_the_disk_holds_up_no_thread_of_programs() {
    let held = Held::new("from the disk");
    let reader = get(&held.node, held.id);
    let read_at = |offset: usize| {
        let (tell, told) = std::sync::mpsc::channel();
        let right = held.data[offset..][..1000].to_vec();
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
    if !is_cached(&held.content, 5000) {
        println!("skipped: this file system does not tell what is in memory");
        return;
    }
    let (pending, by) = read_at(5000);
    assert!(pending.is_none() && by == std::thread::current().id());
    if !can_forget(&held) {
        return;
    }
    let (pending, by) = read_at(LENGTH / 2);
    assert!(pending.is_some() && by != std::thread::current().id());
    wait("it has ended", || {
        pending.as_ref().unwrap().is_done().then_some(())
    });
}
