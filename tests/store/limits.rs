//! A store that may not take the whole disk: what was not used for long goes, what is wanted stays.

use std::fs;
use std::path::Path;

use cjp2pfs::content::{ByteRange, ContentId, LEAF};
use cjp2pfs::store::{GivenUp, HeldAs, Limits, Store};

/// Bytes of each piece of content, on the disk too.
const SIZE: u64 = 64 << 10;

fn id(number: u8) -> ContentId {
    ContentId::sha256([number; 32])
}

fn write(store: &Store, number: u8, bytes: u64) -> std::io::Result<()> {
    let partial = store.partial(&id(number), SIZE).unwrap();
    partial.write_at(0, &vec![number; bytes as usize])?;
    partial.note_present(ByteRange::at(0, bytes));
    partial.sync()
}

fn complete(store: &Store, number: u8) {
    let partial = store.partial(&id(number), SIZE).unwrap();
    partial.write_at(0, &vec![number; SIZE as usize]).unwrap();
    partial.note_present(ByteRange::at(0, SIZE));
    partial.complete().unwrap();
}

fn at_most(count: u64) -> Limits {
    Limits {
        most: Some(count * SIZE),
        least_free: None,
    }
}

/// The numbers of what is held, complete or not.
fn held(store: &Store) -> Vec<u8> {
    let mut found = Vec::new();
    let mut from: Option<String> = None;
    loop {
        let (page, next) = store.held(from.as_deref(), 3).unwrap();
        found.extend(page.iter().map(|held| {
            let id: ContentId = held.id.parse().unwrap();
            id.hash.0[0]
        }));
        match next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    found.sort_unstable();
    found
}

fn files(dir: &Path) -> usize {
    let folders = fs::read_dir(dir.join("complete/sha256")).unwrap();
    folders
        .map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count())
        .sum()
}

fn ids(gone: &[GivenUp]) -> Vec<u8> {
    gone.iter().map(|gone| gone.id.hash.0[0]).collect()
}

#[test]
fn what_was_used_last_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (1..=6).for_each(|number| complete(&store, number));
    assert_eq!(store.usage().unwrap().complete, 6 * SIZE);
    for number in [2, 1] {
        assert!(store.open_content(&id(number)).unwrap().is_some());
    }
    store.set_limits(at_most(3));
    let would = store.collect(None, true).unwrap();
    assert_eq!(ids(&would), [3, 4, 5]);
    assert_eq!(held(&store), [1, 2, 3, 4, 5, 6]);
    assert_eq!(store.collect(None, false).unwrap(), would);
    assert_eq!(held(&store), [1, 2, 6]);
    assert_eq!(files(dir.path()), 3);
    assert!(store.open_content(&id(3)).unwrap().is_none());
    assert_eq!(store.usage().unwrap().complete, 3 * SIZE);
    assert!(store.collect(None, false).unwrap().is_empty());
    // The order is known after a restart.
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.usage().unwrap().complete, 3 * SIZE);
    assert_eq!(
        ids(&store.collect(Some(at_most(1)), false).unwrap()),
        [6, 2]
    );
    assert_eq!(held(&store), [1]);
    assert_eq!(store.counts().held, 1);
}

#[test]
fn what_is_pinned_or_in_use_is_never_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("mine");
    let store = Store::open(&dir.path().join("store")).unwrap();
    (1..=5).for_each(|number| complete(&store, number));
    assert!(store.pin(&id(1)).unwrap());
    assert!(!store.pin(&id(1)).unwrap());
    let hold = store.hold(&id(2));
    assert!(store.lend(&id(3), &target, 0o644).unwrap());
    let nothing = Limits {
        most: Some(1),
        least_free: None,
    };
    assert_eq!(ids(&store.collect(Some(nothing), true).unwrap()), [4, 5]);
    assert_eq!(ids(&store.collect(Some(nothing), false).unwrap()), [4, 5]);
    assert_eq!(held(&store), [1, 2, 3]);
    assert!(store.collect(Some(nothing), false).unwrap().is_empty());
    // A pin outlives the process; a hold does not outlive its holder.
    drop((hold, store));
    let store = Store::open(&dir.path().join("store")).unwrap();
    assert_eq!(store.pinned().unwrap(), [id(1)]);
    assert_eq!(ids(&store.collect(Some(nothing), false).unwrap()), [2]);
    fs::remove_file(&target).unwrap();
    assert_eq!(ids(&store.collect(Some(nothing), false).unwrap()), [3]);
    assert!(store.unpin(&id(1)).unwrap());
    assert!(!store.unpin(&id(1)).unwrap());
    assert_eq!(ids(&store.collect(Some(nothing), false).unwrap()), [1]);
    assert!(held(&store).is_empty());
}

#[test]
fn what_is_pinned_before_it_is_held_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.pin(&id(1)).unwrap();
    (1..=2).for_each(|number| complete(&store, number));
    let nothing = Limits {
        most: Some(1),
        least_free: None,
    };
    assert_eq!(ids(&store.collect(Some(nothing), false).unwrap()), [2]);
}

#[test]
fn writing_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.set_limits(at_most(8));
    for number in 1..=40 {
        complete(&store, number);
        let usage = store.usage().unwrap();
        assert!(usage.complete + usage.partial <= 8 * SIZE, "{usage:?}");
    }
    let held = held(&store);
    assert!(held.len() >= 6, "{held:?}");
    assert!(held.iter().all(|number| *number > 30), "{held:?}");
    assert!(store.given_up() >= 32);
}

#[test]
fn partial_content_that_nobody_has_open_goes_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for number in 1..=4 {
        write(&store, number, SIZE / 2).unwrap();
    }
    let open = store.partial(&id(4), SIZE).unwrap();
    assert_eq!(store.usage().unwrap().partial, 2 * SIZE);
    let (listed, _) = store.held(Some("p"), 100).unwrap();
    assert_eq!(listed.len(), 4);
    assert!(
        listed
            .iter()
            .all(|held| held.state == HeldAs::Partial && held.present == SIZE / 2)
    );
    store.pin(&id(1)).unwrap();
    let nothing = Limits {
        most: Some(1),
        least_free: None,
    };
    let gone = store.collect(Some(nothing), false).unwrap();
    assert_eq!(ids(&gone), [2, 3]);
    assert!(
        gone.iter()
            .all(|gone| !gone.complete && gone.on_disk == SIZE / 2)
    );
    assert_eq!(held(&store), [1, 4]);
    assert_eq!(store.usage().unwrap().partial, SIZE);
    assert!(open.holds(ByteRange::at(0, SIZE / 2)));
    drop((open, store));
    // What a process before left is known, too.
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.usage().unwrap().partial, SIZE);
    assert_eq!(ids(&store.collect(Some(nothing), false).unwrap()), [4]);
}

#[test]
fn what_is_left_of_another_length_goes_while_its_id_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    write(&store, 1, SIZE / 2).unwrap();
    let open = store.partial(&id(1), 2 * SIZE).unwrap();
    open.write_at(0, &vec![1; LEAF as usize]).unwrap();
    open.note_present(ByteRange::at(0, LEAF));
    let gone = store.collect(Some(at_most(0)), false).unwrap();
    assert_eq!(ids(&gone), [1]);
    assert_eq!(store.usage().unwrap().partial, LEAF);

    // Nothing of what is open went with it.
    let rest = ByteRange::new(LEAF, 2 * SIZE);
    open.write_at(LEAF, &vec![1; rest.len() as usize]).unwrap();
    open.note_present(rest);
    assert_eq!(open.complete().unwrap().length(), 2 * SIZE);
}

#[test]
fn where_nothing_can_be_given_up_writing_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    complete(&store, 1);
    store.pin(&id(1)).unwrap();
    store.set_limits(Limits {
        most: Some(SIZE + SIZE / 2),
        least_free: None,
    });
    let partial = store.partial(&id(2), SIZE).unwrap();
    let data = vec![7; SIZE as usize];
    let error = partial.write_at(0, &data).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EDQUOT));
    // Zeros take no room.
    partial.write_at(0, &vec![0; SIZE as usize]).unwrap();
    store.set_limits(Limits {
        most: None,
        least_free: Some(u64::MAX / 2),
    });
    let error = partial.write_at(0, &data).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(held(&store), [1]);
    store.set_limits(Limits::default());
    partial.write_at(0, &data).unwrap();
}

#[test]
fn a_disk_that_others_fill_makes_the_store_give_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (1..=3).for_each(|number| complete(&store, number));
    store.set_limits(Limits {
        most: None,
        least_free: Some(u64::MAX / 2),
    });
    store.tend();
    assert!(held(&store).is_empty());
    assert_eq!(store.usage().unwrap().complete, 0);
}

#[test]
fn trees_go_with_their_content() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut hasher = cjp2pfs::content::ContentHasher::new();
    let data = vec![3; 5 * LEAF as usize];
    hasher.update(&data);
    let digests = hasher.finish();
    let content = ContentId::sha256(digests.sha256.0);
    let tree = ContentId::tree_v2(digests.blake3.0);
    let partial = store.partial(&content, data.len() as u64).unwrap();
    partial.write_at(0, &data).unwrap();
    partial.note_present(ByteRange::at(0, data.len() as u64));
    partial.complete().unwrap();
    drop(partial);
    store.learned_digests(&digests);
    assert!(store.open_content(&tree).unwrap().is_some());
    assert!(
        store
            .open_content(&ContentId::blake3(digests.blake3.0))
            .unwrap()
            .is_some()
    );
    // By its other id.
    store.pin(&ContentId::blake3(digests.blake3.0)).unwrap();
    let nothing = Limits {
        most: Some(1),
        least_free: None,
    };
    assert!(store.collect(Some(nothing), false).unwrap().is_empty());
    assert!(store.open_content(&tree).unwrap().is_some());
    store.unpin(&content).unwrap();
    let gone = store.collect(Some(nothing), false).unwrap();
    assert_eq!(
        gone.iter().map(|gone| gone.id).collect::<Vec<_>>(),
        [content]
    );
    assert!(store.open_content(&tree).unwrap().is_none());
    assert_eq!(store.usage().unwrap().complete, 0);
    // One whose content went another way.
    store.learned_digests(&digests);
    assert!(store.open_content(&tree).unwrap().is_some());
    let gone = store.collect(None, false).unwrap();
    assert_eq!(gone.iter().map(|gone| gone.id).collect::<Vec<_>>(), [tree]);
}

#[test]
fn a_store_of_an_earlier_release_has_its_uses_entered() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (1..=3).for_each(|number| complete(&store, number));
    drop(store);
    let database = redb::Database::open(dir.path().join("index.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    let table = |name| redb::TableDefinition::<[u8; 33], (u64, u64)>::new(name);
    assert!(txn.delete_table(table("used_v1")).unwrap());
    let by_use = redb::TableDefinition::<(u64, [u8; 33]), ()>::new("by_use_v1");
    assert!(txn.delete_table(by_use).unwrap());
    let state = redb::TableDefinition::<&str, u64>::new("state_v1");
    for name in ["uses", "bytes"] {
        txn.open_table(state).unwrap().remove(name).unwrap();
    }
    txn.commit().unwrap();
    drop(database);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.usage().unwrap().complete, 3 * SIZE);
    assert_eq!(store.collect(Some(at_most(1)), false).unwrap().len(), 2);
    assert_eq!(held(&store).len(), 1);
}
