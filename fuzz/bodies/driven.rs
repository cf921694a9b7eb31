//! A swarm with a driver around it: virtual time, content made up on the spot, and a record of what
//! each address sent and was sent.

// Each program that compiles this for itself uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use cjp2pfs::content::ContentId;
use cjp2pfs::swarm::{Answer, Ask, Config, Event, Held, Swarm, Time};
use serde_json::Value;

/// IPv4 and UDP headers.
pub const HEADERS: u64 = 28;
/// Datagrams that a swarm may want to send at one moment before it counts as endless.
const MOST_AT_ONCE: usize = 10_000;

/// What an address sent and was sent, headers counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    pub datagrams_in: u64,
    pub bytes_in: u64,
    pub datagrams_out: u64,
    pub bytes_out: u64,
}

/// What an address was told last, for a forger who wants to use it.
#[derive(Clone, Debug, Default)]
pub struct Overheard {
    pub cookie: Option<String>,
    pub ping: Option<String>,
    pub question: Option<(String, u64, u64)>,
}

pub struct Driven {
    pub swarm: Swarm,
    pub now: Time,
    /// Content that is held, and its length.
    pub held: BTreeMap<ContentId, u64>,
    pub flows: BTreeMap<SocketAddr, Flow>,
    pub overheard: BTreeMap<SocketAddr, Overheard>,
    /// Events other than questions, in order.
    pub events: Vec<Event>,
    out: Vec<u8>,
    zeros: Vec<u8>,
}

impl Driven {
    pub fn new(config: Config) -> Self {
        Self {
            swarm: Swarm::new(config, [7; 32], Time::ZERO),
            now: Time::ZERO,
            held: BTreeMap::new(),
            flows: BTreeMap::new(),
            overheard: BTreeMap::new(),
            events: Vec::new(),
            out: Vec::new(),
            zeros: vec![0; 65_536],
        }
    }

    pub fn total(&self) -> Flow {
        self.flows.values().fold(Flow::default(), |sum, flow| Flow {
            datagrams_in: sum.datagrams_in + flow.datagrams_in,
            bytes_in: sum.bytes_in + flow.bytes_in,
            datagrams_out: sum.datagrams_out + flow.datagrams_out,
            bytes_out: sum.bytes_out + flow.bytes_out,
        })
    }

    pub fn deliver(&mut self, from: SocketAddr, datagram: &[u8]) {
        let flow = self.flows.entry(from).or_default();
        flow.datagrams_in += 1;
        flow.bytes_in += datagram.len() as u64 + HEADERS;
        self.swarm.handle_datagram(self.now, from, datagram);
        self.drain();
    }

    /// Lets time pass, and the swarm do what becomes due meanwhile.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(due) = self.swarm.poll_timeout()
            && due <= end
        {
            // A timer of the kernel is never earlier than this.
            let soonest = self.now + Duration::from_micros(50);
            self.now = due.max(soonest).min(end.max(soonest));
            self.swarm.handle_timeout(self.now);
            self.drain();
            turns += 1;
            assert!(turns < 1_000_000, "it never rests");
            if self.now >= end {
                break;
            }
        }
        self.now = self.now.max(end);
    }

    pub fn drain(&mut self) {
        while let Some(event) = self.swarm.poll_event() {
            match event {
                Event::Asked(ask) => self.answer(ask),
                other => self.events.push(other),
            }
        }
        for turn in 0.. {
            assert!(turn < MOST_AT_ONCE, "it sends without end");
            let mut out = std::mem::take(&mut self.out);
            let to = self.swarm.poll_transmit(self.now, &mut out);
            if let Some(to) = to {
                self.note_sent(to, &out);
            }
            self.out = out;
            if to.is_none() {
                break;
            }
        }
    }

    fn answer(&mut self, mut ask: Ask) {
        assert!(ask.questions.len() <= 16 && ask.parts_of.len() <= 4);
        if ask.list {
            ask.listing = self
                .held
                .iter()
                .map(|(id, length)| (*id, *length))
                .collect();
        }
        ask.parts = ask
            .parts_of
            .iter()
            .filter_map(|id| Some(Held::whole(*id, *self.held.get(id)?)))
            .collect();
        let answers: Vec<Answer<'_>> = ask
            .questions
            .iter()
            .map(|question| match self.held.get(&question.id) {
                Some(eof) => Answer::Content {
                    eof: *eof,
                    data: &self.zeros[..question.range(*eof).len() as usize],
                },
                None => Answer::Absent,
            })
            .collect();
        let mut out = Vec::new();
        let to = self.swarm.answer(self.now, &ask, &answers, &mut out);
        drop(answers);
        if let Some(to) = to {
            self.note_sent(to, &out);
        }
    }

    fn note_sent(&mut self, to: SocketAddr, datagram: &[u8]) {
        assert!(datagram.len() <= 65_507, "{} bytes", datagram.len());
        assert!(to.port() != 0 && !to.ip().is_multicast() && !to.ip().is_unspecified());
        let flow = self.flows.entry(to).or_default();
        flow.datagrams_out += 1;
        flow.bytes_out += datagram.len() as u64 + HEADERS;
        let messages: Vec<Value> = serde_json::from_slice(datagram)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(datagram)));
        let overheard = self.overheard.entry(to).or_default();
        for message in &messages {
            let text = |kind: &str| Some(message.get(kind)?.get("cookie")?.as_str()?.to_owned());
            if let Some(cookie) = text("PleaseAlwaysReturnThisMessage") {
                overheard.cookie = Some(cookie);
            }
            if let Some(ping) = text("PleaseReturnThisMessage") {
                overheard.ping = Some(ping);
            }
            if let Some(asked) = message.get("PleaseSendContent") {
                let number = |field: &str| asked[field].as_u64().expect("a number");
                let (offset, length) = (number("offset"), number("length"));
                assert!(offset < 1 << 63, "kills deployed nodes: {offset}");
                let id = asked["id"].as_str().expect("a text").to_owned();
                overheard.question = Some((id, offset, length));
            }
        }
    }
}
