//! Why bytes of one id have not come yet: who was asked, what they answered, what is on its way.
//!
//! Built from the state that the swarm keeps anyway, when somebody asks; until then it costs
//! nothing. Every list is bounded, and beside it stands how long it would have been.

use std::net::SocketAddr;
use std::time::Duration;

use super::fetch::{Class, Fetch};
use super::peer::Peer;
use super::search::{AskedPeer, Said};
use super::source::Source;
use super::{PeerReport, Swarm, Time};
use crate::content::{ByteRange, ContentId, RangeSet};

/// Entries of each list.
const MOST: usize = 64;
/// Peers named for one claim of a length.
const MOST_CLAIMING: usize = 8;

/// What is known of one id that is being looked for or fetched.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Bytes, once that is settled.
    pub length: Option<u64>,
    /// What lengths are claimed, the most claimed first. Sixteen at most.
    pub claims: Vec<ClaimReport>,
    /// Bytes wanted and not arrived.
    pub missing: u64,
    /// Bytes of these that somebody was asked for.
    pub in_flight: u64,
    /// What is on its way, in the order of its bytes; neighbours asked of the same peers together.
    pub flights: Vec<FlightReport>,
    /// Flights that are left out of the list.
    pub flights_left_out: usize,
    /// Who was asked whether they have it: those with an answer first, then the newest questions.
    pub asked: Vec<AskedReport>,
    /// How many were asked; more than are listed, perhaps.
    pub asked_count: usize,
    /// How many of them said anything about it.
    pub answered_count: usize,
    /// Addresses that others named and that are still to be asked.
    pub hinted: usize,
    /// Until more peers are asked. While nothing is missing, or there are sources enough, that
    /// moment passes without a question.
    pub next_question: Duration,
    /// Who has it, the fastest first.
    pub sources: Vec<SourceReport>,
    /// How many there are; more than are listed, perhaps.
    pub source_count: usize,
    /// The only source that may be asked, because one of several sent wrong bytes.
    pub on_trial: Option<SocketAddr>,
    /// Peers that were wrong about this id and are not asked again.
    pub refused: Vec<SocketAddr>,
    /// Since when nothing that was missing has come; `None` while nothing is missing.
    pub quiet: Option<Duration>,
    /// The sum of what the paths to the sources that may be asked now are thought to carry, in
    /// content bytes a second; `None` where no such path has been measured.
    pub rate: Option<f64>,
    /// `missing` at `rate`; zero when nothing is missing, `None` when nobody can tell.
    pub expected: Option<Duration>,
}

/// A length, and who claims it.
#[derive(Clone, Debug)]
pub struct ClaimReport {
    /// Bytes.
    pub length: u64,
    /// Some of those who say so.
    pub peers: Vec<SocketAddr>,
    /// How many say so.
    pub count: usize,
}

/// Bytes that peers have been asked for.
#[derive(Clone, Debug)]
pub struct FlightReport {
    /// Which.
    pub range: ByteRange,
    /// How urgently they are wanted.
    pub class: Class,
    /// Requests that this puts together; copies are not counted.
    pub requests: usize,
    /// Who was asked, and how long ago at most.
    pub from: Vec<(SocketAddr, Duration)>,
}

/// A peer that was asked whether it has the id.
#[derive(Clone, Debug)]
pub struct AskedReport {
    /// Which.
    pub address: SocketAddr,
    /// How long ago it was asked last.
    pub ago: Duration,
    /// How often it was asked since it last rested.
    pub times: u8,
    /// What it said last, and how long ago; `None`: nothing yet. Silence is the usual "no".
    pub said: Option<(Duration, Said)>,
}

/// A peer that has the id, or says so.
#[derive(Clone, Debug)]
pub struct SourceReport {
    /// Its path.
    pub peer: PeerReport,
    /// Content bytes of this id that it supplied.
    pub supplied: u64,
    /// Bytes of it that it says it has; `None`: all.
    pub holds: Option<u64>,
    /// Whether it may be asked.
    pub state: SourceState,
}

/// Whether a source may be asked for data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// It may be asked now.
    Open,
    /// Its last answer is overdue; it is asked on, for now.
    Overdue,
    /// It has not told us its cookie yet, so it would give a stranger's share only.
    Unmet,
    /// Another source is on trial.
    Waits,
    /// Its answers fell short of what was asked for; it is asked again after this long.
    Rests(Duration),
    /// It was silent several times; one request probes it after this long.
    Benched(Duration),
}

impl Swarm {
    /// What is known of `id` and why what is wanted of it has not come; `None` when it is neither
    /// looked for nor fetched nor remembered.
    #[must_use]
    pub fn explain(&self, now: Time, id: ContentId) -> Option<Explanation> {
        let fetch = self.fetches.get(&id)?;
        let mut sources: Vec<SourceReport> = fetch
            .sources
            .iter()
            .filter_map(|(address, source)| {
                let peer = self.peers.get(address)?;
                Some(SourceReport {
                    peer: peer.report(now, *address),
                    supplied: source.supplied,
                    holds: fetch.parts.held(*address).map(RangeSet::bytes),
                    state: state_of(now, fetch, *address, source, peer),
                })
            })
            .collect();
        let source_count = sources.len();
        let rate = rate_of(&sources);
        let fastest_first = |a: &SourceReport, b: &SourceReport| {
            let key = |source: &SourceReport| {
                (
                    source.state == SourceState::Open,
                    source.peer.rate.unwrap_or(0.0),
                )
            };
            let ((a_open, a_rate), (b_open, b_rate)) = (key(a), key(b));
            b_open.cmp(&a_open).then(b_rate.total_cmp(&a_rate))
        };
        sources.sort_by(fastest_first);
        sources.truncate(MOST);
        let missing = fetch.missing_bytes();
        let (flights, flights_left_out) = self.flight_reports(now, fetch);
        let (asked, asked_count, answered_count) = asked_reports(now, fetch);
        Some(Explanation {
            length: fetch.length,
            claims: claim_reports(fetch),
            missing,
            in_flight: fetch.flying_bytes(),
            flights,
            flights_left_out,
            asked,
            asked_count,
            answered_count,
            hinted: fetch.search.hinted(),
            next_question: fetch.search.next.since(now),
            sources,
            source_count,
            on_trial: fetch.only,
            refused: fetch.refused().take(MOST).collect(),
            quiet: fetch.is_wanted().then(|| now.since(fetch.progress_at)),
            rate,
            expected: expected(missing, rate),
        })
    }

    /// Flights, those beside each other that were asked of the same peers as one: a fetch in full
    /// swing has thousands of requests out, and its story is told in a few lines.
    fn flight_reports(&self, now: Time, fetch: &Fetch) -> (Vec<FlightReport>, usize) {
        let mut reports: Vec<FlightReport> = Vec::new();
        let mut left_out = 0;
        for (range, flight) in fetch.flights() {
            let from: Vec<(SocketAddr, Duration)> = flight
                .copies
                .iter()
                .filter_map(|(address, sequence)| {
                    let request = self.peers.get(address)?.request(*sequence)?;
                    Some((*address, now.since(request.sent.at)))
                })
                .collect();
            if let Some(last) = reports.last_mut()
                && last.range.end == range.start
                && last.class == flight.class
                && last
                    .from
                    .iter()
                    .map(|(a, _)| a)
                    .eq(from.iter().map(|(a, _)| a))
            {
                last.range.end = range.end;
                last.requests += 1;
                for (oldest, fresh) in last.from.iter_mut().zip(from) {
                    oldest.1 = oldest.1.max(fresh.1);
                }
            } else if reports.len() < MOST {
                reports.push(FlightReport {
                    range,
                    class: flight.class,
                    requests: 1,
                    from,
                });
            } else {
                left_out += 1;
            }
        }
        (reports, left_out)
    }
}

fn state_of(
    now: Time,
    fetch: &Fetch,
    address: SocketAddr,
    source: &Source,
    peer: &Peer,
) -> SourceState {
    if fetch.only.is_some_and(|only| only != address) {
        SourceState::Waits
    } else if source.rest_until > now {
        SourceState::Rests(source.rest_until.since(now))
    } else if peer.bench_until > now {
        SourceState::Benched(peer.bench_until.since(now))
    } else if !peer.is_open() {
        SourceState::Unmet
    } else if peer.congestion.timeouts() > 0 {
        SourceState::Overdue
    } else {
        SourceState::Open
    }
}

/// What the sources that may be asked now carry together. One that has just been silent promises
/// nothing, whatever it carried before.
fn rate_of(sources: &[SourceReport]) -> Option<f64> {
    let rate: f64 = sources
        .iter()
        .filter(|source| source.state == SourceState::Open)
        .filter_map(|source| source.peer.rate)
        .sum();
    (rate > 0.0).then_some(rate)
}

fn expected(missing: u64, rate: Option<f64>) -> Option<Duration> {
    if missing == 0 {
        return Some(Duration::ZERO);
    }
    Duration::try_from_secs_f64(missing as f64 / rate?).ok()
}

fn asked_reports(now: Time, fetch: &Fetch) -> (Vec<AskedReport>, usize, usize) {
    let mut peers: Vec<AskedPeer> = fetch.search.asked_peers().collect();
    let answered = peers.iter().filter(|peer| peer.said.is_some()).count();
    peers.sort_by_key(|peer| {
        let told = match peer.said {
            Some((_, Said::Content(_) | Said::Parts(..))) => 0,
            Some((_, Said::Others(_))) => 1,
            Some((_, Said::No)) => 2,
            None => 3,
        };
        (told, std::cmp::Reverse(peer.last))
    });
    let reports = peers
        .iter()
        .take(MOST)
        .map(|peer| AskedReport {
            address: peer.address,
            ago: now.since(peer.last),
            times: peer.tries,
            said: peer.said.map(|(at, said)| (now.since(at), said)),
        })
        .collect();
    (reports, peers.len(), answered)
}

fn claim_reports(fetch: &Fetch) -> Vec<ClaimReport> {
    let mut claims: Vec<ClaimReport> = fetch
        .claims
        .iter()
        .map(|(length, by)| ClaimReport {
            length: *length,
            peers: by.iter().take(MOST_CLAIMING).copied().collect(),
            count: by.len(),
        })
        .collect();
    claims.sort_by_key(|claim| std::cmp::Reverse(claim.count));
    claims
}
