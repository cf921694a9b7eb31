//! What the tests of the room `node` share: real nodes on loopback, a scripted peer, bounded waits.
//!
//! An operation ends through a channel that is waited on for a bounded time; nothing sleeps in the
//! hope that something has happened by then. Nodes stop and scripted peers end when they drop.

// Each test file compiles this module for itself and uses a part of it.
#![allow(dead_code, unused_imports)]

mod asked;
mod peer;

pub use asked::{Asked, fetch, get, lookup, read, start_read};
pub use peer::{Peer, Question, Reply, Rule, part};

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cjp2pfs::content::{ByteRange, ContentHasher, ContentId, Digests};
use cjp2pfs::node::{Complete, Config, Node, Verify};
use cjp2pfs::store::{Identity, Limits, Store};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// For what should take moments; long, because the machine may be busy with other tests.
pub const SOON: Duration = Duration::from_secs(30);
/// A limit that a test wants to see passing.
pub const SHORT: Duration = Duration::from_millis(400);
/// How long nothing must be heard before a peer or a node counts as quiet: longer than the first
/// timeouts of the transport, which ask for lost bytes again.
pub const QUIET: Duration = Duration::from_millis(1500);

/// Bytes that nobody can guess, and that follow from `name`.
pub fn bytes(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

pub fn sha256(bytes: &[u8]) -> ContentId {
    ContentId::sha256(Sha256::digest(bytes).into())
}

pub fn digests(bytes: &[u8]) -> Digests {
    let mut hasher = ContentHasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// Panics, without printing megabytes, unless they are the same.
#[track_caller]
pub fn assert_same(got: &[u8], expected: &[u8]) {
    assert_eq!(got.len(), expected.len(), "bytes");
    let difference = got.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(difference, None, "the first difference");
}

/// A folder for one node's store and files.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// Puts a file in the store that is served by all its ids.
    pub fn hold(&self, bytes: &[u8]) -> Digests {
        let path = self.0.path().join(digests(bytes).sha256.to_string());
        fs::write(&path, bytes).unwrap();
        self.seed(&path, bytes)
    }

    /// The same of a file that is there.
    pub fn seed(&self, path: &Path, bytes: &[u8]) -> Digests {
        let digests = digests(bytes);
        let identity = Identity::of(&fs::symlink_metadata(path).unwrap());
        let store = Store::open(&self.store()).unwrap();
        store.add_seeded(path, identity, &digests).unwrap();
        store.flush().unwrap();
        digests
    }

    /// Puts complete content in the store of which only the SHA-256 is known.
    pub fn hold_unlearnt(&self, bytes: &[u8]) {
        let store = Store::open(&self.store()).unwrap();
        let length = bytes.len() as u64;
        let partial = store.partial(&sha256(bytes), length).unwrap();
        partial.write_at(0, bytes).unwrap();
        partial.note_present(ByteRange::at(0, length));
        partial.complete().unwrap();
        store.flush().unwrap();
    }

    /// Changes one byte of all partial content in the store that is no tree.
    pub fn spoil_partial(&self, at: u64) {
        use std::os::unix::fs::FileExt;
        let mut spoilt = 0;
        for entry in fs::read_dir(self.store().join("partial")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if !name.ends_with(".data") || name.starts_with("tree") {
                continue;
            }
            let file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            spoilt += 1;
        }
        assert_eq!(spoilt, 1);
    }

    /// Generous limits, nothing completed by itself.
    pub fn config(&self, peers: &[SocketAddr]) -> Config {
        Config {
            store: self.store(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            peers: peers.to_vec(),
            bootstrap: false,
            lan: false,
            cache: 64 << 20,
            limits: Limits::default(),
            upload_limit: None,
            upload_limit_per_address: None,
            download_limit: None,
            lookup_timeout: SOON,
            read_timeout: SOON,
            complete: Complete::Never,
            verify: Verify::Auto,
        }
    }

    /// A node in this place, with a configuration that `adjust` has changed.
    pub fn start(self, peers: &[SocketAddr], adjust: impl FnOnce(&mut Config)) -> Running {
        let mut config = self.config(peers);
        adjust(&mut config);
        let node = Node::start(config).unwrap();
        Running {
            node,
            place: Some(self),
        }
    }
}

/// A node that is stopped when dropped.
pub struct Running {
    pub node: Node,
    place: Option<Place>,
}

impl Running {
    pub fn new(peers: &[SocketAddr]) -> Self {
        Place::new().start(peers, |_| {})
    }

    pub fn with(peers: &[SocketAddr], adjust: impl FnOnce(&mut Config)) -> Self {
        Place::new().start(peers, adjust)
    }

    /// A node that holds `bytes`.
    pub fn holding(bytes: &[u8]) -> Self {
        let place = Place::new();
        place.hold(bytes);
        place.start(&[], |_| {})
    }

    pub fn address(&self) -> SocketAddr {
        self.node.local_addr()
    }

    /// Stops the node; its store can be opened again when this returns.
    pub fn stop(mut self) -> Place {
        self.node.stop();
        let place = self.place.take().unwrap();
        drop(self);
        wait("the store to be free", || Store::open(&place.store()).ok());
        place
    }
}

impl std::ops::Deref for Running {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.node.stop();
    }
}

/// Looks again and again until there is something to see.
#[track_caller]
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < SOON, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
