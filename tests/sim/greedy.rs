//! One who proves its address and then asks for far more than its share, without listening to what
//! the path or the server can give.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use cjp2pfs::swarm::Time;

use crate::content::Synthetic;
use crate::message;
use crate::net::{Host, Outgoing};
use crate::rng::Rng;

/// Bytes asked for at a time: the most that is answered.
const LENGTH: u64 = 40_960;

#[derive(Debug)]
pub struct Greedy {
    rng: Rng,
    target: SocketAddr,
    what: Synthetic,
    every: Duration,
    next: Time,
    cookie: Option<String>,
    out: VecDeque<Outgoing>,
    /// Content bytes that came.
    pub got: u64,
}

impl Greedy {
    /// Asks `target` for some of `what`, one question `every` so often.
    pub fn new(seed: u64, target: SocketAddr, what: Synthetic, every: Duration) -> Self {
        Self {
            rng: Rng::new(seed),
            target,
            what,
            every,
            next: Time::ZERO + every,
            cookie: None,
            out: VecDeque::new(),
            got: 0,
        }
    }
}

impl Host for Greedy {
    fn handle_datagram(&mut self, _now: Time, _from: SocketAddr, datagram: &[u8]) {
        for (kind, value) in message::parse(datagram) {
            match kind.as_str() {
                "PleaseAlwaysReturnThisMessage" => {
                    self.cookie = message::cookie(&value).map(str::to_owned);
                }
                "Content" => {
                    let data = message::content_of(&value).map_or(0, |(.., data)| data.len());
                    self.got += data as u64;
                }
                _ => {}
            }
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        while self.next <= now {
            self.next = self.next + self.every;
            let offset = self
                .rng
                .below(self.what.length.saturating_sub(LENGTH).max(1));
            let id = self.what.id().to_string();
            let mut messages = vec![message::please_send_content(&id, offset, LENGTH)];
            if let Some(cookie) = &self.cookie {
                messages.push(message::with_cookie("AlwaysReturned", cookie));
            }
            self.out.push_back(Outgoing {
                to: self.target,
                spoofed: None,
                datagram: message::datagram(&messages),
            });
        }
    }

    fn poll_transmit(&mut self, _now: Time) -> Option<Outgoing> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}
