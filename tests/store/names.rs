//! What the store keeps for publishing: the key, the names, numbers that only grow.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use cjp2pfs::content::{Hash, KeyedName, SecretKey};
use cjp2pfs::store::{Store, StoreError};
use cjp2pfs::wire::SignedLatest;

fn open(dir: &Path) -> Store {
    Store::open(dir).unwrap()
}

#[test]
fn the_key_is_made_once_and_is_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).node_key().unwrap().public();
    assert_eq!(open(dir.path()).node_key().unwrap().public(), first);
    let file = dir.path().join("node.key");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let other = tempfile::tempdir().unwrap();
    assert_ne!(open(other.path()).node_key().unwrap().public(), first);
}

#[test]
fn a_key_that_cannot_be_used_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.node_key().unwrap();
    let file = dir.path().join("node.key");
    let good = fs::read(&file).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o622] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let error = store.node_key().unwrap_err();
        assert!(matches!(error, StoreError::KeyIsOpen { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("{mode:04o}")),
            "{error}"
        );
    }
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    for bad in [&b""[..], b"\n", &good[1..], b"\xff\xfe", &[b'a'; 1 << 16]] {
        fs::write(&file, bad).unwrap();
        let error = store.node_key().unwrap_err();
        assert!(matches!(error, StoreError::NotAKey { .. }), "{error}");
        assert_eq!(fs::read(&file).unwrap(), bad);
    }
    fs::remove_file(&file).unwrap();
    symlink("/nowhere/at/all", &file).unwrap();
    assert!(store.node_key().is_err());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(store.node_key().is_err());
    fs::remove_dir(&file).unwrap();
    // Half written by a process that was killed: it was never the key.
    fs::write(dir.path().join("node.key.tmp"), b"ab").unwrap();
    store.node_key().unwrap();
}

#[test]
fn numbers_only_grow_whatever_the_clock_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let key = store.node_key().unwrap();
    let name = "docs/index.html".parse().unwrap();
    let publish = |store: &Store, byte, seconds| {
        let path = Path::new("/some/file");
        let signed = store.publish(&key, &name, Hash([byte; 32]), path, seconds);
        let signed = signed.unwrap();
        assert!(signed.verifies());
        signed.seq
    };
    assert_eq!(publish(&store, 1, 1000), 1000);
    assert_eq!(publish(&store, 2, 1000), 1001);
    assert_eq!(publish(&store, 3, 10), 1002);
    assert_eq!(publish(&store, 4, 5000), 5000);
    let of = KeyedName {
        key: key.public(),
        name: name.clone(),
    };
    assert!(store.unpublish(&of).unwrap());
    assert!(!store.unpublish(&of).unwrap());
    assert!(store.published().unwrap().is_empty());
    assert!(store.remembered_latest().is_empty());
    drop(store);
    let store = open(dir.path());
    assert_eq!(publish(&store, 5, 10), 5001);
    // The same key on another machine was ahead of us.
    let theirs = SignedLatest::sign(&key, of, Hash([6; 32]), 9000);
    store.remember_latest(&theirs).unwrap();
    assert_eq!(publish(&store, 7, 10), 9001);
    drop(store);
    let store = open(dir.path());
    let published = store.published().unwrap();
    assert_eq!(published.len(), 1);
    assert_eq!(
        (published[0].seq, published[0].sha256),
        (9001, Hash([7; 32]))
    );
    assert_eq!(published[0].path, Path::new("/some/file"));
}

#[test]
fn what_others_publish_is_remembered_of_a_bounded_number_of_names() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let own = store.node_key().unwrap();
    let name = "own".parse().unwrap();
    store
        .publish(&own, &name, Hash([1; 32]), Path::new("/x"), 1)
        .unwrap();
    let secret = SecretKey::from_seed(&[7; 32]);
    let mut signed = SignedLatest::sign(
        &secret,
        KeyedName {
            key: secret.public(),
            name: "x".parse().unwrap(),
        },
        Hash([2; 32]),
        0,
    );
    for number in 0..4200u64 {
        // Signing each anew would take long, and the store believes who gives it.
        signed.of.name = format!("n{number}").parse().unwrap();
        signed.seq = 10 + number;
        signed.payload = format!(
            r#"[{{"Latest":{{"ed25519":"{}","name":"n{number}","sha256":"{}","seq":{}}}}}]"#,
            secret.public(),
            Hash([2; 32]),
            signed.seq
        )
        .into();
        store.remember_latest(&signed).unwrap();
    }
    let known = store.remembered_latest();
    assert!(known.len() <= 4097, "{}", known.len());
    assert!(known.iter().any(|latest| latest.of.key == own.public()));
    assert!(known.iter().any(|latest| latest.seq == 4209));
    assert!(!known.iter().any(|latest| latest.seq == 10));
}

/// In a tree of names a file or folder at `a` hides whatever is published as `a/b`.
#[test]
fn a_name_above_or_below_one_that_is_published_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let key = store.node_key().unwrap();
    let publish = |name: &str| {
        let name = name.parse().unwrap();
        let published = store.publish(&key, &name, Hash([1; 32]), Path::new("/x"), 1);
        assert_eq!(published.is_ok(), store.may_publish(&name).is_ok());
        published.map(|_| ())
    };
    let unpublish = |name: &str| {
        let of = KeyedName {
            key: key.public(),
            name: name.parse().unwrap(),
        };
        assert!(store.unpublish(&of).unwrap());
    };
    let refused = |name: &str, other: &str| match publish(name) {
        Err(StoreError::NameInTheWay { published, .. }) => assert_eq!(published.as_str(), other),
        otherwise => panic!("{name}: {otherwise:?}"),
    };
    publish("docs/v1/a").unwrap();
    refused("docs", "docs/v1/a");
    refused("docs/v1", "docs/v1/a");
    refused("docs/v1/a/b", "docs/v1/a");
    // Its neighbours, and what only begins with the same letters; itself, again.
    for name in ["docs/v1/ab", "docs/v2", "doc", "docs/v1/a"] {
        publish(name).unwrap();
    }
    assert_eq!(store.published().unwrap().len(), 4);
    for name in ["docs/v1/a", "docs/v1/ab", "docs/v2"] {
        unpublish(name);
    }
    publish("docs").unwrap();
    refused("docs/v1/a", "docs");
}
