//! Who sent which bytes, and whose were wrong.
//!
//! A leaf is often put together from pieces of several peers. When it proves wrong, that alone does
//! not tell whose piece it was; once the right bytes are known, it does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::content::ByteRange;

/// Pieces remembered. Beyond that it is not known whose bytes are wrong, only that they are.
const MAX_PIECES: usize = 1 << 16;
/// Wrong bytes kept until the right ones are known: 8 KiB each at most.
const MAX_DISPUTES: usize = 256;

/// Some bytes and who sent them.
pub(super) type Piece = (ByteRange, SocketAddr);

/// Who sent all of `range`, if it was one peer.
pub(super) fn sole_sender(pieces: &[Piece], range: ByteRange) -> Option<SocketAddr> {
    let known: u64 = pieces.iter().map(|(piece, _)| piece.len()).sum();
    let (_, first) = pieces.first()?;
    let alone = pieces.iter().all(|(_, who)| who == first);
    (alone && known == range.len()).then_some(*first)
}

/// Who sent which bytes of what is not verified yet.
#[derive(Default)]
pub(super) struct Provenance {
    /// start -> end, sender
    pieces: BTreeMap<u64, (u64, SocketAddr)>,
}

impl Provenance {
    /// Notes that `from` sent `range`.
    pub fn insert(&mut self, range: ByteRange, from: SocketAddr) {
        self.remove(range);
        let before = self.pieces.range(..range.start).next_back();
        let joined = match before {
            Some((start, (end, who))) if *end == range.start && *who == from => Some(*start),
            _ => None,
        };
        match joined {
            Some(start) => {
                self.pieces.insert(start, (range.end, from));
            }
            None if self.pieces.len() < MAX_PIECES && !range.is_empty() => {
                self.pieces.insert(range.start, (range.end, from));
            }
            None => {}
        }
    }

    /// The pieces that `range` touches, whole.
    fn touched(&self, range: ByteRange) -> Vec<(u64, u64, SocketAddr)> {
        if range.is_empty() {
            return Vec::new();
        }
        let before = self.pieces.range(..range.start).next_back();
        before
            .into_iter()
            .chain(self.pieces.range(range.start..range.end))
            .map(|(start, (end, who))| (*start, *end, *who))
            .filter(|(_, end, _)| *end > range.start)
            .collect()
    }

    /// Who sent which part of `range`.
    pub fn senders(&self, range: ByteRange) -> Vec<Piece> {
        let pieces = self.touched(range).into_iter();
        pieces
            .map(|(start, end, who)| (ByteRange::new(start, end).intersection(range), who))
            .collect()
    }

    /// All of it, in the order of the bytes.
    pub fn iter(&self) -> impl Iterator<Item = Piece> + '_ {
        self.pieces
            .iter()
            .map(|(start, (end, who))| (ByteRange::new(*start, *end), *who))
    }

    /// Forgets who sent `range`; returns it.
    pub fn remove(&mut self, range: ByteRange) -> Vec<Piece> {
        let mut taken = Vec::new();
        for (start, end, who) in self.touched(range) {
            self.pieces.remove(&start);
            if start < range.start {
                self.pieces.insert(start, (range.start, who));
            }
            if end > range.end {
                self.pieces.insert(range.end, (end, who));
            }
            taken.push((ByteRange::new(start, end).intersection(range), who));
        }
        taken
    }
}

struct Dispute {
    range: ByteRange,
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

/// Bytes that proved wrong, until it is clear whose they were.
#[derive(Default)]
pub(super) struct Disputes {
    entries: VecDeque<Dispute>,
}

impl Disputes {
    /// `bytes`, those of `range`, are wrong, and `pieces` tells who sent them. Returns who it was, if
    /// that is clear at once.
    pub fn open(
        &mut self,
        range: ByteRange,
        bytes: &[u8],
        pieces: Vec<Piece>,
    ) -> Option<SocketAddr> {
        let sole = sole_sender(&pieces, range);
        if sole.is_none() {
            self.keep(range, bytes, pieces);
        }
        sole
    }

    /// `bytes`, those of `range`, may be wrong.
    pub fn keep(&mut self, range: ByteRange, bytes: &[u8], pieces: Vec<Piece>) {
        if !pieces.is_empty() {
            if self.entries.len() >= MAX_DISPUTES {
                self.entries.pop_front();
            }
            self.entries.push_back(Dispute {
                range,
                bytes: bytes.to_vec(),
                pieces,
            });
        }
    }

    /// `right` are the right bytes of `range`: returns who sent others.
    pub fn settle(&mut self, range: ByteRange, right: &[u8]) -> BTreeSet<SocketAddr> {
        let mut liars = BTreeSet::new();
        self.entries.retain(|dispute| {
            if dispute.range != range {
                return true;
            }
            for (piece, who) in &dispute.pieces {
                let of = |bytes: &[u8]| {
                    let start = usize::try_from(piece.start.saturating_sub(range.start)).ok()?;
                    let end = usize::try_from(piece.end.saturating_sub(range.start)).ok()?;
                    bytes.get(start..end).map(<[u8]>::to_vec)
                };
                if of(&dispute.bytes) != of(right) {
                    liars.insert(*who);
                }
            }
            false
        });
        liars
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 24254))
    }

    proptest! {
        /// Agrees with a list that has an entry for each byte.
        #[test]
        fn the_last_sender_of_each_byte_is_known(
            ops in prop::collection::vec((0..60u64, 0..20u64, 0..4u8), 1..60)
        ) {
            let mut pieces = Provenance::default();
            let mut bytes = vec![None; 100];
            for (start, length, who) in ops {
                let range = ByteRange::at(start, length);
                let slot = &mut bytes[start as usize..range.end as usize];
                if who == 0 {
                    let taken: u64 = pieces.remove(range).iter().map(|(r, _)| r.len()).sum();
                    prop_assert_eq!(taken, slot.iter().flatten().count() as u64);
                    slot.fill(None);
                } else {
                    pieces.insert(range, peer(who));
                    slot.fill(Some(peer(who)));
                }
            }
            for (at, expected) in bytes.iter().enumerate() {
                let found = pieces.remove(ByteRange::at(at as u64, 1));
                prop_assert_eq!(found.first().map(|(_, who)| *who), *expected);
            }
        }
    }

    #[test]
    fn who_sent_wrong_bytes_is_found_out() {
        let range = ByteRange::new(4096, 8192);
        let right = vec![1; 4096];
        let mut wrong = right.clone();
        wrong[3000] = 2;
        let mut disputes = Disputes::default();
        let alone = disputes.open(range, &wrong, vec![(range, peer(1))]);
        assert_eq!(alone, Some(peer(1)));
        let pieces = vec![
            (ByteRange::new(4096, 6000), peer(1)),
            (ByteRange::new(6000, 8192), peer(2)),
        ];
        assert_eq!(disputes.open(range, &wrong, pieces), None);
        assert!(disputes.settle(ByteRange::new(0, 4096), &right).is_empty());
        let liars = disputes.settle(range, &right);
        assert_eq!(liars.into_iter().collect::<Vec<_>>(), [peer(2)]);
        assert!(disputes.is_empty());
        // Who sent a part of it cannot be blamed for the rest.
        let part = vec![(ByteRange::new(4096, 6000), peer(1))];
        assert_eq!(disputes.open(range, &wrong, part), None);
        assert!(disputes.settle(range, &right).is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut pieces = Provenance::default();
        let mut disputes = Disputes::default();
        for n in 0..2 * MAX_PIECES as u64 {
            pieces.insert(ByteRange::at(n * 2, 1), peer(1));
            let part = (ByteRange::at(n, 1), peer(1));
            disputes.open(ByteRange::at(n, 2), &[0, 0], vec![part]);
        }
        assert_eq!(pieces.pieces.len(), MAX_PIECES);
        assert_eq!(disputes.entries.len(), MAX_DISPUTES);
    }
}
