//! The loop: reads packets, lets the two links decide when they arrive, writes them then, counts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::ends::{Ends, Flow, Way};
use crate::link::{Link, Settings};

/// Packets taken from one descriptor before something else has its turn.
const TURN: usize = 64;
/// Longer than any datagram.
const BUFFER: usize = 65_536;
/// Flows that are told apart; further ones count as `other`.
const FLOWS: usize = 64;
/// How often a line is written to the log.
const LOG_EVERY: Duration = Duration::from_millis(100);
/// How long a wait lasts at most, so that being told to stop is seen.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// A packet on its way, ordered by arrival, then by number.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Travelling {
    due: Duration,
    number: u64,
    way: bool,
    place: usize,
    flow: Flow,
    wire: usize,
    data: Vec<u8>,
}

pub struct Relay<E> {
    ends: E,
    links: [Link; 2],
    started: Instant,
    travelling: BinaryHeap<Reverse<Travelling>>,
    spare: Vec<Vec<u8>>,
    number: u64,
    /// Bytes that arrived, by way and flow.
    flows: [BTreeMap<Flow, u64>; 2],
    /// Payload bytes that went through, by way and the length of the datagram that had them.
    payloads: [BTreeMap<usize, u64>; 2],
    /// Packets that a side refused.
    refused: u64,
}

impl<E: Ends> Relay<E> {
    /// Both directions behave as `settings` say; `seed` fixes all that is drawn.
    pub fn new(ends: E, settings: &Settings, seed: u64) -> Self {
        Self {
            ends,
            links: [
                Link::new(settings.clone(), seed),
                Link::new(settings.clone(), !seed),
            ],
            started: Instant::now(),
            travelling: BinaryHeap::new(),
            spare: Vec::new(),
            number: 0,
            flows: Default::default(),
            payloads: Default::default(),
            refused: 0,
        }
    }

    /// Relays until `stop` is set. Ten times a second a line goes to `log`.
    pub fn run(&mut self, stop: &AtomicBool, mut log: Option<impl Write>) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        let mut log_at = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) {
            let now = self.started.elapsed();
            self.deliver(now);
            let took = self.take(now, &mut buffer)?;
            if let Some(log) = &mut log
                && now >= log_at
            {
                log_at = now + LOG_EVERY;
                writeln!(log, "{}", self.line(now))?;
                log.flush()?;
            }
            if !took {
                self.wait();
            }
        }
        Ok(())
    }

    fn deliver(&mut self, now: Duration) {
        while let Some(Reverse(next)) = self.travelling.peek() {
            if next.due > now {
                return;
            }
            let Some(Reverse(mut packet)) = self.travelling.pop() else {
                return;
            };
            let way = if packet.way { Way::Back } else { Way::There };
            if self.ends.send(way, packet.place, &packet.data).is_err() {
                self.refused += 1;
            }
            let flows = &mut self.flows[usize::from(packet.way)];
            let known = flows.len() < FLOWS || flows.contains_key(&packet.flow);
            let flow = if known { packet.flow } else { Flow("other", 0) };
            *flows.entry(flow).or_default() += packet.wire as u64;
            packet.data.clear();
            self.spare.push(packet.data);
        }
    }

    /// Reads what is there; whether anything was.
    fn take(&mut self, now: Duration, buffer: &mut [u8]) -> io::Result<bool> {
        let mut took = false;
        for index in 0..self.ends.descriptors().len() {
            for _ in 0..TURN {
                let Some(packet) = self.ends.receive(index, buffer)? else {
                    break;
                };
                took = true;
                let back = packet.way == Way::Back;
                let (bytes, fragments) = packet.wire;
                let link = &mut self.links[usize::from(back)];
                let Some(due) = link.offer(now, bytes, fragments) else {
                    continue;
                };
                if let Some(payload) = packet.payload {
                    *self.payloads[usize::from(back)].entry(payload).or_default() += payload as u64;
                }
                let mut data = self.spare.pop().unwrap_or_default();
                data.extend_from_slice(&buffer[..packet.length]);
                self.number += 1;
                self.travelling.push(Reverse(Travelling {
                    due,
                    number: self.number,
                    way: back,
                    place: packet.place,
                    flow: packet.flow,
                    wire: bytes,
                    data,
                }));
            }
        }
        Ok(took)
    }

    /// Waits until a packet comes, or one is due.
    fn wait(&self) {
        let now = self.started.elapsed();
        let due = self.travelling.peek().map(|Reverse(next)| next.due);
        let timeout = due
            .map_or(LONGEST_WAIT, |due| due.saturating_sub(now))
            .min(LONGEST_WAIT);
        let mut descriptors: Vec<libc::pollfd> = self
            .ends
            .descriptors()
            .into_iter()
            .map(|fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        let limit = libc::timespec {
            tv_sec: 0,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: the descriptors and the limit live across the call; no signal mask is given. An
        // interruption ends the wait, which is all that is wanted.
        unsafe {
            libc::ppoll(
                descriptors.as_mut_ptr(),
                descriptors.len() as libc::nfds_t,
                &raw const limit,
                std::ptr::null(),
            );
        }
    }

    /// One line of the log: seconds since 1970, bytes that arrived by flow, the queues.
    fn line(&self, now: Duration) -> Value {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        json!({
            "time": wall.as_secs_f64(),
            "there": flows(&self.flows[0]),
            "back": flows(&self.flows[1]),
            "queue_ms": self.links.each_ref().map(|link| link.wait(now).as_secs_f64() * 1e3),
        })
    }

    /// What was done, for people and scripts.
    pub fn report(&self) -> Value {
        let way = |at: usize| {
            let counts = &self.links[at].counts;
            json!({
                "packets": counts.packets,
                "bytes": counts.bytes,
                "dropped": counts.dropped,
                "lost": counts.lost,
                "usual_payload": usual(&self.payloads[at]),
                "queue_ms": { "p50": counts.wait(0.5), "p95": counts.wait(0.95), "p99": counts.wait(0.99) },
                "flows": flows(&self.flows[at]),
            })
        };
        json!({ "there": way(0), "back": way(1), "refused": self.refused })
    }
}

/// The length of the datagrams that had the most payload; 0 when there were none.
fn usual(payloads: &BTreeMap<usize, u64>) -> usize {
    payloads
        .iter()
        .max_by_key(|(_, bytes)| **bytes)
        .map_or(0, |(length, _)| *length)
}

fn flows(flows: &BTreeMap<Flow, u64>) -> Value {
    flows
        .iter()
        .map(|(flow, bytes)| (format!("{}:{}", flow.0, flow.1), json!(bytes)))
        .collect()
}
