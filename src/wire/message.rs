//! What a datagram can say.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use serde::Deserialize;

use crate::content::{ByteRange, ContentId, Hash, KeyedName, PublicKey, is_sound_id};

use super::Signed;

/// Bytes in the longest cookie, as raw JSON, that is kept: deployed nodes use 8 digits.
pub const MAX_COOKIE: usize = 512;

/// Bytes in the longest id that is not a hash (a stream's name, say) that is read.
pub const MAX_ID: usize = 1024;

/// Addresses taken from one `Peers` or `MaybeTheyHaveSome`: deployed nodes send about 50.
pub const MAX_PEERS: usize = 128;

/// Pairs taken from one `ContentList`: deployed nodes send about 70.
pub const MAX_LISTED: usize = 256;

/// Ranges in one `IHaveTheseParts`, sent or read.
pub const MAX_PARTS: usize = 256;

/// The id in a message: of content, or a name of another sort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id<'a> {
    /// Content named by a hash.
    Content(ContentId),
    /// Anything else that the network's rules for ids allow: streams, names by local agreement.
    Other(Cow<'a, str>),
}

impl<'a> Id<'a> {
    /// Reads an id; `None` when it breaks the rules that keep an id from ever acting as a path.
    #[must_use]
    pub fn from_text(text: Cow<'a, str>) -> Option<Self> {
        if let Ok(id) = text.parse() {
            return Some(Self::Content(id));
        }
        let allowed = text.len() <= MAX_ID && is_sound_id(&text);
        allowed.then_some(Self::Other(text))
    }

    /// The content id, if it is one.
    #[must_use]
    pub fn content(&self) -> Option<ContentId> {
        match self {
            Self::Content(id) => Some(*id),
            Self::Other(_) => None,
        }
    }
}

/// What a peer asks to have returned: any JSON value, kept as it came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cookie<'a> {
    raw: &'a str,
}

#[derive(Deserialize)]
struct CookieBody<'a> {
    #[serde(borrow)]
    cookie: Cow<'a, str>,
}

impl<'a> Cookie<'a> {
    /// `raw` is one complete JSON value of at most [`MAX_COOKIE`] bytes.
    pub(super) fn new(raw: &'a str) -> Option<Self> {
        // Returned verbatim, what only looks like JSON (a lone surrogate, a number that overflows)
        // would cost its asker our whole datagram.
        let is_plain = !raw.contains('\\') && raw.starts_with("{\"cookie\":\"");
        (raw.len() <= MAX_COOKIE
            && (is_plain || serde_json::from_str::<serde_json::Value>(raw).is_ok()))
        .then_some(Self { raw })
    }

    /// The value, verbatim: what is to be returned.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// The string in `{"cookie":"string"}`; `None` for a value of any other form.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'a, str>> {
        let plain = self
            .raw
            .strip_prefix("{\"cookie\":\"")
            .and_then(|rest| rest.strip_suffix("\"}"));
        if let Some(text) = plain
            && !text.contains(['"', '\\'])
        {
            return Some(Cow::Borrowed(text));
        }
        if !self.raw.starts_with('{') {
            return None;
        }
        let body: CookieBody<'a> = serde_json::from_str(self.raw).ok()?;
        Some(body.cookie)
    }
}

impl fmt::Debug for Cookie<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.raw)
    }
}

/// One message. Offsets and lengths are bytes and below 2^63; addresses are normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// Tell me of other nodes.
    PleaseSendPeers,
    /// Addresses of nodes: claims by a stranger, at most [`MAX_PEERS`].
    Peers(Vec<SocketAddr>),
    /// A ping.
    PleaseReturnThisMessage(Cookie<'a>),
    /// The answer to a ping.
    ReturnedMessage(Cookie<'a>),
    /// The sender's proof that the receiver's address is real, if it comes back.
    PleaseAlwaysReturnThisMessage(Cookie<'a>),
    /// What the receiver asked to have returned.
    AlwaysReturned(Cookie<'a>),
    /// A question for bytes of content.
    PleaseSendContent {
        /// Of what.
        id: Id<'a>,
        /// The first byte.
        offset: u64,
        /// How many, at most.
        length: u64,
    },
    /// Bytes of content.
    Content {
        /// Of what.
        id: Id<'a>,
        /// Where the first of them belongs.
        offset: u64,
        /// The length of the whole content, if told.
        eof: Option<u64>,
        /// The bytes, still in base64 (see [`super::decode_base64`]).
        base64: Cow<'a, str>,
    },
    /// Nodes that showed an interest in an id, at most [`MAX_PEERS`].
    MaybeTheyHaveSome {
        /// In what.
        id: Id<'a>,
        /// Who.
        peers: Vec<SocketAddr>,
    },
    /// A "no" in place of silence.
    IDoNotHaveThat {
        /// What is not there.
        id: Id<'a>,
    },
    /// Tell me the BLAKE3 of the content with this SHA-256.
    WhatIsItsBlake3 {
        /// Its SHA-256.
        id: Id<'a>,
    },
    /// The BLAKE3 of the content with a SHA-256: a claim.
    ItsBlake3Is {
        /// Its SHA-256.
        id: Id<'a>,
        /// Its BLAKE3.
        blake3: Hash,
        /// The length of the whole content.
        eof: u64,
    },
    /// Tell me which bytes of it you have and can vouch for.
    WhichPartsDoYouHave {
        /// Of what.
        id: Id<'a>,
    },
    /// The bytes of some content that the sender has: each part from its first byte to the one after
    /// its last, at most [`MAX_PARTS`], none of them empty.
    IHaveTheseParts {
        /// Of what.
        id: Id<'a>,
        /// The length of the whole content.
        eof: u64,
        /// Its parts, in no order that could be relied on.
        parts: Vec<ByteRange>,
    },
    /// Tell me what you have.
    PleaseListContent,
    /// Ids and lengths of what the sender has, at most [`MAX_LISTED`].
    ContentList(Vec<(Id<'a>, u64)>),
    /// The sender's key: a claim.
    MyPublicKey(PublicKey),
    /// Tell me at which address the node with this key was last seen.
    WhereAreThey(PublicKey),
    /// What another node said, passed on: the answer to `WhereAreThey`.
    Forwarded {
        /// Where it was said.
        source: SocketAddr,
        /// A JSON array of messages.
        messages: Cow<'a, str>,
    },
    /// Messages that a key has signed, not checked yet.
    SignedMessage(Signed<'a>),
    /// Tell me what the key has last published under the name.
    GetLatest(KeyedName),
    /// What a key has published under a name. Counts only in a `SignedMessage` by that key.
    Latest {
        /// The key and the name.
        of: KeyedName,
        /// The content.
        sha256: Hash,
        /// The highest counts.
        seq: u64,
    },
}

/// The one form of an address that arrives in several: a v4-mapped v6 address becomes v4.
///
/// A dual-stack socket reports v4 peers in the mapped form, and lists name them in either.
#[must_use]
pub fn normalise(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::from((v4, v6.port())),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}
