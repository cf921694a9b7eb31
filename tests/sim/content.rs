//! Synthetic content: every byte is a function of a salt and its offset, so that hosts can serve and
//! check any part of any length without holding it.

use cjp2pfs::content::{ContentId, Hash, Kind};

use crate::rng::mix;

/// A piece of content that some hosts have. The id names it, and is no hash of it: the swarm cannot
/// verify SHA-256 content by parts, and whether the whole is right is for the store to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synthetic {
    pub salt: u64,
    pub length: u64,
}

impl Synthetic {
    pub fn new(salt: u64, length: u64) -> Self {
        Self { salt, length }
    }

    pub fn id(&self) -> ContentId {
        let mut hash = [0; 32];
        for (i, part) in (0..).zip(hash.chunks_exact_mut(8)) {
            part.copy_from_slice(&mix(self.salt ^ mix(i)).to_le_bytes());
        }
        ContentId {
            kind: Kind::Sha256,
            hash: Hash(hash),
        }
    }

    fn word(&self, index: u64) -> [u8; 8] {
        mix(self.salt.rotate_left(32) ^ index).to_le_bytes()
    }

    /// The bytes of `offset..offset + length`, cut at the end of the content.
    pub fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        self.read_past(offset, length.min(self.length.saturating_sub(offset)))
    }

    /// The same, going on beyond the end as if there were more.
    pub fn read_past(&self, offset: u64, length: u64) -> Vec<u8> {
        let skip = (offset % 8) as usize;
        let mut bytes = Vec::with_capacity(length as usize + 16);
        let mut index = offset / 8;
        while bytes.len() < length as usize + skip {
            bytes.extend_from_slice(&self.word(index));
            index += 1;
        }
        bytes.drain(..skip);
        bytes.truncate(length as usize);
        bytes
    }

    /// How many of `data`'s bytes are not those of the content from `offset` on; bytes past its end
    /// are all wrong.
    pub fn wrong_bytes(&self, offset: u64, data: &[u8]) -> u64 {
        let right = self.read(offset, data.len() as u64);
        let differing = right.iter().zip(data).filter(|(a, b)| a != b).count();
        (differing + data.len() - right.len()) as u64
    }
}
