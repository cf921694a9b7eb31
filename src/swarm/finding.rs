//! Finding sources of an id and settling on its length.

use std::net::SocketAddr;
use std::time::Duration;

use super::acquaintance::Greeting;
use super::acquaintance::add_cookies;
use super::fetch::{Class, DOUBT_AFTER, Fetch};
use super::peer::{Purpose, Request};
use super::search::{ENOUGH_SOURCES, MOST_SOURCES, Said};
use super::{Event, Swarm, Time, address, cookie};
use crate::content::{ByteRange, ContentId, Kind, MAX_LENGTH};
use crate::wire::Encoder;

/// Search questions that may be asked at once, and how many more each second; those that are answered
/// with the content do not count any more, so that many small files of a peer that has them come as
/// fast as it answers, and still no more questions are on their way at once.
pub(super) const SEARCH_BURST: f64 = 64.0;
const SEARCH_RATE: f64 = 200.0;
/// Addresses that are known by hearsay alone and may be asked at once, and how many more each
/// second: whoever names a network's addresses does not make us ask all of it.
pub(super) const HEARSAY_BURST: f64 = 64.0;
const HEARSAY_RATE: f64 = 2.0;
/// Bytes that a search question asks for: what deployed nodes give to strangers.
const SEARCH_LENGTH: u64 = 32;
/// Ids that a peer is asked for anew when it can answer in full.
const MOST_ANEW: usize = 8;
/// How long the claims of others are waited for after the first, at most.
const LONGEST_COUNT: Duration = Duration::from_millis(50);
/// How long those that are likely to have something are waited for at most.
const LONGEST_HOPE: Duration = Duration::from_millis(500);
/// Others that somebody must name to be taken for a crowd.
const NAMED_CROWD: usize = 3;
/// Others that must have asked us for what we fetch to be taken for one.
const INTERESTED_CROWD: usize = 3;

impl Swarm {
    /// Sends the wave of questions for `id` and settles its length, if they are due.
    pub(super) fn search(&mut self, now: Time, id: ContentId) {
        let passed = now.since(self.search_tokens_at).as_secs_f64();
        self.search_tokens = (self.search_tokens + passed * SEARCH_RATE).min(SEARCH_BURST);
        self.hearsay_tokens = (self.hearsay_tokens + passed * HEARSAY_RATE).min(HEARSAY_BURST);
        self.search_tokens_at = now;
        let is_due = |fetch: &&Fetch| fetch.search.next <= now;
        if self.fetches.get(&id).filter(is_due).is_some() {
            self.send_wave(now, id);
        }
        let is_due = |fetch: &&Fetch| fetch.decide_at.is_some_and(|at| at <= now);
        if self.fetches.get(&id).filter(is_due).is_some() {
            self.decide_length(now, id);
        }
    }

    fn send_wave(&mut self, now: Time, id: ContentId) {
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        let resting = !fetch.is_wanted() && (fetch.length.is_some() || !fetch.sought);
        let peers = &self.peers;
        let sources = fetch
            .sources
            .iter()
            .filter(|(address, source)| {
                source.rest_until <= now
                    && !source.is_barren(Class::Bulk)
                    && !fetch.is_suspended(**address)
                    && peers
                        .get(address)
                        .is_some_and(|peer| peer.is_open() && peer.bench_until <= now)
            })
            .count();
        if resting || sources >= ENOUGH_SOURCES || fetch.sources.len() >= MOST_SOURCES {
            fetch.search.wave_sent(now, ENOUGH_SOURCES);
            return;
        }
        let size = fetch.search.wave_size();
        let mut wave = fetch.search.take_hints(size, &mut self.random);
        wave.retain(|address| !fetch.is_refused(*address));
        let hinted = !wave.is_empty();
        let mut others: Vec<_> = self
            .peers
            .iter()
            .filter(|(address, _)| {
                !fetch.sources.contains_key(address)
                    && !fetch.is_refused(**address)
                    && !wave.contains(address)
                    && fetch.search.may_ask(now, **address)
            })
            .map(|(address, peer)| {
                let rtt = peer.congestion.rtt.smoothed().unwrap_or(Duration::MAX);
                let gives = peer.gives_now(now);
                (!gives, !peer.is_answering(now), !peer.pinned, rtt, *address)
            })
            .collect();
        others.sort_unstable();
        // Nobody else is bothered before those that are likely to have it have had their time.
        let likely = others.iter().take_while(|(gives_not, ..)| !gives_not);
        let slowest = likely.clone().map(|(_, _, _, rtt, _)| *rtt).max();
        let to_likely = fetch.search.is_new() && sources == 0 && !hinted && slowest.is_some();
        if to_likely {
            others.truncate(likely.count());
        }
        let room = size.saturating_sub(wave.len());
        if self.search_tokens < 1.0 {
            // Not a wave: those that are due have their turn as tokens come.
            fetch.search.next = now + Duration::from_millis(20);
            return;
        }
        wave.extend(others.into_iter().take(room).map(|(.., address)| address));
        for address in wave {
            if self.search_tokens < 1.0 {
                break;
            }
            if !self.peers.contains_key(&address) {
                if self.hearsay_tokens < 1.0 {
                    continue;
                }
                self.hearsay_tokens -= 1.0;
            }
            self.search_tokens -= 1.0;
            self.ask_whether(now, id, address);
        }
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.search.wave_sent(now, sources);
            if let Some(rtt) = slowest.filter(|_| to_likely) {
                fetch
                    .search
                    .put_off(now + (rtt.saturating_mul(3) / 2).min(LONGEST_HOPE));
            }
        }
    }

    /// A search question was answered with content.
    pub(super) fn search_hit(&mut self) {
        self.search_tokens = (self.search_tokens + 1.0).min(SEARCH_BURST);
    }

    /// Asks one peer whether it has `id`.
    fn ask_whether(&mut self, now: Time, id: ContentId, to: SocketAddr) {
        if self.meet_named(now, to).is_none() {
            return;
        }
        let (Some(peer), Some(fetch)) = (self.peers.get_mut(&to), self.fetches.get_mut(&id)) else {
            return;
        };
        if !peer.has_request_room() {
            return;
        }
        fetch.search.ask(now, to);
        let range = ByteRange::at(0, SEARCH_LENGTH);
        let sequence = peer.take_sequence();
        let sent = peer.congestion.note(now);
        peer.remember(
            sequence,
            Request {
                id,
                range,
                sent,
                purpose: Purpose::Search,
                with_cookie: peer.their_cookie.is_some(),
                live: true,
            },
        );
        let mut datagram = Vec::with_capacity(320);
        let mut encoder = Encoder::new(&mut datagram);
        encoder.please_send_content(&id, range.start, range.len());
        encoder.which_parts_do_you_have(&id);
        if id.kind == Kind::Sha256 {
            encoder.what_is_its_blake3(&id);
        }
        encoder.please_return_this_message(&cookie::token(peer.seal_key, sequence));
        add_cookies(&mut encoder, peer);
        encoder.finish();
        self.active.insert(to);
        self.send(to, datagram);
    }

    /// Some nodes answer a stranger's first question with their cookie alone. Now that `from` has told
    /// its own it is asked again for what nobody else has answered, rather than after a while.
    pub(super) fn ask_anew(&mut self, now: Time, from: SocketAddr) {
        let unanswered: Vec<ContentId> = self
            .fetches
            .iter()
            .filter(|(_, fetch)| {
                let looked_for = fetch.sought || fetch.is_wanted();
                looked_for
                    && fetch.sources.is_empty()
                    && fetch.search.is_unanswered(from)
                    && !fetch.is_refused(from)
            })
            .map(|(id, _)| *id)
            .take(MOST_ANEW)
            .collect();
        for id in unanswered {
            if self.search_tokens < 1.0 {
                return;
            }
            self.search_tokens -= 1.0;
            self.ask_whether(now, id, from);
        }
    }

    /// Peers that showed an interest in `id` are asked next, if we look for it ourselves.
    pub(super) fn handle_hint(
        &mut self,
        now: Time,
        from: SocketAddr,
        greeting: &Greeting,
        id: ContentId,
        named: &[SocketAddr],
    ) {
        // Only who we asked may send us elsewhere, and only from an address that is its own.
        let proved = greeting.verified || greeting.echo.is_some();
        if !proved || !self.peers.contains_key(&from) {
            return;
        }
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        fetch.search.named(now, from, named.len());
        if named.len() >= NAMED_CROWD {
            fetch.crowd.named(fetch.begun);
        }
        let mut news = false;
        for peer in named {
            let peer = crate::wire::normalise(*peer);
            if address::may_name(from, peer)
                && !fetch.sources.contains_key(&peer)
                && !fetch.is_refused(peer)
            {
                news |= fetch.search.hint(peer);
            }
        }
        if news && fetch.sources.len() < ENOUGH_SOURCES {
            fetch.search.bring_forward(now);
            self.search(now, id);
        }
    }

    /// A peer that proved its address asks us for `id`: if we fetch it too, we may help each other.
    pub(super) fn handle_asker(&mut self, now: Time, from: SocketAddr, id: ContentId) {
        let others = self.interest.count(id);
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        if others >= INTERESTED_CROWD {
            fetch.crowd.seen(now);
        }
        if fetch.is_wanted()
            && fetch.sources.len() < MOST_SOURCES
            && !fetch.sources.contains_key(&from)
            && !fetch.is_refused(from)
            && fetch.search.hint_asker(now, from)
        {
            fetch.search.bring_forward(now);
            self.search(now, id);
            self.note_fetch_due(id);
        }
    }

    /// A peer says that it does not have `id`.
    pub(super) fn handle_no(
        &mut self,
        now: Time,
        from: SocketAddr,
        greeting: &Greeting,
        id: ContentId,
    ) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let echoed = greeting
            .echo
            .filter(|sequence| peer.request(*sequence).is_some_and(|r| r.id == id));
        let sequence = match echoed {
            Some(sequence) => sequence,
            None if peer.returns_pings || !greeting.verified => return,
            None => match peer.find_request_for(id) {
                Some(sequence) => sequence,
                None => return,
            },
        };
        let Some(request) = peer.take_request(sequence) else {
            return;
        };
        let rtt = now.since(request.sent.at);
        peer.congestion.on_ping(now, rtt);
        peer.settled = Some(now);
        self.settle(&request, from, sequence);
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.search.answered(now, from, Said::No);
            fetch.drop_source(from);
            if fetch.sources.is_empty() {
                self.ready.remove(&id);
            }
        }
    }

    /// A peer answered for `id` and says that it is `length` bytes long.
    pub(super) fn handle_claim(&mut self, now: Time, from: SocketAddr, id: ContentId, length: u64) {
        // Everybody knows the content of length zero, so no other id has it: that is a lie.
        if length == 0 || length > MAX_LENGTH {
            if let Some(fetch) = self.fetches.get_mut(&id) {
                fetch.refuse(from);
            }
            return;
        }
        let waited = self
            .peers
            .get(&from)
            .and_then(|peer| peer.congestion.rtt.smoothed())
            .unwrap_or_default();
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        if fetch.is_refused(from) {
            return;
        }
        fetch.claim(from, length);
        match fetch.length {
            Some(held) if held == length => {
                fetch.sources.entry(from).or_default();
                self.active.insert(from);
                self.mark_ready(id);
            }
            Some(_) if fetch.is_outvoted() => self.decide_length(now, id),
            Some(_) => {}
            None => {
                // Others that were asked at the same moment and are as near answer by then.
                let count_at = now + (waited / 4).min(LONGEST_COUNT);
                let decide_at = fetch.decide_at.get_or_insert(count_at);
                let recent = now - (waited * 2).max(Duration::from_millis(2));
                if *decide_at <= now || fetch.search.silent_since(recent) == 0 {
                    self.decide_length(now, id);
                }
            }
        }
    }

    pub(super) fn decide_length(&mut self, now: Time, id: ContentId) {
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        fetch.decide_at = None;
        let Some(favourite) = fetch.favourite() else {
            return;
        };
        let other = fetch.length.is_some_and(|held| held != favourite);
        if !other || !fetch.goes_on(now) {
            self.settle_length(id, favourite);
        }
    }

    /// Fetches from those who claim `length`.
    fn settle_length(&mut self, id: ContentId, length: u64) {
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        let agreeing: Vec<SocketAddr> = fetch
            .claims
            .get(&length)
            .map(|by| by.iter().copied().collect())
            .unwrap_or_default();
        fetch
            .sources
            .retain(|address, _| agreeing.contains(address));
        for address in agreeing {
            fetch.sources.entry(address).or_default();
            self.active.insert(address);
        }
        if fetch.decide(length) {
            self.events.push_back(Event::Found { id, length });
        }
        self.tell_claim(id);
        self.mark_ready(id);
    }

    /// The length of `id` is proven to be `length`: whoever claims another is no source.
    pub(super) fn length_is_proven(&mut self, id: ContentId, length: u64) {
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        fetch.length_is_proven = true;
        fetch.decide_at = None;
        self.settle_length(id, length);
    }

    /// Where a fetch stands still and other peers claim another length, believes those instead; so
    /// it does where it was gone on with for too long although it was outvoted.
    pub(super) fn reconsider_lengths(&mut self, now: Time) {
        let doubtful: Vec<ContentId> = self
            .fetches
            .iter()
            .filter(|(_, fetch)| {
                fetch.length.is_some()
                    && !fetch.length_is_proven
                    && fetch.is_wanted()
                    && fetch.claims.len() > 1
                    && (now.since(fetch.progress_at) > DOUBT_AFTER || fetch.is_outvoted())
            })
            .map(|(id, _)| *id)
            .collect();
        for id in doubtful {
            let talks = |address: &SocketAddr| {
                self.peers
                    .get(address)
                    .and_then(|peer| peer.heard)
                    .is_some_and(|heard| now.since(heard) < DOUBT_AFTER)
            };
            let Some(fetch) = self.fetches.get_mut(&id) else {
                continue;
            };
            if fetch.is_outvoted() {
                self.decide_length(now, id);
                continue;
            }
            let held = fetch.length.unwrap_or_default();
            let silent = |length: &u64| !fetch.claims.get(length).into_iter().flatten().any(talks);
            // We may be cut off ourselves: only when others talk while these are silent.
            let other = fetch
                .claims
                .keys()
                .any(|length| *length != held && !silent(length));
            if silent(&held) && other && !fetch.goes_on(now) {
                fetch.progress_at = now;
                fetch.claims.remove(&held);
                self.decide_length(now, id);
            }
        }
    }
}
