//! Which bytes a source is asked for: the first that are wanted and that it has or, in a crowd, the
//! rarest.
//!
//! Where one or a few peers have everything, bytes are fetched in their order, so that what has come
//! can be read and hashed while the rest comes. Where many peers fetch the same content at once that
//! order would be ruinous: all would want the same bytes of the only one that has them, and nobody
//! would have what another lacks. So in a crowd each source is asked for a *run* at a time. Runs are
//! chosen as BitTorrent chooses pieces (Cohen, "Incentives Build Robustness in BitTorrent", 2003):
//! the one that the fewest of the known sources have, by chance among equals. Within its run the
//! order stays, for the disk and the hash.
//!
//! Looking at every run for each choice would cost more the larger the content is. A handful that
//! chance draws is looked at instead: the rarest of twelve is among the rarest fifth in 93 of a
//! hundred choices (1 - 0.8^12), and that is all that matters.

use std::net::SocketAddr;

use super::fetch::{Class, Fetch};
use super::serving::MAX_ANSWER;
use crate::content::{ByteRange, RangeSet};

/// Bytes of a run: whole requests of any size that is asked for. Two of the largest up to a content
/// of 64 MiB and six for larger ones, of which there are enough runs to differ in anyway; from 256 MiB
/// on 5 MiB, which are whole mebibytes as well, so that what is written and hashed is not cut up.
const SHORT_RUN: u64 = 2 * MAX_ANSWER;
const LONG_RUN: u64 = 6 * MAX_ANSWER;
const LONG: u64 = 64 << 20;
const LONGEST_RUN: u64 = 128 * MAX_ANSWER;
const VERY_LONG: u64 = 256 << 20;
/// Runs that are looked at to choose one.
const SAMPLE: usize = 12;

impl Fetch {
    /// The next bytes of `class` to ask `peer` for; `None` when it has nothing of what is wanted.
    /// They lie in one unasked range. `crowd`: others fetch the same.
    pub fn pick(
        &mut self,
        peer: SocketAddr,
        class: Class,
        crowd: bool,
        random: &mut fastrand::Rng,
    ) -> Option<ByteRange> {
        let unasked = self.unasked(class);
        let held = self.parts.held(peer);
        let Some(length) = self.length.filter(|_| crowd && class == Class::Bulk) else {
            return first_common(unasked, held, ByteRange::new(0, u64::MAX));
        };
        let run = self.sources.get(&peer)?.run;
        if let Some(next) = first_common(unasked, held, run) {
            return Some(next);
        }
        let run = self.rarest_run(class, held, length, random)?;
        let next = first_common(unasked, held, run);
        self.sources.get_mut(&peer)?.run = run;
        next
    }

    /// A run with something of `class` that is in `held`, the rarest of a few.
    fn rarest_run(
        &self,
        class: Class,
        held: Option<&RangeSet>,
        length: u64,
        random: &mut fastrand::Rng,
    ) -> Option<ByteRange> {
        let unasked = self.unasked(class);
        let mut best: Option<(u16, u64)> = None;
        for _ in 0..SAMPLE {
            let at = random.u64(0..length.max(1));
            let after = first_common(unasked, held, ByteRange::new(at, u64::MAX));
            let found = after.or_else(|| first_common(unasked, held, ByteRange::new(0, at)))?;
            let holders = self.parts.holders(found.start);
            if best.is_none_or(|(least, _)| holders < least) {
                best = Some((holders, found.start));
            }
            if holders == 0 {
                break;
            }
        }
        let (_, byte) = best?;
        let run = run_length(length);
        Some(ByteRange::at(byte - byte % run, run))
    }
}

/// Bytes of a run of content that is `length` bytes long.
fn run_length(length: u64) -> u64 {
    match length {
        VERY_LONG.. => LONGEST_RUN,
        _ if length > LONG => LONG_RUN,
        _ => SHORT_RUN,
    }
}

/// The first bytes of `span` that are in both sets; `None` in place of a set is everything.
fn first_common(a: &RangeSet, b: Option<&RangeSet>, span: ByteRange) -> Option<ByteRange> {
    match b {
        None => a.within(span).next(),
        Some(b) => b.within(span).find_map(|part| a.within(part).next()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::swarm::Time;
    use crate::swarm::source::Source;

    fn peer(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 24254))
    }

    fn set(ranges: &[(u64, u64)]) -> RangeSet {
        ranges.iter().map(|&(a, b)| ByteRange::new(a, b)).collect()
    }

    /// A fetch of 100 runs, all of it wanted; peer 1 has everything, peers 2 and 3 have parts.
    fn fetch(second: &[(u64, u64)], third: &[(u64, u64)]) -> Fetch {
        let mut fetch = Fetch::new(Time::ZERO);
        let length = 100 * SHORT_RUN;
        fetch.length = Some(length);
        fetch.want(Time::ZERO, ByteRange::new(0, length), Class::Bulk);
        for n in 1..=3 {
            fetch.sources.insert(peer(n), Source::default());
        }
        for (n, parts) in [(2, second), (3, third)] {
            assert!(
                fetch
                    .parts
                    .tell(Time::ZERO, peer(n), set(parts), length, Duration::ZERO)
            );
        }
        fetch
    }

    #[test]
    fn runs_of_very_long_content_are_whole_mebibytes() {
        assert_eq!(run_length(VERY_LONG) % (1 << 20), 0);
        assert!(VERY_LONG / run_length(VERY_LONG) > 50);
    }

    fn runs(range: ByteRange) -> (u64, u64) {
        (range.start / SHORT_RUN, range.end.div_ceil(SHORT_RUN))
    }

    #[test]
    fn without_a_crowd_the_first_that_the_source_has_comes_first() {
        let run = SHORT_RUN;
        let mut fetch = fetch(&[(7 * run, 9 * run), (20 * run, 30 * run)], &[]);
        let mut random = fastrand::Rng::with_seed(1);
        let mut pick = |n| fetch.pick(peer(n), Class::Bulk, false, &mut random);
        assert_eq!(pick(1).map(|range| range.start), Some(0));
        assert_eq!(pick(2), Some(ByteRange::new(7 * run, 9 * run)));
        assert_eq!(pick(3), None);
    }

    #[test]
    fn in_a_crowd_the_rarest_runs_come_first_and_runs_are_gone_through_in_order() {
        let run = SHORT_RUN;
        // Peer 1 alone has runs 50 to 99; peer 3 has some of what peer 2 has.
        let mut fetch = fetch(&[(0, 50 * run)], &[(10 * run, 40 * run)]);
        let mut random = fastrand::Rng::with_seed(1);
        let mut of_first = std::collections::BTreeSet::new();
        for sequence in 0..20 {
            let range = fetch.pick(peer(1), Class::Bulk, true, &mut random).unwrap();
            let half = ByteRange::at(range.start, run / 2);
            assert!(half.end <= range.end && range.len() <= run);
            fetch.launch(half, Class::Bulk, peer(1), sequence, Time::ZERO);
            let next = fetch.pick(peer(1), Class::Bulk, true, &mut random).unwrap();
            assert_eq!(next, ByteRange::new(half.end, range.end), "the same run");
            fetch.launch(next, Class::Bulk, peer(1), sequence, Time::ZERO);
            of_first.insert(runs(range).0);
        }
        assert_eq!(of_first.len(), 20);
        assert!(of_first.iter().all(|run| *run >= 50), "{of_first:?}");
        assert!(!of_first.iter().copied().eq(50..70), "by chance");
        // Of what it has, peer 2 alone beside the first has runs 0 to 9 and 40 to 49.
        let rare = (0..10)
            .filter(|sequence| {
                let range = fetch.pick(peer(2), Class::Bulk, true, &mut random).unwrap();
                fetch.launch(range, Class::Bulk, peer(2), *sequence, Time::ZERO);
                !(10..40).contains(&runs(range).0)
            })
            .count();
        assert_eq!(rare, 10);
    }

    /// However the sets interleave, what is picked is wanted and held, and is found if it is there.
    #[test]
    fn the_first_common_bytes_are_in_both_and_before_them_none_are() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let mut draw = || {
                (0..8)
                    .map(|_| ByteRange::at(random.u64(0..60), random.u64(0..6)))
                    .collect::<RangeSet>()
            };
            let (a, b) = (draw(), draw());
            let span = ByteRange::new(random.u64(0..70), random.u64(0..70));
            let both = |byte| {
                let at = ByteRange::at(byte, 1);
                a.contains(at) && b.contains(at)
            };
            let expected = (span.start..span.end).find(|byte| both(*byte));
            let found = first_common(&a, Some(&b), span);
            assert_eq!(found.map(|range| range.start), expected);
            assert!(found.is_none_or(|r| (r.start..r.end).all(both) && r.end <= span.end));
        }
    }
}
