//! Whether this host has got another address: peers know it by the old one, and hear of the new one
//! only from us.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How often the interfaces are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Addresses that are looked at: machines with containers have hundreds.
const MAX_ADDRESSES: usize = 64;

/// The addresses that this host had when they were looked at last.
pub(super) struct Addresses {
    known: BTreeSet<IpAddr>,
    next: Instant,
}

impl Addresses {
    pub fn new(now: Instant) -> Self {
        Self {
            known: of_this_host(),
            next: now + LOOK_EVERY,
        }
    }

    /// Whether there is one now that was not there when this was asked before.
    pub fn has_new(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + LOOK_EVERY;
        self.replace(of_this_host())
    }

    fn replace(&mut self, there: BTreeSet<IpAddr>) -> bool {
        let has_new = !there.is_subset(&self.known);
        self.known = there;
        has_new
    }
}

fn of_this_host() -> BTreeSet<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces
        .into_iter()
        .filter(|interface| !interface.is_loopback())
        .map(|interface| interface.ip())
        .take(MAX_ADDRESSES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_comes_is_new_and_one_that_goes_is_not() {
        let mut addresses = Addresses {
            known: BTreeSet::new(),
            next: Instant::now(),
        };
        let set = |numbers: &[u8]| -> BTreeSet<IpAddr> {
            let address = |n: &u8| IpAddr::from([192, 0, 2, *n]);
            numbers.iter().map(address).collect()
        };
        for (there, has_new) in [
            (&[1, 2][..], true),
            (&[1, 2], false),
            (&[2], false),
            (&[2, 1], true),
            (&[3], true),
            (&[], false),
        ] {
            assert_eq!(addresses.replace(set(there)), has_new, "{there:?}");
        }
    }
}
