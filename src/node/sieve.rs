//! A sieve as a socket filter: a small program that the kernel runs for each datagram that arrives,
//! before it has a place in the queue (classic BPF, as in the kernel's `networking/filter.rst`).
//!
//! Any user may give one to a socket of his own. It draws a number, looks for the sender among the hosts
//! that have a part of their own, and lets the datagram through if the number is within that part. Hosts
//! are found by halving; the last [`RUN`] are compared one by one, because a jump on a condition reaches
//! 255 instructions.

use std::net::IpAddr;

use libc::sock_filter;

use crate::swarm::Sieve;

/// Hosts that are compared one by one.
const RUN: usize = 8;
/// What the kernel takes at most (`BPF_MAXINSNS`).
const MAX_LENGTH: usize = 4096;
/// All of what comes, as [`Sieve`] has it; and all bytes of a datagram, as the kernel has it.
const ALL: u32 = u32::MAX;
/// Instructions that let a part through.
const VERDICT: usize = 4;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const LOAD_NUMBER: u32 = libc::BPF_LD | libc::BPF_IMM;
const COPY_TO_X: u32 = libc::BPF_MISC | libc::BPF_TAX;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_ABOVE: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const IF_NOT_BELOW_X: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_X;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

const RANDOM: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM).cast_unsigned();
const PROTOCOL: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL).cast_unsigned();
/// Where the sender stands in the headers of IP, and of IPv6 in two words: the /64.
const SENDER: u32 = (libc::SKF_NET_OFF + 12).cast_unsigned();
const SENDER6: [u32; 2] = [
    (libc::SKF_NET_OFF + 8).cast_unsigned(),
    (libc::SKF_NET_OFF + 12).cast_unsigned(),
];
const IPV4: u32 = libc::ETH_P_IP as u32;
const IPV6: u32 = libc::ETH_P_IPV6 as u32;

/// The program for `sieve`; `None`: the kernel would not take one so long.
pub(super) fn compile(sieve: &Sieve) -> Option<Vec<sock_filter>> {
    let mut v4 = Vec::new();
    // By the first half of the /64.
    let mut v6: Vec<(u32, Vec<(u32, u32)>)> = Vec::new();
    for (host, part) in &sieve.hosts {
        match host {
            IpAddr::V4(ip) => v4.push((ip.to_bits(), *part)),
            IpAddr::V6(ip) => {
                let (first, second) = ((ip.to_bits() >> 96) as u32, (ip.to_bits() >> 64) as u32);
                match v6.last_mut() {
                    Some((last, rest)) if *last == first => rest.push((second, *part)),
                    _ => v6.push((first, vec![(second, *part)])),
                }
            }
        }
    }
    let mut program = Program(Vec::new());
    program.push(LOAD, RANDOM);
    program.push(COPY_TO_X, 0);
    program.push(LOAD, PROTOCOL);
    program.unless(IF_EQUAL, IPV4, |program| {
        program.unless(IF_EQUAL, IPV6, |program| program.push(RETURN, ALL));
        program.push(LOAD, SENDER6[0]);
        program.search_v6(&v6, sieve.others);
    });
    program.push(LOAD, SENDER);
    program.search(&v4, sieve.others);
    (program.0.len() <= MAX_LENGTH).then_some(program.0)
}

/// The program so far. X holds the number that was drawn.
struct Program(Vec<sock_filter>);

impl Program {
    fn push(&mut self, code: u32, k: u32) {
        self.branch(code, k, 0, 0);
    }

    fn branch(&mut self, code: u32, k: u32, if_so: usize, if_not: usize) {
        self.0.push(sock_filter {
            code: code as u16,
            jt: if_so as u8,
            jf: if_not as u8,
            k,
        });
    }

    /// `block` runs unless the condition holds; it must end the program in all cases.
    fn unless(&mut self, condition: u32, k: u32, block: impl FnOnce(&mut Self)) {
        self.branch(condition, k, 0, 1);
        let jump = self.0.len();
        self.push(JUMP, 0);
        block(self);
        let length = self.0.len().saturating_sub(jump + 1);
        if let Some(jump) = self.0.get_mut(jump) {
            jump.k = length as u32;
        }
    }

    /// Ends with the part of the word among `hosts`, which are in order, or with that of `others`.
    fn search(&mut self, hosts: &[(u32, u32)], others: u32) {
        let (low, high) = hosts.split_at(hosts.len() / 2);
        if let Some((last, _)) = low.last()
            && hosts.len() > RUN
        {
            self.unless(IF_ABOVE, *last, |program| program.search(low, others));
            return self.search(high, others);
        }
        let of = |all: bool| hosts.iter().filter(move |(_, part)| (*part == ALL) == all);
        // Those of which all passes share one instruction, the last.
        let mut behind = of(true).count() + of(false).count() * (1 + VERDICT) + VERDICT;
        for (host, _) in of(true) {
            behind -= 1;
            self.branch(IF_EQUAL, *host, behind, 0);
        }
        for (host, part) in of(false) {
            self.branch(IF_EQUAL, *host, 0, VERDICT);
            self.verdict(*part);
        }
        self.verdict(others);
        self.push(RETURN, ALL);
    }

    /// The same for IPv6, where hosts stand by the first half of their /64, which is in the word.
    fn search_v6(&mut self, networks: &[(u32, Vec<(u32, u32)>)], others: u32) {
        match networks {
            [] => self.verdict(others),
            [(first, hosts)] => {
                self.branch(IF_EQUAL, *first, VERDICT, 0);
                self.verdict(others);
                self.push(LOAD, SENDER6[1]);
                self.search(hosts, others);
            }
            _ => {
                let (low, high) = networks.split_at(networks.len() / 2);
                let last = low.last().map_or(0, |(first, _)| *first);
                self.unless(IF_ABOVE, last, |program| program.search_v6(low, others));
                self.search_v6(high, others);
            }
        }
    }

    /// Lets a part through, in [`VERDICT`] instructions.
    fn verdict(&mut self, part: u32) {
        self.push(LOAD_NUMBER, part);
        self.branch(IF_NOT_BELOW_X, 0, 0, 1);
        self.push(RETURN, ALL);
        self.push(RETURN, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// What the kernel does with such a program, for a datagram of this sender and a number.
    fn passes(program: &[sock_filter], sender: IpAddr, random: u32) -> bool {
        let (mut a, mut x, mut at) = (0, 0, 0);
        for _ in 0..MAX_LENGTH {
            let sock_filter { code, jt, jf, k } = program[at];
            let branch = |holds: bool| usize::from(if holds { jt } else { jf });
            at += 1;
            match u32::from(code) {
                LOAD => {
                    a = match (sender, k) {
                        (_, RANDOM) => random,
                        (IpAddr::V4(_), PROTOCOL) => IPV4,
                        (IpAddr::V6(_), PROTOCOL) => IPV6,
                        (IpAddr::V4(ip), SENDER) => ip.to_bits(),
                        (IpAddr::V6(ip), k) if k == SENDER6[0] => (ip.to_bits() >> 96) as u32,
                        (IpAddr::V6(ip), k) if k == SENDER6[1] => (ip.to_bits() >> 64) as u32,
                        _ => panic!("no word at {k:x} for {sender}"),
                    }
                }
                LOAD_NUMBER => a = k,
                COPY_TO_X => x = a,
                JUMP => at += k as usize,
                IF_EQUAL => at += branch(a == k),
                IF_ABOVE => at += branch(a > k),
                IF_NOT_BELOW_X => at += branch(a >= x),
                RETURN => return k > 0,
                other => panic!("no instruction {other:x}"),
            }
        }
        panic!("it does not end");
    }

    fn v4(n: u32) -> IpAddr {
        // At both ends of the space, and neighbours among them.
        let bits = if n.is_multiple_of(2) { n } else { u32::MAX - n };
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    }

    /// The /64 with this number: some share their first half.
    fn v6(n: u32) -> IpAddr {
        let bits = u128::from(n % 7) << 125 | u128::from(n) << 64;
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    }

    #[test]
    fn each_host_has_its_own_part_and_all_others_theirs() {
        for count in [0u32, 1, 2, 8, 9, 17, 100, 300] {
            let part = |n: u32| match n % 3 {
                0 => ALL,
                1 => 1000 + n,
                _ => u32::MAX / 2 + n,
            };
            let named = (0..count).map(|n| n * 3);
            let hosts: BTreeMap<_, _> = named
                .flat_map(|n| [(v4(n), part(n)), (v6(n), part(n + 1))])
                .collect();
            for others in [5000, ALL] {
                let sieve = Sieve {
                    hosts: hosts.clone(),
                    others,
                };
                let program = compile(&sieve).unwrap();
                for sender in (0..count * 3 + 3).flat_map(|n| [v4(n), v6(n)]) {
                    let part = hosts.get(&sender).copied().unwrap_or(others);
                    assert!(passes(&program, sender, 0), "{sender} of {count}");
                    assert!(passes(&program, sender, part), "{sender} of {count}");
                    if part < ALL {
                        assert!(!passes(&program, sender, part + 1), "{sender} of {count}");
                        assert!(!passes(&program, sender, ALL), "{sender} of {count}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_program_that_the_kernel_would_refuse_is_not_made() {
        let hosts = (0..2000).map(|n| (v4(n), 7)).collect();
        assert!(compile(&Sieve { hosts, others: 7 }).is_none());
    }
}
