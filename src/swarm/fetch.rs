//! What is wanted of one id: which bytes, how urgently, which of them are in flight, from whom.
//!
//! A byte that is wanted and has not arrived is *missing*. A missing byte is either *unasked*, in
//! exactly one of three classes, or covered by exactly one *flight*: a range that one or more peers
//! have been asked for. Bytes that arrive leave all of these at once, whoever sent them.

mod lengths;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Time;
use super::claims::Claims;
use super::crowd::Crowd;
use super::parts::PartsTable;
use super::search::Search;
use super::source::Source;
use crate::content::{ByteRange, RangeSet};

pub use lengths::votes;
pub(super) use lengths::{DOUBT_AFTER, voter};

/// How urgently bytes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody waits for them.
    Urgent,
    /// Somebody is expected to ask for them next.
    ReadAhead,
    /// They complete the content.
    Bulk,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Urgent, Self::ReadAhead, Self::Bulk];
}

/// Peers that are kept as having been wrong about one id, and as perhaps having been.
const MAX_REFUSED: usize = 1024;
const MAX_SUSPENDED: usize = 64;

/// A range that peers have been asked for.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub end: u64,
    pub class: Class,
    /// Who was asked, and the sequence number of the request.
    pub copies: Vec<(SocketAddr, u64)>,
    /// When another peer is to be asked as well.
    hedge_at: Time,
}

/// Everything about one id that is being looked for or fetched.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    /// The length that was decided on.
    pub length: Option<u64>,
    /// Who claims which length.
    pub claims: BTreeMap<u64, BTreeSet<SocketAddr>>,
    /// Whether that is proven: nobody's claim changes it.
    pub length_is_proven: bool,
    /// The one that had to make room last.
    dropped_claim: u64,
    /// When the claims are counted.
    pub decide_at: Option<Time>,
    /// Since when most claim another length than the one that was decided on.
    outvoted_at: Option<Time>,
    /// What was here before this fetch: of how long content, and how many bytes.
    pub held: (u64, u64),
    /// Wanted and not arrived.
    missing: RangeSet,
    /// Handed to the application. It is not fetched again unless that says so: what is on its way
    /// to the disk is wanted by readers that do not see it yet.
    arrived: RangeSet,
    unasked: [RangeSet; 3],
    /// What was asked for urgently and did not come, of what is missing.
    lost: RangeSet,
    flights: BTreeMap<u64, Flight>,
    /// Flights by when another peer is to be asked as well.
    hedges: BTreeSet<(Time, u64)>,
    pub sources: BTreeMap<SocketAddr, Source>,
    /// Which sources have a part only. A source that is not in it has everything.
    pub parts: PartsTable,
    /// Others that fetch it as well.
    pub crowd: Crowd,
    refused: BTreeSet<SocketAddr>,
    /// Not asked for now.
    suspended: BTreeSet<SocketAddr>,
    /// What its BLAKE3 is said to be.
    pub blake3: Claims,
    /// The only source that may be asked.
    pub only: Option<SocketAddr>,
    /// Whether the application looks for it, beside what it wants of it.
    pub sought: bool,
    pub search: Search,
    /// When bytes that were missing last arrived, or the first were wanted.
    pub progress_at: Time,
    /// When it was first heard of.
    pub begun: Time,
}

impl Fetch {
    pub fn new(now: Time) -> Self {
        Self {
            length: None,
            claims: BTreeMap::new(),
            dropped_claim: 0,
            length_is_proven: false,
            decide_at: None,
            outvoted_at: None,
            held: (0, 0),
            missing: RangeSet::new(),
            arrived: RangeSet::new(),
            unasked: Default::default(),
            lost: RangeSet::new(),
            flights: BTreeMap::new(),
            hedges: BTreeSet::new(),
            sources: BTreeMap::new(),
            parts: PartsTable::default(),
            crowd: Crowd::default(),
            refused: BTreeSet::new(),
            suspended: BTreeSet::new(),
            blake3: Claims::default(),
            only: None,
            sought: false,
            search: Search::new(now),
            progress_at: now,
            begun: now,
        }
    }

    /// Wants `range`; bytes already wanted less urgently are wanted more urgently.
    pub fn want(&mut self, now: Time, range: ByteRange, class: Class) {
        let lacking: Vec<ByteRange> = self.arrived.gaps(range).collect();
        for range in lacking {
            self.want_lacking(now, range, class);
        }
    }

    fn want_lacking(&mut self, now: Time, range: ByteRange, class: Class) {
        if self.missing.is_empty() {
            self.progress_at = now;
            self.outvoted_at = self.outvoted_at.map(|_| now);
        }
        self.missing.insert(range);
        for (start, end) in self.covered(range) {
            if let Some(flight) = self.flights.get_mut(&start) {
                flight.class = flight.class.min(class);
                debug_assert_eq!(flight.end, end);
            }
        }
        let asked: RangeSet = self
            .covered(range)
            .into_iter()
            .map(|(start, end)| ByteRange::new(start, end))
            .collect();
        let fresh: Vec<ByteRange> = asked.gaps(range).collect();
        for part in fresh {
            self.put(part, class);
        }
    }

    /// Makes the bytes of `range` unasked in `class`, but for those that are so more urgently.
    fn put(&mut self, range: ByteRange, class: Class) {
        let mut free = RangeSet::new();
        free.insert(range);
        for other in Class::ALL {
            if other < class {
                let taken: Vec<_> = self.unasked[other as usize].within(range).collect();
                for taken in taken {
                    free.remove(taken);
                }
            } else if other > class {
                self.unasked[other as usize].remove(range);
            }
        }
        for part in free.iter() {
            self.put_back(part, class);
        }
    }

    fn put_back(&mut self, range: ByteRange, class: Class) {
        self.unasked[class as usize].insert(range);
        for (peer, source) in &mut self.sources {
            let barren = &mut source.barren[class as usize];
            *barren = *barren && !self.parts.intersects(*peer, range);
        }
    }

    /// Flights that overlap `range`, as (start, end).
    fn covered(&self, range: ByteRange) -> Vec<(u64, u64)> {
        let before = self.flights.range(..range.start).next_back();
        before
            .into_iter()
            .chain(self.flights.range(range.start..range.end))
            .filter(|(_, flight)| flight.end > range.start)
            .map(|(start, flight)| (*start, flight.end))
            .collect()
    }

    /// Wants nothing of `range` any more. What is in flight is not asked for again, and is taken if
    /// it is wanted again before it arrives.
    pub fn unwant(&mut self, range: ByteRange) {
        for class in Class::ALL {
            self.unasked[class as usize].remove(range);
        }
        self.missing.remove(range);
        self.lost.remove(range);
    }

    /// What arrived of `range` is lost: it may be wanted again.
    pub fn lose(&mut self, range: ByteRange) {
        self.arrived.remove(range);
    }

    /// What is to be asked for in `class`.
    pub fn unasked(&self, class: Class) -> &RangeSet {
        &self.unasked[class as usize]
    }

    /// Notes that `peer` has nothing of what is to be asked for in `class`.
    pub fn note_barren(&mut self, peer: SocketAddr, class: Class) {
        if let Some(source) = self.sources.get_mut(&peer) {
            source.barren[class as usize] = true;
        }
    }

    /// Notes that `peer` may have something that it had not before.
    pub fn note_fertile(&mut self, peer: SocketAddr) {
        if let Some(source) = self.sources.get_mut(&peer) {
            source.barren = [false; 3];
        }
    }

    /// When something is to be done about it that no answer brings about.
    pub fn due(&self) -> Time {
        let asking = self.parts.due().filter(|_| self.is_wanted());
        [self.decide_at, self.hedge_at(), asking]
            .into_iter()
            .flatten()
            .fold(self.search.next, Time::min)
    }

    /// Whether anything is left to ask for.
    pub fn has_unasked(&self) -> bool {
        self.unasked.iter().any(|set| !set.is_empty())
    }

    /// Bytes of `class` that are left to ask for.
    pub fn unasked_bytes(&self, class: Class) -> u64 {
        self.unasked[class as usize].bytes()
    }

    /// Whether any byte is wanted.
    pub fn is_wanted(&self) -> bool {
        !self.missing.is_empty()
    }

    /// What peers have been asked for, in the order of its bytes.
    pub fn flights(&self) -> impl Iterator<Item = (ByteRange, &Flight)> {
        self.flights
            .iter()
            .map(|(start, flight)| (ByteRange::new(*start, flight.end), flight))
    }

    /// Peers that were wrong about this id.
    pub fn refused(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.refused.iter().copied()
    }

    /// Bytes wanted and not arrived.
    pub fn missing_bytes(&self) -> u64 {
        self.missing.bytes()
    }

    /// Bytes asked for and not arrived.
    pub fn flying_bytes(&self) -> u64 {
        let unasked = self.unasked.iter().map(RangeSet::bytes).sum();
        self.missing.bytes().saturating_sub(unasked)
    }

    /// Takes `range`, which lies in one unasked range of `class`, into flight with `peer`.
    /// At `hedge_at` another peer is to be asked as well.
    pub fn launch(
        &mut self,
        range: ByteRange,
        class: Class,
        peer: SocketAddr,
        sequence: u64,
        hedge_at: Time,
    ) {
        self.unasked[class as usize].remove(range);
        self.hedges.insert((hedge_at, range.start));
        self.flights.insert(
            range.start,
            Flight {
                end: range.end,
                class,
                copies: vec![(peer, sequence)],
                hedge_at,
            },
        );
    }

    /// When the next flight is due for a copy.
    pub fn hedge_at(&self) -> Option<Time> {
        self.hedges.first().map(|(at, _)| *at)
    }

    /// Takes the next flight that is due for a copy by `now`; it is not due again before
    /// [`Fetch::copy`] or [`Fetch::hedge_later`].
    pub fn take_due_hedge(&mut self, now: Time) -> Option<(ByteRange, &Flight)> {
        let (at, start) = *self.hedges.first()?;
        if at > now {
            return None;
        }
        self.hedges.remove(&(at, start));
        let flight = self.flights.get(&start)?;
        Some((ByteRange::new(start, flight.end), flight))
    }

    /// Puts the next copy of the flight at `start` off until `at`.
    pub fn hedge_later(&mut self, start: u64, at: Time) {
        if let Some(flight) = self.flights.get_mut(&start) {
            self.hedges.remove(&(flight.hedge_at, start));
            flight.hedge_at = at;
            self.hedges.insert((at, start));
        }
    }

    /// Makes the flight at `start` due for its first copy now, if somebody waits for it.
    pub fn hurry(&mut self, now: Time, start: u64) {
        let waits = self.flights.get(&start).is_some_and(|flight| {
            flight.class == Class::Urgent && flight.copies.len() == 1 && flight.hedge_at > now
        });
        if waits {
            self.hedge_later(start, now);
        }
    }

    /// Notes that `peer` was asked for the flight at `start` as well.
    pub fn copy(&mut self, start: u64, peer: SocketAddr, sequence: u64, hedge_at: Time) {
        if let Some(flight) = self.flights.get_mut(&start) {
            flight.copies.push((peer, sequence));
        }
        self.hedge_later(start, hedge_at);
    }

    /// Whether any byte of `range` is still missing.
    pub fn lacks(&self, range: ByteRange) -> bool {
        self.missing.intersects(range)
    }

    /// The request with which `peer` was asked for the flight at `start`.
    pub fn sequence_at(&self, start: u64, peer: SocketAddr) -> Option<u64> {
        let flight = self.flights.get(&start)?;
        flight
            .copies
            .iter()
            .find(|(asked, _)| *asked == peer)
            .map(|(_, sequence)| *sequence)
    }

    /// Request `sequence` to `peer` for the flight at `start` is over, answered or given up. When
    /// nobody else has been asked, what is still missing of it is unasked again.
    pub fn land(&mut self, start: u64, peer: SocketAddr, sequence: u64) {
        let Some(flight) = self.flights.get_mut(&start) else {
            return;
        };
        flight.copies.retain(|copy| *copy != (peer, sequence));
        if !flight.copies.is_empty() {
            return;
        }
        let range = ByteRange::new(start, flight.end);
        let class = flight.class;
        self.hedges.remove(&(flight.hedge_at, start));
        self.flights.remove(&start);
        let still: Vec<_> = self.missing.within(range).collect();
        for part in still {
            self.put_back(part, class);
            if class == Class::Urgent {
                self.lost.insert(part);
            }
        }
    }

    /// Whether any of `range` was asked for urgently before and did not come.
    pub fn was_lost(&self, range: ByteRange) -> bool {
        self.lost.intersects(range)
    }

    /// Bytes arrived: returns the parts of `range` that were missing, which they are no more.
    pub fn arrive(&mut self, now: Time, range: ByteRange) -> Vec<ByteRange> {
        let fresh: Vec<_> = self.missing.within(range).collect();
        for part in &fresh {
            self.missing.remove(*part);
            self.arrived.insert(*part);
            self.lost.remove(*part);
            for class in Class::ALL {
                self.unasked[class as usize].remove(*part);
            }
        }
        if !fresh.is_empty() {
            self.progress_at = now;
        }
        fresh
    }

    /// `peer` is no source any more.
    pub fn drop_source(&mut self, peer: SocketAddr) {
        self.sources.remove(&peer);
        self.parts.remove(peer);
    }

    /// Never asks `peer` for this id again.
    pub fn refuse(&mut self, peer: SocketAddr) {
        self.drop_source(peer);
        self.suspended.remove(&peer);
        self.blake3.remove(peer);
        self.claims.retain(|_, by| {
            by.remove(&peer);
            !by.is_empty()
        });
        if self.refused.len() < MAX_REFUSED {
            self.refused.insert(peer);
        }
    }

    /// Asks `peer` no more for now.
    pub fn suspend(&mut self, peer: SocketAddr) {
        if self.suspended.len() < MAX_SUSPENDED {
            self.suspended.insert(peer);
        }
    }

    /// Asks those that were suspended again.
    pub fn reinstate(&mut self) {
        for peer in std::mem::take(&mut self.suspended) {
            self.note_fertile(peer);
        }
    }

    /// Whether `peer` is asked no more for now.
    pub fn is_suspended(&self, peer: SocketAddr) -> bool {
        self.suspended.contains(&peer)
    }

    /// Whether `peer` may be asked for content.
    pub fn may_ask(&self, peer: SocketAddr) -> bool {
        self.only.is_none_or(|only| only == peer) && !self.is_suspended(peer)
    }

    /// Whether `peer` was wrong about this id.
    pub fn is_refused(&self, peer: SocketAddr) -> bool {
        self.refused.contains(&peer)
    }
}

#[cfg(test)]
mod tests;
