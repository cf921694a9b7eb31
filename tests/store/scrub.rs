//! What has rotted on the disk is found, set aside, and given to nobody.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cjp2pfs::content::{ByteRange, ContentHasher, ContentId, Digests};
use cjp2pfs::store::{Scrubbed, Store, Verdict};

fn data(number: u8, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    blake3::Hasher::new()
        .update(&[number])
        .finalize_xof()
        .fill(&mut data);
    data
}

/// Puts `data` into the store; its digests.
fn hold(store: &Store, data: &[u8]) -> Digests {
    let mut hasher = ContentHasher::new();
    hasher.update(data);
    let digests = hasher.finish();
    let id = ContentId::sha256(digests.sha256.0);
    let partial = store.partial(&id, data.len() as u64).unwrap();
    partial.write_at(0, data).unwrap();
    partial.note_present(ByteRange::at(0, data.len() as u64));
    partial.complete().unwrap();
    store.learned_digests(&digests);
    digests
}

fn sha256(digests: &Digests) -> ContentId {
    ContentId::sha256(digests.sha256.0)
}

fn file_of(dir: &Path, kind: &str, hash: &str) -> PathBuf {
    dir.join("complete").join(kind).join(&hash[..2]).join(hash)
}

/// Changes one bit of a file, as a disk does: the times stay.
fn rot(path: &Path, at: u64) {
    let times = fs::metadata(path).unwrap().modified().unwrap();
    let mode = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    file.set_modified(times).unwrap();
    file.set_permissions(mode).unwrap();
}

/// What was found, by id, and the sum.
fn scrub(store: &Store, ids: Option<&[ContentId]>) -> (Vec<(ContentId, bool)>, Scrubbed) {
    let found = Mutex::new(Vec::new());
    let sum = store
        .scrub(ids, &|id, _, verdict| {
            let right = matches!(verdict, Verdict::Right);
            found.lock().unwrap().push((*id, right));
            true
        })
        .unwrap();
    let mut found = found.into_inner().unwrap();
    found.sort_unstable();
    (found, sum)
}

#[test]
fn what_is_right_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let lengths = [1, 4096, 100_000, 1 << 20, (5 << 20) + 3];
    for (number, length) in (0..).zip(lengths) {
        hold(&store, &data(number, length));
    }
    let (found, sum) = scrub(&store, None);
    assert!(found.iter().all(|(_, right)| *right), "{found:?}");
    // Three of them have trees.
    assert_eq!((sum.files, sum.bad), (5 + 3, 0));
    assert!(sum.bytes > lengths.iter().sum::<usize>() as u64);
    assert_eq!(store.aside().unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn what_is_rotten_is_set_aside_and_can_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for length in [3000usize, 3 << 20] {
        let content = data(7, length);
        let digests = hold(&store, &content);
        let other = hold(&store, &data(8, 5000));
        let id = sha256(&digests);
        // Kept open, as what was asked for lately is.
        let open = store.open_content(&id).unwrap().unwrap();
        let open_other = store.open_content(&sha256(&other)).unwrap().unwrap();
        let path = file_of(dir.path(), "sha256", &digests.sha256.to_string());
        rot(&path, length as u64 - 1);
        let (found, sum) = scrub(&store, Some(&[id, sha256(&other)]));
        assert_eq!((sum.files, sum.bad), (2, 1));
        assert!(found.contains(&(id, false)) && found.contains(&(sha256(&other), true)));
        for id in [id, ContentId::blake3(digests.blake3.0)] {
            assert!(store.open_content(&id).unwrap().is_none());
        }
        // Who has it open is given no more of it.
        assert!(!open.still_valid() && open_other.still_valid());
        assert!(!path.exists());
        hold(&store, &content);
        assert!(store.open_content(&id).unwrap().is_some());
        assert_eq!(scrub(&store, Some(&[id])).1.bad, 0);
    }
    let aside = store.aside().unwrap();
    assert_eq!(aside.len(), 2);
    assert!(
        aside
            .iter()
            .all(|path| path.starts_with(dir.path().join("aside")))
    );
    // A second time the same: both are kept.
    let digests = hold(&store, &data(7, 3000));
    rot(
        &file_of(dir.path(), "sha256", &digests.sha256.to_string()),
        0,
    );
    scrub(&store, None);
    assert_eq!(store.aside().unwrap().len(), 3);
    // The rest of the store knows nothing of them.
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    store.rebuild_index().unwrap();
    assert!(store.open_content(&sha256(&digests)).unwrap().is_none());
}

#[test]
fn a_tree_that_is_large_enough_to_be_trusted_is_read_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let digests = hold(&store, &data(9, 5 << 20));
    let tree = file_of(dir.path(), "tree", &digests.blake3.to_string());
    assert!(fs::metadata(&tree).unwrap().len() >= 64 << 10);
    rot(&tree, 50_000);
    let (found, sum) = scrub(&store, None);
    assert_eq!(sum.bad, 1);
    assert!(found.contains(&(ContentId::tree_v2(digests.blake3.0), false)));
    assert!(store.open_content(&sha256(&digests)).unwrap().is_some());
    assert!(
        store
            .open_content(&ContentId::tree_v2(digests.blake3.0))
            .unwrap()
            .is_none()
    );
}

#[test]
fn it_ends_when_nobody_wants_to_know_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (0..50).for_each(|number| drop(hold(&store, &data(number, 100))));
    let sum = store.scrub(None, &|_, _, _| false).unwrap();
    assert!(sum.files < 10, "{sum:?}");
    let unknown = ContentId::sha256([1; 32]);
    assert_eq!(scrub(&store, Some(&[unknown])).1.files, 0);
}
