//! What content is, apart from where it lies or how it travels: ids, ranges, hashes, trees.
//!
//! Everything here is pure: no I/O, no clock, no network. The other rooms build on these types so
//! that an id, an offset and a length cannot be mistaken for one another or for a path.

mod blocks;
mod groups;
mod hasher;
mod id;
mod key;
pub mod listing;
mod name;
mod range;
pub mod tree;
mod tree_writer;

pub use blocks::{BLOCK, BlockList, BlockListError, MAX_BLOCK_LIST};
pub use groups::{GROUP, LeafGroups};
pub use hasher::{ContentHasher, Digests, Proof, TreeHasher};
pub use id::{ContentId, Hash, IdError, Kind};
pub use key::{KeyError, PublicKey, SecretKey, Signature};
pub use listing::{Listing, ListingError};
pub use name::{KeyedName, MAX_NAME, NameError, PublishedName, is_sound_id};
pub use range::{ByteRange, RangeSet};

/// Bytes in one leaf: the unit in which content is verified, kept track of on disk and asked for
/// by deployed peers (`PleaseSendContent` comes on boundaries of this size).
pub const LEAF: u64 = 4096;

/// The longest content that this node handles: 2^62 bytes.
///
/// An `offset` of 2^63 or more kills a deployed node, and staying a factor of two below keeps every
/// `offset + length` of this crate inside `i64`, which is what files can address.
pub const MAX_LENGTH: u64 = 1 << 62;
