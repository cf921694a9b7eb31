//! Never stuck: a folder of the user's that hangs keeps those who need what lies in it, to their limit, and nobody
//! else.

mod folder;

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use cjp2pfs::node::{Failure, Node, Reader};

use crate::node_support::{
    Place, Running, SOON, assert_same, bytes, fetch, get, lookup, read, sha256, start_read,
};
use folder::Folder;

const LENGTH: usize = 300_000;
const LIMIT: Duration = Duration::from_secs(2);
/// More than there are threads that wait for disks.
const CROWD: usize = 40;

/// What `call` returns, on a thread of its own.
fn soon<T: Send + 'static>(what: &str, call: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = channel();
    std::thread::spawn(move || tell.send(call()));
    told.recv_timeout(SOON)
        .unwrap_or_else(|_| panic!("it waits: {what}"))
}

/// A folder with a file of these bytes, and a place for a node that seeds it from there.
fn seeded(name: &str) -> Option<(Folder, Place, Vec<u8>)> {
    let film = bytes(name, LENGTH);
    let folder = Folder::with(film.clone())?;
    let place = Place::new();
    place.seed(&folder.file(), &film);
    Some((folder, place, film))
}

#[test]
fn a_folder_that_hangs_keeps_those_who_need_it_and_nobody_else() {
    let Some((folder, place, film)) = seeded("a film that hangs") else {
        return;
    };
    let others = [1, 2, 3].map(|number| bytes(&format!("another {number}"), LENGTH));
    place.hold(&others[0]);
    place.hold_unlearnt(&others[1]);
    place.hold_unlearnt(&others[2]);
    let node = place.start(&[], |config| config.read_timeout = LIMIT);
    let peer = Running::new(&[node.address()]);
    let id = sha256(&film);
    // What is open stays open for a while.
    let open = get(&node, id);
    assert_same(&read(&open, 0, 5000).unwrap(), &film[..5000]);

    folder.hang(true);
    let start = Instant::now();
    let asks: Node = node.node.clone();
    let now = soon("open_now", move || asks.open_now(id).is_some());
    assert!(!now, "it is not known without waiting");
    let asks = node.node.clone();
    assert!(soon("info_now", move || asks.info_now(id)).is_none());
    let reads: Vec<_> = (0..CROWD)
        .map(|number| start_read(&open, number as u64 * 1000, 1000))
        .collect();
    let opens = (0..CROWD).map(|_| {
        let (tell, ended) = channel();
        let opens = node.node.clone();
        let opened = move |opened: Result<Result<Reader, Failure>, Failure>| {
            let _ = tell.send(opened.map(|_| ()));
        };
        let waits = node.aside(move || opens.open(id), Box::new(opened));
        assert!(waits.is_some());
        ended
    });
    let opens: Vec<_> = opens.collect();
    // Peers ask for it, too, again and again.
    let asking: Vec<_> = (0..6).map(|_| Running::new(&[node.address()])).collect();
    let sought: Vec<_> = asking.iter().map(|asks| lookup(asks, id)).collect();

    // All else is read and served meanwhile.
    for other in &others {
        let asks = node.node.clone();
        let other_id = sha256(other);
        let reader = soon("another that is held", move || get(&asks, other_id));
        assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), other);
        fetch(&peer, other_id).end().unwrap();
        assert_same(
            &read(&get(&peer, other_id), 0, LENGTH as u32).unwrap(),
            other,
        );
    }
    let told = sought.iter().map(|sought| sought.calls()).sum::<usize>();
    assert_eq!(told, 0, "nobody can tell whether it is there");

    // Those who need it wait to their limit.
    for ended in opens {
        let end = ended.recv_timeout(SOON).expect("it ends in time");
        assert_eq!(end, Err(Failure::TimedOut));
    }
    for read in reads {
        assert_eq!(read.end().unwrap_err(), Failure::TimedOut);
    }
    assert!(start.elapsed() >= LIMIT);

    // When it goes on, so do they.
    folder.hang(false);
    assert_same(&read(&open, 5000, 5000).unwrap(), &film[5000..10_000]);
    for sought in sought {
        sought.end().unwrap();
    }

    folder.hang(true);
    let waits = lookup(&node, id);
    let start = Instant::now();
    node.node.stop();
    assert_eq!(waits.end().unwrap_err(), Failure::Stopped);
    assert!(start.elapsed() < SOON);
}

#[test]
fn to_close_what_lies_in_a_folder_that_hangs_keeps_nobody() {
    let Some((folder, place, film)) = seeded("a film that is closed") else {
        return;
    };
    let other = bytes("another", LENGTH);
    place.hold(&other);
    let node = place.start(&[], |config| config.read_timeout = LIMIT);
    let open = get(&node, sha256(&film));
    assert_same(&read(&open, 0, 5000).unwrap(), &film[..5000]);

    folder.hang(true);
    let store = node.store().clone();
    soon("closing", move || {
        drop(open);
        store.close_unused();
    });
    let asks = node.node.clone();
    let reader = soon("another that is held", move || get(&asks, sha256(&other)));
    assert_eq!(reader.length(), LENGTH as u64);
}
