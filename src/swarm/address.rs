//! Which addresses a stranger may make us contact.
//!
//! `Peers` and `MaybeTheyHaveSome` are claims. A peer on the internet that names `192.168.1.1` or
//! `127.0.0.1` would have us knock inside our own network, so an address is only believed from a
//! peer that is at least as near to us as the address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How near an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// No unicast address that could be a peer.
    Nowhere,
    Loopback,
    /// Private and link-local networks.
    Site,
    Public,
}

/// The host that `ip` stands for: of IPv6 the /64, in which addresses cost nothing.
pub(super) fn host_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip => ip,
    }
}

fn scope(ip: IpAddr) -> Scope {
    match ip {
        IpAddr::V4(ip) => scope_v4(ip),
        IpAddr::V6(ip) => scope_v6(ip),
    }
}

fn scope_v4(ip: Ipv4Addr) -> Scope {
    let [a, b, ..] = ip.octets();
    if a == 0 || ip.is_broadcast() || ip.is_multicast() || a >= 240 {
        Scope::Nowhere
    } else if ip.is_loopback() {
        Scope::Loopback
    } else if ip.is_private()
        || ip.is_link_local()
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || ip.octets().starts_with(&[192, 0, 0])
    {
        // Beside the private ones: carriers' shared space (RFC 6598), networks under test (RFC 2544)
        // and what protocols use locally (RFC 6890).
        Scope::Site
    } else {
        Scope::Public
    }
}

fn scope_v6(ip: Ipv6Addr) -> Scope {
    if ip.is_loopback() {
        return Scope::Loopback;
    }
    if let Some(v4) = embedded(ip) {
        return scope_v4(v4);
    }
    let first = ip.segments()[0];
    if ip.is_unspecified() || ip.is_multicast() || ip.to_bits() >> 32 == 0 {
        // The last are addresses that only look like those of IPv4 (RFC 4291, 2.5.5.1).
        Scope::Nowhere
    } else if ip.is_unicast_link_local()
        || ip.is_unique_local()
        || first & 0xffc0 == 0xfec0
        || ip.segments().starts_with(&[0x64, 0xff9b, 1])
    {
        // The last two: the old site-local ones, and translators of the site itself (RFC 8215).
        Scope::Site
    } else {
        Scope::Public
    }
}

/// The IPv4 address that a packet to `ip` may end at: mapped, behind a translator (RFC 6052), or at
/// the end of a 6to4 tunnel (RFC 3056).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = ip.to_bits();
    if let Some(v4) = ip.to_ipv4_mapped() {
        Some(v4)
    } else if bits >> 32 == 0x0064_ff9b_0000_0000_0000_0000 {
        Some(Ipv4Addr::from_bits(bits as u32))
    } else if bits >> 112 == 0x2002 {
        Some(Ipv4Addr::from_bits((bits >> 80) as u32))
    } else {
        None
    }
}

/// Whether `named` may be contacted because the peer at `by` named it.
pub(super) fn may_name(by: SocketAddr, named: SocketAddr) -> bool {
    let named_scope = scope(named.ip());
    named.port() != 0 && named_scope != Scope::Nowhere && scope(by.ip()) <= named_scope
}

/// Whether packets to it never leave this machine.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    scope(address.ip()) == Scope::Loopback
}

/// Whether it is on this machine or on a private network.
pub(super) fn is_near(address: SocketAddr) -> bool {
    matches!(scope(address.ip()), Scope::Loopback | Scope::Site)
}

/// Whether the peer at `to` could use `named` if we told it: it ignores what is nearer than itself.
pub(super) fn may_be_told(to: SocketAddr, named: SocketAddr) -> bool {
    scope(to.ip()) <= scope(named.ip())
}

/// Whether it can be a peer at all.
pub(super) fn is_unicast(address: SocketAddr) -> bool {
    address.port() != 0 && scope(address.ip()) != Scope::Nowhere
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_makes_us_contact_what_is_nearer_than_himself() {
        let public = "148.71.89.128:24254";
        let site = "192.168.1.7:24254";
        let loopback = "127.0.0.1:24254";
        for (by, named, allowed) in [
            (public, "159.69.54.127:1", true),
            (public, "[2a01:4f8::1]:24254", true),
            (public, "10.0.0.1:24254", false),
            (public, "100.64.0.1:24254", false),
            (public, "169.254.1.1:24254", false),
            (public, "[fe80::1]:24254", false),
            (public, "[fd00::1]:24254", false),
            (public, "127.0.0.1:24254", false),
            (public, "[::1]:24254", false),
            (public, "[::ffff:127.0.0.1]:24254", false),
            (public, "[::ffff:10.0.0.1]:24254", false),
            (public, "[64:ff9b::a00:1]:24254", false),
            (public, "[64:ff9b::808:808]:24254", true),
            (public, "[64:ff9b:1::1]:24254", false),
            (public, "[2002:7f00:1::1]:24254", false),
            (public, "[2002:808:808::1]:24254", true),
            (public, "[::7f00:1]:24254", false),
            (public, "[fec0::1]:24254", false),
            (public, "198.19.255.255:24254", false),
            (public, "192.0.0.8:24254", false),
            (public, "159.69.54.127:0", false),
            (site, "10.0.0.1:24254", true),
            (site, "159.69.54.127:24254", true),
            (site, "127.0.0.1:24254", false),
            (loopback, "127.0.0.1:24255", true),
            (loopback, "[::1]:24255", true),
            (loopback, "10.0.0.1:24255", true),
            (loopback, "224.0.0.1:24254", false),
            (loopback, "255.255.255.255:24254", false),
            (loopback, "0.0.0.0:24254", false),
            (loopback, "[ff02::1]:24254", false),
            (loopback, "[::]:24254", false),
        ] {
            assert_eq!(
                may_name(by.parse().unwrap(), named.parse().unwrap()),
                allowed,
                "{by} names {named}"
            );
        }
    }
}
