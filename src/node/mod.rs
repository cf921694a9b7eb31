//! The shell around the swarm and the store (stub of the public face; being built).

pub mod seeding;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::content::ContentId;
use crate::store::Store;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Config {
    pub store: PathBuf,
    pub bind: SocketAddr,
    /// Peers named by the user.
    pub peers: Vec<SocketAddr>,
    /// Whether the well-known nodes are asked for peers.
    pub bootstrap: bool,
    /// Whether neighbours on the LAN are looked for by broadcast and multicast.
    pub lan: bool,
    /// Bytes of the block cache in memory.
    pub cache: u64,
    pub lookup_timeout: Duration,
    pub read_timeout: Duration,
    pub complete: Complete,
}

/// Whether what is read is completed in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complete {
    Auto,
    Always,
    Never,
}

/// What is known of one piece of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentInfo {
    pub id: ContentId,
    /// Bytes.
    pub length: u64,
    /// Complete and verified.
    pub proven: bool,
    /// Bytes held here.
    pub present: u64,
}

/// Why an operation ended without its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    #[error("nobody in the network has it")]
    NotFound,
    #[error("the peers that have it did not send it in time")]
    TimedOut,
    #[error("what the peers sent is not the content of this id")]
    WrongContent,
    #[error("interrupted")]
    Interrupted,
    #[error("the node is stopping")]
    Stopped,
    #[error("too many operations are waiting")]
    Busy,
    /// An operating-system error of the local disk, by number.
    #[error("the store's disk failed (error {0})")]
    Disk(i32),
}

/// What is called, exactly once and on any thread, when an operation has ended.
pub type Done<T> = Box<dyn FnOnce(Result<T, Failure>) + Send>;
/// The same for reads; the bytes are lent for the duration of the call.
pub type DoneRead = Box<dyn FnOnce(Result<&[u8], Failure>) + Send>;

/// An operation that waits. Dropping it changes nothing; it ends by itself at its limit.
pub struct Pending {
    _private: (),
}

impl Pending {
    /// Whether its `done` has been called.
    pub fn is_done(&self) -> bool {
        unimplemented!()
    }
    /// Ends it now with `failure`, if it has not ended yet; what it wanted is wanted no more.
    pub fn cancel(&self, _failure: Failure) {
        unimplemented!()
    }
}

/// A running node. Clones are the same node.
#[derive(Clone)]
pub struct Node {
    _inner: Arc<()>,
}

#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("cannot listen on {address}: {source}")]
    Bind {
        address: SocketAddr,
        source: std::io::Error,
    },
}

impl Node {
    /// Opens the store, binds the socket, starts the threads. A taken port falls back to a free
    /// one (`local_addr` tells; `port_was_taken` says that it happened).
    pub fn start(_config: Config) -> Result<Self, StartError> {
        unimplemented!()
    }
    /// Ends every waiting operation with `Failure::Stopped`, makes the store durable, joins the
    /// threads. Takes a second or two at most. Calling it again does nothing.
    pub fn stop(&self) {
        unimplemented!()
    }
    pub fn local_addr(&self) -> SocketAddr {
        unimplemented!()
    }
    pub fn port_was_taken(&self) -> bool {
        unimplemented!()
    }
    pub fn store(&self) -> &Store {
        unimplemented!()
    }
    /// Finds out whether `id` exists and how long it is. Held content answers at once, on this
    /// thread, before the call returns (then `None` is returned).
    pub fn lookup(&self, _id: ContentId, _done: Done<ContentInfo>) -> Option<Pending> {
        unimplemented!()
    }
    /// Opens content that `lookup` has found (its length is known). Never waits for a peer.
    pub fn open(&self, _id: ContentId) -> Result<Reader, Failure> {
        unimplemented!()
    }
    /// Fetches all of it; `done` when it is complete and verified. `info` tells the progress.
    pub fn fetch(&self, _id: ContentId, _done: Done<ContentInfo>) -> Option<Pending> {
        unimplemented!()
    }
    pub fn info(&self, _id: ContentId) -> Option<ContentInfo> {
        unimplemented!()
    }
    /// What is held or in flight, at most `limit` of it.
    pub fn contents(&self, _limit: usize) -> Vec<ContentInfo> {
        unimplemented!()
    }
    pub fn status(&self) -> Status {
        unimplemented!()
    }
    pub fn peers(&self) -> Vec<PeerStatus> {
        unimplemented!()
    }
}

/// One open handle on one piece of content: read-ahead and the last byte rule are kept per reader.
pub struct Reader {
    _private: (),
}

impl Reader {
    pub fn length(&self) -> u64 {
        unimplemented!()
    }
    /// Complete and verified at the time of the call.
    pub fn proven(&self) -> bool {
        unimplemented!()
    }
    /// Reads `length` bytes from `offset`, cut at the end of the content (past it: no bytes).
    /// `done` gets exactly that many bytes or a failure. Bytes that are here are given at once, on
    /// this thread, before the call returns (then `None` is returned).
    pub fn read(&self, _offset: u64, _length: u32, _done: DoneRead) -> Option<Pending> {
        unimplemented!()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub address: SocketAddr,
    pub uptime_seconds: f64,
    pub peers_known: usize,
    pub peers_answering: usize,
    pub bytes_fetched: u64,
    pub bytes_served: u64,
    pub datagrams_in: u64,
    pub datagrams_out: u64,
    /// Datagrams that could not be read at all.
    pub datagrams_dropped: u64,
    pub contents_held: u64,
    pub contents_seeded: u64,
    pub operations_waiting: usize,
    pub fetching: Vec<FetchStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchStatus {
    pub id: String,
    pub length: u64,
    pub present: u64,
    pub in_flight: u64,
    pub sources: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    pub address: SocketAddr,
    /// Whether it answered lately.
    pub answering: bool,
    pub round_trip_ms: Option<f64>,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub last_heard_seconds: Option<f64>,
}
