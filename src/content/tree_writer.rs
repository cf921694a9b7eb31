//! The tree file of long content, written while the content is hashed.
//!
//! The tree of 100 GiB has 1.6 GiB, which is no memory to hold. Once the length of the content is
//! known, so is the place of every node, and a parent is due as soon as its second child is: so
//! each level grows from left to right beside the others, and all that is held of it is its last
//! pair and what has gathered for the next write. Nothing is read back, so no disk that forgets can
//! make a wrong tree look right.

use std::io;

use blake3::hazmat::{self, Mode};

use super::Hash;
use super::tree::{Levels, NODE, header};

/// Bytes of a level that are written together. There are at most 52 levels.
const WRITE: usize = 16 << 10;

/// A tree file that is being written.
#[derive(Clone)]
pub(super) struct TreeWriter {
    /// The leaves first, the level of two last.
    levels: Vec<Level>,
    /// Leaves that it was given.
    given: u64,
}

#[derive(Clone)]
struct Level {
    /// Nodes that it will have.
    size: u64,
    /// Nodes that it has.
    nodes: u64,
    /// The last nodes, one of an even and one of an odd number.
    pair: [[u8; NODE]; 2],
    /// What is to be written at `position`.
    gathered: Vec<u8>,
    position: u64,
}

impl TreeWriter {
    /// For content of this many leaves; `None` for fewer than two, which have no tree to speak of.
    pub(super) fn new(leaves: u64) -> Option<Self> {
        if leaves < 2 {
            return None;
        }
        let shape = Levels::new(leaves);
        let level = |level| Level {
            size: shape.size(level),
            nodes: 0,
            pair: [[0; NODE]; 2],
            gathered: Vec::new(),
            position: shape.position(level, 0),
        };
        Some(Self {
            levels: (0..=shape.top()).map(level).collect(),
            given: 0,
        })
    }

    /// Takes the values of the next leaves. Those beyond the number that was said are ignored, and
    /// [`TreeWriter::finish`] tells.
    ///
    /// # Errors
    /// Those of `write_at`; the file is of no use then.
    pub(super) fn push(
        &mut self,
        leaves: &[[u8; NODE]],
        mut write_at: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        for leaf in leaves {
            self.given += 1;
            self.add(0, *leaf, &mut write_at)?;
        }
        Ok(())
    }

    /// Adds a node to a level, and to those above what becomes of it.
    fn add(
        &mut self,
        level: usize,
        mut node: [u8; NODE],
        write_at: &mut impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        for level in self.levels.iter_mut().skip(level) {
            if level.nodes == level.size {
                break;
            }
            let second = !level.nodes.is_multiple_of(2);
            level.pair[usize::from(second)] = node;
            level.nodes += 1;
            level.gathered.extend_from_slice(&node);
            if level.gathered.len() >= WRITE {
                level.write(write_at)?;
            }
            if !second {
                break;
            }
            let [left, right] = &level.pair;
            node = hazmat::merge_subtrees_non_root(left, right, Mode::Hash);
        }
        Ok(())
    }

    /// After the last leaf: writes what is left, the header last, and returns the root. `None` if
    /// the leaves were not as many as was said.
    ///
    /// # Errors
    /// Those of `write_at`; the file is of no use then.
    pub(super) fn finish(
        mut self,
        mut write_at: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<Option<Hash>> {
        if self.levels.first().is_none_or(|l| l.size != self.given) {
            return Ok(None);
        }
        // From the leaves upwards: an odd last node goes up as it is.
        for level in 1..self.levels.len() {
            if let Some(below) = self.levels.get(level - 1)
                && !below.size.is_multiple_of(2)
            {
                let odd = below.pair[0];
                self.add(level, odd, &mut write_at)?;
            }
        }
        for level in &mut self.levels {
            level.write(&mut write_at)?;
        }
        let Some(top) = self.levels.last() else {
            return Ok(None);
        };
        let [left, right] = &top.pair;
        let root = Hash(*hazmat::merge_subtrees_root(left, right, Mode::Hash).as_bytes());
        write_at(0, &header(root))?;
        Ok(Some(root))
    }
}

impl Level {
    fn write(&mut self, write_at: &mut impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        if !self.gathered.is_empty() {
            write_at(self.position, &self.gathered)?;
            self.position += self.gathered.len() as u64;
            self.gathered.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::{ContentHasher, Digests, LEAF, TreeHasher, tree};

    /// A file that may be written in any order; a byte written twice, or past the end of the tree,
    /// is a failure.
    struct TreeFile(Vec<Option<u8>>);

    impl TreeFile {
        fn of(content_length: u64) -> Self {
            Self(vec![None; tree::tree_length(content_length) as usize])
        }

        fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            let place = &mut self.0[at as usize..][..bytes.len()];
            assert!(place.iter().all(Option::is_none), "written twice at {at}");
            place
                .iter_mut()
                .zip(bytes)
                .for_each(|(to, b)| *to = Some(*b));
            Ok(())
        }

        fn whole(self) -> Option<Vec<u8>> {
            self.0.into_iter().collect()
        }
    }

    fn in_memory(bytes: &[u8]) -> Digests {
        let mut hasher = ContentHasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    fn content(length: u64) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn check(length: u64, step: usize) {
        let bytes = content(length);
        let mut file = TreeFile::of(length);
        let mut hasher = TreeHasher::new(length).unwrap();
        for piece in bytes.chunks(step) {
            hasher
                .update(piece, |at, nodes| file.write_at(at, nodes))
                .unwrap();
        }
        let found = hasher.finish(|at, nodes| file.write_at(at, nodes)).unwrap();
        let expected = in_memory(&bytes);
        assert_eq!(file.whole().as_ref(), Some(&expected.tree));
        assert_eq!(found, Some(expected.blake3));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The same root and the same file as in memory, for any length and however it is fed.
        #[test]
        fn it_is_the_tree_that_memory_makes(
            length in prop_oneof![LEAF + 1..40 * LEAF, LEAF + 1..3 << 20],
            step in 1..100_000usize,
        ) {
            check(length, step);
        }
    }

    #[test]
    fn levels_longer_than_a_write_are_whole() {
        let write = (WRITE / NODE) as u64;
        // The last: more than one write in the second level, too.
        for leaves in [write - 1, write, write + 1, 2 * write, 4 * write + 3] {
            check(leaves * LEAF - 7, 1 << 20);
        }
    }

    #[test]
    fn what_is_shorter_or_longer_than_was_said_has_no_digests() {
        let bytes = content(20 * LEAF);
        for said in [2 * LEAF, 19 * LEAF, 20 * LEAF - 1, 20 * LEAF + 1, 40 * LEAF] {
            let mut file = TreeFile::of(said);
            let mut hasher = TreeHasher::new(said).unwrap();
            hasher
                .update(&bytes, |at, nodes| file.write_at(at, nodes))
                .unwrap();
            let found = hasher.finish(|at, nodes| file.write_at(at, nodes));
            assert_eq!(found.unwrap(), None, "{said}");
        }
        assert!(TreeHasher::new(LEAF).is_none());
    }

    #[test]
    fn what_waits_for_a_write_does_not_follow_the_length() {
        let mut most = 0;
        let mut writer = TreeWriter::new(1 << 20).unwrap();
        for _ in 0..1 << 10 {
            writer.push(&[[7; NODE]; 1 << 10], |_, _| Ok(())).unwrap();
            let held = writer.levels.iter().map(|level| level.gathered.len()).sum();
            most = usize::max(most, held);
        }
        assert!(writer.finish(|_, _| Ok(())).unwrap().is_some());
        assert!(most <= 20 * WRITE, "{most}");
    }
}
