//! Samples of what is held: whoever keeps asking sees everything in time.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use cjp2pfs::content::{ByteRange, ContentHasher, ContentId, Digests, Hash};
use cjp2pfs::store::{Identity, Store};

/// As in an answer to a peer.
const LIMIT: usize = 20;

fn digests(data: &[u8]) -> Digests {
    let mut hasher = ContentHasher::new();
    hasher.update(data);
    hasher.finish()
}

fn put(store: &Store, id: &ContentId, data: &[u8]) {
    let partial = store.partial(id, data.len() as u64).unwrap();
    partial.write_at(0, data).unwrap();
    partial.note_present(ByteRange::at(0, data.len() as u64));
    partial.complete().unwrap();
}

/// Puts `number` contents into the store; one in ten goes by its BLAKE3, some have a tree file.
fn put_many(store: &Store, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let data = number.to_le_bytes().repeat(1 + number as usize % 1500);
        let digests = digests(&data);
        if number % 10 == 3 {
            put(store, &ContentId::blake3(digests.blake3.0), &data);
        } else {
            put(store, &ContentId::sha256(digests.sha256.0), &data);
            if number % 50 == 0 {
                store.learned_digests(&digests);
            }
        }
    }
}

fn seeded_path(number: u64) -> PathBuf {
    format!("/srv/things/{number}").into()
}

fn seed_many(store: &Store, numbers: std::ops::Range<u64>) {
    let hash = |domain, number: u64| {
        let input = format!("{domain} {number}");
        Hash(*blake3::hash(input.as_bytes()).as_bytes())
    };
    let files: Vec<_> = numbers
        .map(|number| {
            let identity = Identity {
                size: number,
                mtime: (1, 2),
                ctime: (3, 4),
                inode: number,
                device: 5,
            };
            let digests = Digests {
                sha256: hash("sha256", number),
                blake3: hash("blake3", number),
                length: number,
                tree: Vec::new(),
            };
            (seeded_path(number), identity, digests)
        })
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(path, identity, digests)| (path.as_path(), *identity, digests))
        .collect();
    store.add_all_seeded(&files).unwrap();
}

/// Asks `times` times and checks that all of `total` entries were seen, none far too often.
fn all_is_seen(store: &Store, total: usize, times: u64) {
    let held: HashSet<_> = store.contents(usize::MAX).into_iter().collect();
    assert_eq!(held.len(), total);
    let mut seen: HashMap<_, u64> = HashMap::new();
    for seed in 0..times {
        let sample = store.sample(LIMIT, seed);
        assert_eq!(sample.len(), LIMIT.min(total));
        let distinct: HashSet<_> = sample.iter().copied().collect();
        assert_eq!(distinct.len(), sample.len());
        assert!(distinct.is_subset(&held));
        for entry in sample {
            *seen.entry(entry).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), total);
    let fair = times * LIMIT.min(total) as u64 / total as u64;
    let most = seen.values().max().unwrap();
    assert!(*most <= 4 * fair, "{most} times, {fair} would be fair");
}

#[test]
fn everything_is_seen_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.sample(LIMIT, 1), []);
    put_many(&store, 0..150);
    all_is_seen(&store, 150, 1000);
    seed_many(&store, 0..1000);
    all_is_seen(&store, 1150, 6000);
    // Most that was seeded first goes: what is left is not always listed from its first file on.
    for number in 0..800 {
        store.forget_seeded(&seeded_path(number)).unwrap();
    }
    all_is_seen(&store, 350, 2000);
}

#[test]
fn a_sample_that_has_room_for_everything_is_everything_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    put_many(&store, 0..12);
    seed_many(&store, 0..7);
    // A file whose content is complete as well, in two places.
    let data = 5u32.to_le_bytes().repeat(6);
    let identity = Identity {
        size: data.len() as u64,
        mtime: (0, 0),
        ctime: (0, 0),
        inode: 1,
        device: 1,
    };
    for path in ["/srv/one", "/srv/two"] {
        let digests = digests(&data);
        store.add_seeded(path.as_ref(), identity, &digests).unwrap();
    }
    let mut held = store.contents(100);
    held.sort_unstable();
    assert_eq!(held.len(), 19);
    let mut orders = HashSet::new();
    for seed in 0..200 {
        for limit in [19, 20, usize::MAX] {
            let mut sample = store.sample(limit, seed);
            assert_eq!(sample, store.sample(limit, seed));
            orders.insert(sample.clone());
            sample.sort_unstable();
            assert_eq!(sample, held);
        }
        assert_eq!(store.sample(0, seed), []);
        assert_eq!(store.sample(1, seed).len(), 1);
    }
    assert!(orders.len() > 50);
}
