//! How often the same peer asks for the same bytes.
//!
//! Deployed nodes ask again at once and without limit when they do not like an answer: tens of
//! thousands of times in seconds. Answering each would turn their mistake into our load. So the
//! same (address, id, offset) is answered a few times a second and then passed over in silence.
//!
//! The memory is a table indexed by a keyed hash. Two questions that fall on the same slot evict each
//! other, which can only make us answer once too often. It is small for who is asked little, and
//! doubles, up to a limit, when questions evict others that are not old yet.

use std::net::SocketAddr;
use std::time::Duration;

use super::Time;
use crate::content::{ContentId, KeyedName};

/// Slots at first, 3 KiB, and at most: 65,536 questions in a window, 768 KiB.
const FEWEST_SLOTS: usize = 1 << 8;
const MOST_SLOTS: usize = 1 << 16;
/// The window.
const WINDOW: Duration = Duration::from_secs(1);
/// Answers to one question in a window: the first, and what lost answers make honest peers ask.
const ANSWERS: u8 = 8;

#[derive(Clone, Copy)]
struct Slot {
    tag: u32,
    /// Milliseconds since the start; wraps after 49 days, which costs one answer too few or many.
    since: u32,
    count: u8,
}

pub(super) struct Repeats {
    key: u64,
    slots: Vec<Slot>,
    /// Questions that were evicted within their window, since the table grew.
    evicted: usize,
}

const EMPTY: Slot = Slot {
    tag: 0,
    since: 0,
    count: 0,
};

impl Repeats {
    pub fn new(key: u64) -> Self {
        Self {
            key,
            slots: vec![EMPTY; FEWEST_SLOTS],
            evicted: 0,
        }
    }

    /// Counts a question; whether it is to be answered.
    pub fn allow(&mut self, now: Time, from: SocketAddr, id: &ContentId, offset: u64) -> bool {
        let hash = self.hash(from, id, offset);
        let millis = now.since_start().as_millis() as u32;
        self.grow();
        let index = hash as usize % self.slots.len();
        let tag = (hash >> 32) as u32;
        let Some(slot) = self.slots.get_mut(index) else {
            return true;
        };
        let fresh = u128::from(millis.wrapping_sub(slot.since)) < WINDOW.as_millis();
        if slot.tag != tag || !fresh || slot.count == 0 {
            self.evicted += usize::from(slot.tag != tag && fresh && slot.count > 0);
            *slot = Slot {
                tag,
                since: millis,
                count: 1,
            };
            return true;
        }
        slot.count = slot.count.saturating_add(1);
        slot.count <= ANSWERS
    }

    /// The same for a question about a name.
    pub fn allow_name(&mut self, now: Time, from: SocketAddr, of: &KeyedName) -> bool {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&of.key.0);
        hasher.update(of.name.as_str().as_bytes());
        let id = ContentId::blake3(*hasher.finalize().as_bytes());
        self.allow(now, from, &id, u64::MAX)
    }

    /// Doubles the table when it has become too small. What was in it is forgotten.
    fn grow(&mut self) {
        let slots = self.slots.len();
        if self.evicted > slots / 4 && slots < MOST_SLOTS {
            self.slots = vec![EMPTY; slots * 2];
            self.evicted = 0;
        }
    }

    fn hash(&self, from: SocketAddr, id: &ContentId, offset: u64) -> u64 {
        let mut state = self.key ^ u64::from(from.port()) ^ ((id.kind as u64) << 32);
        let mut mix = |word: u64| {
            state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            state ^= state >> 29;
        };
        match from.ip() {
            std::net::IpAddr::V4(ip) => mix(u64::from(ip.to_bits())),
            std::net::IpAddr::V6(ip) => {
                mix(ip.to_bits() as u64);
                mix((ip.to_bits() >> 64) as u64);
            }
        }
        // The hash is a uniform number unless somebody ground it, and then only against himself.
        let mut word = [0; 8];
        word.copy_from_slice(&id.hash.0[..8]);
        mix(u64::from_le_bytes(word));
        mix(offset);
        mix(0);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_is_answered_a_few_times_a_second() {
        let mut repeats = Repeats::new(1);
        let from: SocketAddr = "192.0.2.1:24254".parse().unwrap();
        let id = ContentId::sha256([1; 32]);
        let mut answered = 0;
        for n in 0..3000u64 {
            let now = Time::from_start(Duration::from_millis(5000 + n));
            answered += u32::from(repeats.allow(now, from, &id, 4096));
        }
        assert_eq!(answered, 3 * u32::from(ANSWERS));
    }

    #[test]
    fn a_whole_file_of_questions_is_answered() {
        let mut repeats = Repeats::new(1);
        let from: SocketAddr = "192.0.2.1:24254".parse().unwrap();
        let id = ContentId::sha256([1; 32]);
        let now = Time::from_start(Duration::from_secs(5));
        assert!((0..200_000).all(|n| repeats.allow(now, from, &id, n * 4096)));
        assert_eq!(repeats.slots.len(), MOST_SLOTS);
    }
}
