//! What peers say the BLAKE3 of content by SHA-256 is, compared.
//!
//! With a BLAKE3 and its tree each leaf can be verified as it arrives, where a SHA-256 verifies
//! nothing but the whole. What a peer says of it is a claim, which only the SHA-256 of the whole
//! proves or breaks; so the claim of the most peers is told to the application, and the next one
//! when that has been refuted. Whoever is asked whether it has an id is asked for its BLAKE3 as
//! well: the answer costs no round trip.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::acquaintance::Greeting;
use super::fetch::votes;
use super::{Event, Swarm, Time};
use crate::content::{ContentId, Hash, Kind};

/// Different claims that are kept of one id, and peers that are counted for each: a liar can make up
/// more of both.
const MAX_CLAIMS: usize = 8;
const MAX_CLAIMANTS: usize = 64;
/// Claims that are remembered as refuted. Who made them is not believed again in any case.
const MAX_REFUTED: usize = 32;

/// The BLAKE3s that are claimed of one id, each for a length of the whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    by: BTreeMap<(Hash, u64), BTreeSet<SocketAddr>>,
    refuted: BTreeSet<Hash>,
    /// What the application was last told, and by how many it was claimed then.
    told: Option<(Hash, u64, usize)>,
}

impl Claims {
    /// Notes what `peer` claims. It has one claim: its first, so that nothing is won by changing it.
    fn add(&mut self, peer: SocketAddr, blake3: Hash, length: u64) {
        let known = self.by.values().any(|by| by.contains(&peer));
        if known || self.refuted.contains(&blake3) {
            return;
        }
        let key = (blake3, length);
        if self.by.len() >= MAX_CLAIMS && !self.by.contains_key(&key) {
            return;
        }
        let by = self.by.entry(key).or_default();
        if by.len() < MAX_CLAIMANTS {
            by.insert(peer);
        }
    }

    /// What `peer` said counts no more.
    pub fn remove(&mut self, peer: SocketAddr) {
        self.by.retain(|_, by| {
            by.remove(&peer);
            !by.is_empty()
        });
    }

    /// It is not believed again; returns who claimed it.
    fn refute(&mut self, blake3: Hash) -> BTreeSet<SocketAddr> {
        let mut by = BTreeSet::new();
        self.by.retain(|(claimed, _), claimants| {
            if *claimed == blake3 {
                by.append(claimants);
            }
            *claimed != blake3
        });
        if self.refuted.len() < MAX_REFUTED {
            self.refuted.insert(blake3);
        }
        by
    }

    /// What most peers claim of content of `length` bytes; of equals the one that was told before.
    fn favourite(&self, length: u64) -> Option<(Hash, &BTreeSet<SocketAddr>)> {
        let told = self.told.map(|(blake3, ..)| blake3);
        self.by
            .iter()
            .filter(|((_, of), _)| *of == length)
            .map(|((blake3, _), by)| (*blake3, by))
            .max_by_key(|(blake3, by)| (votes(by), told == Some(*blake3)))
    }
}

impl Swarm {
    /// A peer says that the content `id` of `length` bytes has this BLAKE3.
    pub(super) fn handle_blake3(
        &mut self,
        from: SocketAddr,
        greeting: &Greeting,
        id: ContentId,
        blake3: Hash,
        length: u64,
    ) {
        // Only who was asked, and from an address that is its own.
        if greeting.echo.is_none() || id.kind != Kind::Sha256 {
            return;
        }
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        if !fetch.search.was_asked(from) || fetch.is_refused(from) {
            return;
        }
        fetch.blake3.add(from, blake3, length);
        self.tell_claim(id);
    }

    /// Tells the application what most peers claim, if that is news.
    pub(super) fn tell_claim(&mut self, id: ContentId) {
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        let Some(length) = fetch.length else {
            return;
        };
        let Some((blake3, by)) = fetch.blake3.favourite(length) else {
            return;
        };
        let news = (blake3, length, by.len());
        if fetch.blake3.told == Some(news) {
            return;
        }
        let by = by.iter().copied().collect();
        fetch.blake3.told = Some(news);
        self.events.push_back(Event::Claimed {
            id,
            length,
            blake3,
            by,
        });
    }

    /// The content of `id` does not have this BLAKE3: who claimed it is not asked for it again.
    pub fn refute(&mut self, now: Time, id: ContentId, blake3: Hash) {
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        for liar in fetch.blake3.refute(blake3) {
            self.distrust(now, id, liar);
        }
        self.tell_claim(id);
    }

    /// Nothing could be verified with this claimed BLAKE3 of `id`; nobody is blamed for it.
    pub fn pass_over(&mut self, id: ContentId, blake3: Hash) {
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.blake3.refute(blake3);
        }
        self.tell_claim(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 24254))
    }

    fn favourite(claims: &Claims, length: u64) -> Option<u8> {
        claims.favourite(length).map(|(blake3, _)| blake3.0[0])
    }

    #[test]
    fn the_claim_of_the_most_hosts_comes_first_and_the_next_when_it_is_refuted() {
        let mut claims = Claims::default();
        claims.add(peer(1), Hash([1; 32]), 10);
        for port in 1..9 {
            // One host, however many its ports.
            let many = SocketAddr::from(([192, 0, 2, 9], port));
            claims.add(many, Hash([9; 32]), 10);
        }
        claims.add(peer(2), Hash([1; 32]), 10);
        claims.add(peer(3), Hash([3; 32]), 11);
        assert_eq!(favourite(&claims, 10), Some(1));
        assert_eq!(favourite(&claims, 11), Some(3));
        assert_eq!(favourite(&claims, 12), None);
        assert_eq!(claims.refute(Hash([1; 32])).len(), 2);
        assert_eq!(favourite(&claims, 10), Some(9));
        // What was refuted does not come back, and a peer's word is its first.
        claims.add(peer(4), Hash([1; 32]), 10);
        claims.add(peer(3), Hash([9; 32]), 10);
        assert_eq!(favourite(&claims, 10), Some(9));
        assert_eq!(favourite(&claims, 11), Some(3));
        claims.remove(peer(3));
        assert_eq!(favourite(&claims, 11), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut claims = Claims::default();
        for n in 0..10_000u32 {
            let address = SocketAddr::from((n.to_be_bytes(), 1));
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&(n / 1000).to_be_bytes());
            claims.add(address, Hash(hash), u64::from(n % 3));
        }
        assert_eq!(claims.by.len(), MAX_CLAIMS);
        assert!(claims.by.values().all(|by| by.len() <= MAX_CLAIMANTS));
        for n in 0..=255u8 {
            claims.refute(Hash([n; 32]));
        }
        assert_eq!(claims.refuted.len(), MAX_REFUTED);
    }
}
