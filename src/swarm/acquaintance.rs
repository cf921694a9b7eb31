//! Getting to know peers and keeping in touch: greetings, probes, lists of addresses.
//!
//! An address becomes a [`Peer`] only when the user or the application names it, when it has proved
//! that it receives what we send it (it returned our cookie or our ping), or when a peer that we
//! had asked names it. Who merely sends us something is answered and forgotten.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::peer::{LEAST_LENGTH, Peer};
use super::reply_length::{ONE_PACKET, ReplyLength};
use super::serving::MAX_ANSWER;
use super::{Swarm, Time, address, cookie};
use crate::wire::{Encoder, Message};

/// How often a peer that answers is probed.
const KEEP_IN_TOUCH: Duration = Duration::from_secs(60);
/// The longest pause between probes of one that does not.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Probes without an answer after which an unpinned peer is forgotten.
const PATIENCE: u32 = 5;
/// Probes sent at most each time the timer fires, and how often it fires: ten a second.
const PROBES_AT_ONCE: usize = 1;
const PROBE_TICK: Duration = Duration::from_millis(100);
/// A peer that changes its cookie is greeted at once, but not more often than this.
const GREET_AGAIN: Duration = Duration::from_secs(5);
/// Strangers' addresses taken from one list.
const MAX_INTRODUCED: usize = 8;
/// Peers at one IP address, beside those that the user named.
const PER_HOST: usize = 8;
/// Of these, those that others named and that have never answered: whoever names one victim's
/// address with all of its ports does not make us a nuisance to it.
const UNPROVEN_PER_HOST: usize = 2;
/// With this many peers no more are taken from lists.
const ENOUGH_PEERS: usize = 256;
/// Content bytes asked for at a time of a peer on this machine, where no packet is fragmented.
const LENGTH_LOOPBACK: u64 = 40_960;

/// What a datagram says of its sender before its messages are looked at.
#[derive(Clone, Debug)]
pub(super) struct Greeting {
    /// It returned our cookie: the address is real.
    pub verified: bool,
    /// The sequence number of the request that it answers, if it brought one back.
    pub echo: Option<u64>,
    /// What it asks us to return, raw.
    pub their_cookie: Option<String>,
    /// It had not asked us to return anything before.
    pub is_first: bool,
}

impl Swarm {
    /// Makes `address` a peer that is never forgotten, and says hello to it.
    pub fn add_peer(&mut self, now: Time, address: SocketAddr) {
        let address = crate::wire::normalise(address);
        if !address::is_unicast(address) {
            return;
        }
        if let Some(peer) = self.meet(now, address) {
            peer.pinned = true;
        }
        self.probe_timer = self.probe_timer.min(now);
        self.search_all(now);
    }

    /// Every search goes on at once.
    fn search_all(&mut self, now: Time) {
        let ids: Vec<_> = self.fetches.keys().copied().collect();
        for id in ids {
            if let Some(fetch) = self.fetches.get_mut(&id) {
                fetch.search.bring_forward(now);
            }
            self.note_fetch_due(id);
        }
    }

    /// Remembers a peer of an earlier run; unlike [`Swarm::add_peer`] it may be forgotten.
    pub fn remember_peer(&mut self, now: Time, address: SocketAddr) {
        let address = crate::wire::normalise(address);
        if address::is_unicast(address) {
            self.meet(now, address);
            self.probe_timer = self.probe_timer.min(now);
        }
    }

    /// This host has another address than before, or was away: peers that answered are told so from
    /// where it is now, ten a second, those in use first; what waits is looked for anew.
    pub fn handle_move(&mut self, now: Time) {
        for (address, peer) in &mut self.peers {
            peer.end_bench();
            let in_use = peer.pinned || self.active.contains(address);
            if in_use || peer.answered.is_some() {
                // Those that have waited longest are greeted first.
                let rank = Duration::from_secs(u64::from(in_use));
                peer.probe_at = peer.probe_at.min(now - rank);
            }
        }
        self.probe_timer = self.probe_timer.min(now);
        self.search_all(now);
    }

    /// Writes the datagram with which neighbours on the local network are looked for. Who answers
    /// it from an address that is not on the internet becomes a peer.
    pub fn write_beacon(&mut self, out: &mut Vec<u8>) {
        let token = cookie::token(self.beacon_key(), self.random.u64(..));
        let mut datagram = Encoder::new(out);
        datagram.please_send_peers();
        datagram.please_return_this_message(&token);
        datagram.finish();
    }

    fn beacon_key(&self) -> u64 {
        let nobody = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        self.secret.seal_key(nobody)
    }

    /// The peer at `address`, made if there is room for it.
    pub(super) fn meet(&mut self, now: Time, address: SocketAddr) -> Option<&mut Peer> {
        if !self.peers.contains_key(&address) {
            // One host can have any number of ports, and must not fill the table with itself.
            let ports = SocketAddr::new(address.ip(), 0)..=SocketAddr::new(address.ip(), u16::MAX);
            let there = self.peers.range(ports).filter(|(_, peer)| !peer.pinned);
            if !address::is_loopback(address) && there.count() >= PER_HOST {
                return None;
            }
            if self.peers.len() >= self.config.max_peers && !self.evict_peer(now) {
                return None;
            }
            let length = if address::is_loopback(address) {
                ReplyLength::new(LENGTH_LOOPBACK, false)
            } else {
                let length = self.config.request_length.clamp(LEAST_LENGTH, MAX_ANSWER);
                ReplyLength::new(length, length == ONE_PACKET)
            };
            let cookie = self.secret.cookie(address.ip());
            let peer = Peer::new(now, self.secret.seal_key(address), cookie, length);
            self.peers.insert(address, peer);
        }
        self.peers.get_mut(&address)
    }

    /// The same where somebody else named the address.
    pub(super) fn meet_named(&mut self, now: Time, address: SocketAddr) -> Option<&mut Peer> {
        if !self.peers.contains_key(&address) && !address::is_loopback(address) {
            let ports = SocketAddr::new(address.ip(), 0)..=SocketAddr::new(address.ip(), u16::MAX);
            let there = self.peers.range(ports);
            let unproven = there.filter(|(_, peer)| !peer.pinned && peer.answered.is_none());
            if unproven.count() >= UNPROVEN_PER_HOST {
                return None;
            }
        }
        self.meet(now, address)
    }

    /// Forgets the least useful of the peers that may be forgotten.
    fn evict_peer(&mut self, now: Time) -> bool {
        let worst = self
            .peers
            .iter()
            .filter(|(address, peer)| !peer.pinned && !self.active.contains(address))
            .min_by_key(|(_, peer)| (peer.is_answering(now), peer.answered, peer.heard))
            .map(|(address, _)| *address);
        worst.is_some_and(|address| self.peers.remove(&address).is_some())
    }

    /// Reads what a datagram proves about its sender, and keeps it if the sender is a peer.
    pub(super) fn greet(
        &mut self,
        now: Time,
        from: SocketAddr,
        size: usize,
        messages: &[Message<'_>],
    ) -> Greeting {
        let mut greeting = Greeting {
            verified: false,
            echo: None,
            their_cookie: None,
            is_first: false,
        };
        let mut beacon_answered = false;
        let mut their_key = None;
        let mut is_new_to_it = false;
        let known = self.peers.get(&from);
        let seal_key = known.map(|peer| peer.seal_key);
        for message in messages {
            match message {
                Message::AlwaysReturned(returned) => {
                    greeting.verified |= returned.text().is_some_and(|text| match known {
                        Some(peer) => text == *peer.our_cookie,
                        None => text == self.secret.cookie(from.ip()),
                    });
                }
                Message::ReturnedMessage(returned) => {
                    let Some(text) = returned.text() else {
                        continue;
                    };
                    match seal_key {
                        Some(key) => {
                            greeting.echo = greeting.echo.or(cookie::sequence_of(key, &text));
                        }
                        None => {
                            beacon_answered |=
                                cookie::sequence_of(self.beacon_key(), &text).is_some();
                        }
                    }
                }
                Message::PleaseAlwaysReturnThisMessage(cookie) => {
                    greeting.their_cookie = Some(cookie.raw().to_owned());
                }
                Message::MyPublicKey(key) => their_key = Some(*key),
                _ => {}
            }
        }
        if let Some(theirs) = &greeting.their_cookie
            && theirs.contains(&self.secret.cookie(from.ip()))
        {
            // Only we ask for this cookie: it is ourselves, by a beacon or by hearsay.
            self.peers.remove(&from);
            self.active.remove(&from);
            return greeting;
        }
        let near = address::is_near(from);
        if seal_key.is_none() && (greeting.verified || (beacon_answered && near)) {
            self.meet(now, from);
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.heard = Some(now);
            peer.bytes_received += size as u64;
            peer.knows_our_cookie = greeting.verified;
            // A cookie from an address that proved nothing may be a forger's, who wants us to be
            // taken for one.
            let proved = greeting.verified || greeting.echo.is_some();
            if let Some(cookie) = &greeting.their_cookie
                && (proved || peer.their_cookie.is_none())
                && peer.their_cookie.as_deref() != Some(cookie)
            {
                greeting.is_first = peer.their_cookie.is_none();
                is_new_to_it = !greeting.is_first && proved;
                peer.their_cookie = Some(cookie.as_str().into());
            }
            if proved {
                peer.answered = Some(now);
                peer.probes_unanswered = 0;
                peer.key = their_key.or(peer.key);
            }
            peer.returns_pings |= greeting.echo.is_some();
            if let Some((sent, sequence)) = peer.probe_sent
                && greeting.echo == Some(sequence)
            {
                peer.probe_sent = None;
                peer.probes_unanswered = 0;
                peer.congestion.rtt.sample(now, now.since(sent));
                peer.probe_at = now + KEEP_IN_TOUCH.mul_f64(0.75 + self.random.f64() / 2.0);
            }
            let greeted = peer
                .greeted_anew
                .is_some_and(|at| now.since(at) < GREET_AGAIN);
            if is_new_to_it && !greeted {
                // To it we come from another address than before. It asks us for something when its
                // new cookie is back.
                peer.greeted_anew = Some(now);
                peer.probe_at = now;
                self.probe_timer = self.probe_timer.min(now);
            }
        }
        greeting
    }

    /// Takes a list of addresses, if it answers a question of ours.
    pub(super) fn handle_peers(
        &mut self,
        now: Time,
        from: SocketAddr,
        greeting: &Greeting,
        named: &[SocketAddr],
    ) {
        if !greeting.verified && greeting.echo.is_none() {
            return;
        }
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let asked = peer
            .asked_for_peers
            .take_if(|at| now.since(*at) < Duration::from_secs(10));
        if asked.is_none() || self.peers.len() >= ENOUGH_PEERS.min(self.config.max_peers) {
            return;
        }
        let mut fresh: Vec<_> = named
            .iter()
            .filter(|named| address::may_name(from, **named) && !self.peers.contains_key(named))
            .copied()
            .collect();
        self.random.shuffle(&mut fresh);
        for address in fresh.into_iter().take(MAX_INTRODUCED) {
            let wait = Duration::from_secs_f64(self.random.f64() * 3.0);
            if let Some(peer) = self.meet_named(now, address) {
                peer.probe_at = now + wait;
            }
        }
        self.probe_timer = self.probe_timer.min(now + PROBE_TICK);
    }

    /// Probes peers that are due, slowly.
    pub(super) fn run_probes(&mut self, now: Time) {
        if !self.config.probe || now < self.probe_timer {
            return;
        }
        let mut due: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.probe_at <= now)
            .map(|(address, peer)| (!peer.pinned, peer.probe_at, *address))
            .collect();
        due.sort_unstable();
        for (_, _, address) in due.into_iter().take(PROBES_AT_ONCE) {
            self.probe(now, address);
        }
        let next = self.peers.values().map(|peer| peer.probe_at).min();
        let earliest = now + PROBE_TICK;
        self.probe_timer = next.map_or(now + KEEP_IN_TOUCH, |next| next.max(earliest));
    }

    fn probe(&mut self, now: Time, to: SocketAddr) {
        let in_use = self.active.contains(&to);
        let jitter = 0.75 + self.random.f64() / 2.0;
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        if peer.probe_sent.take().is_some() {
            peer.probes_unanswered = peer.probes_unanswered.saturating_add(1);
            if peer.probes_unanswered >= PATIENCE && !peer.pinned && !in_use {
                self.peers.remove(&to);
                return;
            }
        }
        let pause = Duration::from_secs(1 << peer.probes_unanswered.min(9)).min(LONGEST_PAUSE);
        peer.probe_at = now + pause.mul_f64(jitter);
        let sequence = peer.take_sequence();
        peer.probe_sent = Some((now, sequence));
        peer.asked_for_peers = Some(now);
        let mut datagram = Vec::with_capacity(256);
        let mut encoder = Encoder::new(&mut datagram);
        encoder.please_send_peers();
        encoder.please_return_this_message(&cookie::token(peer.seal_key, sequence));
        if let Some(key) = &self.config.public_key {
            encoder.my_public_key(key);
        }
        add_cookies(&mut encoder, peer);
        encoder.finish();
        self.send(to, datagram);
    }

    /// Addresses to name to a peer that asks: those that answered lately, in random order.
    pub(super) fn peers_to_name(
        &mut self,
        now: Time,
        to: SocketAddr,
        most: usize,
    ) -> Vec<SocketAddr> {
        let mut known: Vec<_> = self
            .peers
            .iter()
            .filter(|(address, peer)| {
                **address != to && peer.is_answering(now) && address::may_be_told(to, **address)
            })
            .map(|(address, _)| *address)
            .collect();
        self.random.shuffle(&mut known);
        known.truncate(most);
        known
    }

    /// Drops peers without requests and without a fetch that they serve from the set with timers.
    pub(super) fn tidy_active(&mut self) {
        let sources: std::collections::BTreeSet<SocketAddr> = self
            .fetches
            .values()
            .flat_map(|fetch| fetch.sources.keys().copied())
            .collect();
        let peers = &self.peers;
        self.active.retain(|address| {
            sources.contains(address) || peers.get(address).is_some_and(Peer::has_requests)
        });
    }
}

/// Adds what `peer` wants returned, and our cookie where it does not return it yet.
pub(super) fn add_cookies(encoder: &mut Encoder<'_>, peer: &Peer) {
    if let Some(cookie) = &peer.their_cookie {
        encoder.always_returned(cookie);
    }
    if !peer.knows_our_cookie {
        encoder.please_always_return_this_message(&peer.our_cookie);
    }
}
