//! Disks that hang until a test has them go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::*;

const SOON: Duration = Duration::from_secs(20);
const OWN: u64 = 1;
const LIMITS: Limits = Limits {
    threads: 5,
    of_one_disk: 2,
    waiting: 80,
};

/// The threads of a store, at work.
struct Scene {
    disks: Arc<DiskThreads>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Scene {
    fn new() -> Self {
        let disks = Arc::new(DiskThreads::new(OWN, LIMITS));
        let stopping = Arc::new(AtomicBool::new(false));
        let threads = (0..LIMITS.threads).map(|_| {
            let (disks, stopping) = (Arc::clone(&disks), Arc::clone(&stopping));
            thread::spawn(move || disks.run(|| stopping.load(Ordering::SeqCst)))
        });
        let threads = threads.collect();
        Self {
            disks,
            stopping,
            threads,
        }
    }

    /// Reads from `disk`, which hangs until the sender that is returned is dropped; and what is heard when it
    /// comes to the disk, and when it is done.
    fn read_hanging(&self, disk: u64) -> (Sender<()>, Receiver<&'static str>) {
        let (go_on, hang) = channel::<()>();
        let (tell, heard) = channel();
        let pushed = self.disks.push(
            move || {
                if disks::come_to(disk).is_err() {
                    return;
                }
                let _ = tell.send("at it");
                let _ = hang.recv();
                let _ = tell.send("done");
            },
            |_| false,
        );
        assert!(pushed);
        (go_on, heard)
    }

    fn waiting_for(&self, disk: u64) -> usize {
        lock(&self.disks.state).waiting_for(disk)
    }

    fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.disks.wake_all();
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

fn until(mut it_is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !it_is_so() {
        assert!(start.elapsed() < SOON, "it does not come to it");
        thread::yield_now();
    }
}

#[test]
fn a_disk_that_hangs_takes_some_threads_and_no_more() {
    let scene = Scene::new();
    let at_it = |heard: &Receiver<_>| heard.recv_timeout(SOON) == Ok("at it");
    let mut hanging = Vec::new();
    // Two disks that hang, each with more than may wait for it.
    for disk in [2, 3] {
        let first: Vec<_> = (0..2).map(|_| scene.read_hanging(disk)).collect();
        assert!(first.iter().all(|(_, heard)| at_it(heard)));
        hanging.extend(first);
        hanging.extend((0..2).map(|_| scene.read_hanging(disk)));
        until(|| scene.waiting_for(disk) == 2);
    }
    // The store's own goes on.
    for _ in 0..10 {
        let (go_on, heard) = scene.read_hanging(OWN);
        assert!(at_it(&heard));
        drop(go_on);
        assert_eq!(heard.recv_timeout(SOON), Ok("done"));
    }
    assert_eq!([2, 3].map(|disk| scene.waiting_for(disk)), [2; 2]);
    // When they go on, so does all that waits for them.
    for (go_on, heard) in hanging {
        drop(go_on);
        assert!(heard.iter().any(|said| said == "done"));
    }
    scene.stop();
}

#[test]
fn what_was_turned_away_is_done_again_from_its_beginning() {
    let scene = Scene::new();
    let (tell, heard) = channel();
    let begun = Arc::new(AtomicUsize::new(0));
    let begins = Arc::clone(&begun);
    let work = move || {
        begins.fetch_add(1, Ordering::SeqCst);
        // What has been turned away comes to nothing.
        let come_to = [2, OWN, 3].map(|disk| disks::come_to(disk).is_ok());
        let _ = tell.send((come_to, disks::is_turned_away()));
    };
    assert!(scene.disks.push(work, |_| false));
    assert_eq!(heard.recv_timeout(SOON).unwrap(), ([false; 3], true));
    assert_eq!(heard.recv_timeout(SOON).unwrap(), ([true; 3], false));
    scene.stop();
    assert_eq!(begun.load(Ordering::SeqCst), 2);
}

#[test]
fn what_waits_for_a_disk_that_hangs_is_bounded_and_gets_old() {
    let scene = Scene::new();
    let hanging: Vec<_> = (0..2).map(|_| scene.read_hanging(2)).collect();
    for (_, heard) in &hanging {
        assert_eq!(heard.recv_timeout(SOON), Ok("at it"));
    }
    // An eighth of 80 may wait for one disk; the rest is dropped, and then nobody has its sender.
    let more: Vec<_> = (0..30).map(|_| scene.read_hanging(2).1).collect();
    let is_dropped = |heard: &&Receiver<_>| heard.try_recv() == Err(TryRecvError::Disconnected);
    until(|| more.iter().filter(is_dropped).count() == 20);
    assert_eq!(scene.waiting_for(2), 10);
    assert!(!scene.disks.is_full());

    let other: Vec<_> = (0..2).map(|_| scene.read_hanging(3)).collect();
    for (_, heard) in &other {
        assert_eq!(heard.recv_timeout(SOON), Ok("at it"));
    }
    let (tell, heard) = channel::<()>();
    let start = Instant::now();
    let work = move || {
        let _ = (&tell, disks::come_to(3));
    };
    assert!(scene.disks.push(work, move |now| now > start));
    until(|| scene.waiting_for(3) == 1);
    scene.disks.drop_overdue(start);
    assert_eq!(heard.try_recv(), Err(TryRecvError::Empty));
    scene.disks.drop_overdue(start + SOON);
    assert_eq!(heard.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!([2, 3].map(|disk| scene.waiting_for(disk)), [10, 0]);
    drop((hanging, other));
    scene.stop();
}

#[test]
fn no_more_waits_than_may() {
    let disks = DiskThreads::new(OWN, LIMITS);
    for waiting in 0..LIMITS.waiting {
        assert!(!disks.is_full(), "{waiting}");
        assert!(disks.push(|| (), |_| false));
    }
    assert!(disks.is_full() && !disks.push(|| (), |_| false));
    disks.drop_overdue(Instant::now());
    assert!(disks.is_full());
    disks.run(|| true);
    assert!(!disks.is_full());
}

#[test]
fn a_disk_is_late_until_it_does_something_or_somebody_tries_later() {
    let scene = Scene::new();
    let now = Instant::now();
    scene.disks.note_late(Some(2), now);
    scene.disks.note_late(None, now);
    let late = |disk, after| scene.disks.is_late(disk, now + after);
    assert!(late(Some(2), AT_ONCE) && late(Some(OWN), AT_ONCE) && late(None, AT_ONCE));
    assert!(!late(Some(3), AT_ONCE) && !late(Some(2), AT_ONCE * 2));
    let (go_on, heard) = scene.read_hanging(2);
    assert_eq!(heard.recv_timeout(SOON), Ok("at it"));
    // It was begun by a thread for the store's own, which has come this far.
    assert!(late(Some(2), AT_ONCE) && !late(None, AT_ONCE));
    drop(go_on);
    until(|| !late(Some(2), AT_ONCE));
    scene.disks.note_late(Some(2), now);
    scene.disks.drop_overdue(now + AT_ONCE * 2);
    assert!(lock(&scene.disks.state).late.is_empty());
    scene.stop();
}
