//! What the threads of a node say to each other.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::claims::Claim;
use super::socket::Drops;
use super::transfer::Transfer;
use crate::content::{ByteRange, ContentId, Hash, KeyedName};
use crate::store::Content;
use crate::swarm::{Ask, Class, Explanation, Held, Listed, PeerReport, Stats, Time};
use crate::wire::{SignedBlock, SignedLatest};

/// What the network thread is told.
pub(super) enum Command {
    Find(ContentId),
    Want(ContentId, Vec<(ByteRange, Class)>),
    /// Searches for it no more; what is known of its sources stays.
    Rest(ContentId),
    /// Wants what the transfer wants when this is handled, and nothing else of it.
    WantAnew(Arc<Transfer>),
    /// Finds what is partly held: of this length, and so many bytes.
    Resume(ContentId, u64, u64),
    /// It is so long, whatever peers say.
    LengthIsProven(ContentId, u64),
    Forget(ContentId),
    /// What arrived of it is gone: it may be wanted again.
    Refetch(ContentId, ByteRange),
    Distrust(ContentId, Vec<SocketAddr>),
    /// Fetches from this source alone, to find a liar; `None`: from all again.
    Only(ContentId, Option<SocketAddr>),
    /// Asks another source than these for bytes that are here.
    AskAgain(ContentId, ByteRange, Vec<SocketAddr>),
    /// Asks these for nothing of it before `Reinstate`.
    Suspend(ContentId, Vec<SocketAddr>),
    Reinstate(ContentId),
    /// The content does not have this BLAKE3.
    Refute(ContentId, Hash),
    /// Nothing can be verified with this BLAKE3.
    PassOver(ContentId, Hash),
    /// The host could not put some fragmented datagrams together.
    FragmentsFail,
    /// This host has another address than before, or was away.
    Moved,
    Read(Box<Read>),
    Report(Sender<Report>),
    /// What peers have said that they have; perhaps they are to be asked anew.
    Lists {
        ask: bool,
        to: Sender<Lists>,
    },
    /// What the swarm knows of it, for people.
    Explain(ContentId, Sender<Option<Explanation>>),
    /// Tells who asks what this node has published.
    KnowLatest(Box<SignedLatest>),
    ForgetLatest(KeyedName),
    /// Wants blocks of a stream: where they begin, and how much of each is here.
    WantBlocks(KeyedName, Vec<(u64, usize)>),
    UnwantBlocks(KeyedName),
    /// Asks peers what was published under a name, for so long at most.
    AskLatest(KeyedName, Duration),
    Stop,
}

/// What was read for a peer.
pub(super) struct Read {
    pub ask: Ask,
    /// One for each question.
    pub answers: Vec<Found>,
    /// Content that was opened for it, for the next questions, and how often the store had given up
    /// content before.
    pub opened: Vec<(ContentId, Content)>,
    pub given_up: u64,
}

/// What was found there.
pub(super) enum Found {
    /// The content's length, and the bytes that were asked for.
    Content(u64, Vec<u8>),
    /// Other parts of content that is on its way.
    OtherParts(Held),
    Nothing,
}

/// The state of the network thread, for people.
pub(super) struct Report {
    pub stats: Stats,
    pub peers: Vec<PeerReport>,
    pub fetches: HashMap<ContentId, crate::swarm::FetchReport>,
    pub good_peers: Vec<SocketAddr>,
    pub drops: Drops,
}

/// What peers have said that they have.
pub(super) struct Lists {
    pub now: Time,
    pub listed: Vec<Listed>,
    /// Peers that were asked and may answer yet.
    pub awaited: usize,
}

/// What the writer thread is given.
pub(super) enum Arrival {
    Found(ContentId, u64),
    /// What most peers say its BLAKE3 is.
    Claimed(ContentId, Claim),
    /// What a second peer gave for bytes that are here.
    Again(ContentId, ByteRange, Option<(SocketAddr, Vec<u8>)>),
    /// Nothing has come for a transfer since then, or what came is in the queue before this.
    Stalled(Arc<Transfer>, Instant),
    /// A block of a stream.
    Block(Box<SignedBlock>),
    /// Peers were asked what was published under a name; whether one heard it.
    LatestAsked(KeyedName, bool),
    Data {
        id: ContentId,
        offset: u64,
        data: Vec<u8>,
        from: SocketAddr,
    },
    Stop,
}

/// What the keeper thread is given.
pub(super) enum Keep {
    Proven(Arc<Transfer>),
    /// Nobody needs it any more; what it holds is made durable.
    Idle(Arc<Transfer>),
    /// Much has been written since the last sync.
    Sync,
    /// What a key published, to be written down.
    Latest(Box<SignedLatest>),
    /// Files to close.
    Close(Vec<Content>),
    /// A transfer that nobody else has, to be closed.
    Ended(Box<Transfer>),
    /// Peers that answer, to be written down.
    Peers(Vec<SocketAddr>),
    Stop,
}
