//! Who asks for what: how those who want the same find each other.
//!
//! Nobody keeps an index in this network, so a peer that is asked for an id names others that asked
//! for it lately, and sources that it uses itself. In a crowd this is how nodes meet.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use lru::LruCache;

use super::asked::{Answer, Ask};
use super::{Swarm, Time, address};
use crate::content::ContentId;
use crate::wire::Encoder;

/// Peers named to an address that proved itself, and to another.
const NAMED: usize = 16;
const NAMED_TO_STRANGERS: usize = 3;

impl Swarm {
    /// Names others that want or have the same, and notes that the asker does.
    pub(super) fn add_interested(
        &mut self,
        now: Time,
        ask: &Ask,
        answers: &[Answer<'_>],
        encoder: &mut Encoder<'_>,
    ) {
        let mut named = Vec::new();
        for (question, answer) in ask.questions.iter().zip(answers) {
            // Once a file is enough where the asker gets what it wants from us.
            let served = matches!(answer, Answer::Content { .. });
            if (!served || question.offset == 0) && !named.contains(&question.id) {
                named.push(question.id);
            }
        }
        for id in &named {
            self.name_others(now, ask, *id, encoder);
        }
        if ask.is_verified() {
            let questions = ask.questions.iter().map(|question| question.id);
            for id in questions.chain(ask.parts_of.iter().copied()) {
                self.interest.note(now, id, ask.to);
            }
        }
    }

    fn name_others(&mut self, now: Time, ask: &Ask, id: ContentId, encoder: &mut Encoder<'_>) {
        let mut others = self.interest.others(now, id, ask.to);
        if let Some(fetch) = self.fetches.get(&id) {
            others.extend(fetch.sources.keys().copied());
        }
        others.retain(|other| *other != ask.to && address::may_be_told(ask.to, *other));
        others.sort_unstable();
        others.dedup();
        // Everybody is told of others, or all would go to the same few.
        self.random.shuffle(&mut others);
        others.truncate(if ask.is_verified() {
            NAMED
        } else {
            NAMED_TO_STRANGERS
        });
        if !others.is_empty() {
            encoder.within(ask.limit(), |e| e.maybe_they_have_some(&id, &others));
        }
    }
}

/// Ids whose askers are remembered, askers of each, and for how long.
const INTERESTING: usize = 1024;
const ASKERS: usize = 16;
const INTEREST_LASTS: Duration = Duration::from_secs(300);

/// Who asked for what lately.
pub(super) struct Interest {
    askers: LruCache<ContentId, VecDeque<(SocketAddr, Time)>>,
}

impl Default for Interest {
    fn default() -> Self {
        // A table of that many from the start would be large for the many nodes that need few.
        Self {
            askers: LruCache::unbounded(),
        }
    }
}

impl Interest {
    pub fn note(&mut self, now: Time, id: ContentId, who: SocketAddr) {
        let askers = self.askers.get_or_insert_mut(id, VecDeque::new);
        if let Some(known) = askers.iter_mut().find(|(asker, _)| *asker == who) {
            known.1 = now;
            return;
        }
        if askers.len() >= ASKERS {
            askers.pop_front();
        }
        askers.push_back((who, now));
        while self.askers.len() > INTERESTING {
            self.askers.pop_lru();
        }
    }

    /// How many asked for `id` lately, as far as they are remembered.
    pub fn count(&self, id: ContentId) -> usize {
        self.askers.peek(&id).map_or(0, VecDeque::len)
    }

    fn others(&self, now: Time, id: ContentId, than: SocketAddr) -> Vec<SocketAddr> {
        self.askers.peek(&id).map_or_else(Vec::new, |askers| {
            askers
                .iter()
                .rev()
                .filter(|(asker, at)| *asker != than && now.since(*at) < INTEREST_LASTS)
                .map(|(asker, _)| *asker)
                .collect()
        })
    }

    /// Forgets ids that nobody asked for lately.
    pub fn tidy(&mut self, now: Time) {
        while let Some((_, askers)) = self.askers.peek_lru() {
            let stale = askers
                .iter()
                .all(|(_, at)| now.since(*at) >= INTEREST_LASTS);
            if !stale {
                return;
            }
            self.askers.pop_lru();
        }
    }
}
