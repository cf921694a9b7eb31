//! Partial content: after a crash at any point, what counts as present is right.

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
            "tests/store_partial.proptest-regressions",
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
fn it_is_sparse_and_its_map_small() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let length = 1 << 40;
    let store = Store::open(dir.path()).unwrap();
    let partial = store.partial(&ID, length).unwrap();
    let last = length - LEAF;
    partial.write_at(last, &[1; 4096]).unwrap();
    partial.note_present(ByteRange::at(last, LEAF));
    partial.sync().unwrap();
    for suffix in ["data", "map"] {
        let blocks = fs::metadata(path(dir.path(), suffix)).unwrap().blocks();
        assert!(blocks * 512 < 256 * 1024, "{suffix}: {blocks}");
    }
    drop((partial, store));
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.partials(), [(ID, length, LEAF)]);
    let partial = store.partial(&ID, length).unwrap();
    assert_eq!(partial.present().first(), Some(ByteRange::at(last, LEAF)));
}

#[test]
fn zeros_take_no_disk_wherever_they_are_written() {
    use std::os::unix::fs::MetadataExt;
    const PIECE: u64 = 10 * LEAF;
    let dir = tempfile::tempdir().unwrap();
    let partial = open(dir.path());
    let used = || fs::metadata(path(dir.path(), "data")).unwrap().blocks() * 512;
    // What this file system needs to say that a file is sparse.
    let slack = 64 << 10;
    for piece in 0..500 {
        let range = ByteRange::at(piece * PIECE, PIECE);
        partial.write_at(range.start, &[0; PIECE as usize]).unwrap();
        partial.note_present(range);
    }
    partial.sync().unwrap();
    assert!(used() < slack, "{}", used());
    // Other bytes, durable, among the zeros and beyond; then zeros over some of them.
    let ones = vec![1; 100 * PIECE as usize];
    for start in [100 * PIECE, 500 * PIECE] {
        partial.write_at(start, &ones).unwrap();
        partial.note_present(ByteRange::at(start, 100 * PIECE));
    }
    partial.sync().unwrap();
    assert!(used() >= 200 * PIECE);
    for piece in 100..200 {
        let start = piece * PIECE;
        partial.write_at(start, &[0; PIECE as usize]).unwrap();
    }
    // Not on the boundaries of any block.
    partial
        .write_at(510 * PIECE + 7, &[0; 3 * LEAF as usize])
        .unwrap();
    partial.note_present(ByteRange::at(0, 600 * PIECE));
    partial.sync().unwrap();
    assert!(used() < 100 * PIECE + slack, "{}", used());
    drop(partial);
    let partial = open(dir.path());
    assert_eq!(partial.present_bytes(), 600 * PIECE);
    let mut found = vec![7; 600 * PIECE as usize];
    partial.read_at(0, &mut found).unwrap();
    let (zeros, ones) = found.split_at(500 * PIECE as usize);
    assert!(zeros.iter().all(|byte| *byte == 0));
    let from = 10 * PIECE as usize + 7;
    for (at, byte) in ones.iter().enumerate() {
        let hole = (from..from + 3 * LEAF as usize).contains(&at);
        assert_eq!(*byte, u8::from(!hole), "{at}");
    }
}

/// Runs that go past the page cache, half of each zeros: those take no disk, also in the place of other
/// bytes.
#[test]
fn zeros_take_no_disk_past_the_page_cache() {
    use std::os::unix::fs::MetadataExt;
    const RUN: usize = 1 << 20;
    const RUNS: usize = 4;
    let dir = tempfile::tempdir().unwrap();
    let partial = open(dir.path());
    let used = || fs::metadata(path(dir.path(), "data")).unwrap().blocks() * 512;
    let write = |first: u8, second: u8| {
        let mut run = AlignedBuffer::new(RUN);
        run.append(&[first; RUN / 2]);
        run.append(&[second; RUN / 2]);
        for number in 0..RUNS {
            let start = (number * RUN) as u64;
            partial.write_past_cache(start, run.bytes()).unwrap();
        }
        partial.note_present(ByteRange::at(0, (RUNS * RUN) as u64));
        partial.sync().unwrap();
    };
    let slack = 64 << 10;
    write(0, 0);
    assert!(used() < slack, "{}", used());
    write(0, 1);
    let half = (RUNS * RUN / 2) as u64;
    assert!((half..half + slack).contains(&used()), "{}", used());
    write(2, 0);
    assert!((half..half + slack).contains(&used()), "{}", used());
    let mut found = vec![7; RUNS * RUN];
    partial.read_at(0, &mut found).unwrap();
    for run in found.chunks(RUN) {
        let (first, second) = run.split_at(RUN / 2);
        assert!(first.iter().all(|byte| *byte == 2));
        assert!(second.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn opened_twice_it_is_the_same_and_of_another_length_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let one = store.partial(&ID, LENGTH).unwrap();
    let two = store.partial(&ID, LENGTH).unwrap();
    write(&one, 5);
    assert!(two.holds(leaf(5)));
    one.sync().unwrap();
    let other = store.partial(&ID, 1000).unwrap();
    assert!(other.present().is_empty());
    assert!(one.write_at(0, b"late").is_err());
    assert!(one.complete().is_err());
    assert!(check(&one, 5));
    assert_eq!(store.partials(), [(ID, 1000, 0)]);
    drop((one, two, other));
    let again = store.partial(&ID, LENGTH).unwrap();
    assert!(check(&again, 5));
    again.discard();
    again.discard();
    assert_eq!(store.partials(), [(ID, 1000, 0)]);
    store.partial(&ID, 1000).unwrap().discard();
    assert_eq!(store.partials(), []);
}

/// Peers disagree about the length, and nobody knows yet who is right.
#[test]
fn of_two_lengths_both_are_kept_and_of_three_those_of_which_most_is_here() {
    let dir = tempfile::tempdir().unwrap();
    let of = |store: &Store, leaves: u64, write: u64| {
        let partial = store.partial(&ID, leaves * LEAF).unwrap();
        for leaf in 0..write {
            partial
                .write_at(leaf * LEAF, &[leaves as u8; 4096])
                .unwrap();
            partial.note_present(ByteRange::at(leaf * LEAF, LEAF));
        }
        partial
    };
    let here = |store: &Store, leaves: u64| {
        let partial = store.partial(&ID, leaves * LEAF).unwrap();
        for range in partial.present().iter() {
            let mut bytes = vec![0; range.len() as usize];
            partial.read_at(range.start, &mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == leaves as u8));
        }
        partial.present_bytes() / LEAF
    };
    let store = Store::open(dir.path()).unwrap();
    let ten = of(&store, 10, 3);
    let twenty = of(&store, 20, 5);
    assert!(ten.write_at(0, b"late").is_err());
    assert!(ten.sync().is_ok());
    assert_eq!((here(&store, 10), here(&store, 20)), (3, 5));
    drop((ten, twenty));
    // Also over a restart.
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.partials(), [(ID, 20 * LEAF, 5 * LEAF)]);
    assert_eq!(store.usage().unwrap().partial, 8 * LEAF);
    assert_eq!((here(&store, 10), here(&store, 20)), (3, 5));
    assert_eq!(store.usage().unwrap().partial, 8 * LEAF);
    let _thirty = of(&store, 30, 1);
    assert_eq!((here(&store, 20), here(&store, 30)), (5, 1));
    assert_eq!(here(&store, 10), 0);
    assert_eq!(store.usage().unwrap().partial, 5 * LEAF);
}

/// What is complete shows how long it is: what came of another length goes.
#[test]
fn what_is_complete_leaves_nothing_of_another_length() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let of = |length: u64| {
        let partial = store.partial(&ID, length).unwrap();
        partial.write_at(0, &[7; LEAF as usize]).unwrap();
        partial.note_present(ByteRange::at(0, LEAF));
        partial
    };
    let (lie, right) = (of(2 * LEAF), of(LEAF));
    right.complete().unwrap();
    store.flush().unwrap();
    assert_eq!(store.partials(), []);
    assert_eq!(store.usage().unwrap().partial, 0);
    assert_eq!(fs::read_dir(dir.path().join("partial")).unwrap().count(), 0);
    drop((lie, right, store));
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.length_of(&ID).unwrap(), Some(LEAF));
}

/// Asked for once and never come: it does not lie there for ever.
#[test]
fn what_is_blank_is_removed_at_the_next_start_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = |number| ContentId::blake3([number; 32]);
    let file = |number, suffix| {
        let hash = id(number).hash;
        dir.path().join(format!("partial/blake3-{hash}.{suffix}"))
    };
    let exist = |number| ["data", "map"].map(|suffix| file(number, suffix).exists());
    let partials: Vec<_> = (0..5)
        .map(|number| store.partial(&id(number), LENGTH).unwrap())
        .collect();
    // 0: nothing at all. 1: written and noted, never made durable.
    write(&partials[1], 7);
    // 2: durable, and taken back. 3: only in the last page of the map. 4: a damaged header.
    write(&partials[2], 7);
    partials[2].sync().unwrap();
    partials[2].note_absent(leaf(7));
    partials[2].sync().unwrap();
    for partial in &partials[3..] {
        write(partial, LEAVES - 1);
        partial.sync().unwrap();
    }
    // Another process, or this one once more, does not even look at them.
    assert!(Store::open(dir.path()).is_err());
    drop(store);
    assert!(Store::open(dir.path()).is_err());
    assert!((0..5).all(|number| exist(number) == [true; 2]));
    write(&partials[0], 1);
    assert!(check(&partials[0], 1));
    drop(partials);
    let map = File::options().write(true).open(file(4, "map")).unwrap();
    map.write_all_at(b"X", 0).unwrap();

    let store = Store::open(dir.path()).unwrap();
    for number in [0, 1, 2, 4] {
        assert_eq!(exist(number), [false; 2], "{number}");
        let again = store.partial(&id(number), LENGTH).unwrap();
        assert!(again.present().is_empty());
        again.discard();
    }
    let last = leaf(LEAVES - 1);
    assert_eq!(store.partials(), [(id(3), LENGTH, last.len())]);
    let kept = store.partial(&id(3), LENGTH).unwrap();
    assert!(kept.holds(last) && check(&kept, LEAVES - 1));
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
