//! The words in which a node is spoken to: what it is started with, what it answers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::afloat::DiskTrouble;
use crate::content::ContentId;
use crate::store::{Limits, StoreError, Usage};

/// Nodes that have been there for years and know others (PROTOCOL: well-known nodes).
pub const BOOTSTRAP: [&str; 3] = [
    "148.71.89.128:24254",
    "159.69.54.127:24254",
    "[2a01:4f8:c013:5bc5::1]:24254",
];

/// The port that nodes listen on by convention.
pub const DEFAULT_PORT: u16 = 24254;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The store's folder.
    pub store: PathBuf,
    /// Where to listen. A taken port falls back to a free one.
    pub bind: SocketAddr,
    /// Peers named by the user.
    pub peers: Vec<SocketAddr>,
    /// Whether the well-known nodes are asked for peers.
    pub bootstrap: bool,
    /// Whether neighbours on the LAN are looked for by broadcast and multicast.
    pub lan: bool,
    /// Bytes of the block cache in memory.
    pub cache: u64,
    /// How much the store may take of the disk.
    pub limits: Limits,
    /// Bytes a second of answers to others, headers counted; `None`: unlimited.
    pub upload_limit: Option<u64>,
    /// The same for each IP address (for IPv6 each /64) by itself.
    pub upload_limit_per_address: Option<u64>,
    /// Bytes a second of content that arrives, in the form in which it travels; `None`: unlimited.
    pub download_limit: Option<u64>,
    /// How long an id is looked for before nobody has it.
    pub lookup_timeout: Duration,
    /// How long a read may wait.
    pub read_timeout: Duration,
    /// Whether what is read is completed.
    pub complete: Complete,
    /// How much of content is given out before it is proven.
    pub verify: Verify,
}

/// How much of content is given out before it is proven.
///
/// Peers are given nothing unproven in either case, and what is verified leaf by leaf by a hash that is
/// known to be right is proven leaf by leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// What is asked for, but to nobody all of it.
    #[default]
    Auto,
    /// Nothing: a read of content of which only the whole can be proven waits for that.
    Strict,
}

impl Verify {
    /// In one word: `auto` or `strict`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Strict => "strict",
        }
    }
}

/// Whether what is read is completed in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complete {
    /// What is read from its start onward.
    Auto,
    /// Everything that is opened.
    Always,
    /// Nothing: only what is read, and read-ahead.
    Never,
}

/// What is known of one piece of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentInfo {
    /// Its id.
    pub id: ContentId,
    /// Bytes.
    pub length: u64,
    /// Complete and verified.
    pub proven: bool,
    /// Bytes held here.
    pub present: u64,
    /// How far they are verified.
    pub verified: Verified,
}

/// How far the bytes of some content that are held here are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verified {
    /// Not at all before the whole is here.
    #[default]
    No,
    /// Each leaf by a BLAKE3 that peers claim; the whole will tell whether they are right.
    Claimed,
    /// Each leaf, by a BLAKE3 that is known to belong to it.
    Leaves,
    /// The whole has the hash in its id.
    Yes,
}

impl Verified {
    /// In one word: `no`, `claimed`, `leaves` or `yes`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Claimed => "claimed",
            Self::Leaves => "leaves",
            Self::Yes => "yes",
        }
    }
}

/// Why an operation ended without its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// Nobody that was asked has it.
    #[error("nobody in the network has it")]
    NotFound,
    /// It exists, but its bytes did not come.
    #[error("the peers that have it did not send it in time")]
    TimedOut,
    /// The whole does not have the hash in its name.
    #[error("what the peers sent is not the content of this id")]
    WrongContent,
    /// The one who waited was signalled or gave up.
    #[error("interrupted")]
    Interrupted,
    /// The node ends.
    #[error("the node is stopping")]
    Stopped,
    /// The limit of waiting operations is reached.
    #[error("too many operations are waiting")]
    Busy,
    /// An operating-system error of the local disk, by number.
    #[error("{}", disk_sentence(*.0))]
    Disk(i32),
}

fn disk_sentence(errno: i32) -> String {
    match errno {
        libc::ENOSPC => "no space left on the disk of the store".to_owned(),
        libc::EDQUOT => "the limit of the store, or the quota of its disk, is reached".to_owned(),
        errno => format!(
            "the disk of the store failed: {}",
            std::io::Error::from_raw_os_error(errno)
        ),
    }
}

/// What is called, exactly once and on any thread, when an operation has ended.
pub type Done<T> = Box<dyn FnOnce(Result<T, Failure>) + Send>;
/// The same for reads; the bytes are lent for the duration of the call.
pub type DoneRead = Box<dyn FnOnce(Result<&[u8], Failure>) + Send>;

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No socket could be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system refused a thread or the like.
    #[error("cannot start the node's threads")]
    Threads(#[source] std::io::Error),
}

/// What a node is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its key: `0x` and 64 hexadecimal digits.
    pub public_key: String,
    /// Since its start.
    pub uptime_seconds: f64,
    /// Peers that it remembers.
    pub peers_known: usize,
    /// Of these, those that answered in the last two minutes.
    pub peers_answering: usize,
    /// Content bytes that arrived and were wanted.
    pub bytes_fetched: u64,
    /// Content bytes that arrived twice or too late.
    pub bytes_wasted: u64,
    /// Content bytes that were sent.
    pub bytes_served: u64,
    /// Since the start.
    pub datagrams_in: u64,
    /// Since the start.
    pub datagrams_out: u64,
    /// Payload of the datagrams that came in, without headers.
    pub datagram_bytes_in: u64,
    /// Payload of the datagrams that went out, without headers.
    pub datagram_bytes_out: u64,
    /// Datagrams that could not be read at all.
    pub datagrams_dropped: u64,
    /// Datagrams that this machine dropped because they were not taken from the socket in time.
    pub datagrams_overflowed: u64,
    /// Datagrams that it dropped while a flood was sifted before it reached the socket: too much of one
    /// sender, or of those that prove nothing. If any overflowed meanwhile they are counted here.
    #[serde(default)]
    pub datagrams_sifted: u64,
    /// Requests that were given up and asked again.
    pub requests_lost: u64,
    /// Complete content in the store.
    pub contents_held: u64,
    /// Files that are seeded from where they lie.
    pub contents_seeded: u64,
    /// What the store takes of the disk, where that can be told.
    pub disk: Option<Usage>,
    /// Why content is read through memory and not kept, if it is.
    pub disk_trouble: Option<DiskTrouble>,
    /// Bytes that the store may take.
    pub store_limit: Option<u64>,
    /// Bytes that it leaves free.
    pub min_free: Option<u64>,
    /// How much of content is given out before it is proven.
    pub verify: Verify,
    /// Reads and lookups that wait for the network.
    pub operations_waiting: usize,
    /// What is being fetched.
    pub fetching: Vec<FetchStatus>,
}

/// One piece of content that is being fetched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchStatus {
    /// Its id.
    pub id: String,
    /// Bytes.
    pub length: u64,
    /// Bytes held here.
    pub present: u64,
    /// Bytes asked for and not arrived.
    pub in_flight: u64,
    /// Peers that have it.
    pub sources: usize,
}

/// One peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it answered in the last two minutes.
    pub answering: bool,
    /// Smoothed.
    pub round_trip_ms: Option<f64>,
    /// Datagram bytes, without headers.
    pub bytes_received: u64,
    /// Datagram bytes, without headers.
    pub bytes_sent: u64,
    /// Since when nothing came from it.
    pub last_heard_seconds: Option<f64>,
    /// Share of requests that were lost lately, 0 to 1.
    pub loss: f64,
    /// Estimated content bytes a second.
    pub rate: Option<f64>,
}
