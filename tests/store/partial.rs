//! Partial content: after a crash at any point, what counts as present is right.

mod lengths;
mod zeros;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use cjp2pfs::content::{ByteRange, ContentId, LEAF, RangeSet};
use cjp2pfs::store::{AlignedBuffer, Partial, Store};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const ID: ContentId = ContentId {
    kind: cjp2pfs::content::Kind::Sha256,
    hash: cjp2pfs::content::Hash([0x5a; 32]),
};
/// Over two pages of the map, with a short last leaf.
const LENGTH: u64 = 300 * 1024 * 1024 + 1234;
const LEAVES: u64 = LENGTH.div_ceil(LEAF);

fn leaf(number: u64) -> ByteRange {
    let start = number * LEAF;
    ByteRange::new(start, (start + LEAF).min(LENGTH))
}

/// Every third leaf is nothing but zeros.
fn leaf_bytes(number: u64, version: u8) -> Vec<u8> {
    let mut bytes = vec![version; leaf(number).len() as usize];
    if number.is_multiple_of(3) {
        bytes.fill(0);
        return bytes;
    }
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn path(dir: &Path, suffix: &str) -> PathBuf {
    dir.join(format!("partial/sha256-{}.{suffix}", ID.hash))
}

fn open(dir: &Path) -> Partial {
    Store::open(dir).unwrap().partial(&ID, LENGTH).unwrap()
}

fn write(partial: &Partial, number: u64) {
    partial
        .write_at(leaf(number).start, &leaf_bytes(number, 1))
        .unwrap();
    partial.note_present(leaf(number));
}

fn check(partial: &Partial, number: u64) -> bool {
    let mut found = vec![0; leaf(number).len() as usize];
    partial.read_at(leaf(number).start, &mut found).unwrap() == found.len()
        && found == leaf_bytes(number, 1)
}

#[derive(Clone, Debug)]
enum Op {
    Write(u64, u64),
    Forget(u64),
    Sync,
    Crash,
    /// While a sync was writing the map: which 512-byte sectors of it reached the disk.
    CrashInSync(u64),
    Close,
}

/// Near the ends of map pages and of the content more often than elsewhere.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..LEAVES, 0..20u64, 32_560..32_590u64, LEAVES - 10..LEAVES,]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (number(), 1..12u64).prop_map(|(first, count)| Op::Write(first, count)),
        1 => number().prop_map(Op::Forget),
        2 => Just(Op::Sync),
        1 => Just(Op::Crash),
        2 => any::<u64>().prop_map(Op::CrashInSync),
        1 => Just(Op::Close),
    ]
}

/// Spoils every leaf of the data file that is not in `durable`, as a power failure may.
fn spoil(dir: &Path, written: &RangeSet, durable: &RangeSet) {
    let file = File::options().write(true).open(path(dir, "data")).unwrap();
    for range in written
        .iter()
        .flat_map(|range| durable.gaps(range).collect::<Vec<_>>())
    {
        file.write_all_at(&vec![0xee; range.len() as usize], range.start)
            .unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/store/partial.proptest-regressions",
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_counts_as_present_after_a_crash_is_right(ops in prop::collection::vec(op(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut partial = open(dir.path());
        // What is present now; what the last finished sync made so; what was ever written.
        let mut present = RangeSet::new();
        let mut durable = RangeSet::new();
        let mut written = RangeSet::new();
        for op in ops {
            match op {
                Op::Write(first, count) => {
                    for number in first..(first + count).min(LEAVES) {
                        write(&partial, number);
                        present.insert(leaf(number));
                        written.insert(leaf(number));
                    }
                }
                Op::Forget(number) => {
                    partial.note_absent(ByteRange::at(leaf(number).start + 7, 1));
                    present.remove(leaf(number));
                }
                Op::Sync => {
                    partial.sync().unwrap();
                    durable = present.clone();
                }
                Op::Crash => {
                    drop(partial);
                    spoil(dir.path(), &written, &durable);
                    partial = open(dir.path());
                    present = durable.clone();
                }
                Op::CrashInSync(mask) => {
                    let before = fs::read(path(dir.path(), "map")).unwrap();
                    partial.sync().unwrap();
                    drop(partial);
                    let mut torn = fs::read(path(dir.path(), "map")).unwrap();
                    let mut kept = mask;
                    for (i, sector) in torn.chunks_mut(512).enumerate() {
                        kept = kept.rotate_left(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                        if kept >> 63 == 0 {
                            let old = before.get(i * 512..).unwrap_or_default();
                            let length = sector.len().min(old.len());
                            sector[..length].copy_from_slice(&old[..length]);
                            sector[length..].fill(0);
                        }
                    }
                    fs::write(path(dir.path(), "map"), torn).unwrap();
                    // The data had been made durable by then.
                    spoil(dir.path(), &written, &{ let mut all = present.clone(); all.union(&durable); all });
                    partial = open(dir.path());
                    let found = partial.present();
                    // Nothing that was durable and not taken back is lost, nothing is invented.
                    for range in durable.iter() {
                        for kept in present.within(range) {
                            prop_assert!(found.contains(kept));
                        }
                    }
                    for range in found.iter() {
                        for invented in present.gaps(range) {
                            prop_assert!(durable.contains(invented));
                        }
                    }
                    present = found.clone();
                    durable = found;
                }
                Op::Close => {
                    partial.sync().unwrap();
                    drop(partial);
                    partial = open(dir.path());
                    durable = present.clone();
                }
            }
            prop_assert_eq!(&partial.present(), &present);
            prop_assert_eq!(partial.present_bytes(), present.bytes());
            for range in present.iter() {
                for number in range.start / LEAF..range.end.div_ceil(LEAF) {
                    prop_assert!(check(&partial, number));
                }
            }
        }
    }
}

#[test]
fn only_whole_leaves_count() {
    let dir = tempfile::tempdir().unwrap();
    let partial = open(dir.path());
    partial.note_present(ByteRange::new(1, 2 * LEAF - 1));
    assert!(partial.present().is_empty());
    partial.note_present(ByteRange::new(1, 3 * LEAF + 5));
    assert_eq!(
        partial.present().first(),
        Some(ByteRange::new(LEAF, 3 * LEAF))
    );
    partial.note_present(ByteRange::new(LENGTH - 1, u64::MAX));
    assert_eq!(partial.present().pieces(), 1);
    partial.note_present(ByteRange::new(LENGTH - 5000, u64::MAX));
    assert!(partial.holds(leaf(LEAVES - 1)));
    assert_eq!(partial.present_bytes(), 2 * LEAF + LENGTH % LEAF);
}

#[test]
fn a_damaged_map_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let partial = open(dir.path());
    write(&partial, 3);
    write(&partial, 40_000);
    partial.sync().unwrap();
    drop(partial);
    let map = path(dir.path(), "map");
    let good = fs::read(&map).unwrap();
    for at in [0, 13, 20, 50, 60] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&map, bad).unwrap();
        assert!(open(dir.path()).present().is_empty(), "header byte {at}");
        // Starting from nothing made new files: as they were, once more.
        fs::write(&map, &good).unwrap();
    }
    // One bit of the first page, in whichever slot: the other page still counts.
    let mut bad = good.clone();
    for slot in [4096, 8192] {
        bad[slot + 100] ^= 4;
    }
    fs::write(&map, bad).unwrap();
    let present = open(dir.path()).present();
    assert_eq!(present.iter().collect::<Vec<_>>(), [leaf(40_000)]);
    // Cut short, and the data of another length.
    for length in [0, 100, 4096] {
        fs::write(&map, &good[..length]).unwrap();
        assert!(open(dir.path()).present().is_empty());
    }
    fs::write(&map, &good).unwrap();
    let data = File::options()
        .write(true)
        .open(path(dir.path(), "data"))
        .unwrap();
    data.set_len(LENGTH - 1).unwrap();
    assert!(open(dir.path()).present().is_empty());
}

/// Readers, a writer and syncs at the same time: nobody sees a leaf present that is not right.
#[test]
fn reading_writing_and_syncing_go_on_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let partial = open(dir.path());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                partial.sync().unwrap();
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for range in partial.present().iter() {
                    assert!(check(&partial, range.start / LEAF));
                }
            }
        });
        for number in 0..2000 {
            write(&partial, number * 17 % LEAVES);
        }
        done.store(true, Ordering::Relaxed);
    });
    partial.sync().unwrap();
    let present = partial.present();
    drop(partial);
    assert_eq!(open(dir.path()).present(), present);
}
