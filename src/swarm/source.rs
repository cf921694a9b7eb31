//! A peer that has some of one id, and how well it answers for it.

use std::time::Duration;

use super::Time;
use super::fetch::Class;
use crate::content::ByteRange;

/// A peer that answered for this id.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    /// Answers in a row that held less than was asked for though our cookie was known.
    pub short: u32,
    /// Content bytes that it supplied.
    pub supplied: u64,
    /// Answers to requests sent before this are not judged as short any more.
    pub judged_at: Time,
    /// Not asked for data before this, because its answers fell short.
    pub rest_until: Time,
    /// What of the bulk it is being asked for, from the first to the last, in a crowd.
    pub run: ByteRange,
    /// For each class whether it has nothing of what is to be asked for in it. It is not looked for
    /// again before that changes.
    pub barren: [bool; 3],
}

/// Answers in a row that fell short after which a source rests, and for how long.
const MAX_SHORT: u32 = 3;
const REST: Duration = Duration::from_secs(2);

impl Source {
    /// Whether it is known to have nothing of what is to be asked for in `class`.
    pub fn is_barren(&self, class: Class) -> bool {
        self.barren[class as usize]
    }

    /// Notes that a request sent at `sent` was answered with less than was due.
    pub fn fell_short(&mut self, now: Time, sent: Time) {
        // Once a round trip: all that was in flight met the same fate, such as an old cookie.
        if sent < self.judged_at {
            return;
        }
        self.judged_at = now;
        self.short = self.short.saturating_add(1);
        if self.short >= MAX_SHORT {
            self.rest_until = now + REST * (1 << (self.short - MAX_SHORT).min(5));
        }
    }
}
