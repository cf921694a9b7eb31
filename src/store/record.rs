//! What the index says of one seeded file, and how that is written: fields of fixed size, one after
//! the other, numbers little-endian.

use crate::content::{ContentId, Hash, Kind};

use super::identity::Identity;
use super::prefixes::prefix;

/// A seeded file as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) sha256: Hash,
    pub(super) blake3: Hash,
    pub(super) identity: Identity,
}

const RECORD: usize = 32 + 32 + 8 + 12 + 12 + 8 + 8 + 8;

impl Record {
    /// The bytes of the record of the file with this number.
    pub(super) fn encode(&self, number: u64) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let identity = &self.identity;
        let mut rest = &mut bytes[..];
        for part in [
            &self.sha256.0[..],
            &self.blake3.0,
            &identity.size.to_le_bytes(),
            &identity.mtime.0.to_le_bytes(),
            &identity.mtime.1.to_le_bytes(),
            &identity.ctime.0.to_le_bytes(),
            &identity.ctime.1.to_le_bytes(),
            &identity.inode.to_le_bytes(),
            &identity.device.to_le_bytes(),
            &number.to_le_bytes(),
        ] {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(part.len());
            now.copy_from_slice(part);
            rest = later;
        }
        bytes
    }

    /// The record, and the file's number; `None` for bytes of another shape.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, u64)> {
        fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
            let (now, later) = rest.split_first_chunk()?;
            *rest = later;
            Some(now)
        }
        let rest = &mut &*bytes;
        let record = Self {
            sha256: Hash(*take(rest)?),
            blake3: Hash(*take(rest)?),
            identity: Identity {
                size: u64::from_le_bytes(*take(rest)?),
                mtime: (
                    i64::from_le_bytes(*take(rest)?),
                    u32::from_le_bytes(*take(rest)?),
                ),
                ctime: (
                    i64::from_le_bytes(*take(rest)?),
                    u32::from_le_bytes(*take(rest)?),
                ),
                inode: u64::from_le_bytes(*take(rest)?),
                device: u64::from_le_bytes(*take(rest)?),
            },
        };
        Some((record, u64::from_le_bytes(*take(rest)?)))
    }

    pub(super) fn hash_of(&self, kind: Kind) -> Option<Hash> {
        match kind {
            Kind::Sha256 => Some(self.sha256),
            Kind::Blake3 => Some(self.blake3),
            Kind::TreeV2 => None,
        }
    }

    /// By which it is looked up.
    pub(super) fn prefixes(&self) -> [u64; 2] {
        [
            prefix(&ContentId::sha256(self.sha256.0)),
            prefix(&ContentId::blake3(self.blake3.0)),
        ]
    }
}
