//! A small seeded generator: the same seed gives the same run on any machine.
//!
//! xoshiro256** of Blackman and Vigna, its state filled by splitmix64 as they advise.

/// The step of splitmix64: a fixed, well mixing function of 64 bits.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

impl Rng {
    pub fn new(seed: u64) -> Self {
        let mut at = mix(seed);
        Self(std::array::from_fn(|_| {
            at = mix(at);
            at
        }))
    }

    pub fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number in `0..bound` (0 when `bound` is 0). The bias of the remainder is of no matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        let drawn = self.next();
        if bound == 0 { 0 } else { drawn % bound }
    }

    /// True with probability `p`. Draws nothing when `p` is 0, so that a clean link costs no
    /// randomness and turning one fault on does not shift the others more than it must.
    pub fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && ((self.next() >> 11) as f64) < p * (1u64 << 53) as f64
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(n + 8);
        while bytes.len() < n {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(n);
        bytes
    }

    /// 32 bytes, as a `Swarm` takes its seed.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        seed.copy_from_slice(&self.bytes(32));
        seed
    }
}

/// Bytes at the start of a datagram that are hashed in full: all that is no content.
const WHOLE: usize = 512;
/// Of what follows the first eight of so many.
const SAMPLED: usize = 256;

/// A cheap hash of a datagram: enough to tell two runs apart.
pub fn digest(payload: &[u8]) -> u64 {
    let (start, rest) = payload.split_at(payload.len().min(WHOLE));
    let sampled = rest.chunks_exact(SAMPLED).map(|chunk| &chunk[..8]);
    let mut chunks = start.chunks_exact(8);
    let mut hash = payload.len() as u64;
    for chunk in (&mut chunks).chain(sampled) {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    for &byte in chunks.remainder() {
        hash = (hash.rotate_left(5) ^ u64::from(byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    hash
}
