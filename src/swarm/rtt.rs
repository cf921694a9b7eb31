//! Round trips to one peer: smoothed, their variation, and the least seen lately.
//!
//! Every request carries its sequence number and the answer brings it back, so each sample belongs
//! to exactly one sending, also of a range that was asked for twice (no Karn ambiguity, RFC 6298 3).

use std::collections::VecDeque;
use std::time::Duration;

use super::Time;

/// How long a least round trip is believed (the BBR draft's `MinRTTFilterLen`).
const MIN_WINDOW: Duration = Duration::from_secs(10);
/// Sub-windows that the ten seconds are kept in; more would only be exacter about their end.
const MIN_SLOTS: usize = 5;

/// How long an answer is waited for before anything is known of the path.
const UNKNOWN: Duration = Duration::from_millis(500);

/// Round-trip estimator of one peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    latest: Duration,
    /// (start of the sub-window, least sample in it), oldest first.
    least: VecDeque<(Time, Duration)>,
}

impl Rtt {
    /// Takes one sample (RFC 6298, 2.2 and 2.3). Returns whether it is the least in the window.
    pub fn sample(&mut self, now: Time, sample: Duration) -> bool {
        self.latest = sample;
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
            }
        }
        let is_least = self.min().is_none_or(|least| sample <= least);
        let slot = MIN_WINDOW / MIN_SLOTS as u32;
        match self.least.back_mut() {
            Some((start, least)) if now.since(*start) < slot => *least = (*least).min(sample),
            _ => self.least.push_back((now, sample)),
        }
        while self.least.len() > MIN_SLOTS {
            self.least.pop_front();
        }
        is_least
    }

    /// The longest sample that is believed of a request that a silence was in: should the path itself
    /// have become so much longer, a few of them tell.
    pub fn longest_after_silence(&self) -> Duration {
        self.smoothed.unwrap_or(UNKNOWN) * 4
    }

    /// Forgets older minima: the path is longer now than they say.
    pub fn forget_minimum(&mut self) {
        if let Some(last) = self.least.pop_back() {
            self.least.clear();
            self.least.push_back(last);
        }
    }

    /// Smoothed round trip; `None` before the first sample.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Mean deviation of the samples.
    pub fn variation(&self) -> Duration {
        self.variation
    }

    /// The newest sample.
    pub fn latest(&self) -> Duration {
        self.latest
    }

    /// The least sample of about the last ten seconds in which there were samples.
    pub fn min(&self) -> Option<Duration> {
        self.least.iter().map(|(_, least)| *least).min()
    }

    /// How long after sending an answer is given up: `srtt + max(4·rttvar, 1 ms) + slack`.
    ///
    /// The slack covers a server process that waits for its turn on a loaded machine.
    pub fn timeout(&self) -> Duration {
        const SLACK: Duration = Duration::from_millis(25);
        match self.smoothed {
            Some(smoothed) => smoothed + (self.variation * 4).max(Duration::from_millis(1)) + SLACK,
            None => UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_least_is_forgotten_after_its_window() {
        let mut rtt = Rtt::default();
        assert!(rtt.sample(Time::ZERO, ms(10)));
        assert!(!rtt.sample(Time::from_start(ms(100)), ms(30)));
        assert_eq!(rtt.min(), Some(ms(10)));
        for second in 1..=12 {
            rtt.sample(Time::from_start(Duration::from_secs(second)), ms(30));
        }
        assert_eq!(rtt.min(), Some(ms(30)));
    }

    #[test]
    fn steady_samples_settle() {
        let mut rtt = Rtt::default();
        for n in 0..100 {
            rtt.sample(Time::from_start(ms(n * 50)), ms(50));
        }
        assert_eq!(rtt.smoothed(), Some(ms(50)));
        assert!(rtt.variation() < ms(1));
        assert!(rtt.timeout() < ms(80));
    }
}
