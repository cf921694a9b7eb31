//! All that identifies content, in one pass over its bytes.

use blake3::hazmat::HasherExt;
use sha2::{Digest, Sha256};

use super::{ContentId, Hash, Kind, LEAF, tree};

/// What is known of content once all of it has been seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Its SHA-256.
    pub sha256: Hash,
    /// Its BLAKE3.
    pub blake3: Hash,
    /// Its bytes.
    pub length: u64,
    /// Its BLAKE3 tree file, version 2 (a 64th of the content's length); nothing for empty content.
    pub tree: Vec<u8>,
}

/// Computes [`Digests`]: SHA-256, BLAKE3 and the tree.
///
/// The leaves of the tree are hashed one by one and the BLAKE3 of the whole follows from them, so
/// that every byte goes through each function once, while it is still in the nearest cache. What
/// is kept meanwhile is 32 bytes for each 4,096 of the content.
#[derive(Clone)]
pub struct ContentHasher {
    sha256: Sha256,
    /// The leaf that is being filled, at its offset in the content.
    leaf: blake3::Hasher,
    leaves: Vec<u8>,
    /// BLAKE3 of the first leaf alone: the root, if there is to be no other.
    first: Hash,
    length: u64,
}

impl Default for ContentHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl ContentHasher {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sha256: Sha256::new(),
            leaf: blake3::Hasher::new(),
            leaves: Vec::new(),
            first: Hash(*blake3::hash(&[]).as_bytes()),
            length: 0,
        }
    }

    /// Takes the next bytes of the content. Fastest in multiples of [`LEAF`], but any will do.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.leaf.count() == 0 {
                self.leaf.set_input_offset(self.length);
            }
            let room = (LEAF - self.leaf.count()) as usize;
            let (piece, rest) = bytes.split_at(room.min(bytes.len()));
            self.sha256.update(piece);
            self.leaf.update(piece);
            self.length += piece.len() as u64;
            if self.leaf.count() == LEAF {
                self.end_leaf();
            }
            bytes = rest;
        }
    }

    fn end_leaf(&mut self) {
        if self.leaves.is_empty() {
            self.first = Hash(*self.leaf.finalize().as_bytes());
        }
        self.leaves
            .extend_from_slice(&self.leaf.finalize_non_root());
        // `reset` would keep half of the offset.
        self.leaf = blake3::Hasher::new();
    }

    /// After the last byte.
    #[must_use]
    pub fn finish(mut self) -> Digests {
        if self.leaf.count() > 0 {
            self.end_leaf();
        }
        let (blake3, tree) = if self.leaves.is_empty() {
            (self.first, Vec::new())
        } else {
            tree::build(self.leaves, self.first)
        };
        Digests {
            sha256: Hash(self.sha256.finalize().into()),
            blake3,
            length: self.length,
            tree,
        }
    }
}

/// The proof that the whole of some content is what its id says, in order from the first byte.
#[derive(Clone)]
pub struct Proof {
    claimed: Hash,
    hasher: Hasher,
    hashed: u64,
}

#[derive(Clone)]
enum Hasher {
    Sha256(Sha256),
    // Some 1,900 bytes, where SHA-256 has 100.
    Blake3(Box<blake3::Hasher>),
}

impl Proof {
    /// Begins at the first byte. `None` for a tree file, which is proven by its inner consistency
    /// (see [`tree::verify_tree`]).
    #[must_use]
    pub fn new(id: ContentId) -> Option<Self> {
        let hasher = match id.kind {
            Kind::Sha256 => Hasher::Sha256(Sha256::new()),
            Kind::Blake3 => Hasher::Blake3(Box::new(blake3::Hasher::new())),
            Kind::TreeV2 => return None,
        };
        Some(Self {
            claimed: id.hash,
            hasher,
            hashed: 0,
        })
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.hasher {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
        self.hashed += bytes.len() as u64;
    }

    /// How many bytes it has taken.
    #[must_use]
    pub fn hashed(&self) -> u64 {
        self.hashed
    }

    /// Whether what it has taken is the content of the id.
    #[must_use]
    pub fn holds(self) -> bool {
        let found: [u8; 32] = match self.hasher {
            Hasher::Sha256(hasher) => hasher.finalize().into(),
            Hasher::Blake3(hasher) => *hasher.finalize().as_bytes(),
        };
        found == self.claimed.0
    }
}
