//! Whether others fetch the same content at this moment: then each is to fetch other parts of it
//! first (see `picking`), so that all have something to give.

use std::time::Duration;

use super::Time;

/// How long a crowd is taken to last after it was last seen.
const LASTS: Duration = Duration::from_secs(10);
/// How long from the start on others are taken to be a crowd that have only been named, and for how
/// many bytes. Some may be about to fetch it, others have it or have gone: what a crowd needs of a
/// newcomer first is a few parts that differ from everybody's, and a fast link fetches these in a
/// moment, while content that comes out of order costs its disk and its hash twice as much.
const MEETING: Duration = Duration::from_secs(1);
const MEETING_BYTES: u64 = 16 << 20;

/// What one fetch knows of others that fetch the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crowd {
    /// Until when those are taken to be there that were seen to fetch it.
    seen_until: Time,
    /// The same of those that were only named.
    named_until: Time,
    asked: u64,
}

impl Crowd {
    /// Others ask for it, or have parts of it.
    pub fn seen(&mut self, now: Time) {
        self.seen_until = now + LASTS;
    }

    /// Somebody names many that want or have it; the fetch began at `begun`.
    pub fn named(&mut self, begun: Time) {
        // Before any of them has been heard, who came first may be about to ask everybody.
        self.named_until = begun + MEETING;
    }

    /// So many bytes have been asked for.
    pub fn asked(&mut self, bytes: u64) {
        self.asked = self.asked.saturating_add(bytes);
    }

    pub fn is_there(&self, now: Time) -> bool {
        self.seen_until > now || (self.named_until > now && self.asked < MEETING_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_only_named_is_believed_for_a_second_or_some_bytes() {
        let mut crowd = Crowd::default();
        let begun = Time::ZERO + Duration::from_secs(5);
        assert!(!crowd.is_there(begun));
        crowd.named(begun);
        assert!(crowd.is_there(begun));
        assert!(!crowd.is_there(begun + MEETING));
        crowd.asked(MEETING_BYTES - 1);
        assert!(crowd.is_there(begun));
        crowd.asked(1);
        assert!(!crowd.is_there(begun));
    }

    #[test]
    fn who_is_seen_is_there_whatever_has_been_asked_for() {
        let mut crowd = Crowd::default();
        crowd.asked(u64::MAX);
        let now = Time::ZERO + Duration::from_secs(5);
        crowd.seen(now);
        assert!(crowd.is_there(now + LASTS - Duration::from_millis(1)));
        assert!(!crowd.is_there(now + LASTS));
    }
}
