//! The last byte rule, kept at our own door.
//!
//! Content by SHA-256 can only be verified as a whole, and a program must not have all bytes of
//! wrong content without an error. So while the whole is unproven, a handle that has been given
//! every other byte waits with the rest until the proof is made; if it fails, that read fails, and
//! so does every later one of that handle. Content of one leaf is given out only when proven. And a
//! handle that was given bytes in whose place others came is spoilt: it gets nothing more, lest a
//! program mix the two.

use crate::content::{ByteRange, LEAF, RangeSet};

/// Bytes that one handle has been given of unproven content.
#[derive(Debug, Default)]
pub(super) struct Given {
    ranges: RangeSet,
    spoilt: bool,
}

impl Given {
    /// Whether giving `range` would complete the content in the reader's hands.
    pub fn would_complete(&self, range: ByteRange, length: u64) -> bool {
        let fresh: u64 = self.ranges.gaps(range).map(|gap| gap.len()).sum();
        length <= LEAF || self.ranges.bytes() + fresh >= length
    }

    /// Notes that `range` is given.
    pub fn insert(&mut self, range: ByteRange) {
        self.ranges.insert(range);
    }

    /// Whether it was given wrong bytes.
    pub fn is_spoilt(&self) -> bool {
        self.spoilt
    }

    /// Other bytes than before stand at `range` now. Whether it had been given any of them.
    pub fn replaced(&mut self, range: ByteRange) -> bool {
        self.spoilt |= self.ranges.intersects(range);
        self.spoilt
    }
}
