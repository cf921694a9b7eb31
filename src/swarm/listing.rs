//! What peers say that they have, asked when a person wants to know.
//!
//! Lists are hearsay: an id in one is worth no more than a look, and nothing is fetched because of
//! it. What is remembered is bounded in ids and in peers per id; the ids that were named longest ago
//! give way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::acquaintance::{Greeting, add_cookies};
use super::{Swarm, Time, cookie};
use crate::content::{ContentId, MAX_LENGTH};
use crate::wire::{Encoder, Id};

/// Peers asked at a time: those that answered last.
const ASKED: usize = 64;
/// How often anybody is asked at most, and how long an answer counts.
const PAUSE: Duration = Duration::from_secs(5);
/// Ids remembered.
const MAX_IDS: usize = 4096;
/// Peers counted of each.
const MAX_PEERS: usize = 64;

/// An id that peers have named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What was named.
    pub id: ContentId,
    /// Bytes, as most of the peers say that name it.
    pub length: u64,
    /// How many peers named it; 64 may stand for more.
    pub peers: usize,
    /// When it was first named to this node.
    pub first: Time,
}

#[derive(Default)]
pub(super) struct Listings {
    asked_at: Option<Time>,
    asked: BTreeSet<SocketAddr>,
    named: BTreeMap<ContentId, Named>,
}

struct Named {
    first: Time,
    last: Time,
    by: BTreeMap<SocketAddr, u64>,
}

impl Named {
    /// The length that most of them say; of equals the greater.
    fn length(&self) -> u64 {
        let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
        for length in self.by.values() {
            *votes.entry(*length).or_default() += 1;
        }
        let most = votes
            .into_iter()
            .max_by_key(|(length, votes)| (*votes, *length));
        most.map_or(0, |(length, _)| length)
    }
}

impl Listings {
    fn add(&mut self, now: Time, from: SocketAddr, id: ContentId, length: u64) {
        if self.named.len() >= MAX_IDS && !self.named.contains_key(&id) {
            let oldest = self.named.iter().min_by_key(|(_, named)| named.last);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.named.remove(&oldest);
            }
        }
        let named = self.named.entry(id).or_insert_with(|| Named {
            first: now,
            last: now,
            by: BTreeMap::new(),
        });
        named.last = now;
        if named.by.len() < MAX_PEERS || named.by.contains_key(&from) {
            named.by.insert(from, length);
        }
    }
}

impl Swarm {
    /// Asks the peers that answered last what they have, unless that was done a moment ago. What
    /// they say is in [`Swarm::listed`] as it comes.
    pub fn ask_for_lists(&mut self, now: Time) {
        let early = |at: Time| now.since(at) < PAUSE;
        if self.listings.asked_at.is_some_and(early) {
            return;
        }
        let mut answering: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.answered.is_some() || peer.pinned)
            .map(|(address, peer)| (std::cmp::Reverse(peer.answered), *address))
            .collect();
        answering.sort_unstable();
        self.listings.asked_at = Some(now);
        self.listings.asked = answering
            .into_iter()
            .take(ASKED)
            .map(|(_, address)| address)
            .collect();
        for to in self.listings.asked.clone() {
            let Some(peer) = self.peers.get_mut(&to) else {
                continue;
            };
            let sequence = peer.take_sequence();
            let mut datagram = Vec::with_capacity(256);
            let mut encoder = Encoder::new(&mut datagram);
            encoder.please_list_content();
            encoder.please_return_this_message(&cookie::token(peer.seal_key, sequence));
            add_cookies(&mut encoder, peer);
            encoder.finish();
            self.send(to, datagram);
        }
    }

    /// Takes a list that was asked for, once from each peer.
    pub(super) fn handle_list(
        &mut self,
        now: Time,
        from: SocketAddr,
        greeting: &Greeting,
        results: &[(Id<'_>, u64)],
    ) {
        // A peer that returns pings always does: without one this is somebody else.
        let is_peer = self.peers.get(&from).is_some_and(|peer| {
            greeting.verified || greeting.echo.is_some() || !peer.returns_pings
        });
        let in_time = |at: Time| now.since(at) < PAUSE * 2;
        if !is_peer
            || !self.listings.asked_at.is_some_and(in_time)
            || !self.listings.asked.remove(&from)
        {
            return;
        }
        for (id, length) in results {
            if let Some(id) = id.content().filter(|_| *length <= MAX_LENGTH) {
                self.listings.add(now, from, id, *length);
            }
        }
    }

    /// How many were asked for their list and may answer yet.
    #[must_use]
    pub fn lists_awaited(&self, now: Time) -> usize {
        let in_time = |at: Time| now.since(at) < PAUSE * 2;
        if self.listings.asked_at.is_some_and(in_time) {
            self.listings.asked.len()
        } else {
            0
        }
    }

    /// What peers have named since the start, in the order of ids.
    #[must_use]
    pub fn listed(&self) -> Vec<Listed> {
        let listed = self.listings.named.iter().map(|(id, named)| Listed {
            id: *id,
            length: named.length(),
            peers: named.by.len(),
            first: named.first,
        });
        listed.collect()
    }
}

#[cfg(test)]
mod tests;
