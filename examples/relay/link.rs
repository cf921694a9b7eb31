//! One direction of the emulated path: a queue in front of a fixed rate, then a delay, then loss.
//!
//! A packet that finds no room is dropped from the tail. What is lost otherwise is lost behind the
//! bottleneck: it took its share of the rate. Nothing here knows the time or a socket, so the same
//! seed and the same packets meet the same fate.

use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes of an IPv4 header without options, which every fragment carries.
pub const IP_HEADER: usize = 20;
/// Bytes of a UDP header, which the first fragment carries.
pub const UDP_HEADER: usize = 8;

/// How a direction behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes a second, counted with IP headers; `None` is without limit.
    pub rate: Option<f64>,
    /// Bytes that may wait for their turn, beside the packet that is being sent.
    pub queue: f64,
    /// Propagation delay.
    pub delay: Duration,
    /// Further delay, uniform from zero to this. Packets may overtake each other under it.
    pub jitter: Duration,
    /// Probability that an IP packet is lost.
    pub loss: f64,
}

/// What became of the packets.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Datagrams (or IP packets) that arrived at their destination, and their bytes with headers.
    pub packets: u64,
    pub bytes: u64,
    /// Those that found the queue full.
    pub dropped: u64,
    /// Those that were lost behind the queue.
    pub lost: u64,
    /// Packets by how many tenths of a millisecond they stood in the queue.
    waits: BTreeMap<u64, u64>,
}

impl Counts {
    /// The wait in the queue that `share` of the packets did not exceed, in milliseconds.
    pub fn wait(&self, share: f64) -> f64 {
        let all: u64 = self.waits.values().sum();
        let mut left = (all as f64 * share).ceil() as u64;
        for (tenths, packets) in &self.waits {
            if left <= *packets {
                return (*tenths + 1) as f64 / 10.0;
            }
            left -= packets;
        }
        0.0
    }
}

/// The direction itself. Times are since any fixed moment.
pub struct Link {
    settings: Settings,
    random: fastrand::Rng,
    /// When the last accepted packet has left.
    free_at: Duration,
    pub counts: Counts,
}

impl Link {
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            random: fastrand::Rng::with_seed(seed),
            free_at: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    /// A datagram of `fragments` IP packets and `bytes` in all, headers counted, comes to the queue
    /// at `now`. The moment at which it arrives, or `None` if it does not.
    pub fn offer(&mut self, now: Duration, bytes: usize, fragments: usize) -> Option<Duration> {
        let wait = self.free_at.saturating_sub(now);
        let mut left = now;
        if let Some(rate) = self.settings.rate {
            if wait.as_secs_f64() * rate > self.settings.queue {
                self.counts.dropped += 1;
                return None;
            }
            left = self.free_at.max(now) + Duration::from_secs_f64(bytes as f64 / rate);
            self.free_at = left;
        }
        *self
            .counts
            .waits
            .entry((wait.as_micros() / 100) as u64)
            .or_default() += 1;
        // Every fragment is drawn for, so that one more byte does not change the fate of all that
        // follows in a different way than on a real path.
        let lost = (0..fragments)
            .filter(|_| self.random.f64() < self.settings.loss)
            .count();
        let jitter = self.settings.jitter.mul_f64(self.random.f64());
        if lost > 0 {
            self.counts.lost += 1;
            return None;
        }
        self.counts.packets += 1;
        self.counts.bytes += bytes as u64;
        Some(left + self.settings.delay + jitter)
    }

    /// How long a packet that comes at `now` would stand in the queue.
    pub fn wait(&self, now: Duration) -> Duration {
        self.free_at.saturating_sub(now)
    }
}

/// Bytes that a UDP datagram of `payload` bytes takes over IPv4 at `mtu`, and in how many packets.
/// Every fragment but the last carries a multiple of eight bytes (RFC 791).
pub fn fragments(payload: usize, mtu: usize) -> (usize, usize) {
    let each = (mtu.saturating_sub(IP_HEADER) & !7).max(8);
    let data = payload + UDP_HEADER;
    let count = if data + IP_HEADER <= mtu {
        1
    } else {
        data.div_ceil(each)
    };
    (data + count * IP_HEADER, count)
}
