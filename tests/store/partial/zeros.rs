//! Partial content takes no more of the disk than what is there, and zeros take none.

use super::*;

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
