//! Published folders over a source without a network: what is hostile, late, or does not fit.

mod mount_support;

use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use cjp2pfs::content::{ContentHasher, ContentId};
use cjp2pfs::mount::{Attributes, Errno, FileSystem, Ino};
use cjp2pfs::node::Failure;
use mount_support::{Answer, Fake};

const SOON: Duration = Duration::from_secs(10);
const NOBODY: u32 = 0;
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn id_of(bytes: &[u8]) -> ContentId {
    let mut hasher = ContentHasher::new();
    hasher.update(bytes);
    ContentId::sha256(hasher.finish().sha256.0)
}

fn entry(path: &str, length: u64) -> String {
    format!("# {length} 2024-05-01T12:34:56Z 644 -\n{ABC}  {path}\n")
}

fn listing(entries: &[String]) -> Vec<u8> {
    format!("# cjp2pfs-folder 1\n{}", entries.concat()).into_bytes()
}

struct Kernel {
    fake: Fake,
    fs: Arc<FileSystem<Fake>>,
}

impl Kernel {
    fn new() -> Self {
        let fake = Fake::default();
        let fs = FileSystem::new(fake.clone()).unwrap();
        Self { fake, fs }
    }

    fn lookup(&self, parent: Ino, name: &str) -> Result<Attributes, Errno> {
        let (sender, receiver) = channel();
        self.fs
            .lookup(parent, OsStr::new(name), NOBODY, move |found| {
                sender.send(found).unwrap();
            });
        receiver.recv_timeout(SOON).unwrap()
    }

    /// The published folder whose listing is `text`.
    fn publish(&self, text: &[u8]) -> Result<Ino, Errno> {
        let id = id_of(text);
        self.fake.add(id, text.to_vec(), true);
        let found = self.lookup(Ino::FOLDERS, &id.to_string())?;
        assert!(found.folder);
        Ok(found.ino)
    }

    fn names(&self, folder: Ino) -> Vec<String> {
        let (sender, receiver) = channel();
        self.fs
            .open_folder(folder, NOBODY, move |fh| sender.send(fh).unwrap());
        let fh = receiver.recv_timeout(SOON).unwrap().unwrap();
        let mut names = Vec::new();
        let mut position = 0;
        loop {
            let before = names.len();
            // As the kernel does: a few at a time.
            let mut room = 7;
            self.fs
                .list(fh, position, |next, entry| {
                    if room == 0 {
                        return true;
                    }
                    room -= 1;
                    position = next;
                    entry.with_name(|name| names.push(name.to_owned()));
                    false
                })
                .unwrap();
            if names.len() == before {
                break;
            }
        }
        self.fs.close_folder(fh);
        names
    }
}

#[test]
fn what_is_in_a_folder_is_listed_once_and_found() {
    let kernel = Kernel::new();
    let entries: Vec<String> = (0..100).map(|n| entry(&format!("d/{n:03}"), 3)).collect();
    let root = kernel.publish(&listing(&entries)).unwrap();
    assert_eq!(kernel.names(root), [".", "..", "d"]);
    let lookups = kernel.fake.lookups();
    let folder = kernel.lookup(root, "d").unwrap();
    let names = kernel.names(folder.ino);
    assert_eq!(names.len(), 102);
    assert_eq!(names[101], "099");
    let file = kernel.lookup(folder.ino, "042").unwrap();
    assert_eq!((file.length, file.mode(), file.folder), (3, 0o644, false));
    assert_eq!(kernel.fs.attributes(file.ino), Ok(file));
    for missing in ["", "..", ".", "42", "042/", "d"] {
        assert_eq!(kernel.lookup(folder.ino, missing), Err(Errno::ENOENT));
    }
    assert_eq!(kernel.lookup(file.ino, "x"), Err(Errno::ENOTDIR));
    assert_eq!(kernel.fake.lookups(), lookups, "nobody was asked");
}

#[test]
fn a_hostile_listing_is_no_folder() {
    let kernel = Kernel::new();
    let two = |a: &str, b: &str| listing(&[entry(a, 3), entry(b, 3)]);
    let long = "x".repeat(256);
    let deep = "d/".repeat(5000) + "f";
    for text in [
        listing(&[entry("/etc/passwd", 3)]),
        listing(&[entry("../up", 3)]),
        listing(&[entry("a/../../up", 3)]),
        listing(&[entry("nul\0", 3)]),
        listing(&[entry(&long, 3)]),
        listing(&[entry(&deep, 3)]),
        listing(&[entry("a", u64::MAX)]),
        two("a", "a"),
        two("b", "a"),
        two("a", "a/b"),
        b"# cjp2pfs-folder 2\n".to_vec(),
        b"just a file".to_vec(),
    ] {
        assert_eq!(kernel.publish(&text), Err(Errno::ENOTDIR));
    }
}

#[test]
fn a_length_that_lies_is_an_error_and_no_wrong_file() {
    let kernel = Kernel::new();
    kernel.fake.add(id_of(b"abc"), b"abc".to_vec(), true);
    let root = kernel
        .publish(&listing(&[entry("lie", 5), entry("truth", 3)]))
        .unwrap();
    let open = |name: &str| {
        let ino = kernel.lookup(root, name).unwrap().ino;
        let (sender, receiver) = channel();
        let done = move |opened: Result<cjp2pfs::mount::Opened, Errno>| {
            sender.send(opened.map(|_| ())).unwrap();
        };
        kernel.fs.open(ino, NOBODY, done);
        receiver.recv_timeout(SOON).unwrap()
    };
    assert_eq!(open("truth"), Ok(()));
    assert_eq!(open("lie"), Err(Errno::EIO));
}

#[test]
fn links_that_stay_inside_are_shown_and_others_are_not() {
    let kernel = Kernel::new();
    let text = b"# cjp2pfs-folder 1\n\
                 # -> ../../etc/passwd\n#  a/up\n\
                 # -> /etc/passwd\n#  out\n\
                 # -> a\n#  way\n";
    let root = kernel.publish(text).unwrap();
    assert_eq!(kernel.lookup(root, "out"), Err(Errno::ENOENT));
    let folder = kernel.lookup(root, "a").unwrap().ino;
    assert_eq!(kernel.lookup(folder, "up"), Err(Errno::ENOENT));
    let way = kernel.lookup(root, "way").unwrap();
    assert!(way.link());
    assert_eq!(kernel.fs.link_target(way.ino).as_deref(), Ok("a"));
    assert_eq!(kernel.fs.link_target(root), Err(Errno::EINVAL));
}

#[test]
fn a_listing_that_does_not_come_fails_or_is_given_up() {
    let kernel = Kernel::new();
    let text = listing(&[entry("a", 3)]);
    let id = id_of(&text);
    let content = kernel
        .fake
        .add_remote(id, text, Answer::Fails(Failure::NotFound));
    let name = id.to_string();
    assert_eq!(kernel.lookup(Ino::FOLDERS, &name), Err(Errno::ENOENT));
    *content.lookup.lock().unwrap() = Answer::Never;
    let (sender, receiver) = channel();
    kernel
        .fs
        .lookup(Ino::FOLDERS, OsStr::new(&name), NOBODY, move |found| {
            sender.send(found).unwrap();
        });
    kernel.fs.stop();
    assert_eq!(receiver.recv_timeout(SOON).unwrap(), Err(Errno::ESHUTDOWN));
}

#[test]
fn a_hundred_thousand_files_are_listed_quickly() {
    let kernel = Kernel::new();
    let entries: Vec<String> = (0..100_000)
        .map(|n| entry(&format!("{:03}/{n:06}", n / 100), 3))
        .collect();
    let start = Instant::now();
    let root = kernel.publish(&listing(&entries)).unwrap();
    let folders = kernel.names(root);
    assert_eq!(folders.len(), 1002);
    let mut files = 0;
    for name in &folders[2..] {
        let folder = kernel.lookup(root, name).unwrap().ino;
        files += kernel.names(folder).len() - 2;
    }
    assert_eq!(files, 100_000);
    println!("listed in {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(20));
}
