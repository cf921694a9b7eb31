//! Peers that lie, one lie each: what a transfer from honest peers must survive.
//!
//! A liar is quick, takes part in the exchange of cookies and returns pings, so that nothing but its
//! lie tells it from an honest peer, and it never keeps to the 32 bytes for unverified askers.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use cjp2pfs::swarm::Time;

use crate::content::Synthetic;
use crate::message;
use crate::net::{Host, Outgoing};
use crate::rng::Rng;

/// Bytes a second of a flood: 40 Mbit/s. One that fills a path leaves nothing for anybody, and no
/// receiver can do anything about it.
const FLOOD_RATE: u64 = 5_000_000;
/// How often a flooding liar sends a burst.
const FLOOD_STEP: Duration = Duration::from_millis(2);

#[derive(Clone, Debug)]
pub enum Lie {
    /// The data is right, the length of the whole is claimed to be this.
    Eof(u64),
    /// More data than was asked for.
    LongerAnswers,
    /// One byte at a time.
    ShortAnswers,
    /// The answer to another offset.
    OtherOffsets,
    /// The answer is said to belong to another id.
    OtherIds,
    /// `"base64":""` to everything.
    EmptyData,
    /// More data than fits before the `eof` in the same answer.
    PastTheEnd,
    /// All as it should be, but for the bytes.
    WrongBytes,
    /// It returns cookies and pings and never any content.
    Tarpit,
    /// Bytes that are no messages, in a flood, to this address.
    Garbage(SocketAddr),
    /// Wrong content under the right id at offsets that may or may not have been asked of others, in a
    /// flood, to the first address, pretending to come from the second (or from itself).
    Unasked(SocketAddr, Option<SocketAddr>),
    /// The first answers are honest; from then on every question is answered with three of those again,
    /// as they were.
    OldReplies,
    /// Every question is answered with bytes that are no message.
    GarbageAnswers,
    /// Nothing but `MaybeTheyHaveSome`, naming these.
    OnlyMaybe(Vec<SocketAddr>),
    /// To every datagram, 100,000 addresses in `Peers`, from this one on.
    ManyPeers(Ipv4Addr),
}

#[derive(Debug)]
pub struct Liar {
    lie: Lie,
    what: Synthetic,
    rng: Rng,
    out: VecDeque<Outgoing>,
    next_flood: Time,
    told_many: u32,
    /// Answers that are given again and again.
    old: Vec<Vec<u8>>,
    /// Questions for content that it was asked.
    pub asked: u64,
}

impl Liar {
    pub fn new(seed: u64, lie: Lie, what: Synthetic) -> Self {
        Self {
            lie,
            what,
            rng: Rng::new(seed),
            out: VecDeque::new(),
            next_flood: Time::ZERO + FLOOD_STEP,
            told_many: 0,
            old: Vec::new(),
            asked: 0,
        }
    }

    fn answer(&mut self, id: &str, offset: u64, length: u64) -> Option<String> {
        let what = self.what;
        let honest = what.read(offset, length.min(40_960));
        let eof = what.length;
        Some(match &self.lie {
            Lie::Eof(eof) => message::content(id, offset, *eof, &honest),
            Lie::LongerAnswers => {
                let data = what.read_past(offset, (2 * length).clamp(64, 40_960));
                message::content(id, offset, eof, &data)
            }
            Lie::ShortAnswers => message::content(id, offset, eof, &honest[..honest.len().min(1)]),
            Lie::OtherOffsets => message::content(id, offset + 4096, eof, &honest),
            Lie::OtherIds => {
                let other = Synthetic::new(what.salt ^ 1, eof).id().to_string();
                message::content(&other, offset, eof, &honest)
            }
            Lie::EmptyData => message::content(id, offset, eof, &[]),
            Lie::PastTheEnd => message::content(id, offset, offset + 10, &honest),
            Lie::WrongBytes => {
                let data = self.rng.bytes(honest.len());
                message::content(id, offset, eof, &data)
            }
            Lie::OldReplies => message::content(id, offset, eof, &honest),
            Lie::OnlyMaybe(victims) => message::maybe_they_have_some(id, victims),
            Lie::Tarpit
            | Lie::Garbage(_)
            | Lie::GarbageAnswers
            | Lie::Unasked(..)
            | Lie::ManyPeers(_) => return None,
        })
    }

    fn garbage(&mut self) -> Vec<u8> {
        let n = 1 + self.rng.below(1400) as usize;
        match self.rng.below(5) {
            0 => self.rng.bytes(n),
            1 => b"[".repeat(n),
            2 => format!(
                r#"[{{"Content":{{"id":"{}","offset":0,"base64":"{}"#,
                self.what.id(),
                "A".repeat(n)
            )
            .into_bytes(),
            3 => format!(r#"[{}]"#, r#"{"Wat":{"a":[1,{}]}},"#.repeat(n / 24) + "7").into_bytes(),
            _ => format!(r#"[{{"Peers":{{"peers":["{}"]}}}}]"#, "é".repeat(n / 2)).into_bytes(),
        }
    }

    fn flood(&mut self) {
        let mut budget = (FLOOD_RATE as u128 * FLOOD_STEP.as_nanos() / 1_000_000_000) as usize;
        loop {
            let (to, spoofed, datagram) = match self.lie {
                Lie::Garbage(to) => (to, None, self.garbage()),
                Lie::Unasked(to, spoofed) => {
                    let offset = self.rng.below(self.what.length / 4096 + 1) * 4096;
                    let length = if self.rng.chance(0.5) { 960 } else { 4096 };
                    let id = self.what.id().to_string();
                    let data = self.rng.bytes(length);
                    let content = message::content(&id, offset, self.what.length, &data);
                    (to, spoofed, message::datagram(&[content]))
                }
                _ => return,
            };
            if datagram.len() > budget {
                return;
            }
            budget -= datagram.len();
            self.out.push_back(Outgoing {
                to,
                spoofed,
                datagram,
            });
        }
    }

    /// Sends `datagram`, which answers a question, unless there are old ones to send instead.
    fn send(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        const OLD: usize = 16;
        let mut send = |datagram| {
            self.out.push_back(Outgoing {
                to,
                spoofed: None,
                datagram,
            });
        };
        match self.lie {
            Lie::OldReplies if self.old.len() >= OLD => {
                for _ in 0..3 {
                    let old = self.rng.below(OLD as u64) as usize;
                    send(self.old[old].clone());
                }
            }
            Lie::OldReplies => {
                self.old.push(datagram.clone());
                send(datagram);
            }
            _ => send(datagram),
        }
    }

    /// Tells of many, with all that makes the sender one to be believed: `answers`.
    fn tell_many(&mut self, to: SocketAddr, first: Ipv4Addr, answers: &[String]) {
        if self.told_many >= 5 || answers.is_empty() {
            return;
        }
        self.told_many += 1;
        let mut next = first.to_bits();
        for _ in 0..40 {
            let peers: Vec<SocketAddr> = (next..next + 2500)
                .map(|bits| SocketAddr::from((Ipv4Addr::from_bits(bits), 24254)))
                .collect();
            next += 2500;
            let mut messages = answers.to_vec();
            messages.push(message::peers_message(&peers));
            let datagram = message::datagram(&messages);
            self.out.push_back(Outgoing {
                to,
                spoofed: None,
                datagram,
            });
        }
    }
}

impl Host for Liar {
    fn handle_datagram(&mut self, _now: Time, from: SocketAddr, datagram: &[u8]) {
        let mut answers = Vec::new();
        for (kind, value) in message::parse(datagram) {
            match kind.as_str() {
                "PleaseReturnThisMessage" => {
                    if let Some(cookie) = message::cookie(&value) {
                        answers.push(message::with_cookie("ReturnedMessage", cookie));
                    }
                }
                "PleaseAlwaysReturnThisMessage" => {
                    if let Some(cookie) = message::cookie(&value) {
                        answers.push(message::with_cookie("AlwaysReturned", cookie));
                    }
                }
                "PleaseSendContent" => {
                    self.asked += 1;
                    if let Some((id, offset, length)) = message::question(&value) {
                        answers.extend(self.answer(id, offset, length));
                    }
                }
                "PleaseSendPeers" => {
                    if let Lie::OnlyMaybe(victims) = &self.lie {
                        answers.push(message::peers_message(victims));
                    }
                }
                _ => {}
            }
        }
        if let Lie::ManyPeers(first) = self.lie {
            self.tell_many(from, first, &answers);
        }
        if matches!(self.lie, Lie::GarbageAnswers) && !answers.is_empty() {
            for _ in 0..3 {
                let garbage = self.garbage();
                self.send(from, garbage);
            }
        } else if !answers.is_empty() {
            answers.push(message::with_cookie(
                "PleaseAlwaysReturnThisMessage",
                "trust me",
            ));
            self.send(from, message::datagram(&answers));
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if now >= self.next_flood {
            self.next_flood = now + FLOOD_STEP;
            self.flood();
        }
    }

    fn poll_transmit(&mut self, _now: Time) -> Option<Outgoing> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        matches!(self.lie, Lie::Garbage(_) | Lie::Unasked(..)).then_some(self.next_flood)
    }
}
