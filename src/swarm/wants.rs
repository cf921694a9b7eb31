//! What the application wants: ids to look for, ranges of them, peers that it trusts no more.

use std::net::SocketAddr;

use super::fetch::{Class, Fetch};
use super::search::ENOUGH_SOURCES;
use super::{Event, Swarm, Time};
use crate::content::{ByteRange, ContentId};

impl Swarm {
    /// Looks for sources of `id` as [`Swarm::find`] does, where a part of content of `length` bytes
    /// (`held` bytes) is held already: strangers' other claims do not overthrow that so easily.
    pub fn resume(&mut self, now: Time, id: ContentId, length: u64, held: u64) {
        let fetch = self.fetches.entry(id).or_insert_with(|| Fetch::new(now));
        if fetch.length.is_none() && fetch.claims.is_empty() {
            fetch.length = Some(length);
        }
        fetch.held = (length, held);
        self.find(now, id);
    }

    /// The length of `id`, which is looked for, is proven to be `length`: whatever peers claim, it
    /// stays so until [`Swarm::forget`] or until this is told again.
    pub fn prove_length(&mut self, id: ContentId, length: u64) {
        self.length_is_proven(id, length);
    }

    /// Looks for sources of `id`; [`Event::Found`] tells when there is one. Goes on until
    /// [`Swarm::forget`].
    pub fn find(&mut self, now: Time, id: ContentId) {
        let known = self.fetches.contains_key(&id);
        let fetch = self.fetches.entry(id).or_insert_with(|| Fetch::new(now));
        fetch.sought = true;
        if let Some(length) = fetch.length {
            self.events.push_back(Event::Found { id, length });
        } else if known {
            fetch.search.bring_forward(now);
        }
        self.search(now, id);
        self.note_fetch_due(id);
    }

    /// Looks for sources of `id` no more but for what is wanted of it. What is known of its sources
    /// stays for some minutes, so that who lied about it is not believed again at once.
    pub fn rest(&mut self, id: ContentId) {
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.sought = false;
        }
    }

    /// Wants `range` of `id`, more urgently than before if it was wanted already. What lies past
    /// the content's end is not wanted.
    pub fn want(&mut self, now: Time, id: ContentId, range: ByteRange, class: Class) {
        self.find_quietly(now, id);
        let Some(fetch) = self.fetches.get_mut(&id) else {
            return;
        };
        let range = match fetch.length {
            Some(length) => range.intersection(ByteRange::new(0, length)),
            None => range,
        };
        fetch.want(now, range, class);
        // While nothing was wanted of it nobody was asked of whom others had told.
        let has_news = fetch.search.hinted() > 0 && fetch.sources.len() < ENOUGH_SOURCES;
        if fetch.sources.is_empty() || has_news {
            fetch.search.bring_forward(now);
        }
        self.note_fetch_due(id);
        self.mark_ready(id);
    }

    /// Wants nothing of `range` of `id` any more; what was asked for already may still arrive.
    pub fn unwant(&mut self, id: ContentId, range: ByteRange) {
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.unwant(range);
        }
    }

    /// Forgets everything about `id`: wants, sources, claims.
    pub fn forget(&mut self, id: ContentId) {
        self.ready.remove(&id);
        if self.fetches.remove(&id).is_none() {
            return;
        }
        for address in &self.active {
            if let Some(peer) = self.peers.get_mut(address) {
                for request in peer.withdraw(id) {
                    peer.congestion.on_withdrawn(request.range.len());
                    self.in_flight = self.in_flight.saturating_sub(request.range.len());
                }
            }
        }
    }

    /// What arrived of `range` of `id` is lost, or was wrong: it may be wanted again.
    pub fn refetch(&mut self, id: ContentId, range: ByteRange) {
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.lose(range);
        }
    }

    /// `peer` supplied bytes of `id` that proved wrong: it is not asked for that id again. Where
    /// nobody else says what it said of the length, that is doubted as well.
    pub fn distrust(&mut self, now: Time, id: ContentId, peer: SocketAddr) {
        self.find_quietly(now, id);
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.refuse(peer);
            if fetch.only == Some(peer) {
                fetch.only = None;
            }
            if fetch.sources.is_empty() {
                fetch.search.hurry(now);
                if !fetch.length_is_proven {
                    fetch.length = None;
                    fetch.lose(ByteRange::new(0, u64::MAX));
                    self.decide_length(now, id);
                }
            }
        }
        self.note_fetch_due(id);
    }

    /// Fetches `id` from `peer` alone, if it is a source; `None`: from all sources again. This is how
    /// the shell finds out which of several suppliers lies.
    pub fn only_from(&mut self, now: Time, id: ContentId, peer: Option<SocketAddr>) {
        self.find_quietly(now, id);
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.only = peer;
        }
        self.mark_ready(id);
    }

    /// Asks `peer` for nothing of `id` until [`Swarm::reinstate`]: it may have sent wrong bytes.
    pub fn suspend(&mut self, id: ContentId, peer: SocketAddr) {
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.suspend(peer);
        }
    }

    /// Asks those who were suspended for `id` again.
    pub fn reinstate(&mut self, id: ContentId) {
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.reinstate();
        }
        self.mark_ready(id);
    }

    /// Whether peers' questions have to wait because the caller has no room for more answers; they
    /// then take fair turns as it lets them through.
    pub fn hold_asks(&mut self, held: bool) {
        self.uplink.hold(held);
    }

    /// Limits the content bytes in flight from all peers together.
    pub fn set_receive_budget(&mut self, bytes: u64) {
        self.config.receive_budget = bytes;
    }

    /// This host could not put some fragmented answers together: its memory for that is full, or some
    /// fragments were lost. For a while nothing is asked for that would come in fragments.
    pub fn fragments_fail(&mut self, now: Time) {
        for peer in self.peers.values_mut() {
            peer.fragments_fail(now);
        }
    }

    pub(super) fn find_quietly(&mut self, now: Time, id: ContentId) {
        self.fetches.entry(id).or_insert_with(|| Fetch::new(now));
        self.note_fetch_due(id);
    }

    pub(super) fn mark_ready(&mut self, id: ContentId) {
        if self
            .fetches
            .get(&id)
            .is_some_and(|fetch| fetch.has_unasked() && !fetch.sources.is_empty())
        {
            self.ready.insert(id);
        }
    }
}
