//! How a host is attached: the rates, queues and faults of its uplink and downlink, what its
//! network does to fragments, and how much memory its kernel gives to incomplete datagrams.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cjp2pfs::swarm::Time;

/// Bytes of an IPv4 and a UDP header together: what every datagram costs on top of its payload.
pub const HEADERS: u64 = 28;

/// 100 Mbit/s in bytes per second.
pub const FAST_ETHERNET: u64 = 12_500_000;

/// One direction of a host's attachment to the network.
#[derive(Clone, Debug)]
pub struct Link {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes that may wait; what would exceed it is dropped, fragment by fragment.
    pub queue: u64,
    /// Propagation delay that this link adds to every path through it.
    pub delay: Duration,
    /// Further delay, uniform from zero to this; packets of one path keep their order under it.
    pub jitter: Duration,
    /// Probability that an IP packet (a fragment) is lost.
    pub loss: f64,
    /// Probability that an IP packet arrives twice.
    pub duplicate: f64,
    /// Probability that an IP packet is held back by up to `reorder_by` while others pass it.
    pub reorder: f64,
    pub reorder_by: Duration,
    /// Probability that a byte of a datagram's payload is flipped. UDP's checksum would catch most
    /// of these, so it is applied above the checksum, to what the host is given.
    pub corrupt: f64,
}

impl Link {
    /// A faultless link with a queue of 100 ms.
    pub fn new(rate: u64, delay: Duration) -> Self {
        Self {
            rate,
            queue: (rate / 10).max(30_000),
            delay,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by: Duration::ZERO,
            corrupt: 0.0,
        }
    }
}

/// What a network in the way does to datagrams of more than one fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragments {
    Pass,
    /// As many NATs and firewalls do: none of them arrives.
    Dropped,
}

/// A host's attachment.
#[derive(Clone, Debug)]
pub struct Access {
    pub up: Link,
    pub down: Link,
    /// The longest IP packet; the smaller one of both ends counts.
    pub mtu: usize,
    pub fragments: Fragments,
    /// Bytes of memory for incomplete datagrams (`net.ipv4.ipfrag_high_thresh`, 4 MiB by default).
    pub reassembly: u64,
}

impl Access {
    /// The same rate both ways, `rtt / 4` on each link: two such hosts are `rtt` apart.
    pub fn symmetric(rate: u64, rtt: Duration) -> Self {
        Self {
            up: Link::new(rate, rtt / 4),
            down: Link::new(rate, rtt / 4),
            mtu: 1500,
            fragments: Fragments::Pass,
            reassembly: 4 << 20,
        }
    }

    /// A host of this machine: no MTU to speak of, microseconds away.
    pub fn loopback() -> Self {
        let mut access = Self::symmetric(2_000_000_000, Duration::from_micros(40));
        access.mtu = 65_535;
        access
    }

    pub fn lossy(mut self, loss: f64) -> Self {
        self.down.loss = loss;
        self
    }
}

/// A link's transmitter: a first-in first-out queue in front of a fixed rate.
#[derive(Debug)]
pub struct Pipe {
    pub link: Link,
    free_at: Time,
    waits: Waits,
}

/// How long packets stood in a queue.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    pub packets: u64,
    pub total: Duration,
    pub longest: Duration,
    /// Packets by how many whole milliseconds they waited.
    by_millisecond: BTreeMap<u64, u64>,
}

impl Waits {
    pub fn mean(&self) -> Duration {
        Duration::from_nanos((self.total.as_nanos() / u128::from(self.packets.max(1))) as u64)
    }

    /// The wait that `share` of the packets did not exceed, to the millisecond above.
    pub fn percentile(&self, share: f64) -> Duration {
        let mut left = (self.packets as f64 * share).ceil() as u64;
        for (wait, packets) in &self.by_millisecond {
            if left <= *packets {
                return Duration::from_millis(wait + 1);
            }
            left -= packets;
        }
        self.longest
    }

    fn note(&mut self, wait: Duration) {
        self.packets += 1;
        self.total += wait;
        self.longest = self.longest.max(wait);
        *self
            .by_millisecond
            .entry(wait.as_millis() as u64)
            .or_default() += 1;
    }
}

impl Pipe {
    pub fn new(link: Link) -> Self {
        Self {
            link,
            free_at: Time::ZERO,
            waits: Waits::default(),
        }
    }

    /// Queues a packet of `bytes`; the moment its last bit has left, or `None` when the queue is full.
    pub fn pass(&mut self, now: Time, bytes: u64) -> Option<Time> {
        let rate = u128::from(self.link.rate.max(1));
        let waiting = self.free_at.since(now).as_nanos() * rate / 1_000_000_000;
        if waiting + u128::from(bytes) > u128::from(self.link.queue) {
            return None;
        }
        let start = self.free_at.max(now);
        self.waits.note(start.since(now));
        let takes = u128::from(bytes) * 1_000_000_000 / rate;
        self.free_at = start + Duration::from_nanos(takes as u64);
        Some(self.free_at)
    }

    /// What packets waited here so far.
    pub fn waits(&self) -> &Waits {
        &self.waits
    }
}

/// The IP packets of a datagram: sizes with their IP header, in order.
pub fn packet_sizes(payload: usize, mtu: usize) -> impl Iterator<Item = u64> {
    let total = payload + 8;
    let whole = mtu - 20;
    let each = if total <= whole { whole } else { whole & !7 };
    (0..total.div_ceil(each)).map(move |i| (each.min(total - i * each) + 20) as u64)
}

/// What the kernel takes for one fragment of MTU 1500: the `truesize` of its socket buffer. 37 of 38
/// fragments pin 83 KB and three of four pin 7 KB, as was measured.
const TRUESIZE: u64 = 2304;

/// How long an incomplete datagram keeps its memory (`net.ipv4.ipfrag_time`).
const REASSEMBLY_LIFETIME: Duration = Duration::from_secs(30);

/// A receiver's memory for datagrams of which fragments are missing.
#[derive(Debug, Default)]
pub struct Reassembly {
    waiting: BTreeMap<u64, (u128, u64)>,
    expiries: VecDeque<(Time, u64)>,
    memory: u64,
    pub failures: u64,
}

impl Reassembly {
    /// Takes a fragment; true when it completes its datagram. Once `limit` is reached no datagram can
    /// be begun, as in Linux since 4.17, until older ones complete or expire.
    pub fn take(&mut self, now: Time, limit: u64, datagram: u64, index: u32, count: u32) -> bool {
        self.expire(now);
        if count == 1 {
            return true;
        }
        if !self.waiting.contains_key(&datagram) {
            if self.memory >= limit {
                self.failures += 1;
                return false;
            }
            self.waiting.insert(datagram, (0, 0));
            self.expiries
                .push_back((now + REASSEMBLY_LIFETIME, datagram));
        }
        let Some((mask, memory)) = self.waiting.get_mut(&datagram) else {
            return false;
        };
        let bit = 1u128 << index.min(127);
        if *mask & bit == 0 {
            *mask |= bit;
            *memory += TRUESIZE;
            self.memory += TRUESIZE;
        }
        if mask.count_ones() == count {
            self.memory -= *memory;
            self.waiting.remove(&datagram);
            return true;
        }
        false
    }

    fn expire(&mut self, now: Time) {
        while let Some(&(at, datagram)) = self.expiries.front()
            && at <= now
        {
            self.expiries.pop_front();
            if let Some((_, memory)) = self.waiting.remove(&datagram) {
                self.memory -= memory;
                self.failures += 1;
            }
        }
    }

    /// Bytes that incomplete datagrams hold now.
    pub fn memory(&self) -> u64 {
        self.memory
    }
}
