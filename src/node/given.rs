//! The last byte rule, kept at our own door.
//!
//! Content by SHA-256 can only be verified as a whole, and a program must not have all bytes of
//! wrong content without an error. So while the whole is unproven, a handle that has been given
//! every other byte waits with the rest until the proof is made; if it fails, that read fails, and
//! so does every later one of that handle. Content of one leaf is given out only when proven.

use crate::content::{ByteRange, LEAF, RangeSet};

/// Bytes that one handle has been given of unproven content.
#[derive(Debug, Default)]
pub(super) struct Given(RangeSet);

impl Given {
    /// Whether giving `range` would complete the content in the reader's hands.
    pub fn would_complete(&self, range: ByteRange, length: u64) -> bool {
        let fresh: u64 = self.0.gaps(range).map(|gap| gap.len()).sum();
        length <= LEAF || self.0.bytes() + fresh >= length
    }

    /// Whether any of `ranges` was given.
    pub fn intersects(&self, ranges: &RangeSet) -> bool {
        ranges.iter().any(|range| self.0.intersects(range))
    }

    /// Notes that `range` is given.
    pub fn insert(&mut self, range: ByteRange) {
        self.0.insert(range);
    }
}
