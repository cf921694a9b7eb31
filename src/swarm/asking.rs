//! Which bytes are asked of whom next.
//!
//! Peers pull work as their windows open. The most urgent class goes first, ids take turns within a
//! class, and each request goes to the source from which its answer is expected soonest.

use std::net::SocketAddr;
use std::ops::Bound;
use std::time::Duration;

use super::acquaintance::add_cookies;
use super::bucket::{BURST, Bucket};
use super::fetch::Class;
use super::peer::{Peer, Purpose, Request};
use super::{Swarm, Time, cookie};
use crate::content::{ByteRange, ContentId, LEAF};
use crate::wire::{Encoder, content_datagram_bound};

/// Copies of one request, the first included.
const MAX_COPIES: usize = 3;
/// Tokens for copies that each request earns, and how many can be saved up.
const HEDGE_SHARE: f64 = 0.1;
pub(super) const HEDGE_BURST: f64 = 50.0;
/// When a copy that could not be asked for is tried again.
const HEDGE_AGAIN: Duration = Duration::from_millis(20);
/// When a source has nothing more for us, others are looked for after this long.
const SEARCH_AFTER: Duration = Duration::from_millis(500);
/// How far ahead of the download limit somebody may be who waits. It is paid for by what nobody
/// waits for.
const URGENT_AHEAD: Duration = Duration::from_millis(500);
/// How far ahead of the downlink's own rate they may be: more would only stand in a queue there.
const AHEAD_OF_PACE: Duration = Duration::from_millis(25);
/// What an answer is beside its content: IPv4 and UDP headers, the ping and the cookie returned.
const AROUND_ANSWER: u64 = 28 + 150;

impl Swarm {
    /// Writes the next request for content that may leave now.
    pub(super) fn next_request(&mut self, now: Time, out: &mut Vec<u8>) -> Option<SocketAddr> {
        self.paced_until = None;
        for class in Class::ALL {
            let ready = self.downlink_ready_at(class);
            if ready > now {
                if !self.ready.is_empty() {
                    wake(&mut self.paced_until, ready, now);
                }
                continue;
            }
            let mut after = self.last_turn;
            for _ in 0..self.ready.len() {
                let Some(id) = self.next_ready(after) else {
                    break;
                };
                if let Some(to) = self.request_for(now, id, class, out) {
                    self.last_turn = Some(id);
                    return Some(to);
                }
                after = Some(id);
            }
        }
        None
    }

    /// From when on the downlink, which all peers share, has room for more of `class`.
    fn downlink_ready_at(&self, class: Class) -> Time {
        let limit = self.downlink.as_ref().map_or(Time::ZERO, Bucket::ready_at);
        match class {
            Class::Urgent => (limit - URGENT_AHEAD).max(self.bottleneck.ready_at() - AHEAD_OF_PACE),
            Class::ReadAhead | Class::Bulk => limit.max(self.bottleneck.ready_at()),
        }
    }

    /// The fetch with work whose turn is after that of `after`.
    fn next_ready(&self, after: Option<ContentId>) -> Option<ContentId> {
        let later = after.and_then(|after| {
            self.ready
                .range((Bound::Excluded(after), Bound::Unbounded))
                .next()
        });
        later.or_else(|| self.ready.first()).copied()
    }

    fn request_for(
        &mut self,
        now: Time,
        id: ContentId,
        class: Class,
        out: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let fetch = self.fetches.get(&id)?;
        if fetch.unasked(class).is_empty() {
            if !fetch.has_unasked() {
                self.ready.remove(&id);
            }
            return None;
        }
        let found = self.source_and_range(now, id, class);
        self.note_fetch_due(id);
        let (to, unasked) = found?;
        let fetch = self.fetches.get(&id)?;
        let peer = self.peers.get_mut(&to)?;
        let length = match class {
            Class::Urgent => peer.length,
            Class::ReadAhead | Class::Bulk => peer.next_length(now),
        };
        let range = piece(unasked, length);
        let again = class == Class::Urgent && fetch.was_lost(range);
        let limited = fetch.flying_bytes() + range.len() >= fetch.missing_bytes();
        // What was lost once must not be lost again.
        let hedge_at = if again {
            now
        } else {
            now + self.patience(now, id, to)
        };
        let sequence = self.write_request(now, id, range, to, (Purpose::Piece, limited), out)?;
        let fetch = self.fetches.get_mut(&id)?;
        fetch.crowd.asked(range.len());
        fetch.launch(range, class, to, sequence, hedge_at);
        self.note_fetch_due(id);
        self.hedge_tokens = (self.hedge_tokens + HEDGE_SHARE).min(HEDGE_BURST);
        Some(to)
    }

    /// Whom to ask for bytes of `class` now, and for which.
    fn source_and_range(
        &mut self,
        now: Time,
        id: ContentId,
        class: Class,
    ) -> Option<(SocketAddr, ByteRange)> {
        loop {
            let to = self.soonest(now, id, class, &[], None)?;
            let fetch = self.fetches.get_mut(&id)?;
            let crowd = fetch.crowd.is_there(now);
            if let Some(range) = fetch.pick(to, class, crowd, &mut self.random) {
                return Some((to, range));
            }
            // At most once for each source, until something changes.
            fetch.note_barren(to, class);
            fetch.search.bring_forward(now + SEARCH_AFTER);
        }
    }

    /// Writes the request of `range` to `to` and remembers it; returns its sequence number.
    /// `limited`: its answer tells nothing of the path's rate.
    pub(super) fn write_request(
        &mut self,
        now: Time,
        id: ContentId,
        range: ByteRange,
        to: SocketAddr,
        (purpose, limited): (Purpose, bool),
        out: &mut Vec<u8>,
    ) -> Option<u64> {
        let peer = self.peers.get_mut(&to)?;
        let sequence = peer.take_sequence();
        let mut limited = limited;
        if let Some(downlink) = &mut self.downlink {
            downlink.take(now, wire_bytes(range.len()));
            // What arrives then speaks of the limit and not of the path.
            limited |= downlink.ready_at() > now - BURST / 2;
        }
        peer.length_asked(range.len());
        self.bottleneck.take(now, wire_bytes(range.len()));
        limited |= self.bottleneck.is_holding(now)
            && peer.congestion.next_send() < now - Duration::from_millis(1);
        let sent = peer.congestion.on_sent(now, range.len(), limited);
        self.in_flight += range.len();
        peer.remember(
            sequence,
            Request {
                id,
                range,
                sent,
                purpose,
                with_cookie: peer.their_cookie.is_some(),
                live: true,
            },
        );
        if peer.bench_until > Time::ZERO {
            // A single probe after a bench: the next one waits for its verdict.
            peer.bench_at_least(now + Duration::from_millis(500));
        }
        let mut encoder = Encoder::new(out);
        encoder.please_send_content(&id, range.start, range.len());
        encoder.please_return_this_message(&cookie::token(peer.seal_key, sequence));
        add_cookies(&mut encoder, peer);
        encoder.finish();
        self.active.insert(to);
        self.note_peer_due(to);
        Some(sequence)
    }

    /// Asks a second and a third peer for what somebody waits for and is overdue, and for the last
    /// pieces of a fetch that has nothing else left to ask for.
    ///
    /// Waiting for the slowest answer makes the tail of a read ("The Tail at Scale", Dean and
    /// Barroso, 2013). Copies are paid for in tokens, a tenth of one for each request, so that they
    /// stay a small share of what is asked.
    pub(super) fn hedge_overdue(&mut self, now: Time, id: ContentId) {
        while let Some(fetch) = self.fetches.get_mut(&id) {
            let at_the_end = !fetch.has_unasked();
            let Some((range, flight)) = fetch.take_due_hedge(now) else {
                break;
            };
            let start = range.start;
            let urgent = flight.class == Class::Urgent;
            let mut asked: Vec<SocketAddr> = flight.copies.iter().map(|(peer, _)| *peer).collect();
            let worth_it = urgent || at_the_end;
            if asked.len() >= MAX_COPIES || !fetch.lacks(range) {
                continue;
            }
            if !worth_it || self.hedge_tokens < 1.0 {
                fetch.hedge_later(start, now + HEDGE_AGAIN);
                continue;
            }
            let copied_to = self.hedge(now, id, range, &asked);
            // Where somebody waits, the copy must not be lost as well: that is one more round.
            if let Some(to) = copied_to
                && urgent
                && asked.len() + 1 < MAX_COPIES
                && self.hedge_tokens > HEDGE_BURST / 2.0
            {
                asked.push(to);
                self.hedge(now, id, range, &asked);
            }
        }
    }

    /// Asks another peer than those `asked` for `range` as well; returns it.
    fn hedge(
        &mut self,
        now: Time,
        id: ContentId,
        range: ByteRange,
        asked: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let to = self
            .soonest(now, id, Class::Urgent, asked, Some(range))
            .filter(|to| {
                let length = self.peers.get(to).map_or(0, |peer| peer.length);
                range.len() <= length
            })
            // With nobody else to ask, the same peer once more: a packet may have been lost.
            .or_else(|| asked.first().copied().filter(|_| asked.len() == 1));
        let Some(to) = to else {
            if let Some(fetch) = self.fetches.get_mut(&id) {
                fetch.hedge_later(range.start, now + HEDGE_AGAIN);
            }
            return None;
        };
        let mut datagram = Vec::with_capacity(320);
        let patience = self.patience(now, id, to);
        let sequence =
            self.write_request(now, id, range, to, (Purpose::Piece, true), &mut datagram)?;
        self.hedge_tokens -= 1.0;
        self.stats.hedged += 1;
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.copy(range.start, to, sequence, now + patience);
        }
        self.send(to, datagram);
        Some(to)
    }

    /// How long an answer of `peer` to a request for some of `id` that leaves now is waited for before
    /// another peer is asked as well: what is asked for ahead of the downlink's rate, or is about to
    /// be, may come through it first.
    fn patience(&self, now: Time, id: ContentId, peer: SocketAddr) -> Duration {
        let patience = self.peers.get(&peer).map_or(HEDGE_AGAIN, Peer::patience);
        let fetch = self.fetches.get(&id);
        let waiting = fetch.map_or(0, |fetch| fetch.unasked_bytes(Class::Urgent));
        patience + self.bottleneck.behind(now, waiting)
    }

    /// The source of `id`, none of `others`, that may be asked now and is expected to answer soonest:
    /// of those that have `range` or, without one, that may have something of `class`.
    fn soonest(
        &mut self,
        now: Time,
        id: ContentId,
        class: Class,
        others: &[SocketAddr],
        range: Option<ByteRange>,
    ) -> Option<SocketAddr> {
        let fetch = self.fetches.get(&id)?;
        let mut best: Option<(f64, SocketAddr)> = None;
        for (address, source) in &fetch.sources {
            if !fetch.may_ask(*address) || others.contains(address) {
                continue;
            }
            let has = match range {
                Some(range) => fetch.parts.has(*address, range),
                None => !source.is_barren(class),
            };
            if !has {
                continue;
            }
            let Some(peer) = self.peers.get(address) else {
                continue;
            };
            if !peer.is_open() || source.rest_until > now || !peer.has_request_room() {
                wake(&mut self.paced_until, source.rest_until, now);
                continue;
            }
            let benched_until = peer.benched_until(class);
            if benched_until > now {
                wake(&mut self.paced_until, benched_until, now);
                continue;
            }
            if !self.has_room(peer, class) {
                continue;
            }
            let paced = peer.congestion.next_send();
            if paced > now && class != Class::Urgent {
                wake(&mut self.paced_until, paced, now);
                continue;
            }
            let expected = expected_arrival(peer, class);
            if best.is_none_or(|(least, _)| expected < least) {
                best = Some((expected, *address));
            }
        }
        best.map(|(_, address)| address)
    }

    pub(super) fn has_room(&self, peer: &Peer, class: Class) -> bool {
        // What somebody waits for may go beyond the window by a little.
        let beyond = match class {
            Class::Urgent => peer.beyond(),
            Class::ReadAhead | Class::Bulk => 0,
        };
        let congestion = &peer.congestion;
        let window = congestion.window(peer.length) + beyond;
        let total = self.in_flight + peer.length;
        congestion.in_flight() + peer.length <= window
            && (total <= self.config.receive_budget
                || (self.in_flight == 0 && self.config.receive_budget > 0))
    }
}

fn wake(timer: &mut Option<Time>, at: Time, now: Time) {
    if at > now {
        *timer = Some(timer.map_or(at, |timer| timer.min(at)));
    }
}

/// What of `unasked` one request of `length` bytes asks for: up to a leaf boundary where it can be.
pub(super) fn piece(unasked: ByteRange, length: u64) -> ByteRange {
    let mut end = unasked.start.saturating_add(length);
    if length >= LEAF {
        end -= end % LEAF;
    }
    ByteRange::new(unasked.start, end.min(unasked.end))
}

/// Bytes on the wire of an answer with `length` bytes of content.
pub(super) fn wire_bytes(length: u64) -> u64 {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    AROUND_ANSWER.saturating_add(content_datagram_bound(length) as u64)
}

/// Seconds until an answer from `peer` is expected, with what it already owes us before it.
fn expected_arrival(peer: &Peer, class: Class) -> f64 {
    if class == Class::Urgent {
        peer.next_arrival()
    } else {
        peer.turn()
    }
    .as_secs_f64()
        / (1.0 - peer.congestion.loss().min(0.9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_on_leaves_where_they_can() {
        for (start, end, length, expected) in [
            (0, 1 << 20, 40_960, 40_960),
            (1000, 1 << 20, 4096, 4096),
            (4096, 5000, 40_960, 5000),
            (4000, 1 << 20, 4096, 4096),
            (10, 1 << 20, 900, 910),
        ] {
            let piece = piece(ByteRange::new(start, end), length);
            assert_eq!((piece.start, piece.end), (start, expected));
        }
    }
}
