//! Opening a store: the lock, the version, and what a person is told when it cannot be opened.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use cjp2pfs::content::ContentId;
use cjp2pfs::store::{Store, StoreError};

#[test]
fn one_at_a_time_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/store");
    let store = Store::open(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let refused = Store::open(&path).err().unwrap();
    assert!(matches!(&refused, StoreError::InUse { .. }));
    assert_eq!(
        refused.to_string(),
        format!("the store {} is in use by another process", path.display())
    );
    // Partial content that is still open keeps it locked, too.
    let partial = store.partial(&ContentId::sha256([1; 32]), 10).unwrap();
    drop(store);
    assert!(Store::open(&path).is_err());
    drop(partial);
    Store::open(&path).unwrap();
}

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let version = dir.path().join("version");
    assert_eq!(fs::read_to_string(&version).unwrap(), "1\n");
    fs::write(&version, "2\n").unwrap();
    let refused = Store::open(dir.path()).err().unwrap();
    assert!(matches!(refused, StoreError::NewerVersion { found: 2, .. }));
    assert_eq!(fs::read_to_string(&version).unwrap(), "2\n");
    fs::write(&version, "mine\n").unwrap();
    let refused = Store::open(dir.path()).err().unwrap();
    assert!(matches!(refused, StoreError::NotAStore { .. }));
    // A process that was killed before it wrote the number.
    fs::write(&version, "").unwrap();
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_file_is_not_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = Store::open(&path).err().unwrap();
        assert!(
            matches!(refused, StoreError::NotAFolder { .. }),
            "{refused:?}"
        );
    }
}

#[test]
fn a_folder_without_rights_says_so() {
    let refused = Store::open("/proc/cjp2pfs-store".as_ref()).err().unwrap();
    // /proc lets nobody, not even root, create a folder.
    assert!(refused.to_string().contains("/proc/cjp2pfs-store"));
    assert!(refused.source().is_some());
}

#[test]
fn peers_are_remembered_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let peers: Vec<SocketAddr> = ["[2001:db8::1]:24254", "192.0.2.1:1", "10.0.0.1:65535"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.remembered_peers(), []);
    store.remember_peers(&peers[1..]).unwrap();
    store.remember_peers(&peers).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.remembered_peers(), peers);
    let many: Vec<_> = (1..3000)
        .map(|port| SocketAddr::from(([192, 0, 2, 1], port)))
        .collect();
    store.remember_peers(&many).unwrap();
    assert_eq!(store.remembered_peers(), many[..1024]);
}
