//! Which ids may be held, in memory: strangers ask for a great many that are not, and such a
//! question must cost no disk access.
//!
//! Of an id 64 bits are kept: a million seeded files, each under two ids, take 16 MB. Another id that has the same 64 bits costs one vain look into
//! the index.

use std::collections::HashSet;
use std::sync::RwLock;

use crate::content::{ContentId, Kind};

/// The 64 bits by which an id is looked up.
pub(super) fn prefix(id: &ContentId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.hash.0;
    let kind: u64 = match id.kind {
        Kind::Sha256 => 0,
        Kind::Blake3 => 1,
        Kind::TreeV2 => 2,
    };
    // A BLAKE3 id and its tree's share the hash; the kind tells them apart.
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) ^ kind
}

/// A set of ids with rare false positives and no false negatives.
#[derive(Default)]
pub(super) struct Prefixes(RwLock<Sets>);

#[derive(Default)]
struct Sets {
    /// What was there at the start, sorted: half the memory of a hash set, and read in no time.
    first: Vec<u64>,
    /// What came since.
    since: HashSet<u64>,
}

impl Prefixes {
    pub(super) fn may_hold(&self, id: &ContentId) -> bool {
        let sets = self.0.read().unwrap_or_else(|e| e.into_inner());
        let prefix = prefix(id);
        sets.since.contains(&prefix) || sets.first.binary_search(&prefix).is_ok()
    }

    pub(super) fn insert(&self, id: &ContentId) {
        let mut sets = self.0.write().unwrap_or_else(|e| e.into_inner());
        let prefix = prefix(id);
        if sets.first.binary_search(&prefix).is_err() {
            sets.since.insert(prefix);
        }
    }

    /// Takes `all` in place of what it held.
    pub(super) fn replace(&self, mut all: Vec<u64>) {
        all.sort_unstable();
        all.dedup();
        all.shrink_to_fit();
        let mut sets = self.0.write().unwrap_or_else(|e| e.into_inner());
        *sets = Sets {
            first: all,
            since: HashSet::new(),
        };
    }
}
