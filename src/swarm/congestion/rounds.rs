//! What a round trip has shown, and the phase that follows from it.

use std::time::Duration;

use super::{Congestion, MOST_JITTER, Phase, STEADY_GAINS};
use crate::swarm::Time;

/// Rounds over which the highest rate is kept.
const RATE_ROUNDS: u64 = 10;
/// Rounds without 25% growth after which Start has found the rate.
const FULL_ROUNDS: u32 = 3;
/// Requests that a round must have judged before it is evidence of anything.
const JUDGED: u32 = 8;
/// How long without a new least round trip until one is probed for.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// How long the probe lasts at least.
const PROBE_LENGTH: Duration = Duration::from_millis(200);
/// A share of lost requests above which loss is taken for congestion, with or without a queue.
const HEAVY_LOSS: f64 = 0.25;
/// The same where a queue stands as well.
const HEAVY_LOSS_WITH_QUEUE: f64 = 0.10;

impl Congestion {
    pub(super) fn end_round(&mut self, now: Time, limited: bool, length: u64) {
        self.round += 1;
        self.round_ends_at = self.delivered;
        // A sole old maximum must not vanish while nothing newer is known.
        while self.rates.len() > 1
            && self
                .rates
                .front()
                .is_some_and(|(round, _)| round + RATE_ROUNDS < self.round)
        {
            self.rates.pop_front();
        }
        let min = self.rtt.min().unwrap_or_default();
        if let Some((least, smoothed)) = self.round_least.zip(self.rtt.smoothed()) {
            self.spread = (self.spread * 3 + smoothed.saturating_sub(least)) / 4;
        }
        self.standing = self
            .round_least
            .take()
            .map_or(Duration::ZERO, |least| least.saturating_sub(min));
        let high = self.queue_bound(min) * 2;
        // The round that a drain ends in is not all after it.
        if self.drained_in.is_some_and(|round| self.round >= round + 2) {
            self.drained_in = None;
            self.undrained = if self.standing > high {
                self.standing.min(MOST_JITTER)
            } else {
                Duration::ZERO
            };
        }
        let judged = self.round_lost + self.round_answered;
        let lost = f64::from(self.round_lost) / f64::from(judged.max(1));
        let heavy = judged >= JUDGED
            && (lost > HEAVY_LOSS
                || (lost > HEAVY_LOSS_WITH_QUEUE && self.standing > self.queue_bound(min)));
        self.round_lost = 0;
        self.round_answered = 0;
        let round_rate = if judged >= JUDGED {
            self.round_rate
        } else {
            0.0
        };
        self.queued_rate = round_rate.max(self.last_round_rate);
        self.last_round_rate = round_rate;
        self.round_rate = 0.0;
        match self.phase {
            Phase::Start => {
                // What was lost would have been delivered by a faster path just the same.
                let rate = self.rate().unwrap_or(0.0) / (1.0 - lost.min(0.5));
                let grew = rate > self.full_rate * 1.25;
                if grew {
                    self.full_rate = rate;
                    self.full_rounds = 0;
                } else if !limited && judged >= JUDGED {
                    self.full_rounds += 1;
                }
                // Jitter makes a round of few answers look like a queue, so one round is no proof.
                let bound = (min / 4).clamp(Duration::from_millis(4), Duration::from_millis(50));
                // Nor does a queue that grows all the time look like jitter for long: what comes
                // through it comes far slower than the best of before.
                let far_slower = round_rate > 0.0 && round_rate < rate / 2.0;
                let stands = self.standing > bound.max(self.jitter())
                    || (self.standing > bound && far_slower);
                if stands && !grew && judged >= JUDGED {
                    self.standing_rounds += 1;
                } else {
                    self.standing_rounds = 0;
                }
                if self.full_rounds >= FULL_ROUNDS || self.standing_rounds >= 2 || heavy {
                    if self.standing > bound {
                        self.keep_queued_rates();
                    }
                    self.phase = Phase::Drain;
                    self.standing_rounds = 0;
                    self.settled_rate = rate;
                }
            }
            Phase::Drain | Phase::Steady | Phase::ProbeRtt { .. } => {
                if heavy {
                    self.scale_rate(0.85);
                }
                if self.standing.saturating_sub(self.undrained) > high {
                    self.standing_rounds += 1;
                } else {
                    self.standing_rounds = 0;
                }
                let rate = self.rate().unwrap_or(0.0);
                if self.phase == Phase::Steady
                    && rate > self.settled_rate * 1.5
                    && self.standing <= self.queue_bound(min)
                {
                    // The path is much faster than it was taken for.
                    self.start = (self.delivered, self.window(length));
                    self.phase = Phase::Start;
                    self.full_rate = rate;
                    self.full_rounds = 0;
                    self.standing_rounds = 0;
                }
                // A queue that grows while it is to be drained was taken for one of a faster path.
                let drains = matches!(self.phase, Phase::Steady | Phase::Drain);
                if self.standing_rounds >= 2 && drains {
                    self.standing_rounds = 0;
                    self.keep_queued_rates();
                    self.phase = Phase::Drain;
                    self.cycle_since = now;
                }
            }
        }
    }

    /// Forgets rates that were measured before the queue stood: only what was measured with it in
    /// place says how fast it drains, and that does so even if no more was wanted than is in it. One
    /// sample alone may be a hiccup.
    fn keep_queued_rates(&mut self) {
        if self.queued_rate > 0.0 {
            self.rates.clear();
            self.rates.push_back((self.round, self.queued_rate));
            return;
        }
        while self.rates.len() > 1
            && self
                .rates
                .front()
                .is_some_and(|(round, _)| round + 2 < self.round)
        {
            self.rates.pop_front();
        }
    }

    fn scale_rate(&mut self, by: f64) {
        for (_, rate) in &mut self.rates {
            *rate *= by;
        }
    }

    /// Moves between phases where time or the amount in flight says so.
    pub(super) fn advance(&mut self, now: Time, length: u64) {
        let Some((rate, min)) = self.rate().zip(self.rtt.min()) else {
            return;
        };
        let path = (rate * min.as_secs_f64()) as u64;
        match self.phase {
            Phase::Start => {}
            Phase::Drain => {
                if self.in_flight <= path + 2 * length {
                    self.phase = Phase::Steady;
                    self.cycle = 2;
                    self.cycle_since = now;
                    self.drained_in = Some(self.round);
                }
            }
            Phase::Steady => {
                // A whole round trip as it is now: what a faster pace brings shows only after it.
                let round = self.rtt.smoothed().unwrap_or(min);
                if now.since(self.cycle_since) > round.max(Duration::from_millis(1)) {
                    self.cycle = (self.cycle + 1) % STEADY_GAINS.len();
                    self.cycle_since = now;
                }
                if now.since(self.min_seen_at) > PROBE_INTERVAL {
                    let until = now + PROBE_LENGTH.max(self.rtt.smoothed().unwrap_or_default());
                    self.phase = Phase::ProbeRtt { until };
                    self.rtt.forget_minimum();
                    self.undrained = Duration::ZERO;
                }
            }
            Phase::ProbeRtt { until } => {
                if now >= until {
                    self.phase = Phase::Steady;
                    self.cycle = 2;
                    self.cycle_since = now;
                    self.min_seen_at = now;
                }
            }
        }
    }
}
