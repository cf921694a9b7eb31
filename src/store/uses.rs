//! When content was used, and what is in use now.
//!
//! A use is noted in memory and goes into the index with the next thing that is written there: a
//! read must not cost a write. After a crash the order of the last seconds is not known, no more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::content::ContentId;

use super::lock;

/// Uses noted and not in the index yet; of more than that some are forgotten.
const NOTED: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Uses {
    noted: Mutex<HashMap<ContentId, u64>>,
    /// How often it is held.
    held: Mutex<HashMap<ContentId, usize>>,
}

/// Keeps the store from giving up content, for whoever reads it or waits for it, whether or not it
/// is there yet.
pub struct Hold {
    uses: Arc<Uses>,
    id: ContentId,
}

/// Microseconds since 1970, and later than whatever was returned before, so that there is an order.
pub(super) fn now() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0));
    let last = LAST.fetch_max(now, Ordering::Relaxed);
    if last < now {
        return now;
    }
    LAST.fetch_add(1, Ordering::Relaxed).saturating_add(1)
}

impl Uses {
    pub(super) fn note(&self, id: &ContentId) {
        let mut noted = lock(&self.noted);
        if noted.len() < NOTED || noted.contains_key(id) {
            noted.insert(*id, now());
        }
    }

    pub(super) fn take(&self) -> Vec<(ContentId, u64)> {
        std::mem::take(&mut *lock(&self.noted))
            .into_iter()
            .collect()
    }

    pub(super) fn is_held(&self, id: &ContentId) -> bool {
        lock(&self.held).contains_key(id)
    }

    pub(super) fn hold(self: &Arc<Self>, id: &ContentId) -> Hold {
        *lock(&self.held).entry(*id).or_default() += 1;
        Hold {
            uses: Arc::clone(self),
            id: *id,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = lock(&self.uses.held);
        if let Some(count) = held.get_mut(&self.id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&self.id);
            }
        }
        drop(held);
        self.uses.note(&self.id);
    }
}
