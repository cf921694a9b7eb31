//! Open files and folders, by the number that the kernel holds for each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// A handle number. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fh(pub u64);

/// What is open. Getting one takes a shared lock, so that reads on several threads do not wait for
/// one another.
pub struct Handles<T> {
    open: RwLock<HashMap<Fh, Arc<T>>>,
    next: AtomicU64,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self {
            open: RwLock::default(),
            next: AtomicU64::new(1),
        }
    }
}

impl<T> Handles<T> {
    /// Opens: the number is good until it is removed.
    pub fn insert(&self, opened: T) -> Fh {
        let fh = Fh(self.next.fetch_add(1, Ordering::Relaxed));
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(fh, Arc::new(opened));
        fh
    }

    /// What is open as `fh`.
    pub fn get(&self, fh: Fh) -> Option<Arc<T>> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&fh)
            .cloned()
    }

    /// Closes; operations that hold it already go on.
    pub fn remove(&self, fh: Fh) -> Option<Arc<T>> {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&fh)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}
