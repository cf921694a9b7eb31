//! A file with a lease on it is opened as slowly as one on a disk that hangs.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use super::super::pending::Ticket;
use super::super::{ContentInfo, Done, Failure, Node, Pending, Reader, lookups, still};
use super::*;
use crate::content::Hash;

const SOON: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_millis(500);
/// Of fcntl(2); the `libc` crate does not have it.
const F_SETSIG: libc::c_int = 10;

fn node(store: &Path) -> Node {
    let config = still::config(store, LIMIT, LIMIT);
    Node::start(config).unwrap()
}

type Ended = Receiver<Result<ContentInfo, Failure>>;

fn done() -> (Done<ContentInfo>, Ended) {
    let (tell, ended) = channel();
    let done = Box::new(move |found| {
        let _ = tell.send(found);
    });
    (done, ended)
}

fn lookup(node: &Node, id: ContentId) -> (Option<Pending>, Ended) {
    let (done, ended) = done();
    (node.lookup(id, done), ended)
}

/// Whoever opens `file` waits until the lease ends, some 45 s, as he would for a disk that hangs. `None`:
/// there are none on this file system.
fn lease(file: &File) -> Option<()> {
    let fcntl = |what, value: libc::c_int| {
        // SAFETY: an open file, and numbers.
        unsafe { libc::fcntl(file.as_raw_fd(), what, value) }
    };
    // That somebody waits is told by a signal: by one that does nothing.
    assert_eq!(fcntl(F_SETSIG, libc::SIGURG), 0);
    let start = Instant::now();
    while fcntl(libc::F_SETLEASE, libc::F_WRLCK) != 0 {
        let error = std::io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EAGAIN) {
            println!("skipped: no leases here: {error}");
            return None;
        }
        assert!(start.elapsed() < SOON, "somebody has it open");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(())
}

/// The only file of this length below `folder`.
fn file_of_length(folder: &Path, length: u64) -> Option<std::path::PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let metadata = entry.metadata().ok()?;
        match metadata.is_dir() {
            true => file_of_length(&entry.path(), length),
            false => (metadata.len() == length).then(|| entry.path()),
        }
    })
}

/// Content that is held and not open, and its file.
fn held(node: &Node, folder: &Path, length: u64) -> (ContentId, File) {
    let file = folder.join("content");
    fs::write(&file, vec![7; length as usize]).unwrap();
    let imported = node.store().import(&file).unwrap();
    let id = ContentId::sha256(Hash::from_hex(&imported.sha256).unwrap().0);
    // What nobody asked for between the two is closed.
    node.store().close_unused();
    node.store().close_unused();
    let kept = file_of_length(&folder.join("store"), length).unwrap();
    (id, File::open(kept).unwrap())
}

#[test]
fn a_disk_that_hangs_holds_up_no_limit() {
    const LENGTH: u64 = 123_457;
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder.path().join("store"));
    let (held, kept) = held(&node, folder.path(), LENGTH);
    if lease(&kept).is_none() {
        return;
    }

    // One that began before it was here.
    let shared = &node.0.shared;
    let (tell, ended) = done();
    let asker = lookups::Asker::new(Ticket::new(tell), Instant::now() + SOON * 3, None);
    let lookup_of_held = lookups::Lookup {
        askers: vec![asker],
        ..lookups::Lookup::default()
    };
    lock(&shared.lookups).insert(held, lookup_of_held);
    let (_pending, missing) = lookup(&node, ContentId::sha256([7; 32]));
    let missing = missing.recv_timeout(SOON);
    assert_eq!(
        missing.expect("it ends in time").unwrap_err(),
        Failure::NotFound
    );
    // One that begins now.
    let (_other, hanging) = lookup(&node, held);
    let hanging = hanging.recv_timeout(SOON);
    assert_eq!(
        hanging.expect("it ends in time").unwrap_err(),
        Failure::TimedOut
    );
    assert_eq!(
        ended.try_recv().unwrap_err(),
        TryRecvError::Empty,
        "the disk hangs still"
    );
    drop(kept);
    assert_eq!(ended.recv_timeout(SOON).unwrap().unwrap().length, LENGTH);
    node.stop();
}

#[test]
fn what_hangs_holds_up_no_thread_of_programs_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder.path().join("store"));
    let (other, open) = held(&node, folder.path(), 54_321);
    drop(open);
    let (hangs, kept) = held(&node, folder.path(), 123_457);
    if lease(&kept).is_none() {
        return;
    }
    // Who would have to wait for the disk is told so.
    assert!(node.open_now(hangs).is_none() && node.info_now(hangs).is_none());
    let nobody_has = ContentId::sha256([7; 32]);
    assert!(matches!(
        node.open_now(nobody_has),
        Some(Err(Failure::NotFound))
    ));
    assert_eq!(node.info_now(nobody_has), Some(None));

    let open = |id| {
        let (tell, ended) = channel();
        let opens = node.clone();
        let opened = move |opened: Result<Result<Reader, Failure>, Failure>| {
            let length = opened.and_then(|opened| opened).map(|it| it.length());
            let _ = tell.send(length);
        };
        let waits = node.aside(move || opens.open(id), Box::new(opened));
        (waits, ended)
    };
    let (cancelled, cancelled_end) = open(hangs);
    let (_waits, hanging) = open(hangs);
    let (_lookup, looking) = lookup(&node, hangs);
    // Whoever is signalled is let go at once.
    cancelled.unwrap().cancel(Failure::Interrupted);
    assert_eq!(cancelled_end.try_recv().unwrap(), Err(Failure::Interrupted));
    // Beside two that hang.
    let (_found, found) = lookup(&node, other);
    assert_eq!(found.recv_timeout(SOON).unwrap().unwrap().length, 54_321);
    assert!(node.open_now(other).is_some() && node.info_now(other).is_some());
    let (_opened, opened) = open(other);
    assert_eq!(opened.recv_timeout(SOON).unwrap(), Ok(54_321));
    for end in [
        hanging.recv_timeout(SOON).expect("it ends in time").err(),
        looking.recv_timeout(SOON).expect("it ends in time").err(),
    ] {
        assert_eq!(end, Some(Failure::TimedOut));
    }
    // As many as there are threads, and more: they end in time, too.
    let more: Vec<_> = (0..2 * LIMITS.threads).map(|_| open(hangs)).collect();
    for (_, end) in &more {
        let end = end.recv_timeout(SOON).expect("it ends in time");
        assert_eq!(end, Err(Failure::TimedOut));
    }
    // When the disk goes on, so does all else.
    drop(kept);
    let (_opened, opened) = open(hangs);
    assert_eq!(opened.recv_timeout(SOON).unwrap(), Ok(123_457));
    assert_eq!(node.0.shared.aside.waiting(), 0);
    node.stop();
}
