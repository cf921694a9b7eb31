//! Addresses and moments for scenarios, and the one line of figures that each prints.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use cjp2pfs::swarm::Time;

/// The address of simulated host `n`: public ones, since private ones are not probed on hearsay.
pub fn address(n: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x1400_0000 + n), 24254))
}

/// The moment `n` seconds after the start.
pub fn seconds(n: u64) -> Time {
    Time::from_start(Duration::from_secs(n))
}
