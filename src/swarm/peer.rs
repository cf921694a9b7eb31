//! One peer: what we know of it, what we have asked it, how its path behaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::congestion::{Congestion, Sent};
use super::reply_length::ReplyLength;
use super::{Class, Time};
use crate::content::{ByteRange, ContentId, PublicKey};

/// Requests to one peer that are remembered, answered late or not. A window of 64 MiB in requests
/// of 40,960 bytes is 1,639; in requests of one packet the window is cut by this.
const MAX_REQUESTS: usize = 4096;
/// What somebody waits for may exceed a peer's window by what that brings in this time.
const BEYOND: Duration = Duration::from_millis(20);
/// Who gave content is asked first for what is looked for within this time: files of one folder lie
/// with the same peers.
const GIVES_ON: Duration = Duration::from_secs(10);
/// The least that is worth asking for at a time.
pub(super) const LEAST_LENGTH: u64 = 256;
/// Requests that were given up and may still be answered.
const MAX_LATE: usize = 1024;
/// How long that is waited for.
const LATE: Duration = Duration::from_secs(10);

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It carries a flight of the fetch.
    Piece,
    /// It asks for bytes that have come from another peer, to compare them.
    Again,
    /// It asks whether the peer has the id at all.
    Search,
    /// It asks which parts of the id the peer has.
    Parts,
}

impl Purpose {
    /// Whether what it asks for is as much as the path carries, so that its loss and its time tell
    /// of the path.
    pub fn is_for_data(self) -> bool {
        matches!(self, Self::Piece | Self::Again)
    }
}

/// One question that a peer was asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub id: ContentId,
    pub range: ByteRange,
    pub sent: Sent,
    pub purpose: Purpose,
    /// Whether the peer's cookie was known and sent along, so that a full answer is due.
    pub with_cookie: bool,
    /// Neither answered nor given up.
    pub live: bool,
}

/// Everything kept about one peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Named by the user or well known: never forgotten.
    pub pinned: bool,
    /// What it asked us to return, as raw JSON.
    pub their_cookie: Option<Box<str>>,
    /// Whether its last datagram returned our cookie, so that it need not be sent again.
    pub knows_our_cookie: bool,
    /// The key that it says it has: a claim.
    pub key: Option<PublicKey>,
    /// Gave a full answer, so it either knows us or does not care about cookies.
    pub gives: bool,
    pub heard: Option<Time>,
    /// When it last answered something that we had asked.
    pub answered: Option<Time>,
    /// When it last answered a request for a piece, with content or a "no". Other talk does not
    /// count: a source that only chats must time out.
    pub settled: Option<Time>,
    /// When it last gave content that we asked it for.
    pub gave: Option<Time>,
    pub seal_key: u64,
    /// What we ask it to return.
    pub our_cookie: Box<str>,
    pub congestion: Congestion,
    requests: BTreeMap<u64, Request>,
    /// Those of them that carry a piece and are neither answered nor given up.
    live: BTreeSet<u64>,
    /// It returns pings, so an answer without one is not its own.
    pub returns_pings: bool,
    next_sequence: u64,
    /// The highest sequence number that was answered.
    pub highest_answered: Option<u64>,
    /// How many later answers make a request count as lost; grows when that proves wrong.
    pub reorder: u64,
    /// Content bytes to ask for at a time.
    pub length: u64,
    reply_length: ReplyLength,
    /// No data is asked of it before this,
    pub bench_until: Time,
    /// but for what somebody waits for, which has a limit and may have no other source.
    pub urgent_bench_until: Time,
    /// When it is to be probed next, and how many probes went unanswered in a row.
    pub probe_at: Time,
    pub probes_unanswered: u32,
    pub probe_sent: Option<(Time, u64)>,
    /// When it was probed because its cookie had changed.
    pub greeted_anew: Option<Time>,
    pub asked_for_peers: Option<Time>,
    /// Datagram bytes, without headers.
    pub bytes_received: u64,
    pub bytes_sent: u64,
}

impl Peer {
    pub fn new(now: Time, seal_key: u64, our_cookie: String, reply_length: ReplyLength) -> Self {
        Self {
            pinned: false,
            their_cookie: None,
            knows_our_cookie: false,
            key: None,
            gives: false,
            heard: None,
            answered: None,
            settled: None,
            gave: None,
            seal_key,
            our_cookie: our_cookie.into(),
            congestion: Congestion::new(now),
            requests: BTreeMap::new(),
            live: BTreeSet::new(),
            returns_pings: false,
            next_sequence: 0,
            highest_answered: None,
            reorder: 3,
            length: reply_length.get(),
            reply_length,
            bench_until: Time::ZERO,
            urgent_bench_until: Time::ZERO,
            probe_at: now,
            probes_unanswered: 0,
            probe_sent: None,
            greeted_anew: None,
            asked_for_peers: None,
            bytes_received: 0,
            bytes_sent: 0,
        }
    }

    /// Whether it answered us in the last two minutes.
    pub fn is_answering(&self, now: Time) -> bool {
        self.answered
            .is_some_and(|at| now.since(at) < Duration::from_secs(120))
    }

    /// Whether it gave content so lately that it is likely to have what is looked for next.
    pub fn gives_now(&self, now: Time) -> bool {
        self.gave.is_some_and(|at| now.since(at) < GIVES_ON)
    }

    /// Whether it can be expected to answer questions for data in full.
    pub fn is_open(&self) -> bool {
        self.their_cookie.is_some() || self.gives
    }

    /// The next sequence number.
    pub fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    /// Whether another request can be remembered.
    pub fn has_request_room(&self) -> bool {
        self.live.len() < MAX_REQUESTS
    }

    /// Remembers a request. When there are too many, the oldest that was given up is forgotten.
    pub fn remember(&mut self, sequence: u64, request: Request) {
        if request.live && request.purpose.is_for_data() {
            self.live.insert(sequence);
        }
        self.requests.insert(sequence, request);
        if self.requests.len() > MAX_REQUESTS + MAX_LATE {
            let live = &self.live;
            let oldest = self
                .requests
                .keys()
                .find(|old| !live.contains(old))
                .copied();
            if let Some(oldest) = oldest {
                self.requests.remove(&oldest);
            }
        }
    }

    pub fn request(&self, sequence: u64) -> Option<&Request> {
        self.requests.get(&sequence)
    }

    pub fn take_request(&mut self, sequence: u64) -> Option<Request> {
        self.live.remove(&sequence);
        self.requests.remove(&sequence)
    }

    /// The newest remembered request for `id` at `offset`. Looks at 64 requests at most.
    pub fn find_request(&self, id: ContentId, offset: u64) -> Option<u64> {
        self.requests
            .iter()
            .rev()
            .take(64)
            .find(|(_, request)| request.id == id && request.range.start == offset)
            .map(|(sequence, _)| *sequence)
    }

    /// The newest remembered request for `id`. Looks at 64 requests at most.
    pub fn find_request_for(&self, id: ContentId) -> Option<u64> {
        self.requests
            .iter()
            .rev()
            .take(64)
            .find(|(_, request)| request.id == id)
            .map(|(sequence, _)| *sequence)
    }

    /// The oldest request for a piece that is neither answered nor given up. Silence about a
    /// search says nothing of the path: it is the usual "no".
    fn oldest_live(&self) -> Option<&Request> {
        self.requests.get(self.live.first()?)
    }

    /// Content bytes to ask for in the next request, which nobody waits for.
    pub fn next_length(&mut self, now: Time) -> u64 {
        let next = self.reply_length.next(now, self.congestion.rate());
        self.length = self.reply_length.get();
        next
    }

    /// It was asked for this many bytes.
    pub fn length_asked(&mut self, asked: u64) {
        self.reply_length.asked(asked);
    }

    /// A request of `asked` bytes was answered, with `given` of them where there were more.
    pub fn length_answered(&mut self, now: Time, asked: u64, given: Option<u64>) {
        self.reply_length
            .answered(now, asked, self.congestion.rate());
        if let Some(given) = given {
            self.reply_length.cap(given);
        }
        self.length = self.reply_length.get();
    }

    /// A request of `asked` bytes was given up.
    pub fn length_lost(&mut self, now: Time, asked: u64) {
        self.reply_length.lost(now, asked, self.congestion.rate());
        self.length = self.reply_length.get();
    }

    /// This host could not put fragments together.
    pub fn fragments_fail(&mut self, now: Time) {
        self.reply_length.fragments_fail(now);
        self.length = self.reply_length.get();
    }

    /// When it may be asked again after having been silent.
    pub fn benched_until(&self, class: Class) -> Time {
        match class {
            Class::Urgent => self.urgent_bench_until,
            Class::ReadAhead | Class::Bulk => self.bench_until,
        }
    }

    /// Makes a bench that it is on, or that is just over, last until `until` for every class.
    pub fn bench_at_least(&mut self, until: Time) {
        self.bench_until = self.bench_until.max(until);
        self.urgent_bench_until = self.urgent_bench_until.max(until);
    }

    /// It has answered.
    pub fn end_bench(&mut self) {
        self.bench_until = Time::ZERO;
        self.urgent_bench_until = Time::ZERO;
    }

    /// Asks for less at a time from now on: large answers may not get through at all where a
    /// firewall or an address translator drops fragments.
    pub fn shorten(&mut self) {
        self.reply_length.shorten();
        self.length = self.reply_length.get();
    }

    /// How long a round trip takes, and how long its path takes for all that it owes us.
    fn expected(&self) -> (Duration, Duration) {
        let trip = self
            .congestion
            .rtt
            .smoothed()
            .unwrap_or(Duration::from_millis(100));
        let owed = (self.congestion.in_flight() + self.length) as f64;
        let queue = match self.congestion.rate() {
            Some(rate) if rate > 0.0 => Duration::from_secs_f64((owed / rate).min(60.0)),
            _ => Duration::ZERO,
        };
        (trip, queue)
    }

    /// How long the answer to a request that leaves now will take.
    pub fn next_arrival(&self) -> Duration {
        let (trip, queue) = self.expected();
        trip.max(queue) + self.congestion.rtt.variation() * 2
    }

    /// The same where nobody waits: the more a peer owes us for its rate, the later it comes, also
    /// where its path would still take it, so that work is spread.
    pub fn turn(&self) -> Duration {
        let (trip, queue) = self.expected();
        trip + queue + self.congestion.rtt.variation() * 2
    }

    /// Content bytes beyond its window that may be asked of it where somebody waits: some requests, or
    /// what it brings in some milliseconds, since waiting that long for it may be the soonest still.
    pub fn beyond(&self) -> u64 {
        let soon = self.congestion.rate().unwrap_or(0.0) * BEYOND.as_secs_f64();
        (8 * self.length).max(soon as u64)
    }

    /// How long an answer that somebody waits for is waited for before another peer is asked.
    pub fn patience(&self) -> Duration {
        let (trip, queue) = self.expected();
        // A rate that is too low must not make us wait for ever.
        let expected = trip.max(queue.min(trip * 3 / 2));
        // The slack is for the turns of processes; on a loaded machine they take milliseconds.
        let slack = (trip / 8).max(Duration::from_millis(2));
        expected + self.congestion.rtt.variation() * 2 + slack
    }

    /// When silence becomes a timeout.
    pub fn timeout_at(&self) -> Option<Time> {
        let oldest = self.oldest_live()?.sent.at;
        let since = self.settled.map_or(oldest, |settled| settled.max(oldest));
        Some(since + self.congestion.timeout())
    }

    /// Requests that as many later answers have overtaken as make a loss likely, the oldest 64.
    pub fn passed_over(&self) -> impl Iterator<Item = (ContentId, u64)> + '_ {
        let answered = self.highest_answered.unwrap_or(0);
        self.live
            .range(..=answered.saturating_sub(self.reorder))
            .take(64)
            .filter_map(|sequence| self.requests.get(sequence))
            .map(|request| (request.id, request.range.start))
    }

    /// Gives up requests that later ones have overtaken; returns them.
    pub fn overtaken(&mut self, now: Time) -> Vec<(u64, Request)> {
        let Some(highest) = self.highest_answered else {
            return Vec::new();
        };
        let rtt = &self.congestion.rtt;
        let smoothed = rtt.smoothed().unwrap_or_default();
        let by_order = smoothed + rtt.variation() * 2;
        let by_age = (smoothed.max(rtt.latest()) * 9 / 8).max(smoothed + rtt.variation() * 4);
        let mut lost = Vec::new();
        for sequence in self.live.range(..highest) {
            let Some(request) = self.requests.get_mut(sequence) else {
                continue;
            };
            let age = now.since(request.sent.at);
            if age > by_age || (highest - sequence >= self.reorder && age > by_order) {
                request.live = false;
                lost.push((*sequence, request.clone()));
            } else if age < by_order {
                // Later ones are younger still.
                break;
            }
        }
        for (sequence, _) in &lost {
            self.live.remove(sequence);
        }
        lost
    }

    /// When the oldest overtaken request becomes lost, if there is one.
    pub fn overtaken_at(&self) -> Option<Time> {
        let highest = self.highest_answered?;
        let rtt = &self.congestion.rtt;
        let smoothed = rtt.smoothed().unwrap_or_default();
        let by_age = (smoothed.max(rtt.latest()) * 9 / 8).max(smoothed + rtt.variation() * 4);
        let oldest = self.live.range(..highest).next()?;
        let request = self.requests.get(oldest)?;
        Some(request.sent.at + by_age + Duration::from_micros(100))
    }

    /// When its silence means something next.
    pub fn due(&self) -> Option<Time> {
        let due = [self.timeout_at(), self.overtaken_at()];
        due.into_iter().flatten().min()
    }

    /// Gives up everything in flight; returns it.
    pub fn give_up_all(&mut self) -> Vec<(u64, Request)> {
        let mut lost = Vec::new();
        for sequence in std::mem::take(&mut self.live) {
            if let Some(request) = self.requests.get_mut(&sequence) {
                request.live = false;
                lost.push((sequence, request.clone()));
            }
        }
        lost
    }

    /// Forgets requests for `id`; returns those that were live.
    pub fn withdraw(&mut self, id: ContentId) -> Vec<Request> {
        let mut withdrawn = Vec::new();
        let live = &mut self.live;
        self.requests.retain(|sequence, request| {
            if request.id == id && live.remove(sequence) {
                withdrawn.push(request.clone());
            }
            request.id != id
        });
        withdrawn
    }

    /// Forgets given-up requests that are too old to be answered.
    pub fn forget_late(&mut self, now: Time) {
        let live = &self.live;
        self.requests.retain(|sequence, request| {
            live.contains(sequence) || now.since(request.sent.at) < LATE
        });
    }

    /// Datagrams from it that would answer something.
    pub fn awaited(&self) -> usize {
        self.requests.len() + usize::from(self.probe_sent.is_some())
    }

    /// Whether requests to it are remembered.
    pub fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }
}
