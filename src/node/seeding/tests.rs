//! What is found, hashed and left out, on real files.

use super::attempt::CHUNK;
use super::*;
use crate::content::ContentId;
use std::fs;
use std::fs::OpenOptions;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Default)]
struct Log {
    seeded: Mutex<Vec<(PathBuf, Hash)>>,
    skipped: Mutex<Vec<(PathBuf, String)>>,
    found: AtomicU64,
    hashed: AtomicU64,
    stop: AtomicBool,
}

impl Observer for Log {
    fn found(&self, length: u64) {
        self.found.fetch_add(length, Ordering::Relaxed);
    }
    fn progress(&self, bytes: u64) {
        self.hashed.fetch_add(bytes, Ordering::Relaxed);
    }
    fn seeded(&self, file: &SeededFile<'_>) {
        let mut seeded = self.seeded.lock().unwrap();
        seeded.push((file.path.to_owned(), file.sha256));
    }
    fn skipped(&self, path: &Path, why: &Skip) {
        let mut skipped = self.skipped.lock().unwrap();
        skipped.push((path.to_owned(), format!("{why:?}")));
    }
    fn wanted(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

fn sha256(data: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(data).into()
}

#[test]
fn files_are_found_hashed_and_served() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("files");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("a"), b"alpha").unwrap();
    let long = vec![7u8; 3_000_001];
    fs::write(root.join("sub/b"), &long).unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    symlink(root.join("a"), root.join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    // The store inside the walked folder is left out.
    let store = Store::open(&root.join("store")).unwrap();
    let missing = dir.path().join("missing");

    let log = Log::default();
    seed_paths(&store, &[root.clone(), missing.clone()], &log).unwrap();

    let mut seeded = log.seeded.into_inner().unwrap();
    seeded.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        seeded,
        [
            (root.join("a"), Hash(sha256(b"alpha"))),
            (root.join("sub/b"), Hash(sha256(&long))),
        ]
    );
    let mut skipped = log.skipped.into_inner().unwrap();
    skipped.sort_unstable();
    let names: Vec<_> = skipped
        .iter()
        .map(|(path, why)| (path.file_name().unwrap().to_str().unwrap(), why.as_str()))
        .collect();
    assert_eq!(names[0], ("empty", "Empty { listed: true }"));
    assert_eq!(names[1], ("link", "SymbolicLink"));
    assert_eq!(names[2], ("socket", "Special"));
    assert_eq!(names[3], ("store", "OwnStore"));
    assert_eq!(skipped[4].0, missing);
    assert_eq!(log.found.into_inner(), 3_000_006);
    assert_eq!(log.hashed.into_inner(), 3_000_006);

    let id = ContentId::sha256(sha256(&long));
    let content = store.open_content(&id).unwrap().unwrap();
    let mut byte = [0; 1];
    assert_eq!(content.read_at(3_000_000, &mut byte).unwrap(), 1);
    assert_eq!(byte, [7]);
}

#[test]
fn a_link_that_is_named_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    fs::write(dir.path().join("a"), b"alpha").unwrap();
    let link = dir.path().join("link");
    symlink("a", &link).unwrap();
    let log = Log::default();
    seed_paths(&store, std::slice::from_ref(&link), &log).unwrap();
    let seeded = log.seeded.into_inner().unwrap();
    assert_eq!(seeded, [(link, Hash(sha256(b"alpha")))]);
}

#[test]
fn a_folder_that_becomes_a_link_does_not_lead_out_of_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(dir.path()).unwrap();
    let store = Store::open(&dir.join("store")).unwrap();
    for folder in ["tree", "tree/inner", "private"] {
        fs::create_dir(dir.join(folder)).unwrap();
    }
    fs::write(dir.join("tree/inner/key"), b"bait").unwrap();
    fs::write(dir.join("private/key"), b"secret").unwrap();

    /// Puts a link in place of the folder once the file in it has been found.
    struct Thief(Log, PathBuf);
    impl Observer for Thief {
        fn found(&self, _: u64) {
            fs::rename(self.1.join("tree/inner"), self.1.join("tree/aside")).unwrap();
            symlink(self.1.join("private"), self.1.join("tree/inner")).unwrap();
        }
        fn progress(&self, _: u64) {}
        fn seeded(&self, file: &SeededFile<'_>) {
            self.0.seeded(file);
        }
        fn skipped(&self, path: &Path, why: &Skip) {
            self.0.skipped(path, why);
        }
        fn wanted(&self) -> bool {
            true
        }
    }
    let thief = Thief(Log::default(), dir.clone());
    seed_paths(&store, &[dir.join("tree/inner")], &thief).unwrap();
    assert_eq!(thief.0.seeded.into_inner().unwrap(), []);
    assert_eq!(thief.0.skipped.into_inner().unwrap().len(), 1);
    let secret = ContentId::sha256(sha256(b"secret"));
    assert!(store.open_content(&secret).unwrap().is_none());
}

#[test]
fn a_changed_file_is_hashed_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let path = dir.path().join("a");
    for content in [&b"one"[..], b"one", b"two"] {
        fs::write(&path, content).unwrap();
        let log = Log::default();
        seed_paths(&store, std::slice::from_ref(&path), &log).unwrap();
        let seeded = log.seeded.into_inner().unwrap();
        assert_eq!(seeded, [(path.clone(), Hash(sha256(content)))]);
    }
}

#[test]
fn a_file_that_never_rests_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let path = dir.path().join("log");
    fs::write(&path, vec![0; CHUNK]).unwrap();

    /// Appends to the file whenever its hashing gets on.
    struct Writer(Log, PathBuf);
    impl Observer for Writer {
        fn found(&self, _: u64) {}
        fn progress(&self, _: u64) {}
        fn seeded(&self, file: &SeededFile<'_>) {
            self.0.seeded(file);
        }
        fn skipped(&self, path: &Path, why: &Skip) {
            self.0.skipped(path, why);
        }
        fn wanted(&self) -> bool {
            use std::io::Write;
            let mut file = OpenOptions::new().append(true).open(&self.1).unwrap();
            file.write_all(b"x").unwrap();
            true
        }
    }
    let writer = Writer(Log::default(), path.clone());
    seed_paths(&store, std::slice::from_ref(&path), &writer).unwrap();
    assert_eq!(writer.0.seeded.into_inner().unwrap(), []);
    let skipped = writer.0.skipped.into_inner().unwrap();
    assert_eq!(skipped, [(path, "Changing".to_owned())]);
}

#[test]
fn it_stops_when_nobody_wants_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    fs::write(dir.path().join("a"), b"alpha").unwrap();
    let log = Log {
        stop: true.into(),
        ..Log::default()
    };
    seed_paths(&store, &[dir.path().to_owned()], &log).unwrap();
    assert_eq!(log.seeded.into_inner().unwrap(), []);
}

#[test]
fn what_becomes_of_names_that_are_not_text_is_told() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("files");
    fs::create_dir(&root).unwrap();
    let name = |name: &[u8]| root.join(std::ffi::OsStr::from_bytes(name));
    fs::write(name(b"a\xff"), b"alpha").unwrap();
    fs::write(name(b"b\xff"), b"").unwrap();
    symlink("a", name(b"c\xff")).unwrap();
    let alone = dir.path().join("empty");
    fs::write(&alone, b"").unwrap();
    let log = Log::default();
    let listing = list_folder(&root, &log).unwrap().unwrap();
    assert!(listing.entries().is_empty());
    let store = Store::open(&dir.path().join("store")).unwrap();
    seed_paths(&store, std::slice::from_ref(&alone), &log).unwrap();
    let mut skipped = log.skipped.into_inner().unwrap();
    skipped.sort_unstable();
    let told: Vec<_> = skipped.iter().map(|(_, why)| why.as_str()).collect();
    let alone = "Empty { listed: false }";
    assert_eq!(told, [alone, "Unlisted", "NotText", "NotText"]);
}
