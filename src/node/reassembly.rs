//! The host's own count of datagrams whose fragments it could not put together.
//!
//! The memory for fragments is one for the whole host, so this tells of trouble that no single peer's
//! losses show. Other programs' fragments count too; then longer answers are simply not asked for.

use std::fs;

/// Where the kernel counts: IPv4 (RFC 4293 `ipReasmFails`), and IPv6.
const COUNTERS: [&str; 2] = ["/proc/net/snmp", "/proc/net/snmp6"];

/// Failed reassemblies since this was made.
pub(super) struct Reassembly {
    seen: u64,
}

impl Reassembly {
    pub fn new() -> Self {
        Self { seen: count() }
    }

    /// Whether some have failed since this was last asked.
    pub fn has_failed(&mut self) -> bool {
        let now = count();
        let failed = now > self.seen;
        self.seen = now;
        failed
    }
}

/// All failures so far; what cannot be read counts as none.
fn count() -> u64 {
    let texts = COUNTERS.map(|path| fs::read_to_string(path).unwrap_or_default());
    let [v4, v6] = texts.each_ref().map(String::as_str);
    failures(v4).saturating_add(failures6(v6))
}

/// Of lines such as `Ip: Forwarding ... ReasmFails` and `Ip: 1 ... 0`.
fn failures(text: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Ip:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0;
    };
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs
        .find(|(name, _)| *name == "ReasmFails")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

/// Of lines such as `Ip6ReasmFails 0`.
fn failures6(text: &str) -> u64 {
    let mut values = text
        .lines()
        .filter_map(|line| line.strip_prefix("Ip6ReasmFails"));
    values
        .next()
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_counts_are_read() {
        let v4 = "Ip: Forwarding DefaultTTL ReasmOKs ReasmFails FragOKs\nIp: 1 64 12 34 5\n\
                  Icmp: InMsgs\nIcmp: 7\n";
        assert_eq!(failures(v4), 34);
        assert_eq!(failures6("Ip6InReceives 9\nIp6ReasmFails    21\n"), 21);
        for broken in [
            "",
            "Ip:",
            "Ip: ReasmFails\n",
            "Ip: ReasmFails\nIp: x\n",
            "Ip6ReasmFails",
        ] {
            assert_eq!(failures(broken) + failures6(broken), 0);
        }
        assert!(!Reassembly { seen: u64::MAX }.has_failed());
    }
}
