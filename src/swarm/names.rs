//! What keys have published under names: asking for it, remembering it, telling it.
//!
//! Checking a signature is the dearest thing that a datagram can make us do, so it is done only for
//! an answer to a question of ours, of a name that was asked for, with a `seq` above what is known, and
//! a few times for each question. Whoever floods us with signatures makes us read them, no more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::acquaintance::{Greeting, add_cookies};
use super::{Event, Swarm, Time, address, cookie};
use crate::content::{KeyedName, PublicKey};
use crate::wire::{Encoder, Message, Signed, SignedBlock, SignedLatest, decode};

/// Names of others that are remembered.
const MAX_OTHERS: usize = 4096;
/// Names that are asked for at once.
const MAX_INQUIRIES: usize = 64;
/// Peers that are asked for one name.
const MAX_ASKED: usize = 32;
/// Times that one peer is asked in one inquiry.
const MAX_TIMES: u32 = 6;
/// Signatures that are checked for one question.
const CHECKS: u32 = 2;
/// When what was not answered is asked again, at first.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// How long others are waited for once somebody has answered, and peers that never did once all
/// others have.
const GRACE: Duration = Duration::from_millis(500);

/// What is known, and what is being asked.
#[derive(Default)]
pub(super) struct Names {
    known: BTreeMap<KeyedName, Known>,
    /// How many of these are others'.
    others: usize,
    inquiries: BTreeMap<KeyedName, Inquiry>,
}

struct Known {
    latest: SignedLatest,
    own: bool,
    /// When it was learnt, for who has to go first.
    at: Time,
}

struct Inquiry {
    started: Time,
    ends: Time,
    /// When somebody first answered it.
    answered: Option<Time>,
    asked: BTreeMap<SocketAddr, Asked>,
    next_at: Time,
    pause: Duration,
}

struct Asked {
    sequence: u64,
    /// The peer's cookie that went along: with another one the peer does not tell much.
    cookie: Option<Box<str>>,
    times: u32,
    /// It has heard the question, and so has said what it knows.
    heard: bool,
    checks: u32,
}

impl Names {
    /// When an inquiry is due next.
    pub fn next_due(&self) -> Option<Time> {
        let due = |inquiry: &Inquiry| inquiry.due();
        self.inquiries.values().map(due).min()
    }

    pub fn get(&self, of: &KeyedName) -> Option<&SignedLatest> {
        self.known.get(of).map(|known| &known.latest)
    }

    /// Takes in what is known to be well signed, if it is new.
    fn learn(&mut self, now: Time, latest: SignedLatest, own: bool) -> bool {
        let old = self.known.get(&latest.of);
        if old.is_some_and(|old| old.latest.seq >= latest.seq) {
            return false;
        }
        let own = own || old.is_some_and(|old| old.own);
        if old.is_none() && !own {
            if self.others >= MAX_OTHERS {
                let oldest = self.known.iter().filter(|(_, known)| !known.own);
                let oldest = oldest.min_by_key(|(_, known)| known.at);
                if let Some(of) = oldest.map(|(of, _)| of.clone()) {
                    self.known.remove(&of);
                    self.others -= 1;
                }
            }
            self.others += 1;
        }
        let at = now;
        self.known
            .insert(latest.of.clone(), Known { latest, own, at });
        true
    }
}

impl Inquiry {
    fn due(&self) -> Time {
        let graced = self.answered.map(|at| at + GRACE);
        self.next_at.min(graced.unwrap_or(self.ends)).min(self.ends)
    }
}

impl Swarm {
    /// Knows from now on what a key published; its signature is good. `own`: it is this node's, and
    /// never forgotten.
    pub fn know_latest(&mut self, now: Time, latest: SignedLatest, own: bool) {
        self.names.learn(now, latest, own);
    }

    /// Tells nobody any more what is published under a name.
    pub fn forget_latest(&mut self, of: &KeyedName) {
        if self.names.known.remove(of).is_some_and(|known| !known.own) {
            self.names.others -= 1;
        }
    }

    /// Asks peers what was last published under a name. Each newer answer is an [`Event::Latest`];
    /// [`Event::LatestAsked`] comes when all have answered who will, after `limit` at the latest.
    pub fn ask_latest(&mut self, now: Time, of: &KeyedName, limit: Duration) {
        if self.names.inquiries.contains_key(of) {
            return;
        }
        if self.names.inquiries.len() >= MAX_INQUIRIES || self.peers.is_empty() {
            self.events.push_back(Event::LatestAsked {
                of: of.clone(),
                answered: false,
            });
            return;
        }
        let inquiry = Inquiry {
            started: now,
            ends: now + limit,
            answered: None,
            asked: BTreeMap::new(),
            next_at: now,
            pause: ASK_AGAIN,
        };
        self.names.inquiries.insert(of.clone(), inquiry);
        self.run_inquiries(now);
    }

    /// Asks again, and ends what has gone on for long enough.
    pub(super) fn run_inquiries(&mut self, now: Time) {
        let due = self.names.inquiries.iter();
        let due: Vec<KeyedName> = due
            .filter(|(_, inquiry)| inquiry.due() <= now)
            .map(|(of, _)| of.clone())
            .collect();
        for of in due {
            if !self.end_inquiry(now, &of) {
                self.ask_round(now, &of);
            }
        }
    }

    /// Ends an inquiry if nobody needs to be waited for; whether it has ended.
    fn end_inquiry(&mut self, now: Time, of: &KeyedName) -> bool {
        let Some(inquiry) = self.names.inquiries.get(of) else {
            return true;
        };
        let waited = now.since(inquiry.started) >= GRACE;
        let silent = inquiry.asked.iter().filter(|(_, asked)| !asked.heard);
        let mut awaited = silent.filter(|(peer, _)| {
            !waited
                || self
                    .peers
                    .get(peer)
                    .is_some_and(|peer| peer.is_answering(now))
        });
        let somebody = inquiry.asked.values().any(|asked| asked.heard);
        let all_said = somebody && awaited.next().is_none();
        let enough = inquiry.answered.is_some_and(|at| now.since(at) >= GRACE);
        if !all_said && !enough && now < inquiry.ends {
            return false;
        }
        let answered = inquiry.answered.is_some() || somebody;
        self.names.inquiries.remove(of);
        let of = of.clone();
        self.events.push_back(Event::LatestAsked { of, answered });
        true
    }

    fn ask_round(&mut self, now: Time, of: &KeyedName) {
        let peers = self.peers_by_use(now, of, usize::MAX);
        let Some(inquiry) = self.names.inquiries.get_mut(of) else {
            return;
        };
        if inquiry.next_at > now {
            return;
        }
        inquiry.next_at = now + inquiry.pause;
        inquiry.pause = (inquiry.pause * 2).min(Duration::from_secs(2));
        let known = inquiry.asked.len();
        let fresh = peers
            .into_iter()
            .filter(|address| !inquiry.asked.contains_key(address));
        let again = inquiry.asked.iter().filter(|(_, asked)| !asked.heard);
        let again: Vec<SocketAddr> = again.map(|(address, _)| *address).collect();
        let to_ask: Vec<SocketAddr> = again
            .into_iter()
            .chain(fresh.take(MAX_ASKED.saturating_sub(known)))
            .collect();
        for address in to_ask {
            self.ask_peer(of, address);
        }
    }

    /// Peers to ask about a name: first the key's own node, then those that the user named, then those
    /// that answer.
    pub(super) fn peers_by_use(&self, now: Time, of: &KeyedName, most: usize) -> Vec<SocketAddr> {
        let mut peers: Vec<_> = self
            .peers
            .iter()
            .map(|(address, peer)| {
                let rank = (
                    peer.key != Some(of.key),
                    !peer.pinned,
                    !peer.is_answering(now),
                );
                (rank, *address)
            })
            .collect();
        peers.sort_unstable();
        let addresses = peers.into_iter().map(|(_, address)| address);
        addresses.take(most).collect()
    }

    fn ask_peer(&mut self, of: &KeyedName, to: SocketAddr) {
        let Some(inquiry) = self.names.inquiries.get_mut(of) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&to) else {
            inquiry.asked.remove(&to);
            return;
        };
        let times = inquiry.asked.get(&to).map_or(0, |asked| asked.times);
        if times >= MAX_TIMES {
            return;
        }
        let sequence = peer.take_sequence();
        let asked = Asked {
            sequence,
            cookie: peer.their_cookie.clone(),
            times: times + 1,
            heard: false,
            checks: 0,
        };
        inquiry.asked.insert(to, asked);
        let mut datagram = Vec::with_capacity(512);
        let mut encoder = Encoder::new(&mut datagram);
        encoder.get_latest(of);
        if peer.key != Some(of.key) {
            encoder.where_are_they(&of.key);
        }
        encoder.please_return_this_message(&cookie::token(peer.seal_key, sequence));
        add_cookies(&mut encoder, peer);
        encoder.finish();
        self.send(to, datagram);
    }

    /// Something was signed. It is looked into only where it can answer a question.
    pub(super) fn handle_signed(
        &mut self,
        now: Time,
        from: SocketAddr,
        greeting: &Greeting,
        signed: &Signed<'_>,
    ) {
        if !greeting.verified && greeting.echo.is_none() {
            return;
        }
        if self.streams_held().0 > 0
            && let Some(block) = SignedBlock::read(signed)
        {
            self.handle_block(now, from, greeting, block);
            return;
        }
        let asked = |(of, inquiry): (&KeyedName, &Inquiry)| {
            of.key == signed.key && inquiry.asked.contains_key(&from)
        };
        if !self.names.inquiries.iter().any(asked) {
            return;
        }
        for latest in SignedLatest::read(signed) {
            self.handle_latest(now, from, latest);
        }
    }

    fn handle_latest(&mut self, now: Time, from: SocketAddr, latest: SignedLatest) {
        let Some(inquiry) = self.names.inquiries.get_mut(&latest.of) else {
            return;
        };
        let Some(asked) = inquiry.asked.get_mut(&from) else {
            return;
        };
        let known = self.names.known.get(&latest.of);
        if known.is_none_or(|known| known.latest.seq < latest.seq) {
            if asked.checks >= CHECKS {
                return;
            }
            asked.checks += 1;
            self.stats.signatures_checked += 1;
            if !latest.verifies() {
                return;
            }
        }
        inquiry.answered.get_or_insert(now);
        if self.names.learn(now, latest.clone(), false) {
            self.events.push_back(Event::Latest(Box::new(latest)));
        }
    }

    /// A peer told where another was last seen. If that is whose name we ask for, it is asked too.
    pub(super) fn handle_forwarded(
        &mut self,
        now: Time,
        from: SocketAddr,
        greeting: &Greeting,
        source: SocketAddr,
        messages: &str,
    ) {
        let asked = self.names.inquiries.iter();
        let mut asked = asked.filter(|(_, inquiry)| inquiry.asked.contains_key(&from));
        if !greeting.verified || asked.next().is_none() || !address::may_name(from, source) {
            return;
        }
        let Ok(decoded) = decode(messages.as_bytes()) else {
            return;
        };
        let key = decoded.messages.iter().find_map(|message| match message {
            Message::MyPublicKey(key) => Some(*key),
            _ => None,
        });
        let Some(key) = key else { return };
        let mut wanted = self.names.inquiries.iter_mut();
        let Some((_, inquiry)) = wanted.find(|(of, inquiry)| {
            of.key == key && inquiry.asked.len() < MAX_ASKED && !inquiry.asked.contains_key(&source)
        }) else {
            return;
        };
        inquiry.next_at = now;
        self.meet(now, source);
    }

    /// To be called when all of a datagram has been looked at: a peer that returned the ping of a
    /// question has said what it knows, if it was asked with its cookie.
    pub(super) fn settle_inquiries(&mut self, now: Time, from: SocketAddr, greeting: &Greeting) {
        let Some(echo) = greeting.echo else { return };
        let Some(peer) = self.peers.get(&from) else {
            return;
        };
        let mut to_end = None;
        let mut to_ask = None;
        for (of, inquiry) in &mut self.names.inquiries {
            if let Some(asked) = inquiry.asked.get_mut(&from)
                && asked.sequence == echo
            {
                if asked.cookie == peer.their_cookie {
                    asked.heard = true;
                    to_end = Some(of.clone());
                } else {
                    to_ask = Some(of.clone());
                }
            }
        }
        if let Some(of) = to_end {
            self.end_inquiry(now, &of);
        }
        if let Some(of) = to_ask {
            self.ask_peer(&of, from);
        }
    }

    /// The address to tell to a peer that asks where the node with `key` is.
    pub(super) fn seen_at(&self, now: Time, to: SocketAddr, key: &PublicKey) -> Option<SocketAddr> {
        let told = |(address, peer): (&SocketAddr, &super::peer::Peer)| {
            peer.key == Some(*key)
                && peer.is_answering(now)
                && *address != to
                && address::may_be_told(to, *address)
        };
        let found = self
            .peers
            .iter()
            .find(|(address, peer)| told((address, peer)));
        found.map(|(address, _)| *address)
    }

    /// How many names are known and asked for.
    #[must_use]
    pub fn names_held(&self) -> (usize, usize) {
        (self.names.known.len(), self.names.inquiries.len())
    }
}
