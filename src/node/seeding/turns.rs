//! Long files are hashed a few at a time, whichever roots they lie in: with more, a disk would only
//! seek between them. Short ones need no turn, so that no root waits for the long files of another.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A file with more bytes than this is long: hashing it takes a noticeable part of a second.
pub(super) const LONG: u64 = 64 << 20;
/// Long files that passes hash at once.
const AT_ONCE: usize = 2;
/// How long it is waited before it is looked whether the turn is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The turns of all passes over roots.
#[derive(Default)]
pub(super) struct Turns {
    taken: Mutex<usize>,
    given_back: Condvar,
}

/// A turn; given back when dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for a turn; `None` when it is no longer wanted.
    pub fn take(&self, wanted: &dyn Fn() -> bool) -> Option<Turn<'_>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken >= AT_ONCE {
            if !wanted() {
                return None;
            }
            let waited = self.given_back.wait_timeout(taken, LOOK_EVERY);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken += 1;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(1);
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_two_have_a_turn() {
        let turns = Turns::default();
        let first = turns.take(&|| false).unwrap();
        let _second = turns.take(&|| false).unwrap();
        assert!(turns.take(&|| false).is_none());
        drop(first);
        assert!(turns.take(&|| false).is_some());
    }
}
