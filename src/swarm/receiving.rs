//! Content that arrives: matched to its question, decoded, counted, handed on; and content that
//! does not: given up, wanted again.

use std::net::SocketAddr;
use std::time::Duration;

use super::acquaintance::Greeting;
use super::asking::wire_bytes;
use super::congestion::SILENT;
use super::peer::{Purpose, Request};
use super::search::Said;
use super::{Event, Swarm, Time};
use crate::content::{ByteRange, ContentId};
use crate::wire;

/// A `Content` message.
pub(super) struct Arrival<'a> {
    pub id: ContentId,
    pub offset: u64,
    pub eof: Option<u64>,
    pub base64: &'a str,
}

/// Timeouts in a row after which a peer is no source any more until it answers a search.
const GONE: u32 = 5;
/// The longest that a silent peer is left alone.
const LONGEST_BENCH: Duration = Duration::from_secs(8);
/// The same where somebody waits: reads have limits of a few seconds, and a source that comes back is
/// to be noticed well within one.
const LONGEST_URGENT_BENCH: Duration = Duration::from_millis(500);
/// How far the reorder threshold may grow.
const MAX_REORDER: u64 = 256;

impl Swarm {
    pub(super) fn handle_content(
        &mut self,
        now: Time,
        from: SocketAddr,
        greeting: &Greeting,
        arrival: &Arrival<'_>,
    ) {
        let Some((sequence, request)) = self.match_request(from, greeting, arrival) else {
            self.stats.unmatched += 1;
            return;
        };
        let mut data = self.spare.pop().unwrap_or_default();
        if wire::decode_base64_over(arrival.base64, &mut data).is_err() {
            self.stats.unmatched += 1;
            return;
        }
        let range = ByteRange::at(arrival.offset, data.len() as u64);
        // More than was asked for is a lie, but for the 32 bytes that deployed nodes give to
        // strangers whatever they asked for; what lies past the claimed end is one, too.
        let too_long = range.len() > request.range.len().max(32);
        let past_end = arrival
            .eof
            .is_some_and(|eof| range.end > eof && !range.is_empty());
        if too_long || past_end {
            self.stats.unmatched += 1;
            return;
        }
        let asked = request.range.len();
        let live = request.live;
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.take_request(sequence);
        peer.answered = Some(now);
        peer.settled = Some(now);
        peer.gave = Some(now);
        peer.end_bench();
        match request.purpose {
            Purpose::Piece | Purpose::Again => {
                let length = peer.length;
                let got = range.len().min(asked);
                peer.congestion
                    .on_answer(now, &request.sent, asked, got, live, length);
                let round_trip = now.since(request.sent.at);
                let least = peer.congestion.rtt.min().unwrap_or(round_trip);
                self.bottleneck.on_answer(
                    now,
                    from,
                    round_trip.saturating_sub(least),
                    wire_bytes(got),
                );
                if !live {
                    peer.congestion.on_spurious();
                    peer.reorder = (peer.reorder * 2).min(MAX_REORDER);
                } else {
                    self.in_flight = self.in_flight.saturating_sub(asked);
                }
                peer.highest_answered = peer.highest_answered.max(Some(sequence));
            }
            Purpose::Search | Purpose::Parts => {
                peer.congestion.on_ping(now, now.since(request.sent.at))
            }
        }
        let mut given = None;
        if request.with_cookie && range.len() < asked && arrival.eof.is_some_and(|e| range.end < e)
        {
            given = Some(range.len());
        }
        if request.purpose.is_for_data() {
            peer.length_answered(now, asked, given);
        }
        let in_full = range.len() >= asked || arrival.eof == Some(range.end);
        if in_full && !request.with_cookie {
            peer.gives = true;
        }
        let is_open = peer.is_open();
        if request.purpose == Purpose::Search {
            self.search_hit();
        }

        if let Some(fetch) = self.fetches.get_mut(&arrival.id) {
            fetch.search.answered(now, from, Said::Content(arrival.eof));
        }
        if let Some(eof) = arrival.eof {
            self.handle_claim(now, from, arrival.id, eof);
        }
        if request.purpose == Purpose::Again {
            // One that was given up has been told of.
            if live {
                self.answered_again(from, &request, data);
            }
            self.mark_ready(arrival.id);
            self.give_up_overtaken(now, from);
            return;
        }
        self.deliver(now, from, &request, range, data);
        if request.purpose == Purpose::Piece {
            self.judge_shortness(now, from, &request, range, is_open);
            if let Some(fetch) = self.fetches.get_mut(&arrival.id) {
                fetch.land(request.range.start, from, sequence);
            }
            self.mark_ready(arrival.id);
            self.give_up_overtaken(now, from);
            self.hurry_passed_over(now, from);
        }
    }

    /// The request that `arrival` answers: by the sequence number that it brought back or, for
    /// peers that do not return pings, by id and offset.
    fn match_request(
        &self,
        from: SocketAddr,
        greeting: &Greeting,
        arrival: &Arrival<'_>,
    ) -> Option<(u64, Request)> {
        let peer = self.peers.get(&from)?;
        let fits = |sequence: &u64| {
            peer.request(*sequence)
                .is_some_and(|r| r.id == arrival.id && r.range.start == arrival.offset)
        };
        let sequence = match greeting.echo.filter(fits) {
            Some(sequence) => sequence,
            // A peer that returns pings always does: this would be somebody else.
            None if peer.returns_pings => return None,
            None => self
                .fetches
                .get(&arrival.id)
                .and_then(|fetch| fetch.sequence_at(arrival.offset, from))
                .filter(fits)
                .or_else(|| peer.find_request(arrival.id, arrival.offset))?,
        };
        peer.request(sequence)
            .map(|request| (sequence, request.clone()))
    }

    /// Hands on those bytes that are wanted and have not arrived yet.
    fn deliver(
        &mut self,
        now: Time,
        from: SocketAddr,
        request: &Request,
        range: ByteRange,
        data: Vec<u8>,
    ) {
        let Some(fetch) = self.fetches.get_mut(&request.id) else {
            self.stats.content_wasted += range.len();
            return;
        };
        // A source is who agrees about the length; others may be talking of other content.
        let usable = fetch.sources.contains_key(&from);
        let range = match fetch.length {
            Some(length) if usable => range.intersection(ByteRange::new(0, length)),
            _ => ByteRange::default(),
        };
        let fresh = fetch.arrive(now, range);
        let used: u64 = fresh.iter().map(ByteRange::len).sum();
        if let Some(source) = fetch.sources.get_mut(&from) {
            source.supplied += used;
        }
        self.stats.content_in += used;
        self.stats.content_wasted += (data.len() as u64).saturating_sub(used);
        if fresh.len() == 1 && fresh.first() == Some(&range) && range.len() == data.len() as u64 {
            self.events.push_back(Event::Data {
                id: request.id,
                offset: range.start,
                data,
                from,
            });
            return;
        }
        for part in fresh {
            let start = (part.start - range.start) as usize;
            let end = (part.end - range.start) as usize;
            if let Some(bytes) = data.get(start..end) {
                self.events.push_back(Event::Data {
                    id: request.id,
                    offset: part.start,
                    data: bytes.to_vec(),
                    from,
                });
            }
        }
    }

    /// A source that knows us and keeps giving less than was asked for rests a while.
    fn judge_shortness(
        &mut self,
        now: Time,
        from: SocketAddr,
        request: &Request,
        got: ByteRange,
        is_open: bool,
    ) {
        let Some(fetch) = self.fetches.get_mut(&request.id) else {
            return;
        };
        let end = fetch
            .length
            .map_or(request.range.end, |length| request.range.end.min(length));
        let Some(source) = fetch.sources.get_mut(&from) else {
            return;
        };
        if got.end >= end {
            source.short = 0;
        } else if request.with_cookie || !is_open {
            source.fell_short(now, request.sent.at);
        }
    }

    /// Gives up what later answers of `from` have overtaken.
    fn give_up_overtaken(&mut self, now: Time, from: SocketAddr) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        for (sequence, request) in peer.overtaken(now) {
            self.give_up(now, from, sequence, &request);
        }
    }

    /// What somebody waits for and later answers of `from` have overtaken is copied at once: a copy
    /// needs less certainty than the verdict that a request is lost.
    fn hurry_passed_over(&mut self, now: Time, from: SocketAddr) {
        let Some(peer) = self.peers.get(&from) else {
            return;
        };
        let passed_over: Vec<_> = peer.passed_over().collect();
        for (id, start) in passed_over {
            if let Some(fetch) = self.fetches.get_mut(&id) {
                fetch.hurry(now, start);
            }
            self.note_fetch_due(id);
        }
    }

    fn give_up(&mut self, now: Time, from: SocketAddr, sequence: u64, request: &Request) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.length_lost(now, request.range.len());
            peer.congestion.on_lost(request.range.len());
        }
        self.stats.lost += 1;
        self.bottleneck.on_lost();
        self.in_flight = self.in_flight.saturating_sub(request.range.len());
        if request.purpose == Purpose::Again {
            self.unanswered(request.id, request.range);
        } else if let Some(fetch) = self.fetches.get_mut(&request.id) {
            fetch.land(request.range.start, from, sequence);
        }
        self.note_fetch_due(request.id);
        self.mark_ready(request.id);
    }

    /// A live request that was taken out of its peer is over without content.
    pub(super) fn settle(&mut self, request: &Request, from: SocketAddr, sequence: u64) {
        if !request.purpose.is_for_data() {
            return;
        }
        if request.live {
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.congestion.on_withdrawn(request.range.len());
            }
            self.in_flight = self.in_flight.saturating_sub(request.range.len());
        }
        if request.purpose == Purpose::Again {
            // One that was given up before has been told of.
            if request.live {
                self.unanswered(request.id, request.range);
            }
        } else if let Some(fetch) = self.fetches.get_mut(&request.id) {
            fetch.land(request.range.start, from, sequence);
        }
        self.mark_ready(request.id);
    }

    /// `address` is gone: others are looked for in its place. It may come back as a source by
    /// answering a search; the only source of an id stays one, for there is nobody better.
    fn drop_source(&mut self, address: SocketAddr) {
        for fetch in self.fetches.values_mut() {
            if fetch.sources.len() > 1 {
                fetch.drop_source(address);
            }
        }
    }

    /// Gives up what has been overtaken or has timed out by `now`.
    pub(super) fn check_timeouts(&mut self, now: Time) {
        for address in self.peer_timers.take_due(now) {
            self.give_up_overtaken(now, address);
            self.check_timeout(now, address);
            self.note_peer_due(address);
        }
    }

    fn check_timeout(&mut self, now: Time, address: SocketAddr) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        if peer.timeout_at().is_none_or(|at| now < at) {
            return;
        }
        peer.congestion.on_timeout(now);
        let timeouts = peer.congestion.timeouts();
        if timeouts >= SILENT {
            let bench = Duration::from_millis(500) * (1 << (timeouts - SILENT).min(6));
            peer.bench_until = now + bench.min(LONGEST_BENCH);
            peer.urgent_bench_until = now + bench.min(LONGEST_URGENT_BENCH);
            peer.shorten();
        }
        let lost = peer.give_up_all();
        if timeouts >= GONE {
            self.drop_source(address);
        }
        for (sequence, request) in lost {
            self.give_up(now, address, sequence, &request);
            if let Some(fetch) = self.fetches.get_mut(&request.id)
                && timeouts >= SILENT
            {
                fetch.search.bring_forward(now);
                self.note_fetch_due(request.id);
            }
        }
    }
}
