//! All that identifies content, in one pass over its bytes.

use std::io;

use blake3::hazmat::HasherExt;
use sha2::{Digest, Sha256};

use super::tree_writer::TreeWriter;
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
    /// Its BLAKE3 tree file, version 2 (a 64th of the content's length); nothing for empty content,
    /// and where the tree was written to a file meanwhile.
    pub tree: Vec<u8>,
}

/// Computes [`Digests`]: SHA-256, BLAKE3 and the tree.
///
/// What is kept meanwhile is 32 bytes for each 4,096 of the content, and twice that at the end. For
/// long content see [`TreeHasher`].
#[derive(Clone, Default)]
pub struct ContentHasher {
    sha256: Sha256,
    leaves: Leaves,
}

impl ContentHasher {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the content. Fastest in multiples of [`LEAF`], but any will do.
    pub fn update(&mut self, bytes: &[u8]) {
        // Every byte goes through both functions while it is still in the nearest cache.
        for piece in bytes.chunks(LEAF as usize) {
            self.sha256.update(piece);
            self.leaves.update(piece);
        }
    }

    /// After the last byte.
    #[must_use]
    pub fn finish(mut self) -> Digests {
        self.leaves.end();
        let leaves = self.leaves;
        let (blake3, tree) = if leaves.values.is_empty() {
            (leaves.first, Vec::new())
        } else {
            tree::build(leaves.values, leaves.first)
        };
        Digests {
            sha256: Hash(self.sha256.finalize().into()),
            blake3,
            length: leaves.length,
            tree,
        }
    }
}

/// Computes the BLAKE3 of content whose length is known, and writes its tree file on the way, so that
/// the memory it takes does not follow the length: less than 1 MiB for anything that exists. SHA-256
/// is the caller's to compute, on whichever thread.
pub struct TreeHasher {
    leaves: Leaves,
    tree: TreeWriter,
    length: u64,
}

impl TreeHasher {
    /// For content of `length` bytes. `None` for at most one leaf, whose tree is not worth a file.
    #[must_use]
    pub fn new(length: u64) -> Option<Self> {
        Some(Self {
            leaves: Leaves::default(),
            tree: TreeWriter::new(length.div_ceil(LEAF))?,
            length,
        })
    }

    /// Takes the next bytes of the content. `write_at` writes to the tree file, each byte once but
    /// not in order.
    ///
    /// # Errors
    /// Those of `write_at`. Then it cannot go on.
    pub fn update(
        &mut self,
        bytes: &[u8],
        write_at: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.leaves.update(bytes);
        self.write_tree(write_at)
    }

    fn write_tree(&mut self, write_at: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        self.tree.push(self.leaves.values.as_chunks().0, write_at)?;
        self.leaves.values.clear();
        Ok(())
    }

    /// The bytes that the content was said to have.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// After the last byte: the BLAKE3. `None` if the content had another length than was said; what
    /// is in the file means nothing then.
    ///
    /// # Errors
    /// Those of `write_at`.
    pub fn finish(
        mut self,
        mut write_at: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<Option<Hash>> {
        if self.leaves.length != self.length {
            return Ok(None);
        }
        self.leaves.end();
        self.write_tree(&mut write_at)?;
        self.tree.finish(write_at)
    }
}

/// The leaves of the tree, hashed one by one; the BLAKE3 of the whole follows from them.
#[derive(Clone)]
struct Leaves {
    /// The leaf that is being filled, at its offset in the content.
    leaf: blake3::Hasher,
    /// The values of leaves that are full, 32 bytes each, as long as nobody takes them out.
    values: Vec<u8>,
    /// BLAKE3 of the first leaf alone: the root, if there is to be no other.
    first: Hash,
    length: u64,
}

impl Default for Leaves {
    fn default() -> Self {
        Self {
            leaf: blake3::Hasher::new(),
            values: Vec::new(),
            first: Hash(*blake3::hash(&[]).as_bytes()),
            length: 0,
        }
    }
}

impl Leaves {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.leaf.count() == 0 {
                self.leaf.set_input_offset(self.length);
            }
            let room = (LEAF - self.leaf.count()) as usize;
            let (piece, rest) = bytes.split_at(room.min(bytes.len()));
            self.leaf.update(piece);
            self.length += piece.len() as u64;
            if self.leaf.count() == LEAF {
                self.end_leaf();
            }
            bytes = rest;
        }
    }

    fn end_leaf(&mut self) {
        if self.length <= LEAF {
            self.first = Hash(*self.leaf.finalize().as_bytes());
        }
        self.values
            .extend_from_slice(&self.leaf.finalize_non_root());
        // `reset` would keep half of the offset.
        self.leaf = blake3::Hasher::new();
    }

    /// After the last byte: the last leaf may be short.
    fn end(&mut self) {
        if self.leaf.count() > 0 {
            self.end_leaf();
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
