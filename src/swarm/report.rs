//! What a person may be told of the swarm's state.

use std::net::SocketAddr;
use std::time::Duration;

use super::peer::Peer;
use super::{Swarm, Time};
use crate::content::ContentId;

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams that came in.
    pub datagrams_in: u64,
    /// Datagrams that went out.
    pub datagrams_out: u64,
    /// Their payload, in bytes.
    pub bytes_in: u64,
    /// Their payload, in bytes.
    pub bytes_out: u64,
    /// Datagrams that could not be read at all.
    pub dropped: u64,
    /// Messages in readable datagrams that were not understood.
    pub skipped: u64,
    /// Content that nobody had asked its sender for.
    pub unmatched: u64,
    /// Content bytes that arrived and were wanted.
    pub content_in: u64,
    /// Content bytes that arrived twice, or when nobody wanted them any more.
    pub content_wasted: u64,
    /// Content bytes that were sent.
    pub content_out: u64,
    /// Requests that were given up.
    pub lost: u64,
    /// Requests that were copied to another peer because their answer was overdue.
    pub hedged: u64,
    /// Questions of peers that were passed over: asked too often, or too many at once.
    pub refused: u64,
    /// Signatures that were checked.
    pub signatures_checked: u64,
}

/// One peer.
#[derive(Clone, Debug)]
pub struct PeerReport {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it answered in the last two minutes.
    pub answering: bool,
    /// Smoothed.
    pub round_trip: Option<Duration>,
    /// Datagram bytes, without headers.
    pub bytes_received: u64,
    /// Datagram bytes, without headers.
    pub bytes_sent: u64,
    /// Since when nothing came.
    pub silent_for: Option<Duration>,
    /// Estimated rate of the path in content bytes a second.
    pub rate: Option<f64>,
    /// Moving share of lost requests.
    pub loss: f64,
    /// Content bytes asked for and not arrived.
    pub in_flight: u64,
    /// What of content may be in flight.
    pub window: u64,
    /// Content bytes asked for at a time.
    pub length: u64,
    /// Phase of its congestion controller.
    pub phase: &'static str,
}

/// One id that is being looked for or fetched.
#[derive(Clone, Debug)]
pub struct FetchReport {
    /// Which.
    pub id: ContentId,
    /// Bytes, once found.
    pub length: Option<u64>,
    /// Bytes wanted and not arrived.
    pub missing: u64,
    /// Bytes of these that were asked for.
    pub in_flight: u64,
    /// Peers that answered for it.
    pub sources: usize,
    /// Peers that were asked for it.
    pub asked: usize,
}

impl Peer {
    /// What a person may be told of it.
    pub(super) fn report(&self, now: Time, address: SocketAddr) -> PeerReport {
        PeerReport {
            address,
            answering: self.is_answering(now),
            round_trip: self.congestion.rtt.smoothed(),
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            silent_for: self.heard.map(|heard| now.since(heard)),
            rate: self.congestion.rate(),
            loss: self.congestion.loss(),
            in_flight: self.congestion.in_flight(),
            window: self.congestion.window(self.length),
            length: self.length,
            phase: self.congestion.phase(),
        }
    }
}

impl Swarm {
    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Every known peer.
    #[must_use]
    pub fn peer_reports(&self, now: Time) -> Vec<PeerReport> {
        self.peers
            .iter()
            .map(|(address, peer)| peer.report(now, *address))
            .collect()
    }

    /// Every id that is being looked for or fetched.
    #[must_use]
    pub fn fetch_reports(&self) -> Vec<FetchReport> {
        self.fetches
            .iter()
            .map(|(id, fetch)| FetchReport {
                id: *id,
                length: fetch.length,
                missing: fetch.missing_bytes(),
                in_flight: fetch.flying_bytes(),
                sources: fetch.sources.len(),
                asked: fetch.search.asked_count(),
            })
            .collect()
    }

    /// Peers worth remembering across a restart, the best first.
    #[must_use]
    pub fn good_peers(&self, now: Time, most: usize) -> Vec<SocketAddr> {
        let mut good: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.answered.is_some())
            .collect();
        good.sort_by_key(|(_, peer)| {
            (
                !peer.is_answering(now),
                peer.congestion.rtt.smoothed().unwrap_or(Duration::MAX),
            )
        });
        good.into_iter()
            .take(most)
            .map(|(address, _)| *address)
            .collect()
    }
}
