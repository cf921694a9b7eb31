//! What keys publish under names: this node's own, and others' as peers tell it.
//!
//! What is known answers at once while it is fresh; else peers are asked, for a moment if something
//! is known already. When nobody answers, what is known stands, and is not asked for again soon.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

use super::Node;
use super::messages::{Command, Keep};
use super::pending::{Pending, Ticket, ValueTicket};
use super::shared::{Shared, lock};
use super::types::{Done, Failure};
use crate::content::{Hash, KeyedName, PublicKey, PublishedName, SecretKey};
use crate::store::{Published, Store, StoreError};
use crate::wire::SignedLatest;

/// How long an answer is not asked for again.
const FRESH: Duration = Duration::from_secs(3);
/// The same where nobody heard the question.
const FRESH_ALONE: Duration = Duration::from_secs(10);
/// How long peers are waited for where something is known already.
const REFRESH: Duration = Duration::from_secs(1);
/// Lookups of names that may wait at once.
const MAX_WAITING: usize = 4096;
/// Names of which it is remembered when they were asked for; beyond, the oldest go.
const MAX_ASKED: usize = 4096;

/// What a name stands for, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    /// The content.
    pub sha256: Hash,
    /// Of several the highest counts.
    pub seq: u64,
}

/// What a name under a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// It was published.
    Published(Latest),
    /// It was not, but names go on below it, or may: peers can only be asked for whole names.
    Folder,
}

pub(super) struct Names {
    secret: SecretKey,
    public: PublicKey,
    known: BTreeMap<KeyedName, Latest>,
    asked: HashMap<KeyedName, Asked>,
    /// When a question was last heard by nobody.
    unheard: Option<Instant>,
    waiting: HashMap<KeyedName, Vec<Waiter>>,
}

#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    /// Somebody heard the question.
    heard: bool,
}

struct Waiter {
    ticket: Arc<ValueTicket<Named>>,
    /// In case the network thread says nothing.
    deadline: Instant,
}

impl Names {
    pub fn new(secret: SecretKey, known: &[SignedLatest]) -> Self {
        let latest = |signed: &SignedLatest| Latest {
            sha256: signed.sha256,
            seq: signed.seq,
        };
        Self {
            public: secret.public(),
            secret,
            known: known.iter().map(|l| (l.of.clone(), latest(l))).collect(),
            asked: HashMap::new(),
            unheard: None,
            waiting: HashMap::new(),
        }
    }

    /// What is known of a name without asking.
    fn named(&self, of: &KeyedName) -> Option<Named> {
        if let Some(latest) = self.known.get(of) {
            return Some(Named::Published(*latest));
        }
        // Names below come after it; others may come between, such as `a-b` between `a` and `a/b`.
        let first = KeyedName {
            key: of.key,
            name: format!("{}/0", of.name).parse().ok()?,
        };
        let below = |name: &KeyedName| name.key == of.key && name.name.is_below(of.name.as_str());
        let mut after = self.known.range(first..).map(|(name, _)| name);
        let mut near = self.known.range(of.clone()..).map(|(name, _)| name);
        let found = after.next().is_some_and(below) || near.by_ref().take(64).any(below);
        found.then_some(Named::Folder)
    }

    /// Whether `named` needs no question: it is our own, or was asked for just now.
    fn is_fresh(&self, of: &KeyedName, now: Instant) -> bool {
        let alone = self
            .unheard
            .is_some_and(|at| now.duration_since(at) < FRESH_ALONE);
        of.key == self.public
            || (alone && self.named(of).is_some())
            || self.asked.get(of).is_some_and(|asked| {
                let lasts = if asked.heard { FRESH } else { FRESH_ALONE };
                now.duration_since(asked.at) < lasts
            })
    }

    /// What it comes to after everybody was asked.
    fn conclude(&self, of: &KeyedName, heard: bool) -> Result<Named, Failure> {
        match self.named(of) {
            Some(named) => Ok(named),
            // Peers know whole names only, so the name may go on below; but not of our own key, and
            // not when there is nobody who could know.
            None if heard && of.key != self.public => Ok(Named::Folder),
            None => Err(Failure::NotFound),
        }
    }

    fn note_asked(&mut self, of: KeyedName, heard: bool) {
        if self.asked.len() >= MAX_ASKED {
            let now = Instant::now();
            self.asked
                .retain(|_, asked| now.duration_since(asked.at) < FRESH);
            if self.asked.len() >= MAX_ASKED {
                self.asked.clear();
            }
        }
        let at = Instant::now();
        self.unheard = (!heard).then_some(at);
        self.asked.insert(of, Asked { at, heard });
    }
}

/// Signs that `sha256` is what `name` stands for from now on, durably.
///
/// # Errors
/// What the store said.
pub fn publish(
    store: &Store,
    secret: &SecretKey,
    name: &PublishedName,
    sha256: Hash,
    path: &Path,
) -> Result<SignedLatest, StoreError> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    store.publish(secret, name, sha256, path, seconds)
}

impl Node {
    /// This node's key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        lock(&self.0.shared.names).public
    }

    /// Publishes content under a name: from now on whoever asks is told. Waits for the disk.
    ///
    /// # Errors
    /// What the store said.
    pub fn publish(
        &self,
        name: &PublishedName,
        sha256: Hash,
        path: &Path,
    ) -> Result<SignedLatest, StoreError> {
        let shared = &self.0.shared;
        let secret = lock(&shared.names).secret.clone();
        let signed = publish(&shared.store, &secret, name, sha256, path)?;
        shared.learn_latest(&signed);
        shared
            .mailbox
            .post(Command::KnowLatest(Box::new(signed.clone())));
        Ok(signed)
    }

    /// Publishes nothing under the name any more; whether something was. Waits for the disk.
    ///
    /// # Errors
    /// What the store said.
    pub fn unpublish(&self, name: &PublishedName) -> Result<bool, StoreError> {
        let shared = &self.0.shared;
        let of = KeyedName {
            key: self.public_key(),
            name: name.clone(),
        };
        let was = shared.store.unpublish(&of)?;
        lock(&shared.names).known.remove(&of);
        shared.mailbox.post(Command::ForgetLatest(of));
        Ok(was)
    }

    /// What this node publishes.
    ///
    /// # Errors
    /// What the store said.
    pub fn published(&self) -> Result<Vec<Published>, StoreError> {
        self.0.shared.store.published()
    }

    /// Finds out what a name under a key stands for. What is fresh answers on this thread before the
    /// call returns (then `None` is returned).
    pub fn latest(&self, of: KeyedName, done: Done<Named>) -> Option<Pending> {
        self.0.shared.latest(of, done)
    }

    /// What is known of a name without asking anybody.
    #[must_use]
    pub fn known_latest(&self, of: &KeyedName) -> Option<Named> {
        lock(&self.0.shared.names).named(of)
    }

    /// Names that are known, at most `limit` of them.
    #[must_use]
    pub fn known_names(&self, limit: usize) -> Vec<(KeyedName, Latest)> {
        let names = lock(&self.0.shared.names);
        let all = names.known.iter().take(limit);
        all.map(|(of, latest)| (of.clone(), *latest)).collect()
    }
}

impl Shared {
    fn latest(&self, of: KeyedName, done: Done<Named>) -> Option<Pending> {
        if self.is_stopping() {
            done(Err(Failure::Stopped));
            return None;
        }
        let now = Instant::now();
        let mut names = lock(&self.names);
        if names.is_fresh(&of, now) {
            let heard = names.asked.get(&of).is_some_and(|asked| asked.heard);
            let result = names.conclude(&of, heard);
            drop(names);
            done(result);
            return None;
        }
        if names.waiting.values().map(Vec::len).sum::<usize>() >= MAX_WAITING {
            drop(names);
            done(Err(Failure::Busy));
            return None;
        }
        let limit = if names.named(&of).is_some() {
            REFRESH
        } else {
            self.config.lookup_timeout
        };
        let ticket = Ticket::new(done);
        let waiter = Waiter {
            ticket: Arc::clone(&ticket),
            deadline: now + limit + REFRESH,
        };
        names.waiting.entry(of.clone()).or_default().push(waiter);
        drop(names);
        self.mailbox.post(Command::AskLatest(of, limit));
        // The last sweep of a node that stops may have come just before.
        if self.is_stopping() {
            super::pending::Waiting::fail(&*ticket, Failure::Stopped);
        }
        Some(Pending::of_value(ticket, self.me.clone()))
    }

    /// Takes in what a key published, if it is new.
    pub(super) fn learn_latest(&self, signed: &SignedLatest) {
        let mut names = lock(&self.names);
        let latest = Latest {
            sha256: signed.sha256,
            seq: signed.seq,
        };
        let known = names.known.entry(signed.of.clone()).or_insert(latest);
        if known.seq < latest.seq {
            *known = latest;
        }
    }

    /// The network found something newer.
    pub(super) fn found_latest(&self, signed: Box<SignedLatest>) {
        self.learn_latest(&signed);
        let _ = self.to_keep.send(Keep::Latest(signed));
    }

    /// The network has asked everybody.
    pub(super) fn asked_latest(&self, of: KeyedName, heard: bool) {
        let (waiters, result) = {
            let mut names = lock(&self.names);
            let result = names.conclude(&of, heard);
            let waiters = names.waiting.remove(&of).unwrap_or_default();
            names.note_asked(of, heard);
            (waiters, result)
        };
        for waiter in waiters {
            if let Some(done) = waiter.ticket.take() {
                done(result);
            }
        }
    }

    /// Ends lookups of names whose limit has passed, or all of them.
    pub(super) fn expire_names(&self, now: Option<Instant>) {
        let mut ended = Vec::new();
        {
            let mut names = lock(&self.names);
            names.waiting.retain(|_, waiters| {
                waiters.retain(|waiter| {
                    let over = now.is_none_or(|now| now >= waiter.deadline);
                    if over {
                        ended.push(Arc::clone(&waiter.ticket));
                    }
                    !over && !super::pending::Waiting::is_done(&*waiter.ticket)
                });
                !waiters.is_empty()
            });
        }
        let failure = now.map_or(Failure::Stopped, |_| Failure::NotFound);
        for ticket in ended {
            super::pending::Waiting::fail(&*ticket, failure);
        }
    }

    /// On the keeper thread.
    pub(super) fn keep_latest(&self, signed: &SignedLatest) {
        if let Err(error) = self.store.remember_latest(signed) {
            warn!(name = %signed.of, %error, "a published name could not be remembered");
        }
    }
}
