//! A token bucket in virtual time.
//!
//! It is kept as the moment at which all that was taken is paid for (the virtual scheduling form of
//! the generic cell rate algorithm, ITU-T I.371), so it needs no refilling and no clock. What is
//! taken may exceed what is in it: a datagram is not divided, and the next one waits until the debt
//! is paid. Over any time the limit is thus exceeded by at most a burst and one datagram.

use std::time::Duration;

use super::Time;

/// What may be saved up, in time: it evens out the turns of threads.
pub(super) const BURST: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Bytes a second, at least one.
    rate: u64,
    burst: Duration,
    paid_at: Time,
}

impl Bucket {
    /// A full bucket that gains `rate` bytes a second and holds what it gains in `burst`.
    pub fn new(rate: u64, burst: Duration) -> Self {
        Self {
            rate: rate.max(1),
            burst,
            paid_at: Time::ZERO,
        }
    }

    /// Bytes a second.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// What is taken from now on is paid for at `rate` bytes a second, at least one.
    pub fn set_rate(&mut self, rate: u64) {
        self.rate = rate.max(1);
    }

    /// Whether something may be taken now.
    pub fn is_ready(&self, now: Time) -> bool {
        self.paid_at <= now
    }

    /// From when on something may be taken.
    pub fn ready_at(&self) -> Time {
        self.paid_at
    }

    /// Whether nothing that was taken has still to be paid for, so that it holds all it can.
    pub fn is_full(&self, now: Time) -> bool {
        self.paid_at + self.burst <= now
    }

    /// Takes `bytes`.
    pub fn take(&mut self, now: Time, bytes: u64) {
        let saved = Time::from_start(now.since_start().saturating_sub(self.burst));
        self.paid_at = self.paid_at.max(saved) + self.time_of(bytes);
    }

    /// Of what was taken, `bytes` were not used.
    pub fn give_back(&mut self, bytes: u64) {
        self.paid_at = self.paid_at - self.time_of(bytes);
    }

    /// Corrects an estimate of `taken` bytes to `used` bytes.
    pub fn correct(&mut self, now: Time, taken: u64, used: u64) {
        if used > taken {
            self.take(now, used - taken);
        } else {
            self.give_back(taken - used);
        }
    }

    /// How long the rate takes for `bytes`.
    pub fn time_of(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn the_rate_is_held_whatever_the_sizes() {
        for (rate, size) in [
            (1000, 1),
            (1000, 65_000),
            (1 << 20, 1448),
            (1 << 30, 40_960),
        ] {
            let mut bucket = Bucket::new(rate, BURST);
            let mut taken = 0;
            for millis in 0..100_000 {
                while bucket.is_ready(at(millis)) {
                    bucket.take(at(millis), size);
                    taken += size;
                }
            }
            let most = rate * 100 + rate / 20 + size;
            assert!(
                taken <= most && taken + size >= rate * 100,
                "{rate} {size}: {taken}"
            );
        }
    }

    #[test]
    fn no_more_than_the_burst_is_saved_up() {
        let mut bucket = Bucket::new(1000, BURST);
        let mut taken = 0;
        while bucket.is_ready(at(60_000)) {
            bucket.take(at(60_000), 10);
            taken += 10;
        }
        assert!((50..=60).contains(&taken), "{taken}");
        assert!(!bucket.is_ready(at(60_000)) && bucket.is_ready(at(60_010)));
        assert!(!bucket.is_full(at(60_059)) && bucket.is_full(at(60_061)));
    }

    #[test]
    fn estimates_are_corrected_both_ways() {
        let mut bucket = Bucket::new(1000, Duration::ZERO);
        bucket.take(at(1000), 500);
        assert_eq!(bucket.ready_at(), at(1500));
        bucket.correct(at(1000), 500, 100);
        assert_eq!(bucket.ready_at(), at(1100));
        bucket.correct(at(1000), 100, 300);
        assert_eq!(bucket.ready_at(), at(1300));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut bucket = Bucket::new(0, BURST);
        bucket.take(at(0), u64::MAX);
        bucket.give_back(u64::MAX);
        bucket.take(Time::from_start(Duration::MAX), u64::MAX);
        assert!(!bucket.is_ready(at(1)));
        let mut bucket = Bucket::new(u64::MAX, BURST);
        bucket.take(at(0), u64::MAX);
        assert!(bucket.is_ready(at(1000)));
    }
}
