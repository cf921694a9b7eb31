//! How much may be asked of one peer, and how fast: a model of the path, not a reaction to loss.
//!
//! The requester decides everything here (a server only answers), so the window counts content
//! bytes that were asked for and have not arrived. Loss-based control is useless on the paths this
//! network runs over: at 1% loss of packets, Reno and CUBIC pull a hundredth of what the link
//! carries. So the controller estimates the two numbers that describe the path, its bottleneck rate
//! and its least round trip, as BBR does (draft-ietf-ccwg-bbr), keeps about their product in
//! flight, and watches the *standing queue* (least round trip of the last round minus the least of
//! ten seconds) to bound the delay that it causes. Loss cuts the rate only when it is heavy.
//!
//! Phases: [`Phase::Start`] doubles each round until the rate stops growing or a queue stands;
//! [`Phase::Drain`] empties that queue; [`Phase::Steady`] cycles its pace around the estimate to
//! notice a faster path; [`Phase::ProbeRtt`] lets the queue run dry now and then so that the least
//! round trip stays true. When one follows another is decided at the end of each round, in `rounds`.

mod rounds;

use std::collections::VecDeque;
use std::time::Duration;

use super::Time;
use super::rtt::Rtt;

/// Pace in Start, as a multiple of the rate estimate: 4·ln 2, the least that lets the rate double
/// each round (BBR draft, `BBRStartupPacingGain`).
const START_GAIN: f64 = 2.77;
/// Pace in Drain.
const DRAIN_GAIN: f64 = 0.5;
/// Pace in Steady, one entry a round trip.
const STEADY_GAINS: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// What round trips that vary may add to the window.
const MOST_JITTER: Duration = Duration::from_millis(100);
/// A timeout is doubled up to this, or once. It needs no more: a silent peer is spared by its bench, and
/// who waits for what was asked of it is to be tried for again.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(1);
/// A request that leaves no later than this after the pacer allows it was held up by nothing else.
const LEAST_REST: Duration = Duration::from_millis(1);
/// Timeouts in a row that make a silence.
pub(super) const SILENT: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Drain,
    Steady,
    ProbeRtt { until: Time },
}

/// What a request remembers of the moment it was sent, for the rate sample that its answer gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// When.
    pub at: Time,
    delivered: u64,
    delivered_at: Time,
    first_sent_at: Time,
    /// Whether there was nothing more to ask for, so that the sample speaks of us, not of the path.
    limited: bool,
}

/// The controller of one peer.
#[derive(Clone, Debug)]
pub(super) struct Congestion {
    /// Round trips.
    pub rtt: Rtt,
    phase: Phase,
    /// Content bytes asked for and neither answered nor given up.
    in_flight: u64,
    delivered: u64,
    delivered_at: Time,
    first_sent_at: Time,
    /// Everything delivered up to here was in flight when the last limited request was sent.
    limited_until: u64,
    /// Highest rate samples, one a round, in bytes a second, oldest first: (round, rate).
    rates: VecDeque<(u64, f64)>,
    round: u64,
    /// The highest sample of this round and of the one before, limited ones included; of the latter
    /// only if it judged enough requests.
    round_rate: f64,
    last_round_rate: f64,
    /// The higher of the two when a round ends.
    queued_rate: f64,
    /// The round ends when a request sent after this many delivered bytes is answered.
    round_ends_at: u64,
    /// Least round trip in this round, and whether the round before stood above the bound.
    round_least: Option<Duration>,
    standing: Duration,
    standing_rounds: u32,
    /// By how much round trips exceed the least of their round on average: jitter, which a window
    /// must span although it is no queue.
    spread: Duration,
    /// What stood above the least round trip when a queue had just been drained: that is no queue of
    /// ours.
    undrained: Duration,
    /// The round in which a queue was drained, until it is known how well.
    drained_in: Option<u64>,
    /// Bytes delivered when Start began, and the window then.
    start: (u64, u64),
    full_rate: f64,
    full_rounds: u32,
    /// The rate at which Start was last left.
    settled_rate: f64,
    cycle: usize,
    cycle_since: Time,
    min_seen_at: Time,
    /// Moving share of lost requests.
    loss: f64,
    /// Lost and answered requests in this round.
    round_lost: u32,
    round_answered: u32,
    /// Timeouts in a row.
    timeouts: u32,
    /// When the last silence ended. What was asked before that and is answered after it waited for the
    /// peer to come back: a suspended machine answers all that has queued up, with round trips of many
    /// seconds. Taken for the path's own, they would make the next loss be noticed only as much later.
    silent_until: Time,
    /// The pacer allows nothing before this.
    next_send: Time,
}

impl Congestion {
    pub fn new(now: Time) -> Self {
        Self {
            rtt: Rtt::default(),
            phase: Phase::Start,
            in_flight: 0,
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            limited_until: 0,
            rates: VecDeque::new(),
            round: 0,
            round_rate: 0.0,
            last_round_rate: 0.0,
            queued_rate: 0.0,
            round_ends_at: 0,
            round_least: None,
            standing: Duration::ZERO,
            standing_rounds: 0,
            spread: Duration::ZERO,
            undrained: Duration::ZERO,
            drained_in: None,
            start: (0, 0),
            full_rate: 0.0,
            full_rounds: 0,
            settled_rate: 0.0,
            cycle: 2,
            cycle_since: now,
            min_seen_at: now,
            loss: 0.0,
            round_lost: 0,
            round_answered: 0,
            timeouts: 0,
            silent_until: Time::ZERO,
            next_send: now,
        }
    }

    /// Content bytes asked for and neither answered nor given up.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Moving share of requests that were lost, 0 to 1.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Estimated rate of the path in content bytes a second; `None` before the first sample.
    pub fn rate(&self) -> Option<f64> {
        self.rates
            .iter()
            .map(|(_, rate)| *rate)
            .fold(None, |best: Option<f64>, rate| {
                Some(best.map_or(rate, |best| best.max(rate)))
            })
    }

    /// Timeouts in a row without any answer.
    pub fn timeouts(&self) -> u32 {
        self.timeouts
    }

    /// Whether it has not answered for so long that the path may be gone.
    pub fn is_silent(&self) -> bool {
        self.timeouts >= SILENT
    }

    /// The name of the phase, for people.
    pub fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Start => "start",
            Phase::Drain => "drain",
            Phase::Steady => "steady",
            Phase::ProbeRtt { .. } => "probe-rtt",
        }
    }

    /// How many content bytes may be in flight with requests of `length` bytes each.
    ///
    /// Where delays vary, answers that keep their order all come as late as the latest of them, and
    /// the least round trip was had when few were on their way. So the window spans what stands above
    /// it as well, up to the queue that is drained.
    pub fn window(&self, length: u64) -> u64 {
        if self.is_silent() {
            return length.saturating_mul(2);
        }
        let first = (10 * length).min((2 * length).max(14_600)).max(4 * length);
        let Some((rate, min)) = self.rate().zip(self.rtt.min()) else {
            return first;
        };
        let path = rate * min.as_secs_f64();
        let window = match self.phase {
            Phase::Start => {
                let path = rate * (min + self.standing.min(self.jitter())).as_secs_f64();
                let window = (2.0 * path / (1.0 - self.loss.min(0.3))) as u64;
                // As in slow start it doubles each round and no faster: what a source that keeps to
                // a limit gives at once, of what it saved up, looks like a path of any rate.
                let (delivered, before) = self.start;
                let came = self.delivered.saturating_sub(delivered);
                window.min(first.max(before).saturating_add(came))
            }
            Phase::Drain | Phase::Steady => {
                let bound = self.queue_bound(min);
                let stands = self.standing.min(bound * 2);
                let spread = rate * (min + stands + bound).as_secs_f64();
                let spread = spread * self.gain().max(1.0);
                (spread / (1.0 - self.loss.min(0.3))) as u64 + 3 * length
            }
            Phase::ProbeRtt { .. } => (path / 2.0) as u64,
        };
        match self.phase {
            Phase::Start => window.max(first),
            _ => window.max(4 * length),
        }
    }

    /// The queue that is accepted beside the least round trip: it absorbs jitter and the server's
    /// turns, and bounds the delay that we add for everybody on the link.
    fn queue_bound(&self, min: Duration) -> Duration {
        let usual = min.clamp(Duration::from_millis(5), Duration::from_millis(25));
        usual.max(self.jitter())
    }

    /// By how much round trips vary.
    fn jitter(&self) -> Duration {
        (self.spread + self.rtt.variation() * 2).min(MOST_JITTER)
    }

    /// Where in the cycle of Steady we are.
    fn gain(&self) -> f64 {
        match self.phase {
            Phase::Steady => STEADY_GAINS.get(self.cycle).copied().unwrap_or(1.0),
            _ => 1.0,
        }
    }

    /// Content bytes a second at which requests leave; `None`: at once.
    fn pace(&self) -> Option<f64> {
        let rate = self.rate()?;
        let gain = match self.phase {
            Phase::Start => START_GAIN,
            Phase::Drain => DRAIN_GAIN,
            Phase::ProbeRtt { .. } => 1.0,
            Phase::Steady => self.gain() / (1.0 - self.loss.min(0.3)),
        };
        Some((rate * gain).max(1.0))
    }

    /// The moment from which the pacer allows the next request.
    pub fn next_send(&self) -> Time {
        self.next_send
    }

    /// Counts a request of `length` bytes as sent. `limited`: nothing more was wanted.
    pub fn on_sent(&mut self, now: Time, length: u64, limited: bool) -> Sent {
        // Where the pacer alone is why nothing was on its way, there was no rest: or a rate that was
        // taken for too low would never be found to be.
        if self.in_flight == 0 && now > self.next_send + LEAST_REST {
            self.delivered_at = now;
            self.first_sent_at = now;
        }
        self.in_flight = self.in_flight.saturating_add(length);
        if limited {
            self.limited_until = self.delivered + self.in_flight;
        }
        if let Some(pace) = self.pace() {
            // A pacer that is behind may catch up by at most a millisecond's worth, or a timer
            // that fires late would cost throughput for ever.
            let base = self.next_send.max(now - Duration::from_millis(1));
            self.next_send = base + Duration::from_secs_f64(length as f64 / pace);
        }
        Sent {
            at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            limited: limited || self.delivered < self.limited_until,
        }
    }

    /// Notes a question that asks for next to nothing and speaks of no rate.
    pub fn note(&self, now: Time) -> Sent {
        Sent {
            at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            limited: true,
        }
    }

    /// It has answered; whether that ends a silence of two timeouts and more.
    fn end_silence(&mut self, now: Time) -> bool {
        let ends = self.is_silent();
        if ends {
            self.silent_until = now;
        }
        self.timeouts = 0;
        ends
    }

    /// Takes the answer to such a question.
    pub fn on_ping(&mut self, now: Time, rtt: Duration) {
        self.end_silence(now);
        // A question that asks for no data may be answered much sooner than one that makes the
        // server read; mixed up, the difference would look like a queue.
        if self.delivered == 0 {
            self.rtt.sample(now, rtt);
        }
    }

    /// Takes the answer to a request of `asked` bytes that brought `got` bytes.
    ///
    /// `live` tells that the request had not been given up before.
    pub fn on_answer(
        &mut self,
        now: Time,
        sent: &Sent,
        asked: u64,
        got: u64,
        live: bool,
        length: u64,
    ) {
        if live {
            self.in_flight = self.in_flight.saturating_sub(asked);
        }
        let ends_silence = self.end_silence(now);
        let through_silence = sent.at < self.silent_until;
        let mut rtt = now.since(sent.at);
        if self.delivered == 0 {
            self.rtt = Rtt::default();
        }
        if ends_silence {
            rtt = rtt.min(self.rtt.longest_after_silence());
        }
        if ends_silence || !through_silence {
            if self.rtt.sample(now, rtt) {
                self.min_seen_at = now;
            }
            self.round_least = Some(self.round_least.map_or(rtt, |least| least.min(rtt)));
        }
        self.delivered += got;
        self.delivered_at = now;
        self.first_sent_at = self.first_sent_at.max(sent.at);
        self.loss -= self.loss / 128.0;
        self.round_answered += 1;

        let interval = sent
            .at
            .since(sent.first_sent_at)
            .max(now.since(sent.delivered_at));
        if interval > Duration::ZERO && got > 0 && !through_silence {
            let rate = (self.delivered - sent.delivered) as f64 / interval.as_secs_f64();
            self.take_rate(sent, rate);
        }
        if sent.delivered >= self.round_ends_at {
            self.end_round(now, sent.limited, length);
        }
        self.advance(now, length);
    }

    /// Takes the rate that the answer to a request shows.
    ///
    /// One that was sent when nothing else was on its way, or before anything came of what was sent
    /// with it, may tell only how soon a source answers that has nothing else to do, or has saved up
    /// what its own limit allows. Start can have nothing better; later that is no faster path.
    fn take_rate(&mut self, sent: &Sent, rate: f64) {
        let is_higher = self.rate().is_none_or(|best| rate > best);
        let is_first = sent.delivered_at == sent.first_sent_at && self.phase != Phase::Start;
        if is_higher && is_first {
            return;
        }
        self.round_rate = self.round_rate.max(rate);
        if is_higher || !sent.limited {
            self.keep_rate(rate);
        }
    }

    fn keep_rate(&mut self, rate: f64) {
        // Only the newest maximum of each stretch of rounds matters, as in a monotonic queue.
        while self.rates.back().is_some_and(|(_, kept)| *kept <= rate) {
            self.rates.pop_back();
        }
        self.rates.push_back((self.round, rate));
    }

    /// A request of `asked` bytes is given up because later ones were answered.
    pub fn on_lost(&mut self, asked: u64) {
        self.in_flight = self.in_flight.saturating_sub(asked);
        self.loss += (1.0 - self.loss) / 128.0;
        self.round_lost += 1;
    }

    /// A request that was given up as lost was answered after all.
    pub fn on_spurious(&mut self) {
        self.loss = (self.loss - 1.0 / 128.0).max(0.0);
        self.round_lost = self.round_lost.saturating_sub(1);
    }

    /// A request of `asked` bytes is forgotten without a verdict.
    pub fn on_withdrawn(&mut self, asked: u64) {
        self.in_flight = self.in_flight.saturating_sub(asked);
    }

    /// Nothing was answered for a whole timeout.
    pub fn on_timeout(&mut self, now: Time) {
        self.timeouts = self.timeouts.saturating_add(1);
        self.round_lost = 0;
        self.round_answered = 0;
        if self.timeouts == SILENT {
            // The path may be another one when it comes back.
            self.rates.clear();
            self.start = (self.delivered, 0);
            self.phase = Phase::Start;
            self.full_rate = 0.0;
            self.full_rounds = 0;
            self.next_send = now;
        }
    }

    /// How long after the last sending without any answer everything in flight counts as lost.
    pub fn timeout(&self) -> Duration {
        let once = self.rtt.timeout();
        let doubled = once * (1 << self.timeouts.min(6));
        doubled.min(LONGEST_TIMEOUT.max(once * 2))
    }
}

#[cfg(test)]
mod tests;
