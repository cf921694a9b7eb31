//! One who sends questions under the addresses of others, so that the answers hit them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use cjp2pfs::swarm::Time;

use crate::content::Synthetic;
use crate::message;
use crate::net::{Host, Outgoing};
use crate::rng::Rng;

#[derive(Debug)]
pub struct Flooder {
    rng: Rng,
    target: SocketAddr,
    /// The addresses that it pretends to be.
    victims: Vec<SocketAddr>,
    held: Synthetic,
    every: Duration,
    next: Time,
    left: u32,
    out: VecDeque<Outgoing>,
}

impl Flooder {
    /// Sends `count` datagrams to `target`, one `every` so often.
    pub fn new(
        seed: u64,
        target: SocketAddr,
        victims: Vec<SocketAddr>,
        held: Synthetic,
        every: Duration,
        count: u32,
    ) -> Self {
        Self {
            rng: Rng::new(seed),
            target,
            victims,
            held,
            every,
            next: Time::ZERO + every,
            left: count,
            out: VecDeque::new(),
        }
    }

    fn message(&mut self) -> String {
        let id = self.held.id().to_string();
        let offset = self.rng.below(self.held.length + 10_000);
        let wild = [0, 1, 32, 4096, 40_960, 65_507, 1 << 40, u64::MAX];
        let length = wild[self.rng.below(wild.len() as u64) as usize];
        let text = "c".repeat(self.rng.below(900) as usize);
        match self.rng.below(9) {
            0 => r#"{"PleaseSendPeers":{}}"#.to_string(),
            1 => r#"{"PleaseListContent":{}}"#.to_string(),
            2 => message::with_cookie("PleaseReturnThisMessage", &text),
            3 => message::with_cookie("PleaseAlwaysReturnThisMessage", &text),
            4 => r#"{"PleaseListSupportedMessages":{}}"#.to_string(),
            5 => message::with_cookie("AlwaysReturned", "00000000"),
            6 => format!(
                r#"{{"PleaseReturnThisMessage":[{}]}}"#,
                "1,".repeat(text.len()) + "1"
            ),
            7 => message::peers_message(&self.victims[..self.victims.len().min(4)]),
            _ => message::please_send_content(&id, offset, length),
        }
    }
}

impl Host for Flooder {
    fn handle_datagram(&mut self, _now: Time, _from: SocketAddr, _datagram: &[u8]) {}

    fn handle_timeout(&mut self, now: Time) {
        while self.next <= now && self.left > 0 {
            self.left -= 1;
            self.next = self.next + self.every;
            let mut datagram = match self.rng.below(20) {
                0 => b"[]".to_vec(),
                1 => Vec::new(),
                2 => b"[{}]".to_vec(),
                _ => {
                    let n = 1 + self.rng.below(4) * self.rng.below(4);
                    let messages: Vec<_> = (0..n).map(|_| self.message()).collect();
                    message::datagram(&messages)
                }
            };
            if self.rng.chance(0.05) {
                let keep = self.rng.below(datagram.len() as u64) as usize;
                datagram.truncate(keep);
            }
            let victim = self.victims[self.rng.below(self.victims.len() as u64) as usize];
            self.out.push_back(Outgoing {
                to: self.target,
                spoofed: Some(victim),
                datagram,
            });
        }
    }

    fn poll_transmit(&mut self, _now: Time) -> Option<Outgoing> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        (self.left > 0).then_some(self.next)
    }
}
