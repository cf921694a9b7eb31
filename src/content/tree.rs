//! The BLAKE3 tree file, version 2: what lets one leaf of content be verified alone.
//!
//! A BLAKE3 hash is the root of a binary tree over the content. The tree file holds that tree down
//! to leaves of [`LEAF`] bytes, so a leaf that arrives from a stranger can be checked against the
//! id with one hash and a few parents, and a wrong one is known before it is stored.
//!
//! ```text
//! bytes 0..4    magic
//! bytes 4..32   zero
//! bytes 32..64  the root: the hash in the id
//! then          the levels, that of two nodes first, the leaves last, 32 bytes a node;
//!               an odd last node stands unchanged in the level above it, too
//! ```
//!
//! Content of one leaf is the odd case: its leaf is a value from which the root cannot be derived,
//! so there it is the content itself that is checked against the root.

use std::io;

use blake3::hazmat::{self, HasherExt, Mode};

use super::{Hash, LEAF};

/// `B3T`, version 2.
const MAGIC: [u8; 4] = [0x42, 0x33, 0x54, 0x02];
/// Bytes before the first level.
pub(super) const HEADER: usize = 64;
/// Bytes in a node.
pub(super) const NODE: usize = 32;
/// Bytes in the tree file of content of one leaf.
pub const ONE_LEAF: usize = HEADER + NODE;
/// Parents that are verified at a time: 8 KiB of them and 16 KiB of their children.
const BATCH: usize = 256;

/// The length of the tree file of content of `content_length` bytes; 0 for empty content, which
/// has no tree.
#[must_use]
pub fn tree_length(content_length: u64) -> u64 {
    match content_length.div_ceil(LEAF) {
        0 => 0,
        leaves => length_for(leaves),
    }
}

/// The number of leaves in a tree file of `tree_length` bytes; `None` if no tree has that length.
#[must_use]
pub fn leaves_of(tree_length: u64) -> Option<u64> {
    if tree_length > self::tree_length(u64::MAX) {
        return None;
    }
    let nodes = tree_length.checked_sub(HEADER as u64)? / NODE as u64;
    // Every leaf but one brings one inner node, less the root, plus at most one copy a level.
    let (mut low, mut high) = (1, nodes / 2 + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if length_for(middle) < tree_length {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    (length_for(low) == tree_length).then_some(low)
}

/// For at least one leaf. At most 2^59, since content has at most 2^64 bytes.
fn length_for(leaves: u64) -> u64 {
    let mut nodes = leaves;
    let mut level = leaves;
    while level > 2 {
        level = level.div_ceil(2);
        nodes += level;
    }
    HEADER as u64 + nodes * NODE as u64
}

/// The nodes in each level: the leaves first, then upwards to the level of two.
#[derive(Clone, Debug)]
pub(super) struct Levels(Vec<u64>);

impl Levels {
    pub(super) fn new(leaves: u64) -> Self {
        let mut sizes = vec![leaves];
        let mut size = leaves;
        while size > 2 {
            size = size.div_ceil(2);
            sizes.push(size);
        }
        Self(sizes)
    }

    pub(super) fn size(&self, level: usize) -> u64 {
        self.0.get(level).copied().unwrap_or(0)
    }

    /// The level of two (of one, if there is one leaf).
    pub(super) fn top(&self) -> usize {
        self.0.len() - 1
    }

    /// Where in the file a node stands.
    pub(super) fn position(&self, level: usize, index: u64) -> u64 {
        let above: u64 = self.0.iter().skip(level + 1).sum();
        HEADER as u64 + (above + index) * NODE as u64
    }
}

pub(super) fn header(root: Hash) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..MAGIC.len()].copy_from_slice(&MAGIC);
    header[HEADER - NODE..].copy_from_slice(&root.0);
    header
}

/// The chaining value of a leaf: the `index`-th piece of [`LEAF`] bytes of the content, where only
/// the last may be shorter. `None` if it has no bytes or more than a leaf can hold.
#[must_use]
pub fn leaf_value(index: u64, piece: &[u8]) -> Option<Hash> {
    if piece.is_empty() || piece.len() as u64 > LEAF {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(index.checked_mul(LEAF)?);
    Some(Hash(hasher.update(piece).finalize_non_root()))
}

/// The tree file of `content`, which is one leaf: 1 to [`LEAF`] bytes. `None` if it is not, or if
/// its BLAKE3 is not `root`.
#[must_use]
pub fn of_one_leaf(root: Hash, content: &[u8]) -> Option<[u8; ONE_LEAF]> {
    let leaf = leaf_value(0, content)?;
    if blake3::hash(content) != root.0 {
        return None;
    }
    let mut tree = [0; ONE_LEAF];
    tree[..HEADER].copy_from_slice(&header(root));
    tree[HEADER..].copy_from_slice(&leaf.0);
    Some(tree)
}

/// Whether `piece` is the `index`-th leaf of the content of `content_length` bytes with the BLAKE3
/// `root`.
///
/// `read_at` reads nodes of its tree file, which need not be verified: every node used is covered
/// by the check against the root. It must fill the buffer or fail. Content of one leaf needs no
/// tree, and nothing is read.
///
/// # Errors
/// Those of `read_at`.
pub fn verify_leaf(
    root: Hash,
    content_length: u64,
    index: u64,
    piece: &[u8],
    mut read_at: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<bool> {
    let start = index.saturating_mul(LEAF);
    let expected = content_length.saturating_sub(start).min(LEAF);
    if expected == 0 || piece.len() as u64 != expected {
        return Ok(false);
    }
    if content_length <= LEAF {
        return Ok(blake3::hash(piece) == root.0);
    }
    let Some(mut value) = leaf_value(index, piece) else {
        return Ok(false);
    };
    let levels = Levels::new(content_length.div_ceil(LEAF));
    let mut index = index;
    for level in 0..=levels.top() {
        let sibling = index ^ 1;
        // An odd last node goes up as it is.
        if sibling < levels.size(level) {
            let mut other = [0; NODE];
            read_at(levels.position(level, sibling), &mut other)?;
            let (left, right) = if index.is_multiple_of(2) {
                (value.0, other)
            } else {
                (other, value.0)
            };
            if level == levels.top() {
                return Ok(hazmat::merge_subtrees_root(&left, &right, Mode::Hash) == root.0);
            }
            value = Hash(hazmat::merge_subtrees_non_root(&left, &right, Mode::Hash));
        }
        index /= 2;
    }
    Ok(false)
}

/// Whether a file of `length` bytes proves to be the tree file of the content with the BLAKE3
/// `root`.
///
/// Reads every level twice at most, in order, a few KiB at a time. `read_at` must fill the buffer
/// or fail.
///
/// So does what is left of it when the lower levels are cut off, as the tree of shorter content: the
/// length of the content is not in it. Who knows that length must compare; no leaf of any content
/// verifies against a cut tree.
///
/// A tree of one leaf (96 bytes) never proves to be one, since nothing ties its leaf to the root:
/// anyone could pass it off as the tree of any content, however long. It is not needed either, as
/// [`verify_leaf`] takes such content itself as the proof.
///
/// # Errors
/// Those of `read_at`.
pub fn verify_tree(
    root: Hash,
    length: u64,
    mut read_at: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<bool> {
    let Some(leaves) = leaves_of(length).filter(|&leaves| leaves > 1) else {
        return Ok(false);
    };
    let mut found = [0; HEADER];
    read_at(0, &mut found)?;
    if found != header(root) {
        return Ok(false);
    }
    // From the top, so that a liar is found out early.
    let levels = Levels::new(leaves);
    let mut two = [0; 2 * NODE];
    read_at(levels.position(levels.top(), 0), &mut two)?;
    let (pair, _) = two.as_chunks::<NODE>();
    let [left, right] = pair else {
        return Ok(false);
    };
    if hazmat::merge_subtrees_root(left, right, Mode::Hash) != root.0 {
        return Ok(false);
    }
    let mut parents = vec![0; BATCH * NODE];
    let mut children = vec![0; 2 * BATCH * NODE];
    for level in (0..levels.top()).rev() {
        let mut index = 0;
        while index < levels.size(level + 1) {
            let count = (levels.size(level + 1) - index).min(BATCH as u64);
            let below = (levels.size(level) - 2 * index).min(2 * count);
            let parents = parents.get_mut(..count as usize * NODE).unwrap_or_default();
            let children = children
                .get_mut(..below as usize * NODE)
                .unwrap_or_default();
            read_at(levels.position(level + 1, index), parents)?;
            read_at(levels.position(level, 2 * index), children)?;
            let pairs = children.as_chunks::<NODE>().0.chunks(2);
            let derived = pairs.filter_map(parent);
            if !parents.as_chunks::<NODE>().0.iter().copied().eq(derived) {
                return Ok(false);
            }
            index += count;
        }
    }
    Ok(true)
}

/// The parent of one or two nodes below the root.
pub(super) fn parent(pair: &[[u8; NODE]]) -> Option<[u8; NODE]> {
    match pair {
        [left, right] => Some(hazmat::merge_subtrees_non_root(left, right, Mode::Hash)),
        [odd] => Some(*odd),
        _ => None,
    }
}

/// Makes the tree file from its leaves, 32 bytes each, and the root if there is but one of them
/// (`single`). Returns the root, too. The leaves must be at least one.
pub(super) fn build(mut leaves: Vec<u8>, single: Hash) -> (Hash, Vec<u8>) {
    let count = leaves.len() / NODE;
    let levels = Levels::new(count as u64);
    let length = length_for(count as u64) as usize;
    // In place: the leaves go to the end, then every level is written below the one above it.
    leaves.resize(length, 0);
    leaves.copy_within(..count * NODE, length - count * NODE);
    let mut tree = leaves;
    for level in 0..levels.top() {
        let (above, below) = tree.split_at_mut(levels.position(level, 0) as usize);
        let children = &below.as_chunks::<NODE>().0[..levels.size(level) as usize];
        let start = levels.position(level + 1, 0) as usize;
        let parents = above[start..].as_chunks_mut::<NODE>().0;
        for (node, pair) in parents.iter_mut().zip(children.chunks(2)) {
            *node = parent(pair).unwrap_or_default();
        }
    }
    let root = match tree.get(HEADER..).map(|nodes| nodes.as_chunks::<NODE>().0) {
        Some([left, right, ..]) => {
            Hash(*hazmat::merge_subtrees_root(left, right, Mode::Hash).as_bytes())
        }
        _ => single,
    };
    tree[..HEADER].copy_from_slice(&header(root));
    (root, tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::ContentHasher;

    /// Lengths on both sides of every place where the shape of the tree changes.
    const LENGTHS: [u64; 14] = [
        1,
        4095,
        4096,
        4097,
        8192,
        8193,
        12_288,
        12_289,
        20_480,
        65_536,
        65_537,
        300_001,
        2 * 256 * LEAF,
        3 * 256 * LEAF + 1,
    ];

    fn content(length: u64) -> Vec<u8> {
        (0..length)
            .map(|i| (i * 31 + (i >> 8) * 17) as u8)
            .collect()
    }

    fn reader(tree: &[u8]) -> impl FnMut(u64, &mut [u8]) -> io::Result<()> + '_ {
        |offset, buffer| {
            let start = offset as usize;
            let bytes = tree.get(start..start + buffer.len());
            buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }

    #[test]
    fn a_tree_is_that_of_its_root_and_of_no_other() {
        for length in LENGTHS {
            let bytes = content(length);
            let mut hasher = ContentHasher::new();
            hasher.update(&bytes);
            let digests = hasher.finish();
            let (root, tree) = (digests.blake3, digests.tree);
            assert_eq!(root.0, *blake3::hash(&bytes).as_bytes());
            let file = tree.len() as u64;
            assert_eq!(file, tree_length(length));
            assert_eq!(
                verify_tree(root, file, reader(&tree)).unwrap(),
                length > LEAF
            );
            assert!(!verify_tree(Hash([7; 32]), file, reader(&tree)).unwrap());
            assert!(!verify_tree(root, file + 32, reader(&tree)).unwrap_or(false));
            assert!(!verify_tree(root, file - 32, reader(&tree)).unwrap_or(false));
            if length > LEAF {
                assert!(verify_tree(root, file, reader(&tree[..tree.len() - 1])).is_err());
            }
            for byte in (0..tree.len()).step_by(1.max(tree.len() / 200)) {
                let mut damaged = tree.clone();
                damaged[byte] ^= 1;
                assert!(
                    !verify_tree(root, file, reader(&damaged)).unwrap(),
                    "{length} {byte}"
                );
            }
        }
    }

    #[test]
    fn a_leaf_is_verified_alone() {
        for length in LENGTHS {
            let bytes = content(length);
            let mut hasher = ContentHasher::new();
            hasher.update(&bytes);
            let digests = hasher.finish();
            let check = |index, piece: &[u8]| {
                verify_leaf(digests.blake3, length, index, piece, reader(&digests.tree)).unwrap()
            };
            let pieces: Vec<_> = bytes.chunks(LEAF as usize).collect();
            for (index, piece) in pieces.iter().enumerate() {
                let place = index as u64;
                assert!(check(place, piece), "{length} {index}");
                let mut wrong = piece.to_vec();
                wrong[piece.len() / 2] ^= 1;
                assert!(!check(place, &wrong));
                assert!(!check(place + 1, piece));
                assert!(!check(place, &piece[1..]));
                assert!(!check(place, &[piece, &b"x"[..]].concat()));
            }
            assert!(!check(pieces.len() as u64, b""));
            assert!(!check(u64::MAX, b"x"));
        }
    }

    #[test]
    fn a_leaf_value_is_the_leaf_in_the_tree() {
        let bytes = content(20_481);
        let mut hasher = ContentHasher::new();
        hasher.update(&bytes);
        let tree = hasher.finish().tree;
        let pieces = bytes.chunks(LEAF as usize);
        let leaves = &tree[tree.len() - 6 * NODE..];
        for (index, (piece, leaf)) in pieces.zip(leaves.chunks(NODE)).enumerate() {
            assert_eq!(leaf_value(index as u64, piece).unwrap().0, leaf);
        }
        assert_eq!(leaf_value(0, b""), None);
        assert_eq!(leaf_value(0, &[0; 4097]), None);
        assert_eq!(leaf_value(u64::MAX, b"x"), None);
    }

    #[test]
    fn the_tree_of_one_leaf_is_that_which_hashing_makes() {
        for length in [1, 1024, 1025, LEAF] {
            let bytes = content(length);
            let mut hasher = ContentHasher::new();
            hasher.update(&bytes);
            let digests = hasher.finish();
            let tree = of_one_leaf(digests.blake3, &bytes).unwrap();
            assert_eq!(tree.to_vec(), digests.tree);
            assert_eq!(of_one_leaf(Hash([7; 32]), &bytes), None);
            assert_eq!(of_one_leaf(digests.blake3, &bytes[1..]), None);
        }
        for bytes in [content(0), content(LEAF + 1)] {
            let root = Hash(*blake3::hash(&bytes).as_bytes());
            assert_eq!(of_one_leaf(root, &bytes), None);
        }
    }

    #[test]
    fn the_number_of_leaves_follows_from_the_length() {
        assert_eq!(tree_length(0), 0);
        let large = [1 << 20, (1 << 50) - 1, 1 << 50, 1 << 52];
        for leaves in (1..3000).chain(large) {
            let length = length_for(leaves);
            assert_eq!(leaves_of(length), Some(leaves));
            assert_ne!(leaves_of(length + 32), Some(leaves));
            assert_eq!(leaves_of(length + 1), None);
        }
        for none in [0, 63, 64, 95, 97, 160, u64::MAX] {
            assert_eq!(leaves_of(none), None);
        }
        assert_eq!(leaves_of(tree_length(u64::MAX)), Some(1 << 52));
    }

    #[test]
    fn empty_content_has_no_tree() {
        let digests = ContentHasher::new().finish();
        assert_eq!(digests.length, 0);
        assert!(digests.tree.is_empty());
        assert_eq!(digests.blake3.0, *blake3::hash(b"").as_bytes());
    }
}
