//! What a handle is expected to read next.
//!
//! A handle has a few *streams*: places where it reads onward. A read that begins where a stream
//! stands, or a little beyond (the kernel's own read-ahead arrives out of order), continues it and
//! doubles its window; any other read is a seek and begins a stream with a small window. A player
//! that alternates between picture, sound and index keeps a stream for each, so that its jumps do
//! not throw the windows away.

use crate::content::ByteRange;

/// The window of a stream that has just begun: what a thumbnail or a media probe reads.
pub(super) const FIRST_WINDOW: u64 = 128 << 10;
/// The largest window: the bandwidth-delay product of 1 Gbit/s over 130 ms.
const LARGEST_WINDOW: u64 = 16 << 20;
/// Places that one handle reads at.
const STREAMS: usize = 4;
/// How far beside a stream's place a read may begin and still continue it: two of the largest
/// requests that the kernel makes.
const SLACK: u64 = 2 << 20;
/// A stream that has read this much from the start of the content will read on to its end.
const COMMITTED: u64 = 4 << 20;

#[derive(Clone, Copy, Debug)]
struct Stream {
    /// Where it began.
    began: u64,
    /// Where the next read is expected.
    next: u64,
    /// Up to where read-ahead has been wanted.
    wanted: u64,
    window: u64,
    used: u64,
}

/// The streams of one handle.
#[derive(Debug)]
pub(super) struct ReadAhead {
    streams: Vec<Stream>,
    /// Reads so far: the clock of least recent use.
    reads: u64,
    largest: u64,
}

impl ReadAhead {
    /// Windows stay within `budget` bytes altogether.
    pub fn new(budget: u64) -> Self {
        Self {
            streams: Vec::with_capacity(STREAMS),
            reads: 0,
            largest: (budget / STREAMS as u64).clamp(FIRST_WINDOW, LARGEST_WINDOW),
        }
    }

    /// Notes a read; returns what is to be wanted ahead of it, if anything is new.
    pub fn on_read(&mut self, range: ByteRange, length: u64) -> Option<ByteRange> {
        self.reads += 1;
        let reads = self.reads;
        let largest = self.largest;
        let continued = self.streams.iter_mut().find(|stream| {
            range.start <= stream.next.saturating_add(SLACK)
                && range.end.saturating_add(SLACK) >= stream.next
                && range.start.saturating_add(SLACK) >= stream.began
        });
        let stream = match continued {
            Some(stream) => {
                if range.end > stream.next {
                    stream.next = range.end;
                    stream.window = (stream.window * 2).min(largest);
                }
                stream
            }
            None => {
                if self.streams.len() >= STREAMS
                    && let Some(oldest) = (0..self.streams.len())
                        .min_by_key(|index| self.streams.get(*index).map_or(0, |s| s.used))
                {
                    self.streams.swap_remove(oldest);
                }
                self.streams.push(Stream {
                    began: range.start,
                    next: range.end,
                    wanted: range.end,
                    window: FIRST_WINDOW,
                    used: reads,
                });
                self.streams.last_mut()?
            }
        };
        stream.used = reads;
        let until = stream.next.saturating_add(stream.window).min(length);
        let from = stream.wanted.max(stream.next);
        // Small steps are saved up; at the end of the content the rest is wanted at once.
        let step = stream.window / 4;
        if until <= from || (until - from < step && until < length) {
            return None;
        }
        stream.wanted = until;
        Some(ByteRange::new(from, until))
    }

    /// What the streams expect to be read next: what is to stay wanted when wants are counted anew.
    pub fn windows(&self) -> Vec<ByteRange> {
        self.streams
            .iter()
            .map(|stream| ByteRange::new(stream.next, stream.wanted))
            .filter(|range| !range.is_empty())
            .collect()
    }

    /// Whether a stream reads the content from its start and has come far enough that it will
    /// probably read all of it.
    pub fn is_committed(&self, length: u64) -> bool {
        self.streams
            .iter()
            .any(|stream| stream.began == 0 && stream.next >= COMMITTED.min(length / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_sequential_reader_gets_ever_larger_windows() {
        let mut ahead = ReadAhead::new(256 << 20);
        let mut wanted = 0;
        let mut furthest = 0;
        for n in 0..1000u64 {
            if let Some(range) = ahead.on_read(ByteRange::at(n << 17, 1 << 17), GIB) {
                assert!(range.start >= wanted, "nothing is wanted twice");
                wanted = range.end;
            }
            furthest = furthest.max(wanted.saturating_sub((n + 1) << 17));
        }
        assert_eq!(furthest, LARGEST_WINDOW);
        assert!(ahead.is_committed(GIB));
    }

    #[test]
    fn a_seek_costs_one_small_window() {
        let mut ahead = ReadAhead::new(256 << 20);
        for n in 0..100u64 {
            let at = (n * 7919 % 1024) << 20;
            if let Some(range) = ahead.on_read(ByteRange::at(at, 4096), GIB) {
                assert!(range.len() <= FIRST_WINDOW * 2, "{range:?}");
            }
        }
        assert!(!ahead.is_committed(GIB));
    }

    #[test]
    fn three_places_of_one_handle_keep_their_windows() {
        let mut ahead = ReadAhead::new(256 << 20);
        for n in 0..200u64 {
            for place in 0..3u64 {
                ahead.on_read(ByteRange::at((place << 28) + (n << 16), 1 << 16), GIB);
            }
        }
        assert_eq!(ahead.windows().len(), 3);
        for window in ahead.windows() {
            assert!(window.len() > LARGEST_WINDOW / 2, "{window:?}");
        }
    }

    #[test]
    fn reads_out_of_order_are_no_seeks() {
        let mut ahead = ReadAhead::new(256 << 20);
        for n in 0..100u64 {
            let at = (n ^ 1) << 17;
            ahead.on_read(ByteRange::at(at, 1 << 17), GIB);
        }
        assert_eq!(ahead.windows().len(), 1);
    }

    #[test]
    fn nothing_lies_past_the_end() {
        let mut ahead = ReadAhead::new(256 << 20);
        let range = ahead.on_read(ByteRange::new(0, 4096), 10_000).unwrap();
        assert_eq!(range, ByteRange::new(4096, 10_000));
        assert_eq!(ahead.on_read(ByteRange::new(4096, 10_000), 10_000), None);
    }
}
