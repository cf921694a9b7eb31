//! Verifying parts of content while neither it nor its tree is complete.
//!
//! The leaves of a tree are verified a group at a time: the nodes of 256 leaves lead to one inner
//! node, and that to the root, by way of one sibling on each level. So a reader of any mebibyte
//! needs 8 KiB of the tree file and a few siblings, whatever the length of the whole. Once its group
//! is trusted, a leaf costs one hash and one comparison.

use std::io;

use blake3::hazmat::{self, Mode};

use super::tree::{HEADER, Levels, NODE, leaf_value, parent};
use super::{ByteRange, Hash, LEAF, RangeSet};

/// Levels between a leaf and the node of its group.
const GROUP_LEVEL: usize = 8;
/// Leaves in a group.
const GROUP_LEAVES: u64 = 1 << GROUP_LEVEL;
/// Bytes of content in a group: 1 MiB. The last group of some content may be shorter.
pub const GROUP: u64 = GROUP_LEAVES * LEAF;
/// What of the tree is fetched together: one request brings the siblings of neighbouring groups, too,
/// and what is kept of content on its way is kept in leaves, as the tree is content itself.
const BLOCK: u64 = LEAF;

/// Which leaves of the content with some BLAKE3 can be verified by what is known of its tree.
///
/// Nothing of the tree file has to be verified beforehand: every node that is used is covered by
/// the check against the root.
#[derive(Clone, Debug)]
pub struct LeafGroups {
    root: Hash,
    length: u64,
    levels: Levels,
    /// Content bytes of the groups whose leaf nodes are known to be right.
    trusted: RangeSet,
}

impl LeafGroups {
    /// For the content of `length` bytes with the BLAKE3 `root`. `None` for content of one leaf or
    /// less, which is verified by its own BLAKE3 and needs no tree.
    #[must_use]
    pub fn new(root: Hash, length: u64) -> Option<Self> {
        (length > LEAF).then(|| Self {
            root,
            length,
            levels: Levels::new(length.div_ceil(LEAF)),
            trusted: RangeSet::new(),
        })
    }

    /// The BLAKE3 of the whole.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Whether the leaf nodes of all of `range`, bytes of the content, are trusted.
    #[must_use]
    pub fn trusts(&self, range: ByteRange) -> bool {
        self.trusted.contains(range)
    }

    /// The groups, as bytes of the content, that `range` touches and that are not trusted yet.
    pub fn untrusted(&self, range: ByteRange) -> impl Iterator<Item = ByteRange> + '_ {
        let range = range.intersection(ByteRange::new(0, self.length));
        let first = range.start / GROUP;
        let end = if range.is_empty() {
            first
        } else {
            range.end.div_ceil(GROUP)
        };
        (first..end)
            .map(|group| self.group(group))
            .filter(|group| !self.trusted.contains(*group))
    }

    fn group(&self, number: u64) -> ByteRange {
        ByteRange::at(number.saturating_mul(GROUP), GROUP)
            .intersection(ByteRange::new(0, self.length))
    }

    /// The leaf nodes of a group, as bytes of the tree file.
    fn leaf_nodes(&self, number: u64) -> ByteRange {
        let first = number.saturating_mul(GROUP_LEAVES);
        let count = self.levels.size(0).saturating_sub(first).min(GROUP_LEAVES);
        ByteRange::at(self.levels.position(0, first), count * NODE as u64)
    }

    /// The siblings on the way from a group's node to the root, from the bottom up: where in the tree
    /// file each stands, or `None` where an odd last node goes up as it is.
    fn siblings(&self, number: u64) -> Vec<(u64, Option<u64>)> {
        let mut index = number;
        let mut way = Vec::new();
        for level in GROUP_LEVEL..=self.levels.top() {
            let sibling = index ^ 1;
            let exists = sibling < self.levels.size(level);
            way.push((index, exists.then(|| self.levels.position(level, sibling))));
            index /= 2;
        }
        way
    }

    /// The bytes of the tree file on which trust in the group that holds `byte` of the content rests:
    /// when [`LeafGroups::trust`] fails, one of these is wrong, when it succeeds, all are right.
    #[must_use]
    pub fn nodes(&self, byte: u64) -> Vec<ByteRange> {
        let number = byte / GROUP;
        let siblings = self.siblings(number).into_iter();
        siblings
            .filter_map(|(_, sibling)| Some(ByteRange::at(sibling?, NODE as u64)))
            .chain([self.leaf_nodes(number)])
            .collect()
    }

    /// The bytes of the tree file to fetch for verifying leaves of `range`: what the groups that it
    /// touches and that are not trusted need, in pieces that are worth a request.
    #[must_use]
    pub fn wanted(&self, range: ByteRange) -> RangeSet {
        let mut wanted = RangeSet::new();
        let file = super::tree::tree_length(self.length);
        let range = range.intersection(ByteRange::new(0, self.length));
        if range.len() > (self.length / 2).max(4 * GROUP) {
            // All leaf nodes of it and the levels above the groups, which lie together.
            let first = self.leaf_nodes(range.start / GROUP);
            let last = self.leaf_nodes(range.end.saturating_sub(1) / GROUP);
            wanted.insert(ByteRange::new(first.start, last.end).widened(BLOCK, file));
            let below = self.levels.position(GROUP_LEVEL - 1, 0);
            wanted.insert(ByteRange::new(HEADER as u64, below).widened(BLOCK, file));
            return wanted;
        }
        for group in self.untrusted(range) {
            for node in self.nodes(group.start) {
                wanted.insert(node.widened(BLOCK, file));
            }
        }
        wanted
    }

    /// The bytes of the content whose verification bytes of the tree file may have been waited for:
    /// whole groups, since a group is trusted with the last of its nodes, whichever that is.
    #[must_use]
    pub fn speaks_of(&self, tree: ByteRange) -> ByteRange {
        let leaves = self.levels.position(0, 0);
        if tree.start < leaves {
            return ByteRange::new(0, self.length);
        }
        let byte = |place: u64| (place.saturating_sub(leaves) / NODE as u64).saturating_mul(LEAF);
        ByteRange::new(byte(tree.start), byte(tree.end).saturating_add(LEAF))
            .widened(GROUP, self.length)
    }

    /// Verifies the leaf nodes of the group that holds `byte` of the content; whether they are those
    /// of the root. `read_at` reads the tree file and must fill the buffer or fail.
    ///
    /// # Errors
    /// Those of `read_at`.
    pub fn trust(
        &mut self,
        byte: u64,
        mut read_at: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let number = byte / GROUP;
        let group = self.group(number);
        if group.is_empty() {
            return Ok(false);
        }
        if self.trusted.contains(group) {
            return Ok(true);
        }
        let place = self.leaf_nodes(number);
        let mut bytes = vec![0; usize::try_from(place.len()).unwrap_or(0)];
        read_at(place.start, &mut bytes)?;
        let mut nodes: Vec<[u8; NODE]> = bytes.as_chunks::<NODE>().0.to_vec();
        // In content of few leaves the level of two lies below that of the groups.
        let up = GROUP_LEVEL.min(self.levels.top());
        for _ in 0..up {
            nodes = nodes.chunks(2).filter_map(parent).collect();
        }
        let mut found = match nodes.as_slice() {
            [left, right] => Some(hazmat::merge_subtrees_root(left, right, Mode::Hash)),
            [_] => None,
            _ => return Ok(false),
        };
        if found.is_none() {
            let mut value = nodes.first().copied().unwrap_or_default();
            let way = self.siblings(number);
            for (step, (index, sibling)) in way.iter().enumerate() {
                let Some(place) = sibling else {
                    continue;
                };
                let mut other = [0; NODE];
                read_at(*place, &mut other)?;
                let (left, right) = if index.is_multiple_of(2) {
                    (value, other)
                } else {
                    (other, value)
                };
                if step + 1 == way.len() {
                    found = Some(hazmat::merge_subtrees_root(&left, &right, Mode::Hash));
                } else {
                    value = hazmat::merge_subtrees_non_root(&left, &right, Mode::Hash);
                }
            }
        }
        let right = found.is_some_and(|found| found == self.root.0);
        if right {
            self.trusted.insert(group);
        }
        Ok(right)
    }

    /// Checks leaves against their nodes, which must be trusted: `bytes` are those of the content from
    /// `start`, a leaf boundary, to another or to its end. Tells `verdict` of each leaf whether it is
    /// right.
    ///
    /// # Errors
    /// Those of `read_at`, which reads the tree file; `InvalidInput` for what is not whole leaves of a
    /// trusted group.
    pub fn check(
        &self,
        start: u64,
        bytes: &[u8],
        mut read_at: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
        mut verdict: impl FnMut(ByteRange, bool),
    ) -> io::Result<()> {
        let range = ByteRange::at(start, bytes.len() as u64);
        let whole = start.is_multiple_of(LEAF)
            && (range.end.is_multiple_of(LEAF) || range.end == self.length);
        if !whole || !self.trusted.contains(range) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let first = start / LEAF;
        let mut nodes = vec![0; bytes.len().div_ceil(LEAF as usize) * NODE];
        read_at(self.levels.position(0, first), &mut nodes)?;
        let nodes = nodes.as_chunks::<NODE>().0;
        let pieces = bytes.chunks(LEAF as usize);
        for ((index, piece), node) in (first..).zip(pieces).zip(nodes) {
            let right = leaf_value(index, piece).is_some_and(|value| value.0 == *node);
            verdict(ByteRange::at(index * LEAF, piece.len() as u64), right);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::ContentHasher;

    const LENGTHS: [u64; 11] = [
        LEAF + 1,
        2 * LEAF,
        3 * LEAF,
        5 * LEAF + 17,
        GROUP - 1,
        GROUP,
        GROUP + 1,
        2 * GROUP,
        3 * GROUP + 5 * LEAF,
        5 * GROUP + LEAF + 1,
        9 * GROUP,
    ];

    fn content(length: u64) -> Vec<u8> {
        (0..length)
            .map(|i| (i * 29 + (i >> 9) * 13) as u8)
            .collect()
    }

    /// A tree file of which only `present` can be read.
    fn reader<'a>(
        tree: &'a [u8],
        present: &'a RangeSet,
    ) -> impl FnMut(u64, &mut [u8]) -> io::Result<()> + 'a {
        |offset, buffer| {
            let range = ByteRange::at(offset, buffer.len() as u64);
            if !present.contains(range) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer.copy_from_slice(&tree[offset as usize..range.end as usize]);
            Ok(())
        }
    }

    fn hashed(length: u64) -> (Vec<u8>, Hash, Vec<u8>) {
        let bytes = content(length);
        let mut hasher = ContentHasher::new();
        hasher.update(&bytes);
        let digests = hasher.finish();
        (bytes, digests.blake3, digests.tree)
    }

    #[test]
    fn each_group_is_trusted_with_just_what_it_wants_of_the_tree() {
        for length in LENGTHS {
            let (bytes, root, tree) = hashed(length);
            for at in (0..length).step_by(GROUP as usize) {
                let mut groups = LeafGroups::new(root, length).unwrap();
                let present = groups.wanted(ByteRange::at(at, 1));
                assert!(present.bytes() <= 8192 + 8 * BLOCK, "{length} {at}");
                assert!(groups.trust(at, reader(&tree, &present)).unwrap());
                let group = ByteRange::at(at, GROUP).intersection(ByteRange::new(0, length));
                assert!(groups.trusts(group));
                assert!(groups.wanted(group).is_empty());
                let mut leaves = 0;
                let part = &bytes[group.start as usize..group.end as usize];
                groups
                    .check(at, part, reader(&tree, &present), |_, right| {
                        assert!(right);
                        leaves += 1;
                    })
                    .unwrap();
                assert_eq!(leaves, group.len().div_ceil(LEAF));
            }
        }
    }

    #[test]
    fn a_wrong_node_is_never_trusted_and_a_wrong_leaf_is_named() {
        for length in LENGTHS {
            let (mut bytes, root, tree) = hashed(length);
            let mut all = RangeSet::new();
            all.insert(ByteRange::new(0, tree.len() as u64));
            for at in (0..length).step_by(GROUP as usize) {
                let groups = LeafGroups::new(root, length).unwrap();
                for node in groups.nodes(at) {
                    for byte in [node.start, node.start + node.len() / 2, node.end - 1] {
                        let mut wrong = tree.clone();
                        wrong[byte as usize] ^= 1;
                        let mut groups = groups.clone();
                        assert!(!groups.trust(at, reader(&wrong, &all)).unwrap());
                        assert!(!groups.trusts(ByteRange::at(at, 1)));
                    }
                }
                let mut other = LeafGroups::new(Hash([7; 32]), length).unwrap();
                assert!(!other.trust(at, reader(&tree, &all)).unwrap());
            }
            let wrong = length / 2;
            bytes[wrong as usize] ^= 1;
            let mut groups = LeafGroups::new(root, length).unwrap();
            let range = ByteRange::at(wrong, 1).widened(LEAF, length);
            let part = &bytes[range.start as usize..range.end as usize];
            let refused = groups.check(range.start, part, reader(&tree, &all), |_, _| {});
            assert!(refused.is_err(), "not trusted yet");
            assert!(groups.trust(wrong, reader(&tree, &all)).unwrap());
            let mut verdicts = Vec::new();
            groups
                .check(range.start, part, reader(&tree, &all), |leaf, right| {
                    verdicts.push((leaf, right));
                })
                .unwrap();
            assert_eq!(verdicts, [(range, false)]);
        }
    }

    #[test]
    fn what_is_wanted_of_the_whole_is_enough_for_each_group() {
        for length in LENGTHS {
            let (_, root, tree) = hashed(length);
            let mut groups = LeafGroups::new(root, length).unwrap();
            let present = groups.wanted(ByteRange::new(0, length));
            for node in groups.nodes(length - 1) {
                assert!(groups.speaks_of(node).end == length, "{length} {node:?}");
            }
            for at in (0..length).step_by(GROUP as usize) {
                assert!(groups.trust(at, reader(&tree, &present)).unwrap());
            }
        }
    }

    /// Whichever piece of its nodes comes last, all leaves of a group may have waited for it.
    #[test]
    fn any_piece_of_a_node_speaks_of_the_whole_group() {
        for length in LENGTHS {
            let groups = LeafGroups::new(Hash([1; 32]), length).unwrap();
            for at in (0..length).step_by(GROUP as usize) {
                let group = ByteRange::at(at, GROUP).intersection(ByteRange::new(0, length));
                for node in groups.nodes(at) {
                    for start in (node.start..node.end).step_by(900) {
                        let piece = ByteRange::new(start, node.end.min(start + 900));
                        let spoken = groups.speaks_of(piece);
                        assert_eq!(spoken.intersection(group), group, "{length} {piece:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn small_content_needs_no_tree() {
        for length in [0, 1, LEAF] {
            assert!(LeafGroups::new(Hash([1; 32]), length).is_none());
        }
        let groups = LeafGroups::new(Hash([1; 32]), LEAF + 1).unwrap();
        assert_eq!(
            groups.untrusted(ByteRange::new(LEAF + 1, 1 << 40)).count(),
            0
        );
        assert_eq!(groups.untrusted(ByteRange::new(9, 9)).count(), 0);
        assert_eq!(groups.untrusted(ByteRange::new(0, u64::MAX)).count(), 1);
    }
}
