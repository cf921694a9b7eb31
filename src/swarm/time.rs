//! Time as the swarm sees it: an argument, never a clock.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment, in nanoseconds since a start that the caller chose.
///
/// The shell counts from its own start on the monotonic clock, the simulator from zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(u64);

impl Time {
    /// The start itself.
    pub const ZERO: Self = Self(0);

    /// The moment `since_start` after the start; saturates after 584 years.
    #[must_use]
    pub fn from_start(since_start: Duration) -> Self {
        Self(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long after the start this is.
    #[must_use]
    pub fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;
    fn add(self, after: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Time {
    type Output = Self;
    fn sub(self, before: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(before.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}
