//! The seeder without a network: what it follows where the system gives no notices, and what it
//! forgets.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cjp2pfs::content::{ContentHasher, ContentId};
use cjp2pfs::node::seeding::{Observer, Options, SeededFile, Seeder, Skip, Watch};
use cjp2pfs::store::Store;

const LIMIT: Duration = Duration::from_secs(30);

struct Nobody;

impl Observer for Nobody {
    fn found(&self, _: u64) {}
    fn progress(&self, _: u64) {}
    fn seeded(&self, _: &SeededFile<'_>) {}
    fn skipped(&self, _: &Path, _: &Skip) {}
    fn wanted(&self) -> bool {
        true
    }
}

fn id_of(bytes: &[u8]) -> ContentId {
    let mut hasher = ContentHasher::new();
    hasher.update(bytes);
    ContentId::sha256(hasher.finish().sha256.0)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Room {
    store: Store,
    folder: PathBuf,
    _dir: tempfile::TempDir,
}

fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let folder = fs::canonicalize(dir.path()).unwrap().join("folder");
    fs::create_dir(&folder).unwrap();
    Room {
        store: Store::open(&dir.path().join("store")).unwrap(),
        folder,
        _dir: dir,
    }
}

impl Room {
    fn holds(&self, bytes: &[u8]) -> bool {
        self.store.open_content(&id_of(bytes)).unwrap().is_some()
    }
}

#[test]
fn without_notices_folders_are_gone_over_again_and_it_is_told() {
    let room = room();
    fs::write(room.folder.join("a"), b"first").unwrap();
    let options = Options {
        notices: false,
        rescan_every: Duration::from_millis(200),
        ..Options::default()
    };
    let seeder = Seeder::start(room.store.clone(), options, &[]).unwrap();
    let roots = seeder
        .seed(std::slice::from_ref(&room.folder), false, &Nobody)
        .unwrap();
    assert_eq!((roots.len(), roots[0].files), (1, 1));
    assert_eq!(seeder.roots()[0].watch, Watch::Rescans);
    let before = seeder.roots()[0].listing.unwrap();
    assert!(room.holds(b"first"));
    fs::write(room.folder.join("b"), b"second").unwrap();
    fs::remove_file(room.folder.join("a")).unwrap();
    until("the new file is served", || room.holds(b"second"));
    until("the old file is forgotten", || {
        room.store.counts().seeded == 1 && seeder.roots()[0].files == 1
    });
    assert!(!room.holds(b"first"));
    until("the folder is listed anew", || {
        seeder.roots()[0].listing != Some(before)
    });
    seeder.stop();
}

#[test]
fn what_is_in_two_folders_stays_when_one_is_taken_out() {
    let room = room();
    fs::create_dir(room.folder.join("inner")).unwrap();
    fs::write(room.folder.join("outer"), b"outer").unwrap();
    fs::write(room.folder.join("inner/file"), b"inner").unwrap();
    fs::write(room.folder.with_file_name("folder-beside"), b"beside").unwrap();
    let seeder = Seeder::start(room.store.clone(), Options::default(), &[]).unwrap();
    let paths = [
        room.folder.clone(),
        room.folder.join("inner"),
        room.folder.with_file_name("folder-beside"),
    ];
    seeder.seed(&paths, false, &Nobody).unwrap();
    assert_eq!(room.store.counts().seeded, 3);
    assert_eq!(seeder.unseed(&room.folder).unwrap(), 1);
    assert!(!room.holds(b"outer"));
    assert!(room.holds(b"inner") && room.holds(b"beside"));
    assert!(seeder.unseed(&room.folder).is_err());
    assert!(seeder.unseed(&room.folder.join("inner/file")).is_err());
    assert_eq!(seeder.unseed(&room.folder.join("inner")).unwrap(), 1);
    assert_eq!(room.store.counts().seeded, 1);
    seeder.stop();
}

#[test]
fn what_is_taken_out_while_it_is_hashed_does_not_come_back() {
    let room = room();
    for number in 0..200u32 {
        let content = vec![number as u8; 100_000];
        fs::write(room.folder.join(number.to_string()), content).unwrap();
    }
    for _ in 0..5 {
        let seeder = Seeder::start(room.store.clone(), Options::default(), &[]).unwrap();
        let (seeding, folder) = (seeder.clone(), room.folder.clone());
        let hashing = std::thread::spawn(move || {
            let _ = seeding.seed(std::slice::from_ref(&folder), false, &Nobody);
        });
        until("it has begun", || room.store.counts().seeded > 3);
        seeder.unseed(&room.folder).unwrap();
        assert_eq!(room.store.counts().seeded, 0);
        until("the hashing to end", || hashing.is_finished());
        assert_eq!((room.store.counts().seeded, seeder.roots().len()), (0, 0));
        seeder.stop();
    }
}

#[test]
fn a_disk_that_is_not_there_now_is_not_forgotten() {
    let room = room();
    fs::write(room.folder.join("a"), b"first").unwrap();
    let seeder = Seeder::start(room.store.clone(), Options::default(), &[]).unwrap();
    seeder
        .seed(std::slice::from_ref(&room.folder), false, &Nobody)
        .unwrap();
    seeder.stop();
    let aside = room.folder.with_file_name("aside");
    fs::rename(&room.folder, &aside).unwrap();
    fs::create_dir(&room.folder).unwrap();
    let seeder = Seeder::start(room.store.clone(), Options::default(), &[]).unwrap();
    seeder.resume(&[]).unwrap();
    until("it has been gone over", || seeder.roots()[0].files == 0);
    assert!(!room.holds(b"first"));
    assert_eq!(room.store.counts().seeded, 1, "its hash is still known");
    seeder.stop();
}
