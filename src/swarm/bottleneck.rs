//! The bottleneck that peers share: our own downlink.
//!
//! Each peer's controller accepts a small queue on its path. Where forty paths meet in one downlink
//! the forty small queues are one large one, which everything else on that link waits in, and every
//! read of ours. None of the controllers can mend that, for each sees only its own share. So this
//! watches all of them: when the answers of most peers come later than their path's least round trip
//! by the same standing amount, the queue is where the paths meet, and what arrives meanwhile is the
//! rate of that link. From then on all requests together are paced: below that rate until the queue
//! is gone, then at it, ever faster until a queue stands again. Somebody's urgent requests do not wait
//! for this pacer, but what nobody waits for pays for them.
//!
//! When slower requests do not drain the queue it is not ours, and it is let be for a while. So is one
//! that stands while far less arrives than did some seconds ago: it is where the peers have too much to
//! do, as in a crowd. A pace that was found there would hold us back when the crowd has gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Time;
use super::bucket::Bucket;

/// What is measured together: this long at least, and as many answers.
const EPOCH: Duration = Duration::from_millis(100);
const EPOCH_ANSWERS: u64 = 64;
/// Peers that have to tell of the queue, with [`TELLING`] answers in the epoch; with fewer, their own
/// controllers keep it short.
const PEERS: usize = 4;
const TELLING: u64 = 3;
/// A standing queue that is drained, and the one at which it counts as drained.
const HIGH: Duration = Duration::from_millis(6);
const LOW: Duration = Duration::from_millis(2);
/// Of a slow link that is less than the time of some packets: this many count as a queue.
const HIGH_PACKETS: f64 = 6.0;
/// Share of the link's rate that is asked for while the queue drains: the most, and the least, which
/// is for a queue that takes long; and after that.
const DRAIN: f64 = 0.90;
const FAST_DRAIN: f64 = 0.7;
const DRAIN_TIME: Duration = Duration::from_millis(300);
const CRUISE: f64 = 0.98;
/// What the pace grows by in an epoch while no queue stands: slowly where one is expected soon.
const GROWTH: f64 = 0.005;
const FAST_GROWTH: f64 = 0.05;
const SLOWLY_UP_TO: f64 = 1.1;
/// The share of the pace that has to arrive for it to grow.
const USED: f64 = 0.9;
/// The pace from which on there is no pacing until a queue stands again.
const FREE: f64 = 2.0;
/// How long a queue may take to halve until it is taken for somebody else's, and how long it is let
/// be then.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
const LET_BE: Duration = Duration::from_secs(10);
/// A queue with less than this share of the most that arrived lately is not that of our link. What is
/// taken for the most falls by a fiftieth each epoch: to a half in three and a half seconds.
const OF_PEAK: f64 = 0.5;
const PEAK_LEFT: f64 = 0.98;
/// What the pacer may catch up: a timer that fires late must not cost throughput.
const BURST: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// No queue was seen, nothing is held back.
    Free,
    /// The queue drains; it was this long at this moment.
    Drain(Time, Duration),
    /// At this share of the link's rate.
    Cruise(f64),
    /// The queue that was seen was not ours.
    LetBe(Time),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Bottleneck {
    state: State,
    pacer: Option<Bucket>,
    /// Bytes a second that the link delivers when a queue stands before it.
    rate: f64,
    /// The most bytes a second that arrived in an epoch lately.
    peak: f64,
    since: Time,
    bytes: u64,
    answers: u64,
    lost: u64,
    /// Moving share of requests that are lost, which the link never sees.
    loss: f64,
    /// Each peer's least delay beyond its path's in this epoch, and how many answers told of it.
    queues: BTreeMap<SocketAddr, (Duration, u64)>,
}

impl Bottleneck {
    pub fn new(now: Time) -> Self {
        Self {
            state: State::Free,
            pacer: None,
            rate: 0.0,
            peak: 0.0,
            since: now,
            bytes: 0,
            answers: 0,
            lost: 0,
            loss: 0.0,
            queues: BTreeMap::new(),
        }
    }

    /// From when on something may be asked for that nobody waits for.
    pub fn ready_at(&self) -> Time {
        self.pacer.as_ref().map_or(Time::ZERO, Bucket::ready_at)
    }

    /// How far requests would be ahead of the link's rate with another `bytes`: so much later than
    /// over an empty link what is asked for now may arrive.
    pub fn behind(&self, now: Time, bytes: u64) -> Duration {
        self.pacer.as_ref().map_or(Duration::ZERO, |pacer| {
            pacer.ready_at().since(now) + pacer.time_of(bytes)
        })
    }

    /// Whether requests have been held back just now, so that peers could give more than they are
    /// asked for.
    pub fn is_holding(&self, now: Time) -> bool {
        self.pacer
            .as_ref()
            .is_some_and(|pacer| pacer.ready_at() > now - BURST)
    }

    /// Something is asked for of which `bytes` will arrive, headers counted.
    pub fn take(&mut self, now: Time, bytes: u64) {
        if let Some(pacer) = &mut self.pacer {
            pacer.take(now, bytes);
        }
    }

    /// An answer of `bytes`, headers counted, came from `from`, `queue` later than it can come.
    pub fn on_answer(&mut self, now: Time, from: SocketAddr, queue: Duration, bytes: u64) {
        self.bytes += bytes;
        self.answers += 1;
        let (least, answers) = self.queues.entry(from).or_insert((queue, 0));
        *least = queue.min(*least);
        *answers += 1;
        if self.answers >= EPOCH_ANSWERS && now.since(self.since) >= EPOCH {
            self.end_epoch(now);
        }
    }

    /// A request was given up.
    pub fn on_lost(&mut self) {
        self.lost += 1;
    }

    fn end_epoch(&mut self, now: Time) {
        let delivered = self.bytes as f64 / now.since(self.since).as_secs_f64();
        let standing = self.standing();
        if !matches!(self.state, State::Drain(..)) && standing.is_none_or(|queue| queue < HIGH) {
            // What a full queue drops is no loss to make up for.
            let lost = self.lost as f64 / (self.lost + self.answers) as f64;
            self.loss += (lost - self.loss) / 8.0;
        }
        self.peak = delivered.max(self.peak * PEAK_LEFT);
        self.since = now;
        self.bytes = 0;
        self.answers = 0;
        self.lost = 0;
        self.queues.clear();
        let packets = Duration::from_secs_f64(HIGH_PACKETS * 1500.0 / delivered.max(1500.0));
        let high = HIGH.max(packets);
        let low = LOW.max(packets / 2);
        // A pace that was not made use of says nothing of a faster one.
        let used = |pace: f64| delivered > USED * self.rate * pace;
        self.state = match (self.state, standing) {
            (State::LetBe(since), _) if now.since(since) > LET_BE => State::Free,
            (state @ (State::Free | State::LetBe(_)), None) => state,
            (State::Free | State::Cruise(_), Some(standing))
                if standing > high && delivered < OF_PEAK * self.peak =>
            {
                State::LetBe(now)
            }
            (State::Free | State::Cruise(_), Some(standing)) if standing > high => {
                self.rate = delivered;
                State::Drain(now, standing)
            }
            (State::Drain(..), None) => State::Cruise(CRUISE),
            (State::Drain(..), Some(standing)) if standing <= low => State::Cruise(CRUISE),
            (State::Drain(_, before), Some(standing)) if standing < before / 2 => {
                State::Drain(now, standing)
            }
            (State::Drain(since, _), _) if now.since(since) > DRAIN_LIMIT => State::LetBe(now),
            (State::Cruise(pace), _) if pace > FREE => State::Free,
            (State::Cruise(pace), _) if !used(pace) => State::Cruise(pace),
            (State::Cruise(pace), _) if pace > SLOWLY_UP_TO => State::Cruise(pace + FAST_GROWTH),
            (State::Cruise(pace), _) => State::Cruise(pace + GROWTH),
            (state, _) => state,
        };
        let pace = match self.state {
            State::Drain(_, queue) => {
                (1.0 - queue.as_secs_f64() / DRAIN_TIME.as_secs_f64()).clamp(FAST_DRAIN, DRAIN)
            }
            State::Cruise(pace) => pace / (1.0 - self.loss.min(0.3)),
            State::Free | State::LetBe(_) => {
                self.pacer = None;
                return;
            }
        };
        let rate = (self.rate * pace) as u64;
        match &mut self.pacer {
            Some(pacer) => pacer.set_rate(rate),
            None => self.pacer = Some(Bucket::new(rate, BURST)),
        }
    }

    /// The delay that all but a quarter had beyond their path's, of the peers as of the answers: few
    /// peers that give much may have queues of their own. `None` when too few peers tell of it.
    fn standing(&self) -> Option<Duration> {
        let mut told: Vec<(Duration, u64)> = self
            .queues
            .values()
            .filter(|(_, answers)| *answers >= TELLING)
            .copied()
            .collect();
        if told.len() < PEERS {
            return None;
        }
        told.sort_unstable();
        let of_peers = told.get(told.len() / 4)?.0;
        let all: u64 = told.iter().map(|(_, answers)| answers).sum();
        let mut left = all / 4;
        for (queue, answers) in told {
            if answers > left {
                return Some(queue.min(of_peers));
            }
            left -= answers;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 1e7;

    /// A link of [`RATE`] with `peers` behind it that give at most `supply` bytes a second together,
    /// for `millis`; returns the queue at the end, in milliseconds. Requests take no time.
    fn run(bottleneck: &mut Bottleneck, from: u64, millis: u64, peers: u8, supply: f64) -> f64 {
        let (mut queue, mut owed) = (0.0, 0.0);
        for milli in from..from + millis {
            let now = Time::from_start(Duration::from_millis(milli));
            let mut budget = supply / 1000.0;
            while budget >= 1000.0 && bottleneck.ready_at() <= now {
                bottleneck.take(now, 1000);
                budget -= 1000.0;
                queue += 1000.0;
            }
            let delay = Duration::from_secs_f64(queue / RATE);
            owed += (RATE / 1000.0_f64).min(queue);
            queue -= (RATE / 1000.0_f64).min(queue);
            while owed >= 1000.0 {
                owed -= 1000.0;
                let peer = ([192, 0, 2, (milli % u64::from(peers)) as u8], 1);
                bottleneck.on_answer(now, peer.into(), delay, 1000);
            }
        }
        queue / RATE * 1000.0
    }

    #[test]
    fn a_queue_that_all_see_is_drained_and_stays_short() {
        let mut bottleneck = Bottleneck::new(Time::ZERO);
        run(&mut bottleneck, 0, 5000, 10, 1.3 * RATE);
        assert!(bottleneck.rate > 0.98 * RATE && bottleneck.rate < 1.02 * RATE);
        let paced = bottleneck.pacer.as_ref().unwrap().rate() as f64;
        assert!(paced > 0.85 * RATE && paced < 1.2 * RATE, "{paced}");
        let queue = run(&mut bottleneck, 5000, 5000, 10, 1.3 * RATE);
        assert!(queue < 30.0, "{queue}");
    }

    #[test]
    fn few_peers_are_left_to_their_own_controllers() {
        let mut bottleneck = Bottleneck::new(Time::ZERO);
        run(&mut bottleneck, 0, 3000, 3, 1.1 * RATE);
        assert_eq!(bottleneck.state, State::Free);
        assert_eq!(bottleneck.ready_at(), Time::ZERO);
    }

    #[test]
    fn peers_that_give_less_than_the_link_carries_are_not_paced() {
        let mut bottleneck = Bottleneck::new(Time::ZERO);
        run(&mut bottleneck, 0, 3000, 10, 0.9 * RATE);
        assert_eq!(bottleneck.state, State::Free);
    }

    /// Answers that come late however little is asked for: somebody else fills the link, or the paths
    /// became longer.
    #[test]
    fn a_queue_that_does_not_drain_is_let_be_and_looked_at_again_later() {
        let mut bottleneck = Bottleneck::new(Time::ZERO);
        let mut states = Vec::new();
        for milli in 0..14_000 {
            let now = Time::from_start(Duration::from_millis(milli));
            let peer = ([192, 0, 2, (milli % 10) as u8], 1);
            bottleneck.on_answer(now, peer.into(), Duration::from_millis(40), 1000);
            states.push(bottleneck.state);
        }
        let let_be = |state: &State| matches!(state, State::LetBe(_));
        let first = states.iter().position(let_be).unwrap();
        assert!(first < 1500, "{first}");
        let again = states[first..].iter().position(|state| !let_be(state));
        assert!(again.is_some_and(|after| (9_900..10_400).contains(&after)));
    }

    /// Peers whose own links are full, while ours carried far more a moment ago.
    #[test]
    fn a_queue_with_far_less_than_the_link_carries_is_let_be() {
        let mut bottleneck = Bottleneck::new(Time::ZERO);
        run(&mut bottleneck, 0, 2000, 10, 0.9 * RATE);
        for milli in 2000..4000 {
            let now = Time::from_start(Duration::from_millis(milli));
            let peer = ([192, 0, 2, (milli % 10) as u8], 1);
            let queue = Duration::from_millis(40 + milli % 90);
            bottleneck.on_answer(now, peer.into(), queue, 2000);
            assert_eq!(bottleneck.ready_at(), Time::ZERO, "{:?}", bottleneck.state);
        }
        assert!(matches!(bottleneck.state, State::LetBe(_)));
    }

    #[test]
    fn a_pace_that_is_not_made_use_of_is_kept() {
        let mut bottleneck = Bottleneck::new(Time::ZERO);
        run(&mut bottleneck, 0, 5000, 10, 1.3 * RATE);
        run(&mut bottleneck, 5000, 60_000, 10, 0.5 * RATE);
        let State::Cruise(pace) = bottleneck.state else {
            panic!("{:?}", bottleneck.state);
        };
        assert!(pace < SLOWLY_UP_TO, "{pace}");
    }

    #[test]
    fn a_link_that_became_faster_is_found_out() {
        let mut bottleneck = Bottleneck::new(Time::ZERO);
        bottleneck.state = State::Cruise(CRUISE);
        bottleneck.rate = RATE / 5.0;
        bottleneck.pacer = Some(Bucket::new((RATE / 5.0) as u64, BURST));
        run(&mut bottleneck, 0, 6000, 10, 0.9 * RATE);
        assert_eq!(bottleneck.state, State::Free);
    }
}
