//! How long the content is: who claims what, and which claim is gone by.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::Fetch;
use crate::content::ByteRange;
use crate::swarm::Time;

/// Claims of different lengths that are kept for one id; a liar can make up more.
pub(super) const MAX_CLAIMS: usize = 16;
/// A fetch that stands still this long while others claim another length doubts its own.
pub(in crate::swarm) const DOUBT_AFTER: Duration = Duration::from_secs(5);

impl Fetch {
    /// Notes that `peer` says the content is `length` bytes long. A peer has one claim: its newest.
    pub fn claim(&mut self, peer: SocketAddr, length: u64) {
        if self
            .claims
            .get(&length)
            .is_some_and(|by| by.contains(&peer))
        {
            return;
        }
        self.claims.retain(|_, by| {
            by.remove(&peer);
            !by.is_empty()
        });
        if self.claims.len() >= MAX_CLAIMS && !self.claims.contains_key(&length) {
            self.drop_lonely_claim();
        }
        if self.claims.len() < MAX_CLAIMS || self.claims.contains_key(&length) {
            self.claims.entry(length).or_default().insert(peer);
        }
    }

    /// Gives up a length that one peer alone claims, whichever has the turn: liars who were first do
    /// not keep the truth out. Who is right says it again with every answer.
    fn drop_lonely_claim(&mut self) {
        let lonely = |(claimed, by): (&u64, &BTreeSet<SocketAddr>)| {
            (by.len() == 1 && self.length != Some(*claimed)).then_some(*claimed)
        };
        let after = self.claims.range(self.dropped_claim.saturating_add(1)..);
        let turn = after.chain(&self.claims).find_map(lonely);
        if let Some(claimed) = turn {
            self.claims.remove(&claimed);
            self.dropped_claim = claimed;
        }
    }

    /// Whether another length has more supporters than the one that was decided on.
    pub fn is_outvoted(&self) -> bool {
        let votes = |length: u64| self.claims.get(&length).map_or(0, votes);
        self.length
            .zip(self.favourite())
            .is_some_and(|(held, favourite)| votes(favourite) > votes(held).max(1))
    }

    /// Whether the length that was decided on is gone on with though more claim another, as it does
    /// at `now`.
    ///
    /// What is all here is hashed, and shows who is right. So where at least half is here already,
    /// the rest of it costs no more than was spent on it, and beginning anew might be for a lie. It is
    /// given as long as it took so far, so that a liar who gave the half cannot drag on for ever.
    pub fn goes_on(&mut self, now: Time) -> bool {
        if self.length_is_proven {
            return true;
        }
        let Some(length) = self.length else {
            return false;
        };
        let since = *self.outvoted_at.get_or_insert(now);
        let before = if self.held.0 == length {
            self.held.1
        } else {
            0
        };
        let here = before.saturating_add(self.arrived.bytes());
        let time = since.since(self.begun).max(DOUBT_AFTER);
        length.saturating_sub(here) <= here && (!self.is_wanted() || now.since(since) < time)
    }

    /// Decides on `length`; whether that is another than before.
    pub fn decide(&mut self, length: u64) -> bool {
        self.outvoted_at = None;
        if self.length == Some(length) {
            return false;
        }
        if self.length.replace(length).is_some() {
            // Other content, as far as anybody can know.
            self.lose(ByteRange::new(0, u64::MAX));
        }
        self.unwant(ByteRange::new(length, u64::MAX));
        true
    }

    /// The length that most peers claim; of equals the shortest-known winner is the one held now.
    pub fn favourite(&self) -> Option<u64> {
        let most = self.claims.values().map(votes).max()?;
        if let Some(held) = self.length
            && self.claims.get(&held).is_some_and(|by| votes(by) == most)
        {
            return Some(held);
        }
        self.claims
            .iter()
            .find(|(_, by)| votes(by) == most)
            .map(|(length, _)| *length)
    }
}

/// How many votes the peers of a claim have. One host can have many ports, so each IP has one, and
/// public addresses of IPv6 for each /64; on loopback, where everybody shares one, each port.
#[must_use]
pub fn votes(by: &BTreeSet<SocketAddr>) -> usize {
    by.iter().map(voter).collect::<BTreeSet<_>>().len()
}

/// Whose vote that of `address` is.
pub(in crate::swarm) fn voter(address: &SocketAddr) -> (IpAddr, u16) {
    let port = if address.ip().is_loopback() {
        address.port()
    } else {
        0
    };
    match address.ip() {
        // Public ones: on a network of one's own all may have the same /64.
        IpAddr::V6(ip) if ip.segments()[0] & 0xe000 == 0x2000 => {
            let network = Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64);
            (IpAddr::V6(network), port)
        }
        ip => (ip, port),
    }
}
