//! Partial content of one id and several lengths, and what becomes of that of which nothing is here.

use super::*;

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
