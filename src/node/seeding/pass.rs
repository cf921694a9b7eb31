//! One pass over some paths: a walk, and beside it the hashing of what it finds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::attempt::{self, CHUNK};
use super::gather::Gathered;
use super::turns::Turns;
use super::walk::{Found, Walk};
use super::{Observer, priority};
use crate::store::{Store, StoreError};

/// Files found and not yet hashed.
const QUEUE: usize = 1 << 14;
/// Threads that hash.
const HASHERS: usize = 2;

/// Where a pass begins.
#[derive(Clone, Debug)]
pub(super) enum Start {
    /// At a path that the user named, which may be a link.
    Argument(PathBuf),
    /// At a canonical path inside a folder that is seeded.
    Inside(PathBuf),
}

impl Start {
    pub fn path(&self) -> &Path {
        match self {
            Self::Argument(path) | Self::Inside(path) => path,
        }
    }
}

/// How to go about it.
pub(super) struct Pass<'a> {
    store: Option<&'a Store>,
    observer: &'a dyn Observer,
    entering: &'a (dyn Fn(&Path) + Sync),
    low_priority: bool,
    turns: Option<&'a Turns>,
}

/// What the threads of a pass share.
pub(super) struct Work<'a> {
    /// Without one, only hashes are found.
    pub store: Option<&'a Store>,
    /// The folder of the store, which is no one's to seed.
    pub own: Option<PathBuf>,
    /// Is told of each folder before it is read.
    pub entering: &'a (dyn Fn(&Path) + Sync),
    /// Without them, long files need no turn.
    pub turns: Option<&'a Turns>,
    gathered: Mutex<Vec<Gathered>>,
}

impl Work<'_> {
    /// Notes something found from the start with this number on.
    pub fn gather(&self, start: usize, note: impl FnOnce(&mut Gathered)) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = gathered.get_mut(start) {
            note(found);
        }
    }
}

impl<'a> Pass<'a> {
    /// What is hashed goes into `store` and is served from then on.
    pub fn of_store(store: &'a Store, observer: &'a dyn Observer) -> Self {
        Self {
            store: Some(store),
            ..Self::alone(observer)
        }
    }

    /// Only hashes are found.
    pub fn alone(observer: &'a dyn Observer) -> Self {
        Self {
            store: None,
            observer,
            entering: &|_| (),
            low_priority: false,
            turns: None,
        }
    }

    /// Hashes long files only in turn with other passes.
    pub fn in_turn(self, turns: &'a Turns) -> Self {
        Self {
            turns: Some(turns),
            ..self
        }
    }

    /// Tells `entering` of each folder before it is read.
    pub fn entering(self, entering: &'a (dyn Fn(&Path) + Sync)) -> Self {
        Self { entering, ..self }
    }

    /// Leaves the machine to others, if there are any.
    pub fn at_low_priority(self, low_priority: bool) -> Self {
        Self {
            low_priority,
            ..self
        }
    }

    /// Runs it; what it found of each start. Ends early when the observer wants no more.
    pub fn run(&self, starts: &[Start]) -> Result<Vec<Gathered>, StoreError> {
        let (queue, found) = sync_channel(QUEUE);
        let found = Mutex::new(found);
        let work = Work {
            store: self.store,
            own: self.store.and_then(|s| fs::canonicalize(s.dir()).ok()),
            entering: self.entering,
            turns: self.turns,
            gathered: Mutex::new(starts.iter().map(|_| Gathered::default()).collect()),
        };
        thread::scope(|scope| {
            let hash = || self.hash_all(&work, &found);
            let hashers: Vec<_> = (0..HASHERS).map(|_| scope.spawn(hash)).collect();
            let walk = Walk {
                work: &work,
                observer: self.observer,
                queue,
            };
            for (number, start) in starts.iter().enumerate() {
                walk.begin(number, start);
            }
            drop(walk);
            let mut result = Ok(());
            for hasher in hashers {
                match hasher.join() {
                    Ok(one) => result = result.and(one),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            result
        })?;
        Ok(work
            .gathered
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner))
    }

    fn hash_all(&self, work: &Work<'_>, queue: &Mutex<Receiver<Found>>) -> Result<(), StoreError> {
        if self.low_priority {
            priority::lower();
        }
        let mut buffer = vec![0; CHUNK];
        let mut result = Ok(());
        loop {
            // A poisoned lock means that the other hasher panicked; the queue itself is sound.
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(found) = next else { return result };
            // After a failure the queue is still emptied, so that the walk does not wait for room.
            if result.is_ok() && self.observer.wanted() {
                result = attempt::seed_one(work, &found, self.observer, &mut buffer);
            }
        }
    }
}
