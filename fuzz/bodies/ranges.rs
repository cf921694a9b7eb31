//! Sets of ranges against an array of flags.

use arbitrary::{Result, Unstructured};
use cjp2pfs::content::{ByteRange, RangeSet};

const BYTES: u64 = 200;

fn range(u: &mut Unstructured<'_>) -> Result<ByteRange> {
    Ok(match u.int_in_range(0..=9u8)? {
        0 => ByteRange::new(u.arbitrary()?, u.arbitrary()?),
        1 => ByteRange::at(u.arbitrary()?, u.arbitrary()?),
        _ => ByteRange::at(u.int_in_range(0..=BYTES)?, u.int_in_range(0..=40)?),
    })
}

pub fn run(data: &[u8]) {
    let _ = compare(&mut Unstructured::new(data));
}

fn compare(u: &mut Unstructured<'_>) -> Result<()> {
    let whole = ByteRange::new(0, BYTES);
    let (mut set, mut flags) = (RangeSet::new(), [false; BYTES as usize]);
    while !u.is_empty() {
        let insert = u.ratio(3, 5)?;
        let any = range(u)?;
        // Arithmetic at the ends of the numbers is tried on its own.
        let _ = (
            any.len(),
            any.widened(4096, u64::MAX),
            any.intersection(whole),
        );
        let range = any.intersection(whole);
        let before = flags.iter().filter(|flag| **flag).count();
        flags[range.start.min(BYTES) as usize..range.end.min(BYTES) as usize].fill(insert);
        let after = flags.iter().filter(|flag| **flag).count();
        if insert {
            assert_eq!(set.insert(range), (after - before) as u64);
        } else {
            assert_eq!(set.remove(range), (before - after) as u64);
        }
        assert_eq!(set.bytes(), after as u64);
        assert!(set.iter().all(|piece| !piece.is_empty()));
        let apart = set.iter().zip(set.iter().skip(1));
        assert!(apart.into_iter().all(|(a, b)| a.end < b.start), "{set:?}");
        let gaps: u64 = set.gaps(whole).map(|gap| gap.len()).sum();
        assert_eq!(gaps, BYTES - after as u64);
        let inside: u64 = set.within(range).map(|piece| piece.len()).sum();
        let expected = &flags[range.start.min(BYTES) as usize..range.end.min(BYTES) as usize];
        assert_eq!(inside, expected.iter().filter(|flag| **flag).count() as u64);
        assert_eq!(set.contains(range), inside == range.len());
        assert_eq!(set.intersects(range), inside > 0);
    }
    Ok(())
}
