//! Sources that have a part of the content, because they are fetching it themselves.
//!
//! Whoever is asked whether it has an id is asked which parts it has as well. A peer that tells is a
//! source for those bytes, is asked for nothing else, and is asked for its parts again now and then,
//! because they grow. One that gives content and never speaks of parts has everything: deployed
//! nodes do not know the question.
//!
//! What a peer tells is a claim. It is taken only from one that we asked and that brought our seal
//! back, cut at the length and at the leaves that it can have verified, and replaced by what it tells
//! next. A source that then denies what it claimed rests, longer each time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::acquaintance::{Greeting, add_cookies};
use super::fetch::{Class, Fetch};
use super::peer::{Peer, Purpose, Request};
use super::search::Said;
use super::serving::MAX_ANSWER;
use super::{Swarm, Time, cookie};
use crate::content::{ByteRange, ContentId, LEAF, RangeSet};
use crate::wire::Encoder;

/// Sources of one id whose parts are kept. One such set is at most [`crate::wire::MAX_PARTS`] ranges.
const MAX_PARTIAL: usize = 32;
/// Cells in which the holders of content are counted: 40 KiB each, and larger ones of long content,
/// so that there are no more than this.
const CELL: u64 = MAX_ANSWER;
const MAX_CELLS: u64 = 8192;
/// Partial sources that make a crowd.
const CROWD: usize = 2;
/// When a source is asked for its parts again at the latest: one with nothing for us. One with
/// something has twice as long.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// And at the soonest: what a crowd learns late it asks the few for who have everything.
const ASK_AGAIN_SOONEST: Duration = Duration::from_millis(150);
/// The same in round trips.
const ASK_AGAIN_TRIPS: u32 = 6;
/// The share of what a source gives that its answers may take, and the bytes of one.
const ASKING_SHARE: f64 = 0.02;
const PARTS_ANSWER: f64 = 1400.0;
/// How often the pause doubles when it does not answer.
const MOST_DOUBLINGS: u32 = 4;

/// What one source has.
#[derive(Clone, Debug)]
struct Parts {
    set: RangeSet,
    told_at: Time,
    ask_at: Time,
    /// Questions for its parts in a row that it did not answer.
    unanswered: u32,
}

/// The sources of one id that have a part.
#[derive(Clone, Debug, Default)]
pub(super) struct PartsTable {
    by: BTreeMap<SocketAddr, Parts>,
    /// How many of them have the first byte of each cell.
    counts: Vec<u16>,
    /// Bytes of a cell.
    cell: u64,
    /// When the first of them is to be asked again.
    due: Option<Time>,
}

impl PartsTable {
    /// Notes that `peer` has `set` and nothing else of content of `eof` bytes, and is to be asked again
    /// after `pause`; `false` when there is no room for another.
    pub fn tell(
        &mut self,
        now: Time,
        peer: SocketAddr,
        set: RangeSet,
        eof: u64,
        pause: Duration,
    ) -> bool {
        if self.by.len() >= MAX_PARTIAL && !self.by.contains_key(&peer) {
            return false;
        }
        let cell = eof.div_ceil(MAX_CELLS).max(CELL);
        if self.cell != cell {
            // Another length than before: what was said of that is void.
            *self = Self {
                cell,
                ..Self::default()
            };
        }
        let cells = usize::try_from(eof.div_ceil(cell)).unwrap_or_default();
        self.counts.resize(cells, 0);
        if let Some(before) = self.by.remove(&peer) {
            self.count(&before.set, u16::wrapping_sub);
        }
        self.count(&set, u16::wrapping_add);
        let parts = Parts {
            set,
            told_at: now,
            ask_at: now + pause,
            unanswered: 0,
        };
        self.by.insert(peer, parts);
        self.find_due();
        true
    }

    /// `peer` is no source any more, or has everything.
    pub fn remove(&mut self, peer: SocketAddr) {
        if let Some(before) = self.by.remove(&peer) {
            self.count(&before.set, u16::wrapping_sub);
            self.find_due();
        }
    }

    /// Counts the cells whose first byte is in `set` up or down.
    fn count(&mut self, set: &RangeSet, change: fn(u16, u16) -> u16) {
        for range in set.iter() {
            let first = range.start.div_ceil(self.cell) as usize;
            let last = range.end.div_ceil(self.cell) as usize;
            for count in self.counts.get_mut(first..last).into_iter().flatten() {
                *count = change(*count, 1);
            }
        }
    }

    /// What `peer` has; `None`: everything.
    pub fn held(&self, peer: SocketAddr) -> Option<&RangeSet> {
        self.by.get(&peer).map(|parts| &parts.set)
    }

    /// Whether `peer` has all of `range`.
    pub fn has(&self, peer: SocketAddr, range: ByteRange) -> bool {
        self.held(peer).is_none_or(|held| held.contains(range))
    }

    /// Whether `peer` has any of `range`.
    pub fn intersects(&self, peer: SocketAddr, range: ByteRange) -> bool {
        self.held(peer).is_none_or(|held| held.intersects(range))
    }

    /// How many of the partial sources have what is around `offset`, more or less.
    pub fn holders(&self, offset: u64) -> u16 {
        let cell = offset.checked_div(self.cell).unwrap_or_default();
        let count = usize::try_from(cell)
            .ok()
            .and_then(|cell| self.counts.get(cell));
        count.copied().unwrap_or_default()
    }

    /// How many partial sources there are.
    pub fn len(&self) -> usize {
        self.by.len()
    }

    /// Since when `peer` has been said to have `range`, if it has.
    fn claimed_at(&self, peer: SocketAddr, range: ByteRange) -> Option<Time> {
        let parts = self.by.get(&peer)?;
        parts.set.contains(range).then_some(parts.told_at)
    }

    /// When a source is to be asked for its parts again.
    pub fn due(&self) -> Option<Time> {
        self.due
    }

    fn find_due(&mut self) {
        self.due = self.by.values().map(|parts| parts.ask_at).min();
    }

    fn due_by(&self, now: Time) -> Vec<SocketAddr> {
        let due = self.by.iter().filter(|(_, parts)| parts.ask_at <= now);
        due.map(|(peer, _)| *peer).collect()
    }

    fn put_off(&mut self, peer: SocketAddr, at: Time) {
        if let Some(parts) = self.by.get_mut(&peer) {
            parts.ask_at = at;
        }
        self.find_due();
    }

    fn asked(&mut self, now: Time, peer: SocketAddr, pause: Duration) {
        if let Some(parts) = self.by.get_mut(&peer) {
            parts.ask_at = now + pause * (1 << parts.unanswered.min(MOST_DOUBLINGS));
            parts.unanswered += 1;
        }
        self.find_due();
    }
}

/// What a peer can have of content of `eof` bytes that says that it has `parts`. It verifies whole
/// leaves, so pieces of leaves are left out: asking for them would only be dear.
fn credible(parts: &[ByteRange], eof: u64) -> RangeSet {
    parts
        .iter()
        .map(|part| {
            let start = part.start.checked_next_multiple_of(LEAF).unwrap_or(eof);
            let end = if part.end >= eof {
                eof
            } else {
                part.end - part.end % LEAF
            };
            ByteRange::new(start.min(eof), end)
        })
        .collect()
}

impl Swarm {
    /// A peer tells what of `id`, of `eof` bytes, it has.
    pub(super) fn handle_parts(
        &mut self,
        now: Time,
        from: SocketAddr,
        greeting: &Greeting,
        id: ContentId,
        eof: u64,
        parts: &[ByteRange],
    ) {
        let Some(sequence) = greeting.echo else {
            return;
        };
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        if !(fetch.search.was_asked(from) || fetch.sources.contains_key(&from)) {
            return;
        }
        let set = credible(parts, eof);
        fetch
            .search
            .answered(now, from, Said::Parts(set.bytes(), eof));
        // Who has nothing yet cannot know the length but by hearsay.
        if !set.is_empty() || eof == 0 {
            self.handle_claim(now, from, id, eof);
        }
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        if fetch.is_refused(from) {
            return;
        }
        if fetch.length == Some(eof) && set.is_empty() {
            fetch.sources.entry(from).or_default();
        }
        let denied = self.answered_with_parts(now, from, id, sequence);
        let pause = self.peers.get(&from).map_or(ASK_AGAIN, pause);
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        let all = ByteRange::new(0, eof);
        let mut known = set;
        if let Some(denied) = &denied {
            deny(now, fetch, from, denied, &known);
            known.remove(denied.range);
        }
        fetch.note_fertile(from);
        if known.contains(all) {
            fetch.parts.remove(from);
        } else if !fetch.parts.tell(now, from, known, eof, pause) {
            fetch.drop_source(from);
        }
        if fetch.parts.len() >= CROWD {
            fetch.crowd.seen(now);
        }
        self.active.insert(from);
        self.mark_ready(id);
    }

    /// Takes the request that was answered with parts; returns it if it had asked for bytes.
    fn answered_with_parts(
        &mut self,
        now: Time,
        from: SocketAddr,
        id: ContentId,
        sequence: u64,
    ) -> Option<Request> {
        let peer = self.peers.get_mut(&from)?;
        if peer.request(sequence)?.id != id {
            return None;
        }
        let request = peer.take_request(sequence)?;
        // Who talks of parts and gives none must time out.
        if request.purpose != Purpose::Parts {
            peer.congestion.on_ping(now, now.since(request.sent.at));
        }
        if !request.purpose.is_for_data() {
            return None;
        }
        peer.settled = Some(now);
        self.settle(&request, from, sequence);
        (request.purpose == Purpose::Piece).then_some(request)
    }

    /// Asks the partial sources of `id` for their parts whose turn it is.
    pub(super) fn ask_for_parts(&mut self, now: Time, id: ContentId) {
        let Some(fetch) = self.fetches.get(&id) else {
            return;
        };
        if !fetch.is_wanted() {
            return;
        }
        for address in fetch.parts.due_by(now) {
            let jitter = 0.75 + self.random.f64() / 2.0;
            let Some(fetch) = self.fetches.get_mut(&id) else {
                return;
            };
            // Whoever is no source, or was forgotten since, must not stay due for ever.
            let peer = self.peers.get_mut(&address);
            let Some((source, peer)) = fetch.sources.get(&address).zip(peer) else {
                fetch.parts.remove(address);
                continue;
            };
            let rests_until = source.rest_until.max(peer.bench_until);
            if rests_until > now {
                fetch.parts.put_off(address, rests_until);
                continue;
            }
            let pause = if source.is_barren(Class::Bulk) {
                pause(peer)
            } else {
                pause(peer) * 2
            };
            fetch.parts.asked(now, address, pause.mul_f64(jitter));
            let sequence = peer.take_sequence();
            peer.remember(
                sequence,
                Request {
                    id,
                    range: ByteRange::default(),
                    sent: peer.congestion.note(now),
                    purpose: Purpose::Parts,
                    with_cookie: peer.their_cookie.is_some(),
                    live: true,
                },
            );
            let mut datagram = Vec::with_capacity(320);
            let mut encoder = Encoder::new(&mut datagram);
            encoder.which_parts_do_you_have(&id);
            encoder.please_return_this_message(&cookie::token(peer.seal_key, sequence));
            add_cookies(&mut encoder, peer);
            encoder.finish();
            self.send(address, datagram);
        }
    }
}

/// How long after its last answer `peer` is asked for its parts again.
fn pause(peer: &Peer) -> Duration {
    let congestion = &peer.congestion;
    let trips = congestion
        .rtt
        .min()
        .map_or(ASK_AGAIN, |min| min * ASK_AGAIN_TRIPS);
    let rate = congestion.rate().unwrap_or(f64::INFINITY);
    let dear = PARTS_ANSWER / (ASKING_SHARE * rate).max(PARTS_ANSWER);
    let dear = Duration::from_secs_f64(dear);
    trips.max(dear).clamp(ASK_AGAIN_SOONEST, ASK_AGAIN)
}

/// `peer` answered `denied` by telling what it has instead. One that had said that it has those
/// bytes, or says so in the same breath, rests after a few of these.
fn deny(now: Time, fetch: &mut Fetch, peer: SocketAddr, denied: &Request, told: &RangeSet) {
    let sent = denied.sent.at;
    let claimed = fetch.parts.claimed_at(peer, denied.range);
    if !told.contains(denied.range) && claimed.is_none_or(|claimed| sent < claimed) {
        return;
    }
    if let Some(source) = fetch.sources.get_mut(&peer) {
        source.fell_short(now, sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_leaves_within_the_length_are_believed() {
        let eof = 10 * LEAF + 100;
        for (parts, expected) in [
            (vec![(0, eof)], vec![(0, eof)]),
            (vec![(0, u64::MAX)], vec![(0, eof)]),
            (vec![(eof, eof + LEAF), (eof + 1, u64::MAX)], vec![]),
            (vec![(1, 2 * LEAF - 1)], vec![]),
            (vec![(1, 3 * LEAF + 1)], vec![(LEAF, 3 * LEAF)]),
            (vec![(10 * LEAF, eof)], vec![(10 * LEAF, eof)]),
            (vec![(u64::MAX - 1, u64::MAX)], vec![]),
        ] {
            let ranges = |of: &[(u64, u64)]| -> Vec<ByteRange> {
                of.iter().map(|&(a, b)| ByteRange::new(a, b)).collect()
            };
            let set = credible(&ranges(&parts), eof);
            assert_eq!(set.iter().collect::<Vec<_>>(), ranges(&expected));
        }
        let tiny: Vec<_> = (0..256).map(|n| ByteRange::at(n * 8192, 1)).collect();
        assert!(credible(&tiny, 1 << 30).is_empty());
    }

    #[test]
    fn sources_with_parts_are_bounded_and_asked_in_turn() {
        let mut table = PartsTable::default();
        let peer = |n: u8| SocketAddr::from(([192, 0, 2, n], 24254));
        for n in 0..=255 {
            table.tell(Time::ZERO, peer(n), RangeSet::new(), 1 << 20, ASK_AGAIN);
        }
        assert_eq!(table.len(), MAX_PARTIAL);
        let mut asked = 0;
        for tick in 0..600 {
            let now = Time::from_start(Duration::from_millis(100) * tick);
            for peer in table.due_by(now) {
                table.asked(now, peer, ASK_AGAIN);
                asked += 1;
            }
            assert!(table.due().is_some_and(|due| due > now));
        }
        // Silence: after 1, 2, 4, 8, 16, 32 and 48 seconds.
        assert_eq!(asked, 7 * MAX_PARTIAL);
    }
}
