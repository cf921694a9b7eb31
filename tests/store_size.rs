//! A store of very many files: opening it takes little time and little memory.
//!
//! One test alone in this file, because it looks at the memory of its process. `CJP2PFS_TEST_FILES` sets how many
//! files (100,000 unless told; the design is for 1,000,000).

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cjp2pfs::content::{ContentId, Digests, Hash};
use cjp2pfs::store::{Identity, Store};

fn hash(domain: &str, number: u64) -> Hash {
    Hash(*blake3::hash(format!("{domain} {number}").as_bytes()).as_bytes())
}

/// Resident memory of this process that is its own, not a file's, in KiB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let field = line.unwrap().split_whitespace().nth(1);
    field.unwrap().parse().unwrap()
}

#[test]
fn a_store_of_many_files_opens_quickly() {
    let files = std::env::var("CJP2PFS_TEST_FILES").map_or(100_000, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let identity = Identity {
        size: 10_000,
        mtime: (1_700_000_000, 123_456_789),
        ctime: (1_700_000_000, 987_654_321),
        inode: 42,
        device: 2049,
    };
    let start = Instant::now();
    for first in (0..files).step_by(1000) {
        let batch: Vec<_> = (first..(first + 1000).min(files))
            .map(|number| {
                let digests = Digests {
                    sha256: hash("sha256", number),
                    blake3: hash("blake3", number),
                    length: 10_000,
                    tree: Vec::new(),
                };
                let folder = number % 777;
                let path = format!("/srv/collection/of/things/{folder:03}/thing {number}.bin");
                (PathBuf::from(path), digests)
            })
            .collect();
        let batch: Vec<_> = batch
            .iter()
            .map(|(path, digests)| (path.as_path(), identity, digests))
            .collect();
        store.add_all_seeded(&batch).unwrap();
    }
    let added = start.elapsed();
    drop(store);
    let start = Instant::now();
    let store = Store::open(dir.path()).unwrap();
    let opened = start.elapsed();
    let used = memory();
    let size = fs::metadata(dir.path().join("index.redb")).unwrap().len();
    println!(
        "{files} files: added at {:.1?} each, index of {} MiB opened in {opened:.1?} with {used} KiB",
        added / u32::try_from(files).unwrap(),
        size >> 20,
    );
    assert_eq!(store.counts().seeded, files);
    for number in (0..files).step_by(97) {
        assert!(store.may_hold(&ContentId::sha256(hash("sha256", number).0)));
        assert!(store.may_hold(&ContentId::blake3(hash("blake3", number).0)));
    }
    // A question for what is not held never gets as far as the disk.
    let start = Instant::now();
    let strange = (0..100_000).filter(|n| store.may_hold(&ContentId::sha256(hash("no", *n).0)));
    assert_eq!(strange.count(), 0);
    println!("{:.1?} for a question in vain", start.elapsed() / 100_000);
    assert_eq!(store.contents(70).len(), 70);
    // Generous, for a debug build on a busy machine.
    assert!(opened < Duration::from_secs(1 + files / 100_000));
    assert!(used < 128 * 1024);
}
