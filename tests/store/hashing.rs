//! Hashing long content: its tree is written to disk meanwhile, and is there whole or not at all.

use std::fs;
use std::path::Path;

use cjp2pfs::content::{ContentHasher, ContentId, LEAF, tree};
use cjp2pfs::store::{Hashing, Identity, Store};

/// Long enough that its tree goes to disk, with a short last leaf.
const LONG: u64 = (64 << 20) + 5000;

fn bytes(length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn hash(store: &Store, said: u64, data: &[u8]) -> Hashing {
    let mut hashing = store.hashing(said).unwrap();
    for piece in data.chunks(1 << 20) {
        hashing.update(piece).unwrap();
    }
    hashing
}

/// The same with SHA-256 on a thread of its own.
fn hash_beside(store: &Store, said: u64, data: &[u8]) -> Hashing {
    let mut hashing = store.hashing(said).unwrap();
    let mut buffer = vec![0; 1 << 20];
    for piece in data.chunks(1 << 20) {
        buffer[..piece.len()].copy_from_slice(piece);
        hashing.hand_over(&mut buffer, piece.len()).unwrap();
    }
    hashing
}

/// What lies in a folder of the store, at any depth.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_tree_of_long_content_is_kept_and_verifies_it() {
    let dir = tempfile::tempdir().unwrap();
    let store_dir = dir.path().join("store");
    let data = bytes(LONG);
    let path = dir.path().join("film");
    fs::write(&path, &data).unwrap();
    let identity = Identity::of(&fs::symlink_metadata(&path).unwrap());
    let mut hasher = ContentHasher::new();
    hasher.update(&data);
    let expected = hasher.finish();
    let id = ContentId::tree_v2(expected.blake3.0);
    {
        let store = Store::open(&store_dir).unwrap();
        for hash in [hash_beside, hash] {
            // The second time it is there already.
            let hashed = hash(&store, LONG, &data).finish().unwrap().unwrap();
            let digests = hashed.keep_tree().unwrap();
            assert_eq!(digests.sha256, expected.sha256);
            assert_eq!(digests.blake3, expected.blake3);
            assert_eq!(digests.length, LONG);
            assert_eq!(files(&store_dir.join("partial")), [] as [&Path; 0]);
            store.add_seeded(&path, identity, &digests).unwrap();
        }
    }
    let store = Store::open(&store_dir).unwrap();
    let held = store.open_content(&id).unwrap().unwrap();
    assert_eq!(held.length(), tree::tree_length(LONG));
    let mut found = vec![0; held.length() as usize];
    held.read_at(0, &mut found).unwrap();
    assert!(found == expected.tree);
    for (index, piece) in data.chunks(LEAF as usize).enumerate().step_by(1000) {
        let read = |at, buffer: &mut [u8]| held.read_at(at, buffer).map(|_| ());
        let right = tree::verify_leaf(expected.blake3, LONG, index as u64, piece, read);
        assert!(right.unwrap());
    }
}

#[test]
fn nothing_is_kept_of_content_that_is_not_as_long_as_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let before = files(dir.path());
    let data = bytes(LONG);
    for said in [LONG - 1, LONG + 1, LONG + (1 << 20)] {
        let hashing = hash(&store, said, &data);
        assert!(files(dir.path()) != before);
        assert!(hashing.finish().unwrap().is_none());
        assert_eq!(files(dir.path()), before);
    }
    // Given up half way; hashed, but not wanted.
    drop(hash(&store, LONG, &data[..1 << 20]));
    drop(hash_beside(&store, LONG, &data[..9 << 20]));
    drop(hash(&store, LONG, &data).finish().unwrap().unwrap());
    assert_eq!(files(dir.path()), before);
}

#[test]
fn what_a_killed_process_left_of_a_tree_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let hashing = hash(&store, LONG, &bytes(40 << 20));
    let left = files(&dir.path().join("partial"));
    assert_eq!(left.len(), 1);
    let half = fs::read(&left[0]).unwrap();
    assert!(!half.is_empty());
    drop((hashing, store));
    assert!(!left[0].exists());
    fs::write(&left[0], half).unwrap();
    drop(Store::open(dir.path()).unwrap());
    assert!(!left[0].exists());
}

#[test]
fn short_content_is_hashed_without_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let before = files(dir.path());
    for length in [0, 1, LEAF, LEAF + 1, 1 << 20] {
        let data = bytes(length);
        let hashing = hash(&store, length, &data);
        assert_eq!(files(dir.path()), before);
        let mut hasher = ContentHasher::new();
        hasher.update(&data);
        let hashed = hashing.finish().unwrap().unwrap();
        assert_eq!(hashed.digests(), &hasher.finish());
        hashed.keep_tree().unwrap();
    }
}
