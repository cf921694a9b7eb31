//! What a swarm tells the application.

use std::net::SocketAddr;

use super::Ask;
use crate::content::{ByteRange, ContentId, Hash, KeyedName};
use crate::wire::{SignedBlock, SignedLatest};

/// What the application is to know or to do.
// Asks are the most of them where it matters: a box for each would cost more than the room.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Event {
    /// An id that was looked for exists and has this length, as far as the peers that answered
    /// agree. May come again with another length when the first turns out to be a minority's.
    Found {
        /// What was found.
        id: ContentId,
        /// Bytes.
        length: u64,
    },
    /// Wanted bytes arrived. Each byte that is wanted comes once, unverified.
    Data {
        /// Of what.
        id: ContentId,
        /// Where the first byte belongs.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
        /// Who sent them.
        from: SocketAddr,
    },
    /// What most of the peers that told say the BLAKE3 of content by SHA-256 is. Comes again when
    /// more say so, or another claim has more support.
    Claimed {
        /// Of what.
        id: ContentId,
        /// The length of the whole for which it is claimed.
        length: u64,
        /// The claim.
        blake3: Hash,
        /// Who says so.
        by: Vec<SocketAddr>,
    },
    /// What a second peer says to bytes that were asked for with [`Swarm::ask_again`](super::Swarm::ask_again). Comes once for
    /// each such question, unless its id is forgotten before.
    Again {
        /// Of what.
        id: ContentId,
        /// Which bytes were asked for: of those wanted, the first ones.
        range: ByteRange,
        /// Who answered, and the bytes of `range`; `None`: there is nobody to ask, or it did not
        /// give them.
        answer: Option<(SocketAddr, Vec<u8>)>,
    },
    /// A peer asks for content; read it and call [`Swarm::answer`](super::Swarm::answer), or drop it.
    Asked(Ask),
    /// What a key published, newer than what was known; its signature is good.
    Latest(Box<SignedLatest>),
    /// A block of a stream that was wanted; its signature is good.
    Block(Box<SignedBlock>),
    /// [`Swarm::ask_latest`](super::Swarm::ask_latest) has ended.
    LatestAsked {
        /// The key and the name.
        of: KeyedName,
        /// Whether any peer heard the question.
        answered: bool,
    },
}
