//! Blocks in memory: what was read or fetched a moment ago, for the next reader and the next peer.
//!
//! Chunks of 64 KiB, of which each leaf may or may not be there, in least-recently-used order. The
//! bound is on what is allocated, not on what is asked for, and an evicted buffer is used again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use lru::LruCache;

use crate::content::{ContentId, LEAF};

use super::lock;

const CHUNK: u64 = 65536;
const LEAF_BYTES: usize = LEAF as usize;
/// What a chunk costs beside its bytes: key, links, table slot, allocator.
const OVERHEAD: u64 = 256;
/// Locks, so that the network thread and readers seldom wait for one another's copying.
const SHARDS: usize = 8;
/// Below this many chunks each, shards would evict too unevenly.
const LEAST_PER_SHARD: u64 = 16;

type Key = (ContentId, u64);

/// A bounded cache of blocks of content.
///
/// It holds whatever bytes it is given under an id; whether they are proven is the caller's to know.
pub struct BlockCache {
    paused: AtomicBool,
    shards: Vec<Mutex<LruCache<Key, Chunk>>>,
    hasher: RandomState,
}

struct Chunk {
    bytes: Box<[u8]>,
    /// Bit i: leaf i is there.
    leaves: u16,
    /// The one leaf that is there in part, its content's last, and its bytes.
    short: Option<(usize, usize)>,
}

impl Chunk {
    fn new() -> Self {
        Self {
            bytes: vec![0; CHUNK as usize].into_boxed_slice(),
            leaves: 0,
            short: None,
        }
    }

    fn holds(&self, start: usize, end: usize) -> bool {
        let wanted = leaf_mask(start / LEAF_BYTES, end.div_ceil(LEAF_BYTES));
        self.leaves & wanted == wanted
            && self.short.is_none_or(|(leaf, length)| {
                let from = leaf * LEAF_BYTES;
                end <= from + length || start >= from + LEAF_BYTES
            })
    }

    /// `start` is the start of a leaf.
    fn put(&mut self, start: usize, data: &[u8]) {
        let end = start + data.len();
        self.bytes[start..end].copy_from_slice(data);
        let first = start / LEAF_BYTES;
        let last = end.div_ceil(LEAF_BYTES);
        if let Some((leaf, _)) = self.short
            && (first..last).contains(&leaf)
        {
            self.short = None;
        }
        self.leaves |= leaf_mask(first, last);
        if !end.is_multiple_of(LEAF_BYTES)
            && let Some((other, _)) = self.short.replace((last - 1, end % LEAF_BYTES))
        {
            self.leaves &= !leaf_mask(other, other + 1);
        }
    }
}

/// The bits `first..last`.
fn leaf_mask(first: usize, last: usize) -> u16 {
    let below = |bit: usize| ((1u32 << bit.min(16)) - 1) as u16;
    below(last) & !below(first)
}

impl BlockCache {
    /// A cache that allocates at most `bytes`; of less than one chunk it keeps nothing.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let chunks = bytes / (CHUNK + OVERHEAD);
        let shards = (chunks / LEAST_PER_SHARD).clamp(1, SHARDS as u64);
        let capacity = usize::try_from(chunks / shards).unwrap_or(usize::MAX);
        let shards = match NonZeroUsize::new(capacity) {
            Some(capacity) => (0..shards)
                .map(|_| Mutex::new(LruCache::sparse(capacity)))
                .collect(),
            None => Vec::new(),
        };
        Self {
            paused: AtomicBool::new(false),
            shards,
            hasher: RandomState::new(),
        }
    }

    fn shard(&self, key: &Key) -> Option<&Mutex<LruCache<Key, Chunk>>> {
        let count = self.shards.len() as u64;
        let number = self.hasher.hash_one(key).checked_rem(count)?;
        self.shards.get(usize::try_from(number).ok()?)
    }

    /// Fills all of `buffer` from `offset` of the content, or tells that it cannot: then what is in
    /// `buffer` is unspecified.
    pub fn get(&self, id: &ContentId, offset: u64, buffer: &mut [u8]) -> bool {
        let mut done = 0;
        while done < buffer.len() {
            let Some(at) = offset.checked_add(done as u64) else {
                return false;
            };
            let start = (at % CHUNK) as usize;
            let length = (buffer.len() - done).min(CHUNK as usize - start);
            let key = (*id, at / CHUNK);
            let Some(shard) = self.shard(&key) else {
                return false;
            };
            let mut shard = lock(shard);
            match shard.get(&key) {
                Some(chunk) if chunk.holds(start, start + length) => {
                    buffer[done..done + length].copy_from_slice(&chunk.bytes[start..start + length])
                }
                _ => return false,
            }
            done += length;
        }
        true
    }

    /// Keeps `data`, which begins at `offset` of the content: whole leaves, the last of which is
    /// short only at the end of the content. Bytes before the first whole leaf are left out.
    pub fn put(&self, id: &ContentId, offset: u64, data: &[u8]) {
        let Some(aligned) = offset.checked_next_multiple_of(LEAF) else {
            return;
        };
        let mut rest = usize::try_from(aligned - offset)
            .ok()
            .and_then(|skip| data.get(skip..))
            .unwrap_or_default();
        let mut at = aligned;
        while !rest.is_empty() {
            let start = (at % CHUNK) as usize;
            let (now, later) = rest.split_at(rest.len().min(CHUNK as usize - start));
            let key = (*id, at / CHUNK);
            let Some(shard) = self.shard(&key) else {
                return;
            };
            let mut shard = lock(shard);
            if self.paused.load(Ordering::Acquire) {
                return;
            }
            if let Some(chunk) = shard.get_mut(&key) {
                chunk.put(start, now);
            } else {
                let evicted = if shard.len() >= shard.cap().get() {
                    shard.pop_lru()
                } else {
                    None
                };
                let mut chunk = evicted.map_or_else(Chunk::new, |(_, chunk)| Chunk {
                    leaves: 0,
                    short: None,
                    ..chunk
                });
                chunk.put(start, now);
                shard.put(key, chunk);
            }
            drop(shard);
            rest = later;
            let Some(next) = at.checked_add(now.len() as u64) else {
                return;
            };
            at = next;
        }
    }

    /// Drops everything, and keeps nothing until [`BlockCache::resume`]: the memory is needed.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::Release);
        for shard in &self.shards {
            lock(shard).clear();
        }
    }

    /// Keeps what it is given again.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::Release);
    }

    /// Drops everything of the content, for bytes that proved wrong.
    pub fn forget(&self, id: &ContentId) {
        for shard in &self.shards {
            lock(shard).retain(|(of, _), _| of != id);
        }
    }

    /// Bytes allocated now; never more than the cache was made for.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        let chunks: usize = self.shards.iter().map(|shard| lock(shard).len()).sum();
        chunks as u64 * (CHUNK + OVERHEAD)
    }
}
