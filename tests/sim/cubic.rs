//! A TCP flow with CUBIC (RFC 9438), as far as a neighbour on the bottleneck notices: window, loss, recovery.
//! Segments carry numbers and no data, each is acknowledged by itself, and what is lost is not sent again.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use cjp2pfs::swarm::Time;

use crate::net::{Host, Outgoing};
use crate::node::Node;

/// Bytes of a segment without the 28 that the simulator adds: a packet of 1,500.
const SEGMENT: usize = 1472;
const ACKNOWLEDGEMENT: usize = 24;
/// Segments that may be overtaken before one is taken for lost.
const REORDERING: u64 = 3;
const INITIAL_WINDOW: f64 = 10.0;
const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// Round trips of a round that slow start looks at.
const SAMPLES: u32 = 8;
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);

/// Sends without end, from a moment on.
#[derive(Debug)]
pub struct Sender {
    to: SocketAddr,
    begins: Time,
    begun: bool,
    window: f64,
    threshold: f64,
    /// The window of before the last loss, the one that Reno would have, and since when it grows.
    highest_window: f64,
    reno: f64,
    epoch: Option<(Time, f64)>,
    next: u64,
    in_flight: BTreeMap<u64, Time>,
    highest: u64,
    /// What was sent before this shares the loss that has been answered.
    recovered_from: u64,
    least_rtt: Duration,
    /// Where this round of slow start ends, how many of its round trips have been seen, and the least.
    round: (u64, u32, Duration),
    heard: Time,
}

impl Sender {
    pub fn new(to: SocketAddr, begins: Time) -> Self {
        Self {
            to,
            begins,
            begun: false,
            window: INITIAL_WINDOW,
            threshold: f64::INFINITY,
            highest_window: 0.0,
            reno: 0.0,
            epoch: None,
            next: 1,
            in_flight: BTreeMap::new(),
            highest: 0,
            recovered_from: 0,
            least_rtt: Duration::MAX,
            round: (0, 0, Duration::MAX),
            heard: begins,
        }
    }

    fn timeout_at(&self) -> Time {
        let rtt = Some(self.least_rtt).filter(|rtt| *rtt < Duration::MAX);
        self.heard + rtt.map_or(Duration::from_secs(1), |rtt| (rtt * 4).max(LEAST_TIMEOUT))
    }

    fn acknowledged(&mut self, now: Time, number: u64) {
        let Some(sent) = self.in_flight.remove(&number) else {
            return;
        };
        self.heard = now;
        self.highest = self.highest.max(number);
        let rtt = now.since(sent);
        self.least_rtt = self.least_rtt.min(rtt);
        let passed = self.highest.saturating_sub(REORDERING);
        let kept = self.in_flight.split_off(&passed);
        let lost = std::mem::replace(&mut self.in_flight, kept);
        if lost.keys().any(|number| *number >= self.recovered_from) {
            self.shrink();
        } else if number >= self.recovered_from {
            self.grow(now, number, rtt);
        }
    }

    fn shrink(&mut self) {
        // Fast convergence: who does not come back to where he was makes room.
        self.highest_window = if self.window < self.highest_window {
            self.window * (1.0 + BETA) / 2.0
        } else {
            self.window
        };
        self.window = (self.window * BETA).max(2.0);
        self.threshold = self.window;
        self.reno = self.window;
        self.epoch = None;
        self.recovered_from = self.next;
    }

    fn grow(&mut self, now: Time, number: u64, rtt: Duration) {
        if self.window < self.threshold {
            self.window += 1.0;
            self.end_slow_start(number, rtt);
            return;
        }
        let window = self.window;
        let origin = self.highest_window.max(window);
        let (epoch, k) = *self
            .epoch
            .get_or_insert_with(|| (now, ((origin - window) / C).cbrt()));
        let at = (now.since(epoch) + self.least_rtt).as_secs_f64();
        let target = (origin_of(self.highest_window, k, at)).clamp(window, window * 1.5);
        self.reno += 3.0 * (1.0 - BETA) / (1.0 + BETA) / window;
        self.window = (window + (target - window) / window).max(self.reno);
    }

    /// HyStart, as Linux has it: where the least of the first round trips of a round has grown, a queue stands.
    fn end_slow_start(&mut self, number: u64, rtt: Duration) {
        let (ends, seen, least) = self.round;
        self.round = match number >= ends {
            true => (self.next, 1, rtt),
            false => (
                ends,
                seen + 1,
                if seen < SAMPLES {
                    least.min(rtt)
                } else {
                    least
                },
            ),
        };
        let queue = (self.least_rtt / 8).clamp(Duration::from_millis(4), Duration::from_millis(16));
        if self.round.1 == SAMPLES && self.round.2 > self.least_rtt + queue {
            self.threshold = self.window;
            self.highest_window = self.window;
            self.reno = self.window;
        }
    }
}

/// The cubic function: its plateau is reached after `k` seconds.
fn origin_of(plateau: f64, k: f64, at: f64) -> f64 {
    plateau + C * (at - k).powi(3)
}

impl Host for Sender {
    fn handle_datagram(&mut self, now: Time, _from: SocketAddr, datagram: &[u8]) {
        if let Some(number) = number_of(datagram) {
            self.acknowledged(now, number);
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if now >= self.begins && !self.begun {
            self.begun = true;
        } else if self.begun && now >= self.timeout_at() {
            self.heard = now;
            self.in_flight.clear();
            self.shrink();
            self.window = 1.0;
        }
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing> {
        if !self.begun || self.in_flight.len() as f64 >= self.window {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.in_flight.insert(number, now);
        Some(numbered(number, SEGMENT, self.to))
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(if self.begun {
            self.timeout_at()
        } else {
            self.begins
        })
    }
}

fn numbered(number: u64, length: usize, to: SocketAddr) -> Outgoing {
    let mut datagram = vec![0; length];
    datagram[..8].copy_from_slice(&number.to_le_bytes());
    Outgoing {
        to,
        spoofed: None,
        datagram,
    }
}

fn number_of(datagram: &[u8]) -> Option<u64> {
    datagram
        .first_chunk()
        .map(|bytes| u64::from_le_bytes(*bytes))
}

/// A host with a node on it and the receiver of such a flow.
pub struct Beside {
    pub node: Node,
    sender: SocketAddr,
    acknowledgements: VecDeque<Outgoing>,
    /// Bytes of packets that came of the flow.
    pub got: u64,
}

impl Beside {
    pub fn new(node: Node, sender: SocketAddr) -> Self {
        Self {
            node,
            sender,
            acknowledgements: VecDeque::new(),
            got: 0,
        }
    }
}

impl Host for Beside {
    fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        if from != self.sender {
            return self.node.handle_datagram(now, from, datagram);
        }
        if let Some(number) = number_of(datagram) {
            self.got += SEGMENT as u64 + crate::link::HEADERS;
            let acknowledgement = numbered(number, ACKNOWLEDGEMENT, from);
            self.acknowledgements.push_back(acknowledgement);
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.node.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing> {
        let acknowledgement = self.acknowledgements.pop_front();
        acknowledgement.or_else(|| self.node.poll_transmit(now))
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.node.poll_timeout()
    }
}
