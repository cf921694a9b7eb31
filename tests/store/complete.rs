//! Complete content: how it gets into the store, is found again, and survives a crash at any step.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cjp2pfs::content::{ByteRange, ContentHasher, ContentId, Digests, LEAF};
use cjp2pfs::store::{Store, StoreError};

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|i| (i as u64).wrapping_mul(0x9e37_79b9).to_le_bytes()[2] ^ seed)
        .collect()
}

fn digests(data: &[u8]) -> Digests {
    let mut hasher = ContentHasher::new();
    hasher.update(data);
    hasher.finish()
}

fn id_of(data: &[u8]) -> ContentId {
    ContentId::sha256(digests(data).sha256.0)
}

fn put(store: &Store, data: &[u8]) -> ContentId {
    let id = id_of(data);
    let partial = store.partial(&id, data.len() as u64).unwrap();
    partial.write_at(0, data).unwrap();
    partial.note_present(ByteRange::at(0, data.len() as u64));
    partial.complete().unwrap();
    id
}

fn get(store: &Store, id: &ContentId) -> Option<Vec<u8>> {
    let content = store.open_content(id).unwrap()?;
    let mut data = vec![0; content.length() as usize + 10];
    let read = content.read_at(0, &mut data).unwrap();
    data.truncate(read);
    Some(data)
}

fn complete_path(dir: &Path, id: &ContentId) -> PathBuf {
    let hex = id.hash.to_string();
    dir.join("complete/sha256").join(&hex[..2]).join(hex)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A copy of the store as it is on disk now: what a crash would leave, index included.
fn crashed(dir: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                fs::create_dir(&to).unwrap();
                copy(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), &to).unwrap();
            }
        }
    }
    let copied = tempfile::tempdir().unwrap();
    copy(dir, copied.path());
    copied
}

#[test]
fn complete_content_is_read_back_and_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = bytes(200_000, 1);
    let store = Store::open(dir.path()).unwrap();
    let id = put(&store, &data);
    assert_eq!(get(&store, &id).unwrap(), data);
    assert_eq!(store.length_of(&id).unwrap(), Some(200_000));
    assert_eq!(store.contents(10), [(id, 200_000)]);
    assert_eq!(store.counts().held, 1);
    let metadata = fs::metadata(complete_path(dir.path(), &id)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o444);
    let content = store.open_content(&id).unwrap().unwrap();
    let mut tail = [0; 100];
    assert_eq!(content.read_at(199_990, &mut tail).unwrap(), 10);
    assert_eq!(content.read_at(200_000, &mut tail).unwrap(), 0);
    assert_eq!(content.read_at(u64::MAX, &mut tail).unwrap(), 0);
    if let Some(read) = content.read_at_nowait(100, &mut tail).unwrap() {
        assert_eq!(&tail[..read], &data[100..200]);
    }
    drop((store, content));
    assert_eq!(names(&dir.path().join("partial")), [""; 0]);
    let store = Store::open(dir.path()).unwrap();
    assert!(store.may_hold(&id));
    assert_eq!(get(&store, &id).unwrap(), data);
}

#[test]
fn completing_keeps_the_time_of_the_last_write() {
    let dir = tempfile::tempdir().unwrap();
    let data = bytes(5000, 2);
    let store = Store::open(dir.path()).unwrap();
    let id = id_of(&data);
    let partial = store.partial(&id, 5000).unwrap();
    partial.write_at(0, &data).unwrap();
    partial.note_present(ByteRange::at(0, 5000));
    let path = dir.path().join(format!("partial/sha256-{}.data", id.hash));
    let before = fs::metadata(path).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    let content = partial.complete().unwrap();
    let after = content.file().metadata().unwrap();
    assert_eq!(
        (after.mtime(), after.mtime_nsec()),
        (before.mtime(), before.mtime_nsec())
    );
    // Once more is harmless, and nothing can be written any more.
    assert_eq!(partial.complete().unwrap().length(), 5000);
    assert!(partial.write_at(0, b"x").is_err());
    partial.discard();
    assert_eq!(get(&store, &id).unwrap(), data);
}

#[test]
fn what_is_missing_is_not_completed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let partial = store.partial(&ContentId::sha256([7; 32]), 10_000).unwrap();
    partial.note_present(ByteRange::new(0, 8192));
    assert!(matches!(
        partial.complete(),
        Err(StoreError::Incomplete {
            present: 8192,
            length: 10_000
        })
    ));
    assert!(partial.write_at(9_999, b"ab").is_err());
    assert!(partial.write_at(u64::MAX, b"ab").is_err());
}

/// Every state in which a crash can leave a completion, built by hand.
#[test]
fn a_crash_between_any_two_steps_of_completing_is_recovered() {
    let data = bytes(300_000, 3);
    let id = id_of(&data);
    let length = data.len() as u64;
    let made = tempfile::tempdir().unwrap();
    let store = Store::open(made.path()).unwrap();
    store.flush().unwrap();
    let partial = store.partial(&id, length).unwrap();
    partial.write_at(0, &data).unwrap();
    partial.note_present(ByteRange::at(0, length));
    partial.sync().unwrap();
    let data_of = |dir: &Path| dir.join(format!("partial/sha256-{}.data", id.hash));
    let map_of = |dir: &Path| dir.join(format!("partial/sha256-{}.map", id.hash));

    // Synced, perhaps made read-only, not renamed: partial with all of it present.
    for mode in [0o600, 0o444] {
        let dir = crashed(made.path());
        fs::set_permissions(data_of(dir.path()), fs::Permissions::from_mode(mode)).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(get(&store, &id).is_none());
        assert_eq!(store.partials(), [(id, length, length)]);
        store.partial(&id, length).unwrap().complete().unwrap();
        assert_eq!(get(&store, &id).unwrap(), data);
    }

    // Renamed, not in the index, the map still there: it is adopted, now and for good.
    let dir = crashed(made.path());
    let to = complete_path(dir.path(), &id);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::rename(data_of(dir.path()), &to).unwrap();
    for _ in 0..2 {
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(get(&store, &id).unwrap(), data);
        assert_eq!(store.contents(10), [(id, length)]);
        assert_eq!(store.partials(), []);
        drop(store);
        assert_eq!(names(&dir.path().join("partial")), [""; 0]);
    }

    // Complete, and partial content of the same id beside it: the partial is of no use.
    let dir = crashed(made.path());
    let to = complete_path(dir.path(), &id);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(data_of(dir.path()), &to).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(get(&store, &id).unwrap(), data);
    drop(store);
    assert_eq!(names(&dir.path().join("partial")), [""; 0]);

    // Data without a map, a map without data and without complete content: nothing can be trusted.
    for lost in [&map_of, &data_of] as [&dyn Fn(&Path) -> PathBuf; 2] {
        let dir = crashed(made.path());
        fs::remove_file(lost(dir.path())).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(get(&store, &id).is_none());
        assert_eq!(names(&dir.path().join("partial")), [""; 0]);
        assert!(store.partial(&id, length).unwrap().present().is_empty());
    }

    // Completed in full, but the index on disk is that of before.
    let before = crashed(made.path());
    partial.complete().unwrap();
    let dir = crashed(made.path());
    fs::copy(
        before.path().join("index.redb"),
        dir.path().join("index.redb"),
    )
    .unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(get(&store, &id).unwrap(), data);
    assert_eq!(store.contents(10), [(id, length)]);
}

#[test]
fn unfinished_files_are_removed_and_strange_ones_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let partial = dir.path().join("partial");
    fs::write(partial.join("tree-00.tmp"), b"half").unwrap();
    fs::write(partial.join("notes.txt"), b"mine").unwrap();
    drop(Store::open(dir.path()).unwrap());
    assert_eq!(names(&partial), ["notes.txt"]);
}

#[test]
fn a_lost_or_damaged_index_is_made_again_from_the_files() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("lost", |path| fs::remove_file(path).unwrap()),
        ("emptied", |path| fs::write(path, b"").unwrap()),
        ("garbage", |path| {
            fs::write(path, bytes(50_000, 9)).unwrap();
        }),
        ("cut", |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(4096 * 3 + 17).unwrap();
        }),
        ("zeroed", |path| {
            let length = fs::metadata(path).unwrap().len() as usize;
            fs::write(path, vec![0; length]).unwrap();
        }),
        ("wiped behind the header", |path| {
            let mut all = fs::read(path).unwrap();
            all[4096..].fill(0xee);
            fs::write(path, all).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let held: Vec<_> = (0..20).map(|seed| bytes(5000, seed)).collect();
        let ids: Vec<_> = held.iter().map(|data| put(&store, data)).collect();
        drop(store);
        damage(&dir.path().join("index.redb"));
        for _ in 0..2 {
            let store = Store::open(dir.path()).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_eq!(store.counts().held, 20, "{name}");
            assert_eq!(store.contents(100).len(), 20, "{name}");
            for (id, data) in ids.iter().zip(&held) {
                assert_eq!(get(&store, id).as_ref(), Some(data), "{name}");
            }
        }
    }
}

#[test]
fn rebuilding_takes_in_what_was_added_and_forgets_what_was_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let gone = put(&store, &bytes(100, 1));
    let kept = put(&store, &bytes(100, 2));
    fs::remove_file(complete_path(dir.path(), &gone)).unwrap();
    let added = ContentId::sha256([0xcd; 32]);
    let path = complete_path(dir.path(), &added);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"by hand").unwrap();
    fs::write(path.with_file_name("readme"), b"not content").unwrap();
    store.rebuild_index().unwrap();
    let mut listed: Vec<_> = store.contents(10).into_iter().map(|(id, _)| id).collect();
    listed.sort();
    let mut expected = vec![kept, added];
    expected.sort();
    assert_eq!(listed, expected);
    assert!(get(&store, &added).is_some());
}

#[test]
fn one_content_is_found_by_both_its_ids_and_its_tree() {
    let dir = tempfile::tempdir().unwrap();
    let data = bytes(100_000, 5);
    let digests = digests(&data);
    let blake3 = ContentId::blake3(digests.blake3.0);
    let tree = ContentId::tree_v2(digests.blake3.0);
    let store = Store::open(dir.path()).unwrap();
    let sha256 = put(&store, &data);
    assert!(get(&store, &blake3).is_none());
    store.learned_digests(&digests);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(get(&store, &blake3).unwrap(), data);
    assert_eq!(store.paired(&sha256), Some(blake3));
    assert_eq!(store.paired(&blake3), Some(sha256));
    assert_eq!(get(&store, &tree).unwrap(), digests.tree);
    // The tree is not listed as content.
    assert_eq!(store.contents(10), [(sha256, 100_000)]);
    drop(store);
    // A tree file that a crash left in pieces is not served, and is made again.
    let hex = digests.blake3.to_string();
    let path = dir.path().join("complete/tree").join(&hex[..2]).join(&hex);
    for damaged in [Vec::new(), vec![0; digests.tree.len()], {
        let mut tree = digests.tree.clone();
        *tree.last_mut().unwrap() ^= 1;
        tree
    }] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, damaged).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(get(&store, &tree).is_none());
        assert!(!path.exists());
        store.learned_digests(&digests);
        assert_eq!(get(&store, &tree).unwrap(), digests.tree);
    }
}

#[test]
fn empty_content_is_always_held() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for id in [
        ContentId::sha256(digests(b"").sha256.0),
        ContentId::blake3(digests(b"").blake3.0),
    ] {
        assert!(store.may_hold(&id));
        assert_eq!(get(&store, &id).unwrap(), b"");
    }
    assert_eq!(store.contents(10), []);
    assert!(matches!(
        store.partial(&ContentId::sha256([1; 32]), 0),
        Err(StoreError::Length { length: 0 })
    ));
    assert!(
        store
            .partial(&ContentId::sha256([1; 32]), u64::MAX)
            .is_err()
    );
}

#[test]
fn many_contents_do_not_use_up_the_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let ids: Vec<_> = (0..300u32)
        .map(|i| put(&store, &i.to_le_bytes().repeat(3)))
        .collect();
    for id in &ids {
        assert_eq!(store.length_of(id).unwrap(), Some(12));
    }
    let open = fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        fs::read_link(path).is_ok_and(|to| to.starts_with(dir.path().join("complete")))
    });
    assert!(open.count() <= 257);
    assert_eq!(LEAF, 4096);
}
