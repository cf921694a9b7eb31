//! The tree of content of at most one leaf: served as deployed nodes do, without a file of it.

use std::fs;
use std::io::Write;
use std::path::Path;

use cjp2pfs::content::{ByteRange, ContentHasher, ContentId, Digests, Hash, LEAF};
use cjp2pfs::store::{Content, Identity, Store};
use serde_json::Value;

/// Length, content and tree file of every published vector of one leaf.
fn vectors() -> Vec<(u64, Vec<u8>, Vec<u8>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/tree_v2.json");
    let vectors: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let vectors = vectors["contents"].as_array().unwrap().iter();
    let of_one_leaf = vectors.filter(|vector| vector["leaves"] == 1);
    of_one_leaf
        .map(|vector| {
            let length = vector["length"].as_u64().unwrap();
            let hex = vector["tree_hex"].as_str().unwrap().as_bytes();
            let tree = hex
                .chunks(2)
                .map(|digits| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap());
            (length, content(length), tree.collect())
        })
        .collect()
}

fn content(length: u64) -> Vec<u8> {
    (0..length)
        .map(|i| (i * 31 + (i >> 8) * 17) as u8)
        .collect()
}

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

fn seed(store: &Store, path: &Path, data: &[u8]) {
    fs::write(path, data).unwrap();
    let identity = Identity::of(&fs::symlink_metadata(path).unwrap());
    store.add_seeded(path, identity, &digests(data)).unwrap();
}

fn read(content: &Content) -> Vec<u8> {
    let mut data = vec![0; 200];
    let read = content.read_at(0, &mut data).unwrap();
    data.truncate(read);
    data
}

fn trees_on_disk(dir: &Path) -> usize {
    fs::read_dir(dir.join("complete/tree")).unwrap().count()
}

#[test]
fn the_trees_are_those_that_deployed_nodes_serve() {
    let mut lengths = Vec::new();
    for (length, data, tree) in vectors() {
        lengths.push(length);
        let digests = digests(&data);
        let of_tree = ContentId::tree_v2(digests.blake3.0);
        let room = tempfile::tempdir().unwrap();
        // Complete by its BLAKE3, complete by its SHA-256 with the other hash learned, seeded.
        for way in 0..3 {
            let dir = room.path().join(format!("store {way}"));
            let store = Store::open(&dir).unwrap();
            assert!(!store.may_hold(&of_tree));
            assert!(store.open_content(&of_tree).unwrap().is_none());
            match way {
                0 => put(&store, &ContentId::blake3(digests.blake3.0), &data),
                1 => {
                    put(&store, &ContentId::sha256(digests.sha256.0), &data);
                    store.learned_digests(&digests);
                }
                _ => seed(&store, &room.path().join("seeded"), &data),
            }
            let check = |store: &Store| {
                assert!(store.may_hold(&of_tree));
                assert_eq!(store.length_of(&of_tree).unwrap(), Some(96));
                let opened = store.open_content(&of_tree).unwrap().unwrap();
                assert_eq!(opened.length(), 96);
                assert!(opened.still_valid() && !opened.may_change());
                assert_eq!(read(&opened), tree, "{length} {way}");
                if let Some(read) = opened.read_at_nowait(90, &mut [0; 10]).unwrap() {
                    assert_eq!(read, 6);
                }
                assert_eq!(opened.file().metadata().unwrap().len(), 96);
                assert!(opened.file().write_all(b"x").is_err());
                assert!(opened.file().set_len(0).is_err());
            };
            check(&store);
            drop(store);
            let store = Store::open(&dir).unwrap();
            check(&store);
            assert_eq!(trees_on_disk(&dir), 0);
            assert_eq!(store.contents(10).len(), 1);
        }
    }
    assert_eq!(lengths, [1, 1024, 4096]);
}

#[test]
fn the_tree_goes_with_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let data = content(1000);
    let of_tree = ContentId::tree_v2(digests(&data).blake3.0);
    let path = dir.path().join("seeded");

    seed(&store, &path, &data);
    let opened = store.open_content(&of_tree).unwrap().unwrap();
    fs::write(&path, content(999)).unwrap();
    assert!(!opened.still_valid());
    assert!(store.open_content(&of_tree).unwrap().is_none());

    seed(&store, &path, &data);
    assert!(store.open_content(&of_tree).unwrap().is_some());
    store.forget_seeded(&path).unwrap();
    assert!(store.open_content(&of_tree).unwrap().is_none());
}

#[test]
fn no_tree_is_made_of_what_is_not_one_leaf_or_not_the_content() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    // Two leaves, whose tree was not kept.
    let data = content(LEAF + 1);
    let hash = digests(&data).blake3.0;
    put(&store, &ContentId::blake3(hash), &data);
    // No leaf.
    store.learned_digests(&digests(b""));
    let empty = digests(b"").blake3.0;
    // Damaged on disk since it was proven.
    let hash_of_damaged = Hash([9; 32]);
    put(
        &store,
        &ContentId::blake3(hash_of_damaged.0),
        b"something else",
    );
    for hash in [hash, empty, hash_of_damaged.0] {
        assert!(
            store
                .open_content(&ContentId::tree_v2(hash))
                .unwrap()
                .is_none()
        );
        assert_eq!(store.length_of(&ContentId::tree_v2(hash)).unwrap(), None);
    }
}
