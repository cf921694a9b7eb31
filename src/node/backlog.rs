//! Content that is proven and not yet kept. Each has two descriptors open until the keeper has come
//! round to it, and small files arrive faster than a disk makes them durable. So who proves them
//! waits when there are too many, and with it who wants more. A disk that hangs stops nobody: the
//! wait has an end.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// How long one waits for room at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most, where the system allows any number of descriptors.
const MOST: u64 = 4096;
/// The least, however few the system allows.
const LEAST: u64 = 32;
/// The part of all descriptors that so many may have, as one in ...; each has two.
const SHARE: u64 = 8;

pub(super) struct Backlog {
    waiting: Mutex<u64>,
    fewer: Condvar,
    most: u64,
}

impl Default for Backlog {
    fn default() -> Self {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::of((descriptors / SHARE).clamp(LEAST, MOST))
    }
}

impl Backlog {
    fn of(most: u64) -> Self {
        Self {
            waiting: Mutex::new(0),
            fewer: Condvar::new(),
            most,
        }
    }

    /// One more waits for the keeper; returns when there is room for it, or after a while.
    pub fn add(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |waiting: &mut u64| *waiting >= self.most;
        let waited = self.fewer.wait_timeout_while(waiting, PATIENCE, full);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        *waiting = waiting.saturating_add(1);
    }

    /// Whether so many wait that there will soon be no room.
    pub fn is_pressing(&self) -> bool {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) > self.most / 2
    }

    /// One waits no more.
    pub fn done(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = waiting.saturating_sub(1);
        self.fewer.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn who_adds_to_a_full_backlog_waits_for_room() {
        let backlog = Backlog::of(2);
        backlog.add();
        assert!(!backlog.is_pressing());
        backlog.add();
        assert!(backlog.is_pressing());
        let (added, heard) = channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                backlog.add();
                added.send(()).unwrap();
            });
            backlog.done();
            heard.recv().unwrap();
        });
        assert_eq!(*backlog.waiting.lock().unwrap(), 2);
    }

    #[test]
    fn a_keeper_that_hangs_stops_nobody() {
        let backlog = Backlog::of(0);
        backlog.add();
        assert_eq!(*backlog.waiting.lock().unwrap(), 1);
    }
}
