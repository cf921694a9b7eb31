//! What a host sent and received, counted at its socket, and where packets of its were lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cjp2pfs::swarm::Time;

use crate::link::HEADERS;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub datagrams: u64,
    /// Payload and 28 bytes of headers for each datagram.
    pub bytes: u64,
}

impl Count {
    pub fn add(&mut self, payload: usize) {
        self.datagrams += 1;
        self.bytes += payload as u64 + HEADERS;
    }
}

#[derive(Debug, Default)]
pub struct Traffic {
    pub sent: Count,
    pub received: Count,
    pub to: BTreeMap<SocketAddr, Count>,
    pub from: BTreeMap<SocketAddr, Count>,
    /// Bytes of IP packets sent, fragments' headers included.
    pub wire_bytes: u64,
    /// Datagrams sent in each second of the run.
    pub per_second: BTreeMap<u64, u64>,
    /// IP packets sent from here that chance took.
    pub lost: u64,
    /// IP packets that found a full queue here, on the way out or in.
    pub dropped_by_queue: u64,
    /// Fragments sent from here that a NAT refused.
    pub dropped_as_fragment: u64,
    /// Packets to an address where nobody is, and those that came while this host was dead.
    pub unreachable: u64,
    /// Datagrams handed over with a flipped bit.
    pub corrupted: u64,
}

impl Traffic {
    pub fn note_sent(&mut self, now: Time, to: SocketAddr, payload: usize) {
        self.sent.add(payload);
        self.to.entry(to).or_default().add(payload);
        *self
            .per_second
            .entry(now.since_start().as_secs())
            .or_default() += 1;
    }

    pub fn sent_to(&self, address: SocketAddr) -> Count {
        self.to.get(&address).copied().unwrap_or_default()
    }

    pub fn received_from(&self, address: SocketAddr) -> Count {
        self.from.get(&address).copied().unwrap_or_default()
    }

    /// Most datagrams sent in one second.
    pub fn peak(&self) -> u64 {
        self.per_second.values().copied().max().unwrap_or_default()
    }

    /// Datagrams sent in the seconds `from..to` of the run.
    pub fn sent_during(&self, from: u64, to: u64) -> u64 {
        self.per_second.range(from..to).map(|(_, sent)| sent).sum()
    }
}
