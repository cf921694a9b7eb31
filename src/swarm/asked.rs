//! What a peer asks for that the application must look up, and what it says to that.

use std::net::SocketAddr;

use super::serving::Reply;
use crate::content::{ByteRange, ContentId, Hash};

/// A question for content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of what.
    pub id: ContentId,
    /// The first byte.
    pub offset: u64,
    /// How many bytes, at most [`MAX_ANSWER`](super::MAX_ANSWER).
    pub length: u64,
}

impl Question {
    /// What of content of `eof` bytes answers it.
    #[must_use]
    pub fn range(&self, eof: u64) -> ByteRange {
        ByteRange::at(self.offset, self.length).intersection(ByteRange::new(0, eof))
    }
}

/// The BLAKE3 of content by SHA-256, with the length of the whole; `None`: it is not here.
pub type KnownBlake3 = (ContentId, Option<(Hash, u64)>);

/// What a peer asked for and the application must look up, with all else that rides on the answer.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who asks.
    pub to: SocketAddr,
    /// What it asks for. [`Swarm::answer`](super::Swarm::answer) wants one answer for each, in this order.
    pub questions: Vec<Question>,
    /// Whether it wants to know what is held here; if so, fill `listing`.
    pub list: bool,
    /// Some of what is held here, at most [`Ask::listed`] entries are told.
    pub listing: Vec<(ContentId, u64)>,
    /// Ids of which it wants to know what is held here; fill `parts` for those of which there is
    /// something, or will be.
    pub parts_of: Vec<ContentId>,
    /// What is held of them.
    pub parts: Vec<Held>,
    /// Ids of which it wants to know the BLAKE3; fill `blake3` for those of which it is proven, or
    /// of which nothing is here.
    pub blake3_of: Vec<ContentId>,
    /// Their BLAKE3s, each with the length of the whole; `None`: it is not here.
    pub blake3: Vec<KnownBlake3>,
    pub(super) reply: Reply,
}

impl Ask {
    /// Whether the asker has proved that it is where it says.
    pub(super) fn is_verified(&self) -> bool {
        self.reply.verified
    }

    /// The most bytes that its answer may have.
    pub(super) fn limit(&self) -> usize {
        self.reply.limit
    }

    /// How many entries of the listing can be told.
    #[must_use]
    pub fn listed(&self) -> usize {
        self.reply.listed()
    }
}

/// What is held of some content and may be asked for.
#[derive(Clone, Debug)]
pub struct Held {
    /// Of what.
    pub id: ContentId,
    /// The length of the whole.
    pub eof: u64,
    /// What was verified, none of it empty; content that is complete is one range. Of many, the
    /// longest are told.
    pub parts: Vec<ByteRange>,
}

impl Held {
    /// All of content of `eof` bytes.
    #[must_use]
    pub fn whole(id: ContentId, eof: u64) -> Self {
        Self {
            id,
            eof,
            parts: vec![ByteRange::new(0, eof)],
        }
    }
}

/// What the application has to say to a [`Question`].
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// It has the content.
    Content {
        /// The content's length.
        eof: u64,
        /// The bytes from the question's offset, as many as it asked for or up to the end.
        data: &'a [u8],
    },
    /// It has other bytes of it but not these: not all that were asked for, up to the end.
    OtherParts(&'a Held),
    /// It has not.
    Absent,
}
