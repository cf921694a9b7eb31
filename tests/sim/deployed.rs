//! A node as it is deployed today, after PROTOCOL.md: what the swarm must get on with.
//!
//! It answers any offset with up to 40,960 bytes to an address whose datagram returns its cookie
//! (bound to the IP, without the port), 32 bytes to others, sends all answers to one datagram in one
//! datagram, or nothing when they do not fit, probes the peers that it knows, and fetches 4,096 bytes
//! at a time, asking again at once for whatever is not exactly what it asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use cjp2pfs::swarm::Time;
use serde_json::Value;

use crate::content::Synthetic;
use crate::message;
use crate::net::{Host, Outgoing};
use crate::rng::{Rng, mix};

const LONGEST_ANSWER: u64 = 40_960;
const DATA_TO_UNVERIFIED: u64 = 32;
const BLOCK: u64 = 4096;
/// Its client's requests in flight: 2.1 MB/s at a round trip of 50 ms.
const IN_FLIGHT: usize = 25;
/// Its client's patience with a request.
const PATIENCE: Duration = Duration::from_secs(1);
const MOST_KNOWN: usize = 400;

/// What it fetches itself.
#[derive(Debug)]
pub struct Fetch {
    id: String,
    what: Synthetic,
    sources: Vec<SocketAddr>,
    asked: BTreeMap<u64, Time>,
    have: BTreeSet<u64>,
    next: u64,
    pub finished: Option<Time>,
    pub wrong_bytes: u64,
    /// Questions sent.
    pub asked_times: u64,
}

impl Fetch {
    fn blocks(&self) -> u64 {
        self.what.length.div_ceil(BLOCK)
    }
}

#[derive(Debug)]
pub struct Deployed {
    rng: Rng,
    secret: u64,
    contents: BTreeMap<String, Synthetic>,
    known: Vec<SocketAddr>,
    cookies: BTreeMap<SocketAddr, String>,
    interested: BTreeMap<String, Vec<SocketAddr>>,
    pub fetch: Option<Fetch>,
    out: VecDeque<Outgoing>,
    next_probe: Time,
    /// Content bytes given out, by whether the asker was verified.
    pub served: u64,
    pub served_unverified: u64,
}

impl Deployed {
    pub fn new(seed: u64, contents: &[Synthetic], known: &[SocketAddr]) -> Self {
        let mut rng = Rng::new(seed);
        let secret = rng.next();
        Self {
            next_probe: Time::ZERO + Duration::from_nanos(rng.below(1_000_000_000)),
            rng,
            secret,
            contents: contents.iter().map(|c| (c.id().to_string(), *c)).collect(),
            known: known.to_vec(),
            cookies: BTreeMap::new(),
            interested: BTreeMap::new(),
            fetch: None,
            out: VecDeque::new(),
            served: 0,
            served_unverified: 0,
        }
    }

    /// A node that also fetches `what` from `sources`.
    pub fn fetching(mut self, what: Synthetic, sources: &[SocketAddr]) -> Self {
        self.fetch = Some(Fetch {
            id: what.id().to_string(),
            what,
            sources: sources.to_vec(),
            asked: BTreeMap::new(),
            have: BTreeSet::new(),
            next: 0,
            finished: None,
            wrong_bytes: 0,
            asked_times: 0,
        });
        self
    }

    fn cookie_for(&self, address: SocketAddr) -> String {
        let ip = match address {
            SocketAddr::V4(v4) => u64::from(v4.ip().to_bits()),
            SocketAddr::V6(v6) => v6.ip().to_bits() as u64,
        };
        format!("{:08x}", mix(self.secret ^ ip) as u32)
    }

    fn know(&mut self, address: SocketAddr) {
        if !self.known.contains(&address) && self.known.len() < MOST_KNOWN {
            self.known.push(address);
        }
    }

    fn send(&mut self, to: SocketAddr, mut messages: Vec<String>) {
        if let Some(cookie) = self.cookies.get(&to) {
            messages.push(message::with_cookie("AlwaysReturned", cookie));
        }
        let datagram = message::datagram(&messages);
        if datagram.len() <= 65_507 {
            self.out.push_back(Outgoing {
                to,
                spoofed: None,
                datagram,
            });
        }
    }

    fn some_known(&mut self, but: SocketAddr, most: usize) -> Vec<SocketAddr> {
        let mut some: Vec<_> = self
            .known
            .iter()
            .copied()
            .filter(|peer| *peer != but)
            .collect();
        while some.len() > most {
            let out = self.rng.below(some.len() as u64) as usize;
            some.swap_remove(out);
        }
        some
    }

    /// The answer to one question for content; `None` for silence.
    fn answer(
        &mut self,
        from: SocketAddr,
        question: &Value,
        verified: bool,
    ) -> Option<Vec<String>> {
        let (id, offset, length) = message::question(question)?;
        let mut answers = Vec::new();
        let interested = self.interested.entry(id.to_string()).or_default();
        let others: Vec<_> = interested
            .iter()
            .copied()
            .filter(|peer| *peer != from)
            .collect();
        if !interested.contains(&from) {
            interested.push(from);
        }
        if interested.len() > 48 {
            interested.remove(0);
        }
        let mut chance = self.rng.below(200);
        if verified {
            chance = if chance < 20 { 195 } else { 0 };
        }
        let what = self.contents.get(id).copied();
        if let Some(what) = what {
            // Of 200 fresh addresses 177 got content, 13 the cookie alone, 10 other peers.
            if verified || chance < 177 {
                let past_or_nothing = length == 0 || offset >= what.length;
                if verified && past_or_nothing {
                    answers.push(message::content(id, offset, what.length, &[]));
                } else {
                    let most = if verified {
                        length.min(LONGEST_ANSWER)
                    } else {
                        DATA_TO_UNVERIFIED
                    };
                    let data = what.read(offset, most);
                    if verified {
                        self.served += data.len() as u64;
                    } else {
                        self.served_unverified += data.len() as u64;
                    }
                    answers.push(message::content(id, offset, what.length, &data));
                }
            }
        }
        if chance >= 190 && !others.is_empty() {
            let most = if verified { 48 } else { 3 };
            let named = &others[..others.len().min(most)];
            answers.push(message::maybe_they_have_some(id, named));
        }
        Some(answers)
    }

    fn take_content(&mut self, now: Time, value: &Value) {
        let Some((id, offset, eof, data)) = message::content_of(value) else {
            return;
        };
        let Some(fetch) = self.fetch.as_mut().filter(|fetch| fetch.id == id) else {
            return;
        };
        let Some(eof) = eof else {
            return;
        };
        if !fetch.asked.contains_key(&offset) {
            return;
        }
        let whole = data.len() as u64 == BLOCK || offset + data.len() as u64 == eof;
        fetch.asked.remove(&offset);
        if whole && !data.is_empty() {
            fetch.wrong_bytes += fetch.what.wrong_bytes(offset, &data);
            fetch.have.insert(offset);
            if fetch.have.len() as u64 == fetch.blocks() && fetch.finished.is_none() {
                fetch.finished = Some(now);
            }
        } else {
            self.ask(now, offset);
        }
        self.ask_more(now);
    }

    fn ask(&mut self, now: Time, offset: u64) {
        let Some(fetch) = self.fetch.as_mut() else {
            return;
        };
        if fetch.sources.is_empty() {
            return;
        }
        let to = fetch.sources[self.rng.below(fetch.sources.len() as u64) as usize];
        fetch.asked.insert(offset, now);
        fetch.asked_times += 1;
        let question = message::please_send_content(&fetch.id, offset, BLOCK);
        self.send(to, vec![question]);
    }

    fn ask_more(&mut self, now: Time) {
        while let Some(fetch) = self.fetch.as_mut()
            && fetch.finished.is_none()
        {
            let late = fetch
                .asked
                .iter()
                .find(|(_, at)| now.since(**at) >= PATIENCE);
            let offset = if let Some((&offset, _)) = late {
                offset
            } else if fetch.asked.len() < IN_FLIGHT && fetch.next < fetch.blocks() {
                fetch.next += 1;
                (fetch.next - 1) * BLOCK
            } else {
                return;
            };
            self.ask(now, offset);
        }
    }

    fn probe(&mut self, now: Time) {
        for _ in 0..10.min(self.known.len()) {
            let to = self.known[self.rng.below(self.known.len() as u64) as usize];
            let ping = format!("{}.25", now.since_start().as_secs());
            let mut messages = vec![
                format!(
                    r#"{{"SignedMessage":{{"ed25519":"{0}","signature":"{1}","payload_json":"[]"}}}}"#,
                    "82".repeat(32),
                    "A".repeat(86) + "=="
                ),
                format!(r#"{{"MyPublicKey":{{"ed25519h":"{}"}}}}"#, "82".repeat(32)),
                r#"{"PleaseSendPeers":{}}"#.to_string(),
                message::with_cookie("PleaseReturnThisMessage", &ping),
            ];
            let cookie = self.cookie_for(to);
            messages.push(message::with_cookie(
                "PleaseAlwaysReturnThisMessage",
                &cookie,
            ));
            self.send(to, messages);
        }
    }
}

impl Host for Deployed {
    fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        let messages = message::parse(datagram);
        if messages.is_empty() {
            return;
        }
        let mine = self.cookie_for(from);
        let verified = messages
            .iter()
            .any(|(kind, value)| kind == "AlwaysReturned" && message::cookie(value) == Some(&mine));
        self.know(from);
        let mut answers = Vec::new();
        let mut asked = false;
        for (kind, value) in &messages {
            match kind.as_str() {
                "PleaseAlwaysReturnThisMessage" => {
                    if let Some(cookie) = message::cookie(value) {
                        self.cookies.insert(from, cookie.to_string());
                    }
                }
                "PleaseReturnThisMessage" => {
                    asked = true;
                    if let Some(cookie) = message::cookie(value) {
                        answers.push(message::with_cookie("ReturnedMessage", cookie));
                    }
                }
                "PleaseSendPeers" => {
                    asked = true;
                    let some = self.some_known(from, if verified { 46 } else { 1 });
                    answers.push(message::peers_message(&some));
                    if verified {
                        let key = "82".repeat(32);
                        answers.push(format!(r#"{{"MyPublicKey":{{"ed25519h":"{key}"}}}}"#));
                    }
                }
                "PleaseSendContent" => {
                    if let Some(more) = self.answer(from, value, verified) {
                        asked = true;
                        answers.extend(more);
                    }
                }
                "Content" => self.take_content(now, value),
                "Peers" => message::peers(value)
                    .into_iter()
                    .for_each(|peer| self.know(peer)),
                "MaybeTheyHaveSome" => {
                    let named = message::peers(value);
                    if let Some(fetch) = &mut self.fetch {
                        for peer in named {
                            if !fetch.sources.contains(&peer) && fetch.sources.len() < 48 {
                                fetch.sources.push(peer);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        if asked && !verified {
            answers.push(message::with_cookie("PleaseAlwaysReturnThisMessage", &mine));
        }
        if !answers.is_empty() {
            self.send(from, answers);
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if now >= self.next_probe {
            self.probe(now);
            self.next_probe = now + Duration::from_secs(1);
        }
        self.ask_more(now);
    }

    fn poll_transmit(&mut self, _now: Time) -> Option<Outgoing> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let late = self.fetch.as_ref().and_then(|fetch| {
            if fetch.finished.is_some() {
                return None;
            }
            fetch.asked.values().min().map(|at| *at + PATIENCE)
        });
        let start = self
            .fetch
            .as_ref()
            .filter(|fetch| fetch.next == 0)
            .map(|_| Time::ZERO);
        [Some(self.next_probe), late, start]
            .into_iter()
            .flatten()
            .min()
    }
}
