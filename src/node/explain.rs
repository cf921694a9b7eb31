//! Why content is not here yet: who waits for which bytes, who was asked, what they answered.
//!
//! A person who waits asks; until then nothing is kept for this. The story joins three that know a
//! part each: the store what is held, the transfer who waits for what, the swarm whom it asked and
//! what is on its way. Each is asked at its own moment, so numbers may differ by what happened in
//! between.

mod network;

use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use network::{Answer, AskedOf, Claim, FlightStory, Network, PathStory, PeerStory, Standing};

use super::Node;
use super::messages::Command;
use super::shared::{Shared, lock};
use super::status::REPORT_LIMIT;
use super::transfer::{Phase, Story};
use crate::content::{ByteRange, ContentId};
use crate::swarm;

/// Entries of each list.
const MOST: usize = 64;
/// Peers named beside one wanted range.
const MOST_ASKED: usize = 8;

/// What is known of one id, and why what is wanted of it has not come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The id.
    pub id: String,
    /// How it stands.
    pub state: ContentState,
    /// Where complete content lies; `None` while it is not complete.
    pub place: Option<Place>,
    /// Bytes of the whole, where that is known.
    pub length: Option<u64>,
    /// Bytes held here.
    pub present: u64,
    /// Which. Empty for content that is complete or that nobody has open.
    pub present_ranges: Vec<Range>,
    /// Ranges that are left out of the list.
    pub present_ranges_left_out: usize,
    /// How it is verified.
    pub verified: Verified,
    /// Bytes held here that wait for their leaf to be verified.
    pub unverified: u64,
    /// The tree whose nodes are fetched to verify leaves; it can be explained, too.
    pub tree: Option<String>,
    /// Everything before this byte is hashed for the proof of the whole.
    pub hashed: u64,
    /// Handles that are open on it.
    pub handles: usize,
    /// What is wanted: first what reads wait for, the longest wait first.
    pub wants: Vec<Want>,
    /// Wants that are left out of the list.
    pub wants_left_out: usize,
    /// Who waits to know whether it exists.
    pub lookup: Option<Lookup>,
    /// How many wait for all of it.
    pub waiting_for_all: usize,
    /// Since what peers sent proved not to be this content.
    pub wrong_seconds_ago: Option<f64>,
    /// Since it was looked for in vain.
    pub missed_seconds_ago: Option<f64>,
    /// What the network is asked and answers; `None` when it is not asked for this id.
    pub network: Option<Network>,
    /// The network thread did not answer within a second: `network` is not known.
    pub network_unknown: bool,
}

/// How content stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentState {
    /// All of it is here, verified and durable.
    Held,
    /// All of it is here and verified; it is being made durable.
    Proven,
    /// Somebody has it open or fetches it, and not all of it is here or hashed.
    Arriving,
    /// A part of it is here, and nobody has it open.
    Partial,
    /// Somebody in the network has it; nothing of it is here, and nobody has it open.
    Found,
    /// Somebody waits to know whether it exists.
    LookedFor,
    /// What peers sent lately was not this content, and nobody looks for it now.
    Wrong,
    /// Nothing of it is here and nobody looks for it.
    Unknown,
}

/// How content is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verified {
    /// Not before it is complete, by the hash of the whole.
    AsAWhole,
    /// Leaf by leaf as it arrives.
    ByLeaves,
}

/// Where complete content lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "snake_case")]
pub enum Place {
    /// In the store.
    Store,
    /// In a file of the user's.
    Seeded {
        /// Its path; bytes that are no UTF-8 are replaced.
        path: String,
    },
}

/// Bytes from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

impl Range {
    /// Bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<ByteRange> for Range {
    fn from(range: ByteRange) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

/// Bytes that somebody wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Want {
    /// Which.
    #[serde(flatten)]
    pub range: Range,
    /// Bytes that it lacks. A read that lacks none waits for the proof of the whole.
    pub missing: u64,
    /// Who wants them.
    pub why: Why,
    /// For how long a read has waited.
    pub waiting_seconds: Option<f64>,
    /// After how much longer the read fails.
    pub fails_in_seconds: Option<f64>,
    /// Of whom some of it is asked now. At most eight.
    pub asked: Vec<AskedOf>,
}

/// Why bytes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A read waits for them.
    Read,
    /// A handle is expected to read them next.
    ReadAhead,
    /// Leaves of other content are verified with them.
    Tree,
    /// A handle reads on to the end, or its node completes all that is opened.
    Completion,
    /// Somebody fetches all of it.
    Fetch,
}

/// Somebody waits to know whether content exists.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Lookup {
    /// How many do.
    pub waiting: usize,
    /// How long the first has waited.
    pub waiting_seconds: f64,
    /// After how much longer the last is told that nobody has it.
    pub fails_in_seconds: f64,
}

impl Node {
    /// What is known of `id`, and why what is wanted of it has not come. Content that is complete
    /// is told of at once; for the rest the network thread is asked, which takes a second at most.
    #[must_use]
    pub fn explain(&self, id: ContentId) -> Explanation {
        let shared = &self.0.shared;
        if let Some(held) = held(shared, id) {
            return held;
        }
        let asked = self.ask_network(id);
        // In this order nothing is missed that is being moved from the one to the other.
        let transfer = shared.transfer(&id);
        if let Some(held) = held(shared, id) {
            return held;
        }
        let now = Instant::now();
        let mut told = Explanation {
            network_unknown: asked.is_none(),
            ..nothing_known(id)
        };
        if let Some(ask) = asked.flatten() {
            told.length = ask.length;
            told.network = Some(ask.into());
        }
        told.lookup = lookup(shared, id, now);
        let ago = |at: &Instant| now.saturating_duration_since(*at).as_secs_f64();
        told.wrong_seconds_ago = lock(&shared.wrong).peek(&id).map(ago);
        told.missed_seconds_ago = lock(&shared.misses).peek(&id).map(ago);
        if let Some(transfer) = transfer {
            told.length = Some(transfer.length);
            told.add(transfer.story(), transfer.length, now, shared);
        } else if told.lookup.is_some() {
            told.state = ContentState::LookedFor;
        } else if let Some(left) = lock(&shared.left_over).get(&id) {
            told.length = Some(left.length);
            told.present = left.present;
            told.state = match left.present {
                0 => ContentState::Found,
                _ => ContentState::Partial,
            };
        } else if told.wrong_seconds_ago.is_some() {
            told.state = ContentState::Wrong;
        }
        told
    }

    /// What the swarm says; the outer `None`: the network thread did not answer.
    fn ask_network(&self, id: ContentId) -> Option<Option<swarm::Explanation>> {
        let (to, told) = std::sync::mpsc::channel();
        self.0.shared.mailbox.post(Command::Explain(id, to));
        told.recv_timeout(REPORT_LIMIT).ok()
    }
}

impl Explanation {
    /// Adds what the transfer says of itself.
    fn add(&mut self, story: Story, length: u64, now: Instant, shared: &Shared) {
        self.state = match story.phase {
            Phase::Arriving => ContentState::Arriving,
            Phase::Proven | Phase::Kept => ContentState::Proven,
            Phase::Wrong => ContentState::Wrong,
        };
        self.present = story.present.bytes();
        let ranges = story.present.iter().map(Range::from);
        self.present_ranges = ranges.take(MOST).collect();
        self.present_ranges_left_out = story.present.pieces().saturating_sub(MOST);
        if story.by_leaves {
            self.verified = Verified::ByLeaves;
        }
        self.unverified = story.unverified;
        self.tree = story.tree.map(|tree| tree.to_string());
        self.hashed = story.hashed;
        self.handles = story.readers;
        self.waiting_for_all = story.wholes;
        if story.phase != Phase::Arriving {
            return;
        }
        let limit = shared.config.read_timeout;
        for read in story.reads.iter().take(MOST) {
            let (waits, left) = read.times(now, limit);
            self.wants.push(Want {
                missing: read.missing,
                waiting_seconds: Some(waits.as_secs_f64()),
                fails_in_seconds: Some(left.as_secs_f64()),
                ..self.want(read.range, Why::Read)
            });
        }
        self.wants_left_out = story.reads.len().saturating_sub(MOST);
        for (ranges, why) in [(&story.ahead, Why::ReadAhead), (&story.sought, Why::Tree)] {
            for range in ranges.iter().take(MOST) {
                self.wants.push(self.want(range, why));
            }
            self.wants_left_out += ranges.pieces().saturating_sub(MOST);
        }
        let missing = length.saturating_sub(self.present);
        for (wanted, why) in [
            (story.fetched, Why::Fetch),
            (story.completed, Why::Completion),
        ] {
            if wanted {
                self.wants.push(Want {
                    missing,
                    ..self.want(ByteRange::new(0, length), why)
                });
            }
        }
    }

    /// `range` with those who are asked for some of it; nothing of it is here.
    fn want(&self, range: ByteRange, why: Why) -> Want {
        let mut asked: Vec<AskedOf> = Vec::new();
        let flights = self.network.iter().flat_map(|network| &network.flights);
        let within = flights.filter(|it| it.range.start < range.end && it.range.end > range.start);
        for of in within.flat_map(|flight| &flight.from) {
            of.add_to(&mut asked, MOST_ASKED);
        }
        Want {
            range: range.into(),
            missing: range.len(),
            why,
            waiting_seconds: None,
            fails_in_seconds: None,
            asked,
        }
    }
}

fn nothing_known(id: ContentId) -> Explanation {
    Explanation {
        id: id.to_string(),
        state: ContentState::Unknown,
        place: None,
        length: None,
        present: 0,
        present_ranges: Vec::new(),
        present_ranges_left_out: 0,
        verified: Verified::AsAWhole,
        unverified: 0,
        tree: None,
        hashed: 0,
        handles: 0,
        wants: Vec::new(),
        wants_left_out: 0,
        lookup: None,
        waiting_for_all: 0,
        wrong_seconds_ago: None,
        missed_seconds_ago: None,
        network: None,
        network_unknown: false,
    }
}

/// Content that is complete. What the disk refuses to open counts as not held, as in a lookup.
fn held(shared: &Shared, id: ContentId) -> Option<Explanation> {
    let content = shared.store.open_content(&id).ok()??;
    let place = match content.seeded_path() {
        Some(path) => Place::Seeded {
            path: path.display().to_string(),
        },
        None => Place::Store,
    };
    Some(Explanation {
        state: ContentState::Held,
        place: Some(place),
        length: Some(content.length()),
        present: content.length(),
        hashed: content.length(),
        ..nothing_known(id)
    })
}

fn lookup(shared: &Shared, id: ContentId, now: Instant) -> Option<Lookup> {
    let lookups = lock(&shared.lookups);
    let askers = &lookups.get(&id)?.askers;
    let deadlines = || {
        askers
            .iter()
            .filter(|it| !it.is_over())
            .map(|it| it.deadline)
    };
    let limit = shared.config.lookup_timeout;
    let (first, last) = (deadlines().min()?, deadlines().max()?);
    Some(Lookup {
        waiting: deadlines().count(),
        waiting_seconds: limit
            .saturating_sub(first.saturating_duration_since(now))
            .as_secs_f64(),
        fails_in_seconds: last.saturating_duration_since(now).as_secs_f64(),
    })
}
