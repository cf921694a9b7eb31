//! Our cookies: proof that a peer can receive at the address it sends from, with nothing stored.
//!
//! A cookie is a keyed hash of a secret and the peer's IP, so every IP has another one and the port
//! does not matter (deployed nodes bind theirs in the same way). The same secret seals the sequence
//! numbers that ride on our requests, so that who cannot see our datagrams cannot forge an answer.

use std::net::{IpAddr, SocketAddr};

/// The secret of one run of a node.
#[derive(Clone)]
pub(super) struct Secret([u8; 32]);

impl Secret {
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The cookie that peers at `ip` are asked to return: 12 hex digits.
    pub fn cookie(&self, ip: IpAddr) -> String {
        let hash = match ip {
            IpAddr::V4(ip) => blake3::keyed_hash(&self.0, &ip.octets()),
            IpAddr::V6(ip) => blake3::keyed_hash(&self.0, &ip.octets()),
        };
        hash.to_hex()[..12].to_owned()
    }

    /// A number that belongs to one peer and seals the sequence numbers of requests to it.
    pub fn seal_key(&self, peer: SocketAddr) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"seal");
        match peer.ip() {
            IpAddr::V4(ip) => hasher.update(&ip.octets()),
            IpAddr::V6(ip) => hasher.update(&ip.octets()),
        };
        hasher.update(&peer.port().to_be_bytes());
        let hash = hasher.finalize();
        let mut key = [0; 8];
        key.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(key)
    }
}

/// What rides on a request as a ping and comes back with its answer: the sequence number and a seal.
pub(super) fn token(seal_key: u64, sequence: u64) -> String {
    format!("{sequence:x}.{:x}", seal(seal_key, sequence))
}

/// The sequence number of a token that we made for this peer.
pub(super) fn sequence_of(seal_key: u64, token: &str) -> Option<u64> {
    let (sequence, sealed) = token.split_once('.')?;
    if sequence.len() > 16 || sealed.len() > 8 {
        return None;
    }
    let sequence = u64::from_str_radix(sequence, 16).ok()?;
    let sealed = u64::from_str_radix(sealed, 16).ok()?;
    (sealed == seal(seal_key, sequence)).then_some(sequence)
}

/// 32 bits that who does not know the key cannot guess (the finaliser of SplitMix64; it only has to
/// hold against guessing blindly, over the network, for the life of one request).
fn seal(key: u64, sequence: u64) -> u64 {
    let mut z = key ^ sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ips_share_a_cookie_and_ports_do() {
        let secret = Secret::new([7; 32]);
        let a = secret.cookie("192.0.2.1".parse().unwrap());
        assert_eq!(a, secret.cookie("192.0.2.1".parse().unwrap()));
        assert_ne!(a, secret.cookie("192.0.2.2".parse().unwrap()));
        assert_ne!(a, secret.cookie("2001:db8::1".parse().unwrap()));
        assert_ne!(a, Secret::new([8; 32]).cookie("192.0.2.1".parse().unwrap()));
        assert_eq!(a.len(), 12);
    }

    #[test]
    fn a_token_comes_back_as_its_sequence_number_and_no_other_text_does() {
        let secret = Secret::new([7; 32]);
        let key = secret.seal_key("192.0.2.1:24254".parse().unwrap());
        let other = secret.seal_key("192.0.2.1:24255".parse().unwrap());
        for sequence in [0, 1, 255, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(sequence_of(key, &token(key, sequence)), Some(sequence));
            assert_eq!(sequence_of(other, &token(key, sequence)), None);
        }
        for text in [
            "",
            ".",
            "1",
            "1.",
            "1.0",
            "-1.5",
            "99999999999999999.1",
            "1.2.3",
            "é.é",
        ] {
            assert_eq!(sequence_of(key, text), None, "{text}");
        }
    }
}
