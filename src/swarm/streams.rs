//! Following streams: bytes that keep growing, each block of them signed.
//!
//! Nobody tells where a stream ends, and silence is the only "not yet". So a block is asked for again
//! at a steady, slow rate until it comes, and of the one that delivers. Only a block that was asked
//! for is looked into, and its signature checked a bounded number of times for each question.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::acquaintance::{Greeting, add_cookies};
use super::{Event, Swarm, Time, cookie};
use crate::content::{KeyedName, LEAF};
use crate::wire::{Encoder, SignedBlock};

/// Streams that are followed at once.
const MAX_STREAMS: usize = 64;
/// Blocks of one stream that are wanted at once.
const MAX_BLOCKS: usize = 64;
/// Blocks of one stream that are asked for at once, at first and at most. A block travels in some
/// 5.6 KB, so this is what a path may have to hold.
const FIRST_WINDOW: usize = 4;
const WINDOW: usize = 16;
/// Peers that are asked while nobody delivers.
const MAX_ASKED: usize = 16;
/// How often one block is asked for, where nobody delivers: at first, and at last.
const ASK_AGAIN: Duration = Duration::from_millis(250);
const SELDOM: Duration = Duration::from_secs(2);
/// The same of the one that delivers: a block that does not exist yet is asked for at this pace.
const AT_THE_END: Duration = Duration::from_millis(400);
/// Times that a block is asked for before it counts as not there yet.
const AT_LAST: u32 = 2;
/// How soon a block is asked for again when the one before it has come.
const SOON: Duration = Duration::from_millis(120);
/// One that delivers nothing for so long is one of many again.
const SILENT: Duration = Duration::from_secs(3);
/// Signatures that are checked for one question.
const CHECKS: u32 = 2;

/// The streams that are followed.
#[derive(Default)]
pub(super) struct Streams {
    followed: BTreeMap<KeyedName, Followed>,
}

struct Followed {
    blocks: BTreeMap<u64, Wanted>,
    /// Who delivered last, and when.
    source: Option<(SocketAddr, Time)>,
    window: usize,
}

struct Wanted {
    /// Bytes of the block that are here: only a longer one is news.
    have: usize,
    next_at: Time,
    pause: Duration,
    asked_at: Option<Time>,
    /// How often it was asked for.
    times: u32,
    checks: u32,
}

impl Streams {
    /// When a block is to be asked for next.
    pub fn next_due(&self) -> Option<Time> {
        let due = |followed: &Followed| {
            let blocks = followed.blocks.values().take(followed.window);
            blocks.map(|block| block.next_at).min()
        };
        self.followed.values().filter_map(due).min()
    }
}

impl Swarm {
    /// Wants the block at `offset` of a stream, of which `have` bytes are here: an [`Event::Block`]
    /// comes when there are more. Wanted until [`Swarm::unwant_blocks`].
    pub fn want_block(&mut self, now: Time, of: &KeyedName, offset: u64, have: usize) {
        let known = self.streams.followed.contains_key(of);
        if !known && self.streams.followed.len() >= MAX_STREAMS {
            return;
        }
        let followed = self
            .streams
            .followed
            .entry(of.clone())
            .or_insert_with(|| Followed {
                blocks: BTreeMap::new(),
                source: None,
                window: FIRST_WINDOW,
            });
        if let Some(wanted) = followed.blocks.get_mut(&offset) {
            wanted.have = have;
        } else if followed.blocks.len() < MAX_BLOCKS {
            let wanted = Wanted {
                have,
                // What has just come in part will not be whole at once.
                next_at: if have > 0 { now + AT_THE_END / 2 } else { now },
                pause: ASK_AGAIN,
                asked_at: None,
                times: 0,
                checks: 0,
            };
            followed.blocks.insert(offset, wanted);
        }
        self.run_streams(now);
    }

    /// Wants nothing of a stream any more.
    pub fn unwant_blocks(&mut self, of: &KeyedName) {
        self.streams.followed.remove(of);
    }

    pub(super) fn run_streams(&mut self, now: Time) {
        let due = self.streams.followed.iter().filter(|(_, followed)| {
            let mut blocks = followed.blocks.values().take(followed.window);
            blocks.any(|block| block.next_at <= now)
        });
        let due: Vec<KeyedName> = due.map(|(of, _)| of.clone()).collect();
        for of in due {
            self.ask_for_blocks(now, &of);
        }
    }

    fn ask_for_blocks(&mut self, now: Time, of: &KeyedName) {
        let ranked = self.peers_by_use(now, of, MAX_ASKED);
        let Some(followed) = self.streams.followed.get_mut(of) else {
            return;
        };
        followed.source = followed
            .source
            .filter(|(peer, at)| now.since(*at) < SILENT && self.peers.contains_key(peer));
        let (targets, longest) = match followed.source {
            Some((source, _)) => (vec![source], AT_THE_END),
            None => (ranked, SELDOM),
        };
        let mut questions = Vec::new();
        // A first block that does not come, of one that delivers, is most likely not there yet; those
        // after it are not, either.
        let first = followed.blocks.values().next();
        if first.is_some_and(|first| first.times >= AT_LAST) {
            followed.window = 1;
        }
        let window = followed.window;
        for (offset, wanted) in followed.blocks.iter_mut().take(window) {
            if wanted.next_at > now {
                continue;
            }
            wanted.next_at = now + wanted.pause;
            wanted.pause = (wanted.pause * 2).min(longest);
            wanted.asked_at = Some(now);
            wanted.times = wanted.times.saturating_add(1);
            wanted.checks = 0;
            questions.push(*offset);
            // Who may not know the stream at all is asked for one block.
            if followed.source.is_none() {
                break;
            }
        }
        for to in targets {
            for offset in &questions {
                self.ask_for_block(of, *offset, to);
            }
        }
    }

    fn ask_for_block(&mut self, of: &KeyedName, offset: u64, to: SocketAddr) {
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        let sequence = peer.take_sequence();
        let mut datagram = Vec::with_capacity(1024);
        let mut encoder = Encoder::new(&mut datagram);
        encoder.please_send_stream(of, offset, LEAF);
        encoder.please_return_this_message(&cookie::token(peer.seal_key, sequence));
        add_cookies(&mut encoder, peer);
        encoder.finish();
        self.send(to, datagram);
    }

    /// A block of a stream has come, as far as it says.
    pub(super) fn handle_block(
        &mut self,
        now: Time,
        from: SocketAddr,
        greeting: &Greeting,
        block: SignedBlock,
    ) {
        if !greeting.verified && greeting.echo.is_none() {
            return;
        }
        let Some(followed) = self.streams.followed.get_mut(&block.of) else {
            return;
        };
        let Some(wanted) = followed.blocks.get_mut(&block.offset) else {
            return;
        };
        if wanted.asked_at.is_none() || wanted.checks >= CHECKS || block.data.len() <= wanted.have {
            return;
        }
        wanted.checks += 1;
        self.stats.signatures_checked += 1;
        if !block.verifies() {
            return;
        }
        followed.source = Some((from, now));
        followed.blocks.remove(&block.offset);
        followed.window = (followed.window + 1).min(WINDOW);
        // What was not there when it was asked for may have come as well.
        for wanted in followed.blocks.values_mut().take(followed.window) {
            let soon = wanted.asked_at.map_or(now, |at| at + SOON);
            wanted.next_at = wanted.next_at.min(soon);
            wanted.pause = ASK_AGAIN;
            wanted.times = 0;
        }
        self.events.push_back(Event::Block(Box::new(block)));
        // There is room in the window for the next.
        self.run_streams(now);
    }

    /// How many streams are followed, and how many blocks of them are wanted.
    #[must_use]
    pub fn streams_held(&self) -> (usize, usize) {
        let followed = self.streams.followed.values();
        let blocks = followed.map(|followed| followed.blocks.len()).sum();
        (self.streams.followed.len(), blocks)
    }
}
