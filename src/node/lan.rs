//! Looking for neighbours: where and when beacons go.
//!
//! Deployed nodes send a question for peers to their networks' broadcast addresses and to the
//! all-hosts groups about once a second or two, and answer such questions. We do the same for the
//! first half minute, then seldom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use if_addrs::IfAddr;

use super::DEFAULT_PORT;

const OFTEN: Duration = Duration::from_secs(2);
const SELDOM: Duration = Duration::from_secs(30);
/// How long they are sent often.
const EAGER: Duration = Duration::from_secs(30);
/// Interfaces that are looked at: machines with containers have hundreds.
const MAX_INTERFACES: usize = 32;

/// When the next beacons are due, and where they go.
pub(super) struct Beacons {
    started: Instant,
    next: Instant,
}

impl Beacons {
    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            next: now,
        }
    }

    pub fn due_in(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// The addresses to send to now; empty while nothing is due.
    pub fn take_due(&mut self, now: Instant) -> Vec<SocketAddr> {
        if now < self.next {
            return Vec::new();
        }
        let eager = now.saturating_duration_since(self.started) < EAGER;
        self.next = now + if eager { OFTEN } else { SELDOM };
        targets()
    }
}

fn targets() -> Vec<SocketAddr> {
    let mut targets = vec![SocketAddr::from((
        Ipv4Addr::new(224, 0, 0, 1),
        DEFAULT_PORT,
    ))];
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    for interface in interfaces.into_iter().take(MAX_INTERFACES) {
        if interface.is_loopback() {
            continue;
        }
        match &interface.addr {
            IfAddr::V4(v4) => {
                if let Some(broadcast) = v4.broadcast {
                    targets.push(SocketAddr::new(IpAddr::V4(broadcast), DEFAULT_PORT));
                }
            }
            IfAddr::V6(_) => {
                if let Some(index) = interface.index {
                    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
                    let target = SocketAddrV6::new(all_nodes, DEFAULT_PORT, 0, index);
                    targets.push(SocketAddr::V6(target));
                }
            }
        }
    }
    targets.sort_unstable();
    targets.dedup();
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beacons_become_seldom() {
        let start = Instant::now();
        let mut beacons = Beacons::new(start);
        let mut rounds = 0;
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            rounds += u32::from(!beacons.take_due(now).is_empty());
        }
        assert!((30..=36).contains(&rounds), "{rounds}");
    }
}
