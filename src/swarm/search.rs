//! Looking for peers that have an id: who to ask next, and when.
//!
//! Nobody keeps an index in this network, and silence is the usual "no", so finding means asking.
//! Asking everybody at once would be a flood, asking one after another would take for ever: so
//! peers are asked in waves that grow, the best ones first, and those that somebody said were
//! interested in the id (`MaybeTheyHaveSome`) before all others. Once there are enough sources the
//! search rests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::Time;

/// Sources at which the search for more rests.
pub(super) const ENOUGH_SOURCES: usize = 8;
/// Sources, of whatever use, at which no more are looked for.
pub(super) const MOST_SOURCES: usize = 32;
/// Addresses that others named and that are still to be asked.
const MAX_HINTS: usize = 64;
/// Peers asked about one id that are remembered.
const MAX_ASKED: usize = 2048;
/// Questions to one peer before its silence is taken for good, for a while.
const MAX_TRIES: u8 = 4;
/// The same, and the longest wait between them, as long as nobody at all has said anything: then more
/// likely the questions are lost than all of them have nothing to say. A network that has been
/// down must not cost half a minute more.
const MAX_UNHEARD_TRIES: u8 = 12;
const UNHEARD_WAIT: Duration = Duration::from_millis(1600);
/// How long an answer is waited for before the question is asked again, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(800);
/// The same while so few have been asked and nobody has said anything: a question costs some hundred
/// bytes, and what is waited for is the very first answer.
const FIRST_UNHEARD_WAIT: Duration = Duration::from_millis(100);
const FEW: usize = 4;
/// The longest of these waits, and how often such a one is asked. Where thousands turn to a newcomer's
/// only contact at the same moment most answers are lost, and whoever waits for seconds then waits when
/// there is room again; this often it costs a newcomer half a kilobyte a second.
const UNHEARD_WAIT_OF_FEW: Duration = Duration::from_millis(500);
const UNHEARD_TRIES_OF_FEW: u8 = 36;
const UNHEARD_WAVES_OF_FEW: u32 = UNHEARD_TRIES_OF_FEW as u32;
/// After this long a silent peer may be asked anew.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// After this long one that asks us for the same may be.
const ASKER_AGAIN: Duration = Duration::from_secs(2);
/// The first wave, and by how much each following one is larger.
const FIRST_WAVE: usize = 8;

/// What a peer that was asked for an id said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It has content of that id, of so many bytes if it told how many.
    Content(Option<u64>),
    /// It does not have it.
    No,
    /// It has so many bytes of content of that id, and says that the whole has the second number.
    Parts(u64, u64),
    /// It named so many others that may have it, and gave nothing itself.
    Others(usize),
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    last: Time,
    tries: u8,
    answered: bool,
    /// The last thing it said, and when; kept when it is asked anew.
    said: Option<(Time, Said)>,
}

/// One peer that was asked, for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedPeer {
    pub address: SocketAddr,
    pub last: Time,
    pub tries: u8,
    pub said: Option<(Time, Said)>,
}

/// The search for sources of one id.
#[derive(Clone, Debug)]
pub(super) struct Search {
    asked: BTreeMap<SocketAddr, Asked>,
    hints: BTreeSet<SocketAddr>,
    waves: u32,
    /// Whether anybody who was asked has said anything.
    is_heard: bool,
    /// When the next wave is due.
    pub next: Time,
}

impl Search {
    pub fn new(now: Time) -> Self {
        Self {
            asked: BTreeMap::new(),
            hints: BTreeSet::new(),
            waves: 0,
            is_heard: false,
            next: now,
        }
    }

    /// Somebody says that `peer` may have it. Returns whether that is news.
    pub fn hint(&mut self, peer: SocketAddr) -> bool {
        !self.asked.contains_key(&peer) && self.hints.len() < MAX_HINTS && self.hints.insert(peer)
    }

    /// `peer` asks us for what we look for, so it will soon have some. Returns whether it is to be
    /// asked: not if that was done a moment ago.
    pub fn hint_asker(&mut self, now: Time, peer: SocketAddr) -> bool {
        let lately = self
            .asked
            .get(&peer)
            .is_some_and(|asked| now.since(asked.last) < ASKER_AGAIN);
        !lately && self.hints.len() < MAX_HINTS && self.hints.insert(peer)
    }

    /// Takes the hinted addresses of the next wave, at most `most`, by chance: many who were told of
    /// the same peers must not all go to the same ones.
    pub fn take_hints(&mut self, most: usize, random: &mut fastrand::Rng) -> Vec<SocketAddr> {
        let hints: Vec<_> = self.hints.iter().copied().collect();
        let taken = random.choose_multiple(hints, most);
        for peer in &taken {
            self.hints.remove(peer);
        }
        taken
    }

    /// How many peers the wave that is due now asks.
    pub fn wave_size(&self) -> usize {
        FIRST_WAVE << self.waves.min(3)
    }

    /// Whether `peer` may be asked now.
    pub fn may_ask(&self, now: Time, peer: SocketAddr) -> bool {
        match self.asked.get(&peer) {
            None => self.asked.len() < MAX_ASKED,
            Some(asked) => {
                // The question or its answer may have been lost.
                let (first, longest, unheard_tries) = if self.is_unheard_of_few() {
                    (
                        FIRST_UNHEARD_WAIT,
                        UNHEARD_WAIT_OF_FEW,
                        UNHEARD_TRIES_OF_FEW,
                    )
                } else {
                    (FIRST_WAIT, UNHEARD_WAIT, MAX_UNHEARD_TRIES)
                };
                let doubled = first * (1 << asked.tries.saturating_sub(1).min(MAX_TRIES));
                let wait = match (asked.answered, self.is_heard) {
                    (false, false) if asked.tries < unheard_tries => doubled.min(longest),
                    (false, true) if asked.tries < MAX_TRIES => doubled,
                    _ => ASK_AGAIN,
                };
                now.since(asked.last) >= wait
            }
        }
    }

    /// Whether few have been asked and none has said anything.
    fn is_unheard_of_few(&self) -> bool {
        !self.is_heard && self.asked.len() <= FEW
    }

    /// Whether `peer` has been asked.
    pub fn was_asked(&self, peer: SocketAddr) -> bool {
        self.asked.contains_key(&peer)
    }

    /// Whether `peer` has been asked and has not answered.
    pub fn is_unanswered(&self, peer: SocketAddr) -> bool {
        self.asked.get(&peer).is_some_and(|asked| !asked.answered)
    }

    /// Notes that `peer` is asked now.
    pub fn ask(&mut self, now: Time, peer: SocketAddr) {
        let asked = self.asked.entry(peer).or_insert(Asked {
            last: now,
            tries: 0,
            answered: false,
            said: None,
        });
        if now.since(asked.last) >= ASK_AGAIN {
            asked.tries = 0;
        }
        asked.last = now;
        asked.tries = asked.tries.saturating_add(1);
        asked.answered = false;
    }

    /// Notes that `peer` answered, with content or with a "no".
    pub fn answered(&mut self, now: Time, peer: SocketAddr, said: Said) {
        if let Some(asked) = self.asked.get_mut(&peer) {
            self.is_heard = true;
            asked.answered = true;
            asked.said = match (said, asked.said) {
                // Not every answer tells the length again.
                (Said::Content(None), Some((_, Said::Content(known)))) => {
                    Some((now, Said::Content(known)))
                }
                _ => Some((now, said)),
            };
        }
    }

    /// Notes that `peer` named `count` others. That is no answer of its own: it may have the content
    /// as well and just be slower to send it.
    pub fn named(&mut self, now: Time, peer: SocketAddr, count: usize) {
        if let Some(asked) = self.asked.get_mut(&peer)
            && matches!(asked.said, None | Some((_, Said::Others(_))))
        {
            self.is_heard = true;
            asked.said = Some((now, Said::Others(count)));
        }
    }

    /// Every peer that was asked, in no order that means anything.
    pub fn asked_peers(&self) -> impl Iterator<Item = AskedPeer> + '_ {
        self.asked.iter().map(|(address, asked)| AskedPeer {
            address: *address,
            last: asked.last,
            tries: asked.tries,
            said: asked.said,
        })
    }

    /// Addresses that others named and that are still to be asked.
    pub fn hinted(&self) -> usize {
        self.hints.len()
    }

    /// How many of the peers asked since `since` have not answered.
    pub fn silent_since(&self, since: Time) -> usize {
        self.asked
            .values()
            .filter(|asked| !asked.answered && asked.last >= since)
            .count()
    }

    /// How many peers were asked.
    pub fn asked_count(&self) -> usize {
        self.asked.len()
    }

    /// A wave went out; the next comes sooner the fewer `sources` there are.
    pub fn wave_sent(&mut self, now: Time, sources: usize) {
        self.waves = self.waves.saturating_add(1);
        let pause = match (sources, self.waves) {
            (0, 1) => Duration::from_millis(100),
            (0, 2) => Duration::from_millis(250),
            (0, 3..=8) => Duration::from_millis(500),
            (0, ..=UNHEARD_WAVES_OF_FEW) if self.is_unheard_of_few() => UNHEARD_WAIT_OF_FEW,
            (0, _) => Duration::from_secs(2),
            (1..ENOUGH_SOURCES, 1..=4) => Duration::from_secs(1),
            (1..ENOUGH_SOURCES, _) => Duration::from_secs(5),
            _ => Duration::from_secs(30),
        };
        self.next = now + pause;
    }

    /// Whether no wave has been sent, or none since it started over.
    pub fn is_new(&self) -> bool {
        self.waves == 0
    }

    /// The next wave does not come before `until`.
    pub fn put_off(&mut self, until: Time) {
        self.next = self.next.max(until);
    }

    /// Starts over: sources are needed now.
    pub fn hurry(&mut self, now: Time) {
        self.waves = 0;
        self.next = self.next.min(now);
    }

    /// Brings the next wave forward to `at`.
    pub fn bring_forward(&mut self, at: Time) {
        self.next = self.next.min(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_asked_a_few_times_and_then_rests() {
        let peer: SocketAddr = "192.0.2.1:24254".parse().unwrap();
        let other: SocketAddr = "192.0.2.2:24254".parse().unwrap();
        for (heard, tries) in [(true, MAX_TRIES), (false, UNHEARD_TRIES_OF_FEW)] {
            let mut search = Search::new(Time::ZERO);
            if heard {
                search.ask(Time::ZERO, other);
                search.answered(Time::ZERO, other, Said::No);
            }
            let mut asked_at = Vec::new();
            for tick in 0..300 {
                let now = Time::from_start(Duration::from_millis(100) * tick);
                if search.may_ask(now, peer) {
                    search.ask(now, peer);
                    asked_at.push(now);
                }
            }
            assert_eq!(asked_at.len(), usize::from(tries));
            let waits = asked_at.windows(2).map(|two| two[1].since(two[0]));
            let first = if heard {
                FIRST_WAIT
            } else {
                FIRST_UNHEARD_WAIT
            };
            assert_eq!(waits.clone().next(), Some(first));
            let longest = waits.max();
            assert!(heard || longest == Some(UNHEARD_WAIT_OF_FEW), "{longest:?}");
        }
    }

    #[test]
    fn what_a_peer_said_is_kept_until_it_says_something_else() {
        let peer: SocketAddr = "192.0.2.1:24254".parse().unwrap();
        let at = |seconds| Time::from_start(Duration::from_secs(seconds));
        let mut search = Search::new(Time::ZERO);
        search.answered(at(0), peer, Said::No);
        assert_eq!(search.asked_peers().count(), 0, "nobody asked it");
        search.ask(at(1), peer);
        let said = |search: &Search| search.asked_peers().next().unwrap().said;
        assert_eq!(said(&search), None);
        search.named(at(2), peer, 3);
        assert_eq!(said(&search), Some((at(2), Said::Others(3))));
        search.answered(at(3), peer, Said::Content(Some(9)));
        search.named(at(4), peer, 3);
        search.ask(at(5), peer);
        assert_eq!(said(&search), Some((at(3), Said::Content(Some(9)))));
        search.answered(at(6), peer, Said::Content(None));
        assert_eq!(said(&search), Some((at(6), Said::Content(Some(9)))));
        search.answered(at(7), peer, Said::No);
        assert_eq!(said(&search), Some((at(7), Said::No)));
    }

    #[test]
    fn hints_are_bounded_and_taken_once() {
        let mut search = Search::new(Time::ZERO);
        for port in 1..=1000 {
            search.hint(SocketAddr::from(([192, 0, 2, 1], port)));
        }
        let mut random = fastrand::Rng::with_seed(1);
        let first = search.take_hints(10, &mut random);
        assert_eq!(first.len(), 10);
        assert_eq!(search.take_hints(1000, &mut random).len(), MAX_HINTS - 10);
        assert!(search.take_hints(1000, &mut random).is_empty());
    }
}
