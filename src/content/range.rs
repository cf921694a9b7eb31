//! Byte ranges and sets of them: which bytes are wanted, in flight, present or given out.

use std::collections::BTreeMap;
use std::fmt;

/// A half-open range of bytes, `start..end`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// One past the last byte; never less than `start`.
    pub end: u64,
}

impl ByteRange {
    /// `start..end`, empty where `end` is not past `start`.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Self {
        Self {
            start,
            end: end.max(start),
        }
    }

    /// `length` bytes from `start`, cut at `u64::MAX`.
    #[must_use]
    pub fn at(start: u64, length: u64) -> Self {
        Self::new(start, start.saturating_add(length))
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether it holds no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The bytes that both hold.
    #[must_use]
    pub fn intersection(&self, other: Self) -> Self {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// The smallest range on boundaries of `unit` bytes that holds this one, cut at `limit`.
    #[must_use]
    pub fn widened(&self, unit: u64, limit: u64) -> Self {
        if self.is_empty() {
            return *self;
        }
        let start = self.start - self.start % unit;
        let end = self.end.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
        Self::new(start, end.min(limit))
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A set of bytes, kept as disjoint ranges that do not touch.
///
/// Cost follows the number of gaps, not of bytes: a file that is complete is one range.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RangeSet {
    /// start -> end
    ranges: BTreeMap<u64, u64>,
    bytes: u64,
}

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of bytes in the set.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of disjoint ranges.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.ranges.len()
    }

    /// Whether the set holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = ByteRange> + '_ {
        self.ranges
            .iter()
            .map(|(&start, &end)| ByteRange { start, end })
    }

    /// The first range, if any.
    #[must_use]
    pub fn first(&self) -> Option<ByteRange> {
        self.iter().next()
    }

    /// The range of the set that holds `byte`, if any.
    #[must_use]
    pub fn around(&self, byte: u64) -> Option<ByteRange> {
        let (&start, &end) = self.ranges.range(..=byte).next_back()?;
        (byte < end).then_some(ByteRange { start, end })
    }

    /// Whether every byte of `range` is in the set (true for an empty range).
    #[must_use]
    pub fn contains(&self, range: ByteRange) -> bool {
        range.is_empty() || self.around(range.start).is_some_and(|r| range.end <= r.end)
    }

    /// Whether any byte of `range` is in the set.
    #[must_use]
    pub fn intersects(&self, range: ByteRange) -> bool {
        self.within(range).next().is_some()
    }

    /// Adds `range`; returns how many of its bytes were new.
    pub fn insert(&mut self, range: ByteRange) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let ByteRange { mut start, mut end } = range;
        if let Some((&s, &e)) = self.ranges.range(..=start).next_back()
            && e >= start
        {
            if e >= end {
                return 0;
            }
            start = s;
        }
        let mut absorbed = 0;
        while let Some((&s, &e)) = self.ranges.range(start..=end).next() {
            self.ranges.remove(&s);
            absorbed += e - s;
            end = end.max(e);
        }
        self.ranges.insert(start, end);
        let added = (end - start) - absorbed;
        self.bytes += added;
        added
    }

    /// Takes `range` out; returns how many bytes were taken.
    pub fn remove(&mut self, range: ByteRange) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let mut taken = 0;
        if let Some((&s, &e)) = self.ranges.range(..range.start).next_back()
            && e > range.start
        {
            self.ranges.insert(s, range.start);
            taken += e.min(range.end) - range.start;
            if e > range.end {
                self.ranges.insert(range.end, e);
            }
        }
        while let Some((&s, &e)) = self.ranges.range(range.start..range.end).next() {
            self.ranges.remove(&s);
            taken += e.min(range.end) - s;
            if e > range.end {
                self.ranges.insert(range.end, e);
            }
        }
        self.bytes -= taken;
        taken
    }

    /// The parts of the set inside `range`, ascending.
    pub fn within(&self, range: ByteRange) -> impl Iterator<Item = ByteRange> + '_ {
        let first = self.around(range.start).map_or(range.start, |r| r.start);
        self.ranges
            .range(first..range.end.max(first))
            .map(move |(&start, &end)| ByteRange { start, end }.intersection(range))
            .filter(|r| !r.is_empty())
    }

    /// The parts of `range` that are not in the set, ascending.
    pub fn gaps(&self, range: ByteRange) -> impl Iterator<Item = ByteRange> + '_ {
        let mut at = range.start;
        let mut inside = self.within(range);
        std::iter::from_fn(move || {
            loop {
                if at >= range.end {
                    return None;
                }
                match inside.next() {
                    Some(held) => {
                        let gap = ByteRange::new(at, held.start);
                        at = held.end;
                        if !gap.is_empty() {
                            return Some(gap);
                        }
                    }
                    None => {
                        let gap = ByteRange::new(at, range.end);
                        at = range.end;
                        return Some(gap);
                    }
                }
            }
        })
    }

    /// Adds every range of `other`.
    pub fn union(&mut self, other: &Self) {
        for range in other.iter() {
            self.insert(range);
        }
    }
}

impl FromIterator<ByteRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = ByteRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPAN: u64 = 64;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64, u64),
        Remove(u64, u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        (any::<bool>(), 0..SPAN, 0..SPAN).prop_map(|(insert, a, b)| {
            if insert {
                Op::Insert(a, b)
            } else {
                Op::Remove(a, b)
            }
        })
    }

    proptest! {
        /// The set agrees with one bool per byte, and its ranges are disjoint and do not touch.
        #[test]
        fn agrees_with_a_bitmap(ops in prop::collection::vec(op(), 0..60), a in 0..SPAN, b in 0..SPAN) {
            let mut set = RangeSet::new();
            let mut model = [false; SPAN as usize];
            for op in ops {
                let (range, value) = match op {
                    Op::Insert(a, b) => (ByteRange::new(a, b), true),
                    Op::Remove(a, b) => (ByteRange::new(a, b), false),
                };
                let mut changed = 0;
                for byte in range.start..range.end {
                    changed += u64::from(model[byte as usize] != value);
                    model[byte as usize] = value;
                }
                let reported = if value { set.insert(range) } else { set.remove(range) };
                prop_assert_eq!(reported, changed);
            }
            prop_assert_eq!(set.bytes(), model.iter().filter(|held| **held).count() as u64);
            let ranges: Vec<_> = set.iter().collect();
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
            let query = ByteRange::new(a, b);
            let mut within = [false; SPAN as usize];
            for range in set.within(query) {
                for byte in range.start..range.end { within[byte as usize] = true; }
            }
            let mut gaps = [false; SPAN as usize];
            for range in set.gaps(query) {
                prop_assert!(!range.is_empty());
                for byte in range.start..range.end { gaps[byte as usize] = true; }
            }
            for byte in 0..SPAN {
                let inside = (query.start..query.end).contains(&byte);
                prop_assert_eq!(within[byte as usize], inside && model[byte as usize]);
                prop_assert_eq!(gaps[byte as usize], inside && !model[byte as usize]);
            }
            let all = (query.start..query.end).all(|byte| model[byte as usize]);
            prop_assert_eq!(set.contains(query), all);
        }
    }

    #[test]
    fn widening_keeps_to_the_limit() {
        let range = ByteRange::new(5000, 9000);
        assert_eq!(range.widened(4096, 1 << 20), ByteRange::new(4096, 12288));
        assert_eq!(range.widened(4096, 9001), ByteRange::new(4096, 9001));
        let top = ByteRange::new(u64::MAX - 1, u64::MAX);
        assert_eq!(top.widened(4096, u64::MAX).end, u64::MAX);
    }
}
