//! The protocol's brain: peers, cookies, congestion, scheduling, serving, discovery.
//!
//! [`Swarm`] is a deterministic state machine. It owns no socket, clock, thread or file; time is an
//! argument, randomness comes from the seed, and every map it walks is ordered, so the same calls
//! give the same datagrams. The shell (`node`) and the simulator (`tests/sim`) drive it alike.
//!
//! Its methods have one grammar:
//! - `handle_*` takes what happened outside: a datagram, a moment that was waited for.
//! - `want`, `unwant`, `find`, `forget`, `distrust`, `add_peer` say what the application needs.
//! - `poll_*` gives what is to be done outside. After any of the above, drain
//!   [`Swarm::poll_event`], then [`Swarm::poll_transmit`], then wait until [`Swarm::poll_timeout`]
//!   or the next input.
//! - [`Swarm::set_crowded`] says that more arrives than is read; a driver that can have datagrams dropped
//!   before they arrive asks [`Swarm::sieve`] which, when [`Swarm::sieve_due`] says so.
//! - [`Swarm::answer`] writes the reply to an [`Event::Asked`], for which the caller has read the
//!   content.
//!
//! Everything from the network is hostile. What it can make this hold is bounded: peers by
//! [`Config::max_peers`], requests per peer, claims, hints and sources per id, queued replies; an
//! address that has not proved itself is not remembered at all.

mod acquaintance;
mod address;
mod again;
mod asked;
mod asking;
mod bottleneck;
mod bucket;
mod claims;
mod config;
mod congestion;
mod cookie;
mod crowd;
mod event;
mod explain;
mod fetch;
mod finding;
mod gate;
mod interest;
mod listing;
mod names;
mod parts;
mod peer;
mod picking;
mod receiving;
mod repeats;
mod reply_length;
mod report;
mod rtt;
mod search;
mod serving;
mod sieve;
mod source;
mod streams;
mod time;
mod timers;
mod uplink;
mod wants;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::content::ContentId;
use crate::wire::{self, Message};

pub use asked::{Answer, Ask, Held, KnownBlake3, Question};
pub use config::Config;
pub use event::Event;
pub use explain::{AskedReport, ClaimReport, Explanation, FlightReport, SourceReport, SourceState};
pub use fetch::{Class, votes};
pub use listing::Listed;
pub use reply_length::ONE_PACKET;
pub use report::{FetchReport, PeerReport, Stats};
pub use search::Said;
pub use serving::MAX_ANSWER;
pub use sieve::Sieve;
pub use time::Time;

use bottleneck::Bottleneck;
use bucket::Bucket;
use cookie::Secret;
use fetch::Fetch;
use gate::Gate;
use interest::Interest;
use listing::Listings;
use names::Names;
use peer::Peer;
use repeats::Repeats;
use serving::Reply;
use streams::Streams;
use timers::Timers;
use uplink::Uplink;

/// The state machine. See the module for how it is driven.
pub struct Swarm {
    config: Config,
    secret: Secret,
    random: fastrand::Rng,
    peers: BTreeMap<SocketAddr, Peer>,
    /// Peers that have requests in flight or may be asked for data: those with timers.
    active: BTreeSet<SocketAddr>,
    fetches: BTreeMap<ContentId, Fetch>,
    /// When something is to be done about a peer's silence, and about a fetch.
    peer_timers: Timers<SocketAddr>,
    fetch_timers: Timers<ContentId>,
    /// Fetches that have something to ask for and somebody to ask.
    ready: BTreeSet<ContentId>,
    /// The fetch that was served last, so that they take turns.
    last_turn: Option<ContentId>,
    /// Content bytes in flight from all peers.
    in_flight: u64,
    /// The earliest moment at which a pacer that held work back lets go.
    paced_until: Option<Time>,
    /// Datagrams that are ready to leave.
    outbox: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
    interest: Interest,
    names: Names,
    streams: Streams,
    listings: Listings,
    repeats: Repeats,
    uplink: Uplink<Reply>,
    downlink: Option<Bucket>,
    bottleneck: Bottleneck,
    gate: Gate,
    /// Tokens for searching: a bucket that bounds what we ask of strangers.
    search_tokens: f64,
    search_tokens_at: Time,
    /// Tokens for asking addresses that others named and that we do not know.
    hearsay_tokens: f64,
    /// Tokens for copies of requests that are overdue.
    hedge_tokens: f64,
    probe_timer: Time,
    housekeeping_at: Time,
    stats: Stats,
    /// Memory for what arrives next.
    spare: Vec<Vec<u8>>,
}

/// Datagrams waiting to be polled; the oldest give way.
const MAX_OUTBOX: usize = 1024;
/// Questions waiting to be polled; further ones are dropped, as the network would.
const MAX_ASKED: usize = 4096;
/// How long a fetch that nobody needs is remembered for what was learnt of its sources.
const IDLE_FETCH: Duration = Duration::from_secs(600);
/// Buffers kept for what arrives, of 64 KiB at most.
const MAX_SPARE: usize = 64;
/// How often tables are tidied.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

impl Swarm {
    /// A swarm that knows nobody. `seed` makes its secrets and its choices; it must be unguessable
    /// outside of tests.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Time) -> Self {
        let choices = blake3::derive_key("cjp2pfs swarm choices 1", &seed);
        let mut first = [0; 8];
        first.copy_from_slice(&choices[..8]);
        Self {
            secret: Secret::new(blake3::derive_key("cjp2pfs swarm cookies 1", &seed)),
            random: fastrand::Rng::with_seed(u64::from_le_bytes(first)),
            peers: BTreeMap::new(),
            active: BTreeSet::new(),
            fetches: BTreeMap::new(),
            peer_timers: Timers::default(),
            fetch_timers: Timers::default(),
            ready: BTreeSet::new(),
            last_turn: None,
            in_flight: 0,
            paced_until: None,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            interest: Interest::default(),
            names: Names::default(),
            streams: Streams::default(),
            listings: Listings::default(),
            repeats: Repeats::new(u64::from_le_bytes(first)),
            uplink: Uplink::new(config.upload_limit, config.upload_limit_per_address),
            downlink: config
                .download_limit
                .map(|rate| Bucket::new(rate, bucket::BURST)),
            bottleneck: Bottleneck::new(now),
            gate: Gate::new(u64::from_le_bytes(first)),
            search_tokens: finding::SEARCH_BURST,
            search_tokens_at: now,
            hearsay_tokens: finding::HEARSAY_BURST,
            hedge_tokens: asking::HEDGE_BURST,
            probe_timer: now,
            housekeeping_at: now + HOUSEKEEPING,
            stats: Stats::default(),
            spare: Vec::new(),
            config,
        }
    }

    /// Takes one datagram from the network.
    pub fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        let from = wire::normalise(from);
        self.uplink.tick(now);
        self.stats.datagrams_in += 1;
        self.stats.bytes_in += datagram.len() as u64;
        if !address::is_unicast(from) || !self.is_read(now, from, datagram) {
            self.stats.dropped += 1;
            return;
        }
        let Ok(decoded) = wire::decode(datagram) else {
            self.stats.dropped += 1;
            return;
        };
        self.stats.skipped += u64::from(decoded.skipped);
        self.handle_messages(now, from, datagram.len(), &decoded.messages);
    }

    fn handle_messages(
        &mut self,
        now: Time,
        from: SocketAddr,
        size: usize,
        messages: &[Message<'_>],
    ) {
        let greeting = self.greet(now, from, size, messages);
        let mut reply = Reply::new(from, &greeting, size);
        for message in messages {
            match message {
                Message::PleaseSendPeers => reply.peers = true,
                Message::PleaseReturnThisMessage(cookie) => reply.echo(cookie.raw()),
                Message::PleaseSendContent { id, offset, length } => {
                    if let Some(id) = id.content() {
                        reply.question(id, *offset, *length);
                    }
                }
                Message::WhichPartsDoYouHave { id } => {
                    if let Some(id) = id.content() {
                        reply.parts_of(id);
                    }
                }
                Message::IHaveTheseParts { id, eof, parts } => {
                    if let Some(id) = id.content() {
                        self.handle_parts(now, from, &greeting, id, *eof, parts);
                        self.note_fetch_due(id);
                    }
                }
                Message::WhatIsItsBlake3 { id } => {
                    if let Some(id) = id.content() {
                        reply.blake3_of(id);
                    }
                }
                Message::ItsBlake3Is { id, blake3, eof } => {
                    if let Some(id) = id.content() {
                        self.handle_blake3(from, &greeting, id, *blake3, *eof);
                    }
                }
                Message::PleaseListContent => reply.list = true,
                Message::ContentList(results) => {
                    self.handle_list(now, from, &greeting, results);
                }
                Message::Peers(peers) => self.handle_peers(now, from, &greeting, peers),
                Message::Content {
                    id,
                    offset,
                    eof,
                    base64,
                } => {
                    if let Some(id) = id.content() {
                        let answer = receiving::Arrival {
                            id,
                            offset: *offset,
                            eof: *eof,
                            base64,
                        };
                        self.handle_content(now, from, &greeting, &answer);
                        self.note_fetch_due(id);
                    }
                }
                Message::MaybeTheyHaveSome { id, peers } => {
                    if let Some(id) = id.content() {
                        self.handle_hint(now, from, &greeting, id, peers);
                        self.note_fetch_due(id);
                    }
                }
                Message::IDoNotHaveThat { id } => {
                    if let Some(id) = id.content() {
                        self.handle_no(now, from, &greeting, id);
                        self.note_fetch_due(id);
                    }
                }
                Message::GetLatest(of) => reply.latest_of(of),
                Message::WhereAreThey(key) => reply.where_is(*key),
                Message::SignedMessage(signed) => {
                    self.handle_signed(now, from, &greeting, signed);
                }
                Message::Forwarded { source, messages } => {
                    self.handle_forwarded(now, from, &greeting, *source, messages);
                }
                _ => {}
            }
        }
        if greeting.is_first {
            self.ask_anew(now, from);
        }
        self.settle_inquiries(now, from, &greeting);
        if greeting.verified {
            for id in reply.ids() {
                self.handle_asker(now, from, id);
            }
        }
        self.reply(now, reply);
        self.note_peer_due(from);
    }

    /// Does what has become due by `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.uplink.tick(now);
        self.check_timeouts(now);
        for id in self.fetch_timers.take_due(now) {
            self.search(now, id);
            self.hedge_overdue(now, id);
            self.ask_for_parts(now, id);
            self.note_fetch_due(id);
        }
        self.run_probes(now);
        self.run_inquiries(now);
        self.run_streams(now);
        if now >= self.housekeeping_at {
            self.housekeeping_at = now + HOUSEKEEPING;
            self.interest.tidy(now);
            self.uplink.tidy();
            for peer in self.peers.values_mut() {
                peer.forget_late(now);
            }
            self.tidy_active();
            self.fetches.retain(|_, fetch| {
                let idle = !fetch.sought && !fetch.is_wanted();
                !idle || now.since(fetch.progress_at) < IDLE_FETCH
            });
            self.reconsider_lengths(now);
        }
    }

    /// Gives memory of [`Event::Data`] back, for what arrives next. Bounded: what is too much is freed.
    pub fn reuse(&mut self, data: Vec<u8>) {
        if self.spare.len() < MAX_SPARE && data.capacity() <= 2 * MAX_ANSWER as usize {
            self.spare.push(data);
        }
    }

    /// The next event, if there is one.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| self.next_ask())
    }

    /// Writes the next datagram to send into `out` and returns where it goes; `None`: nothing now.
    pub fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<SocketAddr> {
        let to = if let Some((to, datagram)) = self.outbox.pop_front() {
            out.clear();
            out.extend_from_slice(&datagram);
            to
        } else {
            self.next_request(now, out)?
        };
        self.count_sent(to, out.len());
        Some(to)
    }

    /// The moment at which [`Swarm::handle_timeout`] and [`Swarm::poll_transmit`] are to be called
    /// next if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let mut next = self.housekeeping_at;
        if self.config.probe {
            next = next.min(self.probe_timer);
        }
        if let Some(paced) = self.paced_until {
            next = next.min(paced);
        }
        if let Some(release) = self.uplink.next_release() {
            next = next.min(release);
        }
        let timers = [
            self.peer_timers.next(),
            self.fetch_timers.next(),
            self.names.next_due(),
            self.streams.next_due(),
        ];
        for due in timers.into_iter().flatten() {
            next = next.min(due);
        }
        Some(next)
    }

    /// To be called after all that may change when something is due about `id`.
    fn note_fetch_due(&mut self, id: ContentId) {
        let due = self.fetches.get(&id).map(Fetch::due);
        self.fetch_timers.set(id, due);
    }

    /// The same about the peer at `address`.
    fn note_peer_due(&mut self, address: SocketAddr) {
        let due = self.peers.get(&address).and_then(Peer::due);
        self.peer_timers.set(address, due);
    }

    fn send(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        if self.outbox.len() >= MAX_OUTBOX {
            self.outbox.pop_front();
        }
        self.outbox.push_back((to, datagram));
    }

    fn count_sent(&mut self, to: SocketAddr, size: usize) {
        self.stats.datagrams_out += 1;
        self.stats.bytes_out += size as u64;
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.bytes_sent += size as u64;
        }
    }
}
