//! What a node tells of itself.

use std::sync::mpsc;
use std::time::Duration;

use super::Node;
use super::messages::{Command, Report};
use super::transfer::{Phase, Transfer};
use super::types::{FetchStatus, PeerStatus, Status};

/// How long the network thread may take to report.
pub(super) const REPORT_LIMIT: Duration = Duration::from_secs(1);

impl Node {
    pub(super) fn report(&self) -> Option<Report> {
        let (to, report) = mpsc::channel();
        self.0.shared.mailbox.post(Command::Report(to));
        report.recv_timeout(REPORT_LIMIT).ok()
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.0.shared;
        let report = self.report();
        let counts = shared.store.counts();
        let stats = report.as_ref().map(|r| r.stats).unwrap_or_default();
        let fetching = shared
            .transfers()
            .iter()
            .filter(|transfer| transfer.phase() == Phase::Arriving)
            .map(|transfer| fetch_status(transfer, report.as_ref()))
            .collect();
        let peers = report.as_ref().map_or(&[][..], |report| &report.peers);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: self.0.address,
            public_key: format!("0x{}", self.public_key()),
            uptime_seconds: self.0.started.elapsed().as_secs_f64(),
            peers_known: peers.len(),
            peers_answering: peers.iter().filter(|peer| peer.answering).count(),
            bytes_fetched: stats.content_in,
            bytes_wasted: stats.content_wasted,
            bytes_served: stats.content_out,
            datagrams_in: stats.datagrams_in,
            datagrams_out: stats.datagrams_out,
            datagram_bytes_in: stats.bytes_in,
            datagram_bytes_out: stats.bytes_out,
            datagrams_dropped: stats.dropped,
            datagrams_overflowed: report.as_ref().map_or(0, |r| r.drops.overflowed),
            datagrams_sifted: report.as_ref().map_or(0, |r| r.drops.sifted),
            requests_lost: stats.lost,
            contents_held: counts.held,
            contents_seeded: counts.seeded,
            disk: shared.store.usage().ok(),
            disk_trouble: shared.disk_trouble(),
            store_limit: shared.config.limits.most,
            min_free: shared.config.limits.least_free,
            verify: shared.config.verify,
            operations_waiting: shared.waiting(),
            fetching,
        }
    }

    /// The peers that it knows.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let peers = self.report().map(|report| report.peers).unwrap_or_default();
        peers
            .into_iter()
            .map(|peer| PeerStatus {
                address: peer.address,
                answering: peer.answering,
                round_trip_ms: peer.round_trip.map(|rtt| rtt.as_secs_f64() * 1000.0),
                bytes_received: peer.bytes_received,
                bytes_sent: peer.bytes_sent,
                last_heard_seconds: peer.silent_for.map(|silent| silent.as_secs_f64()),
                loss: peer.loss,
                rate: peer.rate,
            })
            .collect()
    }
}

fn fetch_status(transfer: &Transfer, report: Option<&Report>) -> FetchStatus {
    let info = transfer.info();
    let fetch = report.and_then(|report| report.fetches.get(&info.id));
    FetchStatus {
        id: info.id.to_string(),
        length: info.length,
        present: info.present,
        in_flight: fetch.map_or(0, |fetch| fetch.in_flight),
        sources: fetch.map_or(0, |fetch| fetch.sources),
    }
}
