//! Synthetic content: every byte is a function of a salt and its offset, so that hosts can serve and
//! check any part of any length without holding it.

use std::sync::OnceLock;

use cjp2pfs::content::{ContentId, Hash, Kind};

use crate::rng::{Rng, mix};

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

    /// The bytes from `offset` on, as many as lie beside each other and `most` at most.
    fn stretch(&self, offset: u64, most: usize) -> &'static [u8] {
        let from = (mix(self.salt) % PERIOD + offset % PERIOD) % PERIOD;
        let table = table();
        let start = from as usize;
        &table[start..table.len().min(start + most)]
    }

    /// The bytes of `offset..offset + length`, cut at the end of the content.
    pub fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        self.read_past(offset, length.min(self.length.saturating_sub(offset)))
    }

    /// The same, going on beyond the end as if there were more.
    pub fn read_past(&self, offset: u64, length: u64) -> Vec<u8> {
        let length = length as usize;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset + bytes.len() as u64;
            bytes.extend_from_slice(self.stretch(at, length - bytes.len()));
        }
        bytes
    }

    /// How many of `data`'s bytes are not those of the content from `offset` on; bytes past its end
    /// are all wrong.
    pub fn wrong_bytes(&self, offset: u64, data: &[u8]) -> u64 {
        let inside = self.length.saturating_sub(offset).min(data.len() as u64) as usize;
        let (mut rest, past) = data.split_at(inside);
        let mut wrong = past.len();
        while !rest.is_empty() {
            let at = offset + (inside - rest.len()) as u64;
            let right = self.stretch(at, rest.len());
            let (these, others) = rest.split_at(right.len());
            if these != right {
                wrong += these.iter().zip(right).filter(|(a, b)| a != b).count();
            }
            rest = others;
        }
        wrong as u64
    }
}

/// After so many bytes content repeats itself: a prime, so that no offset that anybody would take for
/// another one has the same bytes.
const PERIOD: u64 = 1_000_003;

/// What all content is cut from, each kind from its own place on. A large crowd reads and checks many
/// gigabytes, so that has to cost no more than copying.
fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut bytes = Rng::new(0).bytes(PERIOD as usize);
        // Most reads then are one stretch.
        bytes.extend_from_within(..64 << 10);
        bytes
    })
}

#[test]
fn any_part_is_read_and_checked_alike() {
    let what = Synthetic::new(5, 3 * PERIOD + 17);
    let whole = what.read(0, what.length);
    assert_eq!(whole.len() as u64, what.length);
    for offset in [
        0,
        1,
        PERIOD - 1,
        PERIOD + 70_000,
        2 * PERIOD - 5,
        what.length - 3,
    ] {
        for length in [0, 1, 4096, 40_960, 200_000] {
            let part = what.read(offset, length);
            let end = (offset + length).min(what.length);
            assert_eq!(part, whole[offset as usize..end as usize]);
            assert_eq!(what.wrong_bytes(offset, &part), 0);
            assert_eq!(
                Synthetic::new(5, 1).wrong_bytes(offset + 1, &part),
                part.len() as u64
            );
            let differing = Synthetic::new(6, what.length).wrong_bytes(offset, &part);
            assert!(differing * 10 >= part.len() as u64 * 9);
        }
    }
}
