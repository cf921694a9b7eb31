//! The disk ticker thread: what is done because time passes and may have to wait for the disk.
//!
//! The ticker keeps the limits of everything that waits, so a disk that hangs must not hold it up. It
//! wakes this thread and goes on, as does whoever looks up what may be held: a program that asks for it
//! waits on a thread that others need. If this one hangs, lookups and reads still end in time.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::messages::Command;
use super::shared::{Shared, lock};
use crate::content::ContentId;

/// How often it is seen to trees that do not come: at each tick, and not whenever somebody looks something
/// up.
const PRESS_EVERY: Duration = Duration::from_millis(50);

/// Runs until it is woken when the node stops.
pub(super) fn run(shared: &Shared, wake: &Receiver<()>) {
    let mut press_at = Instant::now();
    while wake.recv().is_ok() && !shared.is_stopping() {
        shared.end_lookups_of_held();
        let now = Instant::now();
        if now < press_at {
            continue;
        }
        press_at = now + PRESS_EVERY;
        for transfer in shared.transfers() {
            shared.press_for_nodes(&transfer, now);
        }
    }
}

impl Shared {
    /// Has it look at what waits. If it is at it still, it looks once more afterwards.
    pub(super) fn wake_disk_ticker(&self) {
        let _ = self.disk_ticker.try_send(());
    }

    /// Ends lookups of what is here by now, because it was seeded, imported, or is other content whose
    /// hashes have been learnt.
    fn end_lookups_of_held(&self) {
        let waiting: Vec<ContentId> = lock(&self.lookups).keys().copied().collect();
        for id in waiting {
            let held = self.store.may_hold(&id).then(|| self.known(id)).flatten();
            let Some(info) = held.filter(|info| info.proven) else {
                self.seek(id);
                continue;
            };
            let lookup = {
                let mut lookups = lock(&self.lookups);
                if self.transfer(&id).is_none() {
                    self.mailbox.post(Command::Forget(id));
                }
                lookups.remove(&id)
            };
            for asker in lookup.into_iter().flat_map(|lookup| lookup.askers) {
                if let Some(done) = asker.ticket.take() {
                    done(Ok(info.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsRawFd;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, TryRecvError, channel};

    use super::super::pending::Ticket;
    use super::super::{ContentInfo, Done, Failure, Node, Pending, lookups, still};
    use super::*;
    use crate::content::Hash;

    const SOON: Duration = Duration::from_secs(20);
    /// Of fcntl(2); the `libc` crate does not have it.
    const F_SETSIG: libc::c_int = 10;

    fn node(store: &Path) -> Node {
        let config = still::config(store, Duration::from_millis(300), SOON);
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

    #[test]
    fn a_disk_that_hangs_holds_up_no_limit() {
        const LENGTH: u64 = 123_457;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("content");
        fs::write(&file, vec![7; LENGTH as usize]).unwrap();
        let store = folder.path().join("store");
        let node = node(&store);
        let imported = node.store().import(&file).unwrap();
        let held = ContentId::sha256(Hash::from_hex(&imported.sha256).unwrap().0);
        // What nobody asked for between the two is closed.
        node.store().close_unused();
        node.store().close_unused();
        let kept = File::open(file_of_length(&store, LENGTH).unwrap()).unwrap();
        if lease(&kept).is_none() {
            return;
        }

        // One that began before it was here.
        let shared = &node.0.shared;
        let (tell, ended) = done();
        let asker = lookups::Asker::new(Ticket::new(tell), Instant::now() + SOON * 3, None);
        let lookup_of_held = lookups::Lookup {
            askers: vec![asker],
            sought: false,
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
}
