//! Seeded files: served where they lie, and only as long as they are what was hashed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cjp2pfs::content::{ContentHasher, ContentId, Digests, Hash};
use cjp2pfs::store::{Identity, Seeded, Store};

fn digests(data: &[u8]) -> Digests {
    let mut hasher = ContentHasher::new();
    hasher.update(data);
    hasher.finish()
}

fn identity(path: &Path) -> Identity {
    Identity::of(&fs::symlink_metadata(path).unwrap())
}

fn seed(store: &Store, path: &Path) -> ContentId {
    let digests = digests(&fs::read(path).unwrap());
    store.add_seeded(path, identity(path), &digests).unwrap();
    ContentId::sha256(digests.sha256.0)
}

fn get(store: &Store, id: &ContentId) -> Option<Vec<u8>> {
    let content = store.open_content(id).unwrap()?;
    let mut data = vec![0; content.length() as usize];
    content.read_at(0, &mut data).unwrap();
    Some(data)
}

/// The kernel's clock for file times ticks every few milliseconds.
fn tick() {
    std::thread::sleep(Duration::from_millis(20));
}

struct Room {
    _dir: tempfile::TempDir,
    files: PathBuf,
    store: Store,
}

fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let files = fs::canonicalize(dir.path()).unwrap().join("files");
    fs::create_dir(&files).unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    Room {
        files,
        store,
        _dir: dir,
    }
}

#[test]
fn a_seeded_file_is_served_by_all_its_ids() {
    let Room { files, store, _dir } = room();
    let data = b"some content ".repeat(1000);
    let path = files.join("a");
    fs::write(&path, &data).unwrap();
    let id = seed(&store, &path);
    let digests = digests(&data);
    assert_eq!(get(&store, &id).unwrap(), data);
    assert_eq!(
        get(&store, &ContentId::blake3(digests.blake3.0)).unwrap(),
        data
    );
    let tree = ContentId::tree_v2(digests.blake3.0);
    assert_eq!(get(&store, &tree).unwrap(), digests.tree);
    assert_eq!(store.contents(10), [(id, data.len() as u64)]);
    assert_eq!(store.counts().seeded, 1);
    assert_eq!(
        store.seeded(),
        [Seeded {
            path: path.clone(),
            sha256: digests.sha256,
            blake3: digests.blake3,
            length: data.len() as u64
        }]
    );
    assert_eq!(
        store.seeded_digests(&path, &identity(&path)),
        Some((digests.sha256, digests.blake3, data.len() as u64))
    );
    assert!(store.open_content(&id).unwrap().unwrap().may_change());
    store.forget_seeded(&path).unwrap();
    assert!(get(&store, &id).is_none());
    assert_eq!(store.counts().seeded, 0);
    assert_eq!(store.seeded(), []);
    // Not there: nothing to forget.
    store.forget_seeded(&path).unwrap();
}

#[test]
fn it_is_remembered_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(OsStr::from_bytes(b"not \xff\xfe UTF-8\n"));
    fs::write(&path, b"content").unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let id = seed(&store, &path);
    drop(store);
    let store = Store::open(&dir.path().join("store")).unwrap();
    assert!(store.may_hold(&id));
    assert_eq!(get(&store, &id).unwrap(), b"content");
    assert_eq!(store.seeded()[0].path, path);
    // As after a restart of the machine, where the device has another number.
    let moved = Identity {
        device: 12345,
        ..identity(&path)
    };
    assert!(store.seeded_digests(&path, &moved).is_some());
    let changed = Identity {
        inode: 12345,
        ..identity(&path)
    };
    assert!(store.seeded_digests(&path, &changed).is_none());
}

/// Whatever happens to the file: an open handle says that it is no longer valid, and it is not
/// opened again.
#[test]
fn a_changed_file_is_not_served() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 8] = [
        ("rewritten", |path| {
            fs::write(path, b"other content").unwrap()
        }),
        ("rewritten with its time restored", |path| {
            let time = fs::metadata(path).unwrap().modified().unwrap();
            fs::write(path, b"the CONTENT").unwrap();
            File::open(path).unwrap().set_modified(time).unwrap();
        }),
        ("cut", |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(3).unwrap();
        }),
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("replaced by the same", |path| {
            let other = path.with_extension("new");
            fs::write(&other, b"the content").unwrap();
            fs::rename(&other, path).unwrap();
        }),
        ("replaced by a link", |path| {
            let other = path.with_extension("moved");
            fs::rename(path, &other).unwrap();
            symlink(&other, path).unwrap();
        }),
        ("replaced by a folder", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("replaced by a pipe", |path| {
            fs::remove_file(path).unwrap();
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.unwrap().success());
        }),
    ];
    for (name, change) in changes {
        let Room { files, store, _dir } = room();
        let path = files.join("file");
        fs::write(&path, b"the content").unwrap();
        let id = seed(&store, &path);
        let content = store.open_content(&id).unwrap().unwrap();
        assert!(content.still_valid());
        tick();
        change(&path);
        let start = Instant::now();
        assert!(!content.still_valid(), "{name}");
        assert!(store.open_content(&id).unwrap().is_none(), "{name}");
        assert!(start.elapsed() < Duration::from_secs(5), "{name}");
        // Hashed again, it is served again, and no longer as what it was.
        if path.is_file() && !path.is_symlink() {
            let now = seed(&store, &path);
            assert_eq!(get(&store, &now).unwrap(), fs::read(&path).unwrap());
            assert_eq!(now == id, get(&store, &id).is_some(), "{name}");
            assert_eq!(store.counts().seeded, 1);
        }
    }
}

#[test]
fn another_file_with_the_same_content_takes_its_place() {
    let Room { files, store, _dir } = room();
    let paths = ["a", "b", "c"].map(|name| files.join(name));
    for path in &paths {
        fs::write(path, b"the same").unwrap();
    }
    let ids = paths.each_ref().map(|path| seed(&store, path));
    assert_eq!(store.contents(10), [(ids[0], 8)]);
    for path in &paths {
        assert_eq!(get(&store, &ids[0]).unwrap(), b"the same");
        fs::remove_file(path).unwrap();
    }
    assert!(get(&store, &ids[0]).is_none());
}

#[test]
fn an_id_that_shares_its_first_bits_is_another() {
    let Room { files, store, _dir } = room();
    let path = files.join("a");
    fs::write(&path, b"content").unwrap();
    let id = seed(&store, &path);
    let mut hash = id.hash.0;
    hash[31] ^= 1;
    assert!(
        store
            .open_content(&ContentId::sha256(hash))
            .unwrap()
            .is_none()
    );
    assert!(!store.may_hold(&ContentId {
        hash: Hash([9; 32]),
        ..id
    }));
}

#[test]
fn a_folder_that_becomes_a_link_is_not_followed() {
    let Room { files, store, _dir } = room();
    let folder = files.join("folder");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("a");
    fs::write(&path, b"content").unwrap();
    let id = seed(&store, &path);
    assert!(get(&store, &id).is_some());
    drop(store);
    let store = Store::open(&files.with_file_name("store")).unwrap();
    // To itself even: where the link leads is not looked at.
    fs::rename(&folder, files.join("aside")).unwrap();
    symlink("aside", &folder).unwrap();
    assert!(fs::read(&path).is_ok());
    assert_eq!(get(&store, &id), None);
}
