//! Files of the user's are taken into the store, without a second copy where that is safe.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use cjp2pfs::content::{ContentHasher, ContentId};
use cjp2pfs::store::{ImportedBy, Store};

fn id(data: &[u8]) -> ContentId {
    let mut hasher = ContentHasher::new();
    hasher.update(data);
    ContentId::sha256(hasher.finish().sha256.0)
}

fn content(store: &Store, id: &ContentId) -> Option<Vec<u8>> {
    let content = store.open_content(id).unwrap()?;
    let mut data = vec![0; content.length() as usize];
    content.read_at(0, &mut data).unwrap();
    content.still_valid().then_some(data)
}

/// A file that was written a while ago.
fn old_file(path: &Path, data: &[u8]) {
    fs::write(path, data).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(100))
        .unwrap();
}

#[test]
fn content_is_held_by_all_its_ids_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let data = vec![5; 100_000];
    old_file(&path, &data);
    let store = Store::open(&dir.path().join("store")).unwrap();
    let imported = store.import(&path).unwrap();
    assert_eq!(imported.sha256, id(&data).hash.to_string());
    assert_eq!(imported.length, 100_000);
    assert!(imported.by == ImportedBy::Reflink || imported.by == ImportedBy::Link);
    assert_eq!(content(&store, &id(&data)), Some(data.clone()));
    let blake3 = store.paired(&id(&data)).unwrap();
    assert_eq!(content(&store, &blake3), Some(data.clone()));
    assert_eq!(store.counts().held, 2, "the content and its tree");
    assert_eq!(store.import(&path).unwrap().by, ImportedBy::Held);
    drop(store);
    let store = Store::open(&dir.path().join("store")).unwrap();
    assert_eq!(content(&store, &id(&data)), Some(data));
    let left = fs::read_dir(dir.path().join("store/partial"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

/// Whatever the user does to it, nobody is given other bytes than those of the id.
#[test]
fn a_file_that_is_written_to_later_is_not_served_wrong() {
    let data = vec![6; 50_000];
    for protect in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        old_file(&path, &data);
        let store = Store::open(&dir.path().join("store")).unwrap();
        let by = store.import(&path).unwrap().by;
        let open = store.open_content(&id(&data)).unwrap().unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"other", 100).unwrap();
        if protect {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        }
        if by == ImportedBy::Link {
            assert!(!open.still_valid());
            assert_eq!(content(&store, &id(&data)), None);
        } else {
            assert_eq!(content(&store, &id(&data)), Some(data.clone()));
        }
        // The user's file is the user's.
        assert_eq!(&fs::read(&path).unwrap()[100..105], b"other");
    }
}

#[test]
fn removing_the_file_leaves_the_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let data = vec![7; 50_000];
    old_file(&path, &data);
    let store = Store::open(&dir.path().join("store")).unwrap();
    store.import(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(content(&store, &id(&data)), Some(data));
}

#[test]
fn a_file_that_was_written_a_moment_ago_is_not_shared() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "new").unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let by = store.import(&path).unwrap().by;
    assert!(by == ImportedBy::Copy || by == ImportedBy::Reflink);
    assert_eq!(fs::metadata(&path).unwrap().nlink(), 1);
    File::create(&path).unwrap().write_all(b"old").unwrap();
    assert_eq!(content(&store, &id(b"new")), Some(b"new".to_vec()));
}

#[test]
fn what_is_no_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    symlink("missing", dir.path().join("link")).unwrap();
    for name in ["empty", "link", "missing", "store"] {
        assert!(store.import(&dir.path().join(name)).is_err(), "{name}");
    }
    assert!(store.import(Path::new("/dev/zero")).is_err());
    assert_eq!(store.counts().held, 0);
}
