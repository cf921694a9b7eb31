//! The last byte rule, kept at our own door.
//!
//! Content by SHA-256 can only be verified as a whole, and a program must not have all bytes of
//! wrong content without an error. So while the whole is unproven, a handle that has been given
//! every other byte waits with the rest until the proof is made; if it fails, that read fails, and
//! so does every later one of that handle. Content of one leaf is given out only when proven. And a
//! handle that was given bytes in whose place others came is spoilt: it gets nothing more, lest a
//! program mix the two. A strict handle is given nothing at all that is not proven.
//!
//! Whoever maps content into memory sees pages that others have filled. So pages count as given to
//! every handle, and a page is filled only as long as all that was given to anybody is not the
//! whole: then nobody can have the whole, by whatever way.

use std::sync::{Arc, Mutex};

use super::types::Verify;
use crate::content::{ByteRange, LEAF, RangeSet};

/// Bytes that one handle has been given of unproven content, or the handles' common pages have.
#[derive(Debug, Default)]
pub(super) struct Given {
    own: RangeSet,
    pages: bool,
    strict: bool,
    spoilt: bool,
}

impl Given {
    /// For a handle.
    pub fn by(verify: Verify) -> Self {
        Self {
            strict: verify == Verify::Strict,
            ..Self::default()
        }
    }

    /// For what goes into pages that all handles see.
    pub fn in_pages(verify: Verify) -> Self {
        Self {
            pages: true,
            ..Self::by(verify)
        }
    }

    /// Whether nothing unproven may be given.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// Whether it was given wrong bytes.
    pub fn is_spoilt(&self) -> bool {
        self.spoilt
    }
}

/// What was given of unproven content to anybody.
#[derive(Debug, Default)]
pub(super) struct GivenToAny {
    all: RangeSet,
    pages: RangeSet,
}

impl GivenToAny {
    /// Whether giving `range` to who has been `given` some of it would complete the content in
    /// somebody's hands, or is more than a strict handle may have.
    pub fn would_complete(&self, given: &Given, range: ByteRange, length: u64) -> bool {
        if given.strict || length <= LEAF {
            return true;
        }
        let would = |had: &RangeSet| {
            let fresh: u64 = had.gaps(range).map(|gap| gap.len()).sum();
            had.bytes() + fresh >= length
        };
        if given.pages {
            would(&self.all)
        } else if self.pages.is_empty() {
            would(&given.own)
        } else {
            let mut seen = given.own.clone();
            seen.union(&self.pages);
            would(&seen)
        }
    }

    /// Whether a handle with `given` sees any of `ranges`.
    pub fn shows(&self, given: &Given, ranges: &RangeSet) -> bool {
        let sees = |range| given.own.intersects(range) || self.pages.intersects(range);
        ranges.iter().any(sees)
    }

    /// Other bytes than before stand at `range` now: each of these handles that may have been given
    /// any of them is spoilt. Whether pages hold the former bytes; they count as given no more.
    pub fn replaced(&mut self, range: ByteRange, handles: &[Arc<Mutex<Given>>]) -> bool {
        let in_pages = self.pages.intersects(range);
        for given in handles {
            let mut given = given.lock().unwrap_or_else(|e| e.into_inner());
            given.spoilt |= in_pages || given.own.intersects(range);
        }
        if in_pages {
            self.pages = RangeSet::new();
        }
        in_pages
    }

    /// Notes that `range` is given.
    pub fn note(&mut self, given: &mut Given, range: ByteRange) {
        given.own.insert(range);
        self.all.insert(range);
        if given.pages {
            self.pages.insert(range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LENGTH: u64 = 10 * LEAF;

    proptest! {
        /// Three handles read and fill pages in any order: none sees all of it, and what was filled
        /// before a handle came counts as seen by it.
        #[test]
        fn pages_and_reads_together_are_never_the_whole(
            steps in prop::collection::vec((0..3_usize, any::<bool>(), 0..10_u64, 1..10_u64), 1..60),
        ) {
            let mut to_any = GivenToAny::default();
            let mut own: [Given; 3] = Default::default();
            let mut pages = Given::in_pages(Verify::Auto);
            let mut seen: [RangeSet; 3] = Default::default();
            for (handle, page, start, length) in steps {
                let range = ByteRange::at(start * LEAF, length * LEAF)
                    .intersection(ByteRange::new(0, LENGTH));
                let given = if page { &mut pages } else { &mut own[handle] };
                if to_any.would_complete(given, range, LENGTH) {
                    continue;
                }
                to_any.note(given, range);
                for (other, seen) in seen.iter_mut().enumerate() {
                    if page || other == handle {
                        seen.insert(range);
                    }
                    prop_assert!(seen.bytes() < LENGTH);
                }
            }
        }
    }

    /// What is held back is so little that all else was given: the proof needs nothing but it.
    #[test]
    fn only_the_last_of_all_is_held_back() {
        let mut to_any = GivenToAny::default();
        let (mut one, mut pages) = (Given::default(), Given::in_pages(Verify::Auto));
        let half = ByteRange::new(0, LENGTH / 2);
        let rest = ByteRange::new(LENGTH / 2, LENGTH);
        to_any.note(&mut one, half);
        assert!(!to_any.would_complete(&Given::default(), rest, LENGTH));
        assert!(to_any.would_complete(&one, rest, LENGTH));
        assert!(to_any.would_complete(&pages, rest, LENGTH));
        assert!(!to_any.would_complete(&pages, half, LENGTH));
        to_any.note(&mut pages, half);
        assert!(to_any.would_complete(&Given::default(), rest, LENGTH));
    }
}
