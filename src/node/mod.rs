//! The shell around the state machine: sockets, threads, disks and time.
//!
//! [`Node`] joins the swarm and the store and is the one handle that the rooms above use. The swarm
//! lives on the network thread and nowhere else; the other threads reach it through a mailbox (see
//! `shared` for who does what). A read that finds its bytes here is answered on the caller's
//! thread; one that does not is kept as a ticket and answered by whoever ends it first.

mod addresses;
mod afloat;
mod aside;
mod backlog;
mod batches;
mod blocks;
mod bytes;
pub mod calls;
mod claims;
mod compare;
mod disk_threads;
mod disk_ticker;
pub mod explain;
mod fetches;
mod given;
mod keeper;
mod lan;
mod leaves;
mod lookups;
mod mailbox;
mod messages;
mod names;
mod network;
mod network_list;
mod pending;
mod pieces;
mod prover;
pub mod publishing;
mod readahead;
mod reader;
mod reassembly;
mod repair;
pub mod rights;
mod runs;
mod scratch;
pub mod seeding;
mod server;
mod shared;
mod sieve;
mod socket;
mod starting;
mod status;
#[cfg(test)]
mod still;
mod streams;
mod suspects;
mod ticker;
mod transfer;
mod types;
mod writer;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::content::ContentId;
use crate::store::Store;

pub use afloat::DiskTrouble;
pub use blocks::BlocksError;
pub use names::{Latest, Named, publish};
pub use network_list::NetworkContent;
pub use pending::Pending;
pub use reader::{Backing, Reader};
pub use starting::Bound;
pub use streams::StreamReader;
pub use types::{
    BOOTSTRAP, Complete, Config, ContentInfo, DEFAULT_PORT, Done, DoneRead, Failure, FetchStatus,
    PeerStatus, StartError, Status, Verified, Verify,
};

use messages::{Arrival, Command, Keep};
use shared::Shared;

/// How long the threads may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// A running node. Clones are the same node.
#[derive(Clone)]
pub struct Node(Arc<Running>);

struct Running {
    shared: Arc<Shared>,
    address: SocketAddr,
    port_was_taken: bool,
    started: Instant,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    handles: Vec<JoinHandle<()>>,
    /// Those that may hang with the disk, and keep nothing that has to be made durable.
    on_disk: Vec<JoinHandle<()>>,
    ticker: Sender<()>,
}

impl Node {
    /// Ends every waiting operation with [`Failure::Stopped`], makes the store durable, joins the
    /// threads. Takes two seconds at most. Calling it again does nothing.
    pub fn stop(&self) {
        let threads = self
            .0
            .threads
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .take();
        let Some(threads) = threads else {
            return;
        };
        let shared = &self.0.shared;
        let report = self.report();
        shared.stopping.store(true, Ordering::Release);
        shared.fail_everything();
        drop(threads.ticker);
        shared.mailbox.post(Command::Stop);
        let _ = shared.arrivals.send(Arrival::Stop);
        let _ = shared.to_prove.send(None);
        let _ = shared.to_keep.send(Keep::Stop);
        shared.wake_disk_ticker();
        shared.wake_disk_threads();
        // Joined on a thread of its own, because a disk that hangs must not hang us.
        let (all_ended, ended) = mpsc::channel();
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            for handle in threads.handles {
                let _ = handle.join();
            }
            shared.fail_everything();
            keeper::sync_partials(&shared);
            if let Some(report) = report.filter(|report| !report.good_peers.is_empty())
                && let Err(error) = shared.store.remember_peers(&report.good_peers)
            {
                tracing::debug!(%error, "could not remember peers");
            }
            if let Err(error) = shared.store.flush() {
                tracing::warn!(%error, "the index could not be made durable");
            }
            for handle in threads.on_disk {
                let _ = handle.join();
            }
            let _ = all_ended.send(());
        });
        let _ = ended.recv_timeout(STOP_LIMIT);
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// Whether the port that was asked for was taken, so that another is used.
    #[must_use]
    pub fn port_was_taken(&self) -> bool {
        self.0.port_was_taken
    }

    /// How much of content it gives out before it is proven.
    #[must_use]
    pub fn verify(&self) -> Verify {
        self.0.shared.config.verify
    }

    /// What it keeps content in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.shared.store
    }

    /// Finds out whether `id` exists and how long it is. What is known in memory answers at once, on this
    /// thread, before the call returns (then `None` is returned). Never waits for the disk.
    pub fn lookup(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Pending> {
        self.0.shared.lookup(id, done)
    }

    /// Opens content that [`Node::lookup`] has found. Never waits for a peer.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when its length is not known, [`Failure::Disk`] when there is no room
    /// for it.
    pub fn open(&self, id: ContentId) -> Result<Reader, Failure> {
        self.open_to(id, self.0.shared.config.verify)
    }

    /// The same for a reader that may be stricter than this node.
    ///
    /// # Errors
    /// As for [`Node::open`].
    pub fn open_to(&self, id: ContentId, verify: Verify) -> Result<Reader, Failure> {
        let shared = &self.0.shared;
        let verify = match shared.config.verify {
            Verify::Strict => Verify::Strict,
            Verify::Auto => verify,
        };
        if id.is_empty_content() {
            return Ok(Reader::empty(Arc::clone(shared)));
        }
        // Before it is looked for, so that it is not given up meanwhile.
        let hold = shared.store.hold(&id);
        if shared.store.may_hold(&id)
            && let Some(content) = shared
                .store
                .open_content(&id)
                .map_err(|error| shared::disk_failure(&error))?
        {
            return Ok(Reader::complete(Arc::clone(shared), content, hold));
        }
        let info = shared.known(id).ok_or(Failure::NotFound)?;
        let transfer = shared.begin(id, info.length)?;
        let node = Arc::clone(shared);
        Ok(Reader::arriving(node, transfer, hold, verify))
    }

    /// Fetches all of it; `done` when it is complete, verified and durable in the store.
    /// [`Node::info`] tells the progress.
    pub fn fetch(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Pending> {
        self.0.shared.fetch(id, done)
    }

    /// What is known of `id` without asking anybody.
    #[must_use]
    pub fn info(&self, id: ContentId) -> Option<ContentInfo> {
        self.0.shared.known(id)
    }

    /// What is held or in flight, at most `limit` of it.
    #[must_use]
    pub fn contents(&self, limit: usize) -> Vec<ContentInfo> {
        self.0.shared.contents(limit)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Threads that nobody stopped end when they notice that the node is stopping.
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.mailbox.post(Command::Stop);
        let _ = self.shared.arrivals.send(Arrival::Stop);
        let _ = self.shared.to_prove.send(None);
        let _ = self.shared.to_keep.send(Keep::Stop);
        self.shared.wake_disk_ticker();
        self.shared.wake_disk_threads();
    }
}
