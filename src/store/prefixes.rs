//! Which ids may be held, in memory: strangers ask for a great many that are not, and such a
//! question must cost no disk access.
//!
//! Of an id 64 bits are kept, nine bytes a piece with the table's own: a million seeded files, each
//! under two ids, take some 38 MB. Another id that has the same 64 bits costs one vain look into
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
pub(super) struct Prefixes(RwLock<HashSet<u64>>);

impl Prefixes {
    pub(super) fn may_hold(&self, id: &ContentId) -> bool {
        let set = self.0.read().unwrap_or_else(|e| e.into_inner());
        set.contains(&prefix(id))
    }

    pub(super) fn insert(&self, id: &ContentId) {
        let mut set = self.0.write().unwrap_or_else(|e| e.into_inner());
        set.insert(prefix(id));
    }

    /// Takes in many at once; `count` of them are expected.
    pub(super) fn extend(&self, count: u64, prefixes: impl Iterator<Item = u64>) {
        let mut set = self.0.write().unwrap_or_else(|e| e.into_inner());
        set.reserve(usize::try_from(count).unwrap_or(0));
        set.extend(prefixes);
    }

    /// Takes over what `other` holds in place of its own.
    pub(super) fn replace(&self, other: Self) {
        let mut set = self.0.write().unwrap_or_else(|e| e.into_inner());
        *set = other.0.into_inner().unwrap_or_else(|e| e.into_inner());
    }
}
