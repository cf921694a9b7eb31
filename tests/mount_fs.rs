//! The file system without a kernel: what it keeps, what it lets go, and whom it answers.

mod mount_support;

use std::ffi::OsStr;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, atomic::Ordering};
use std::time::Duration;

use cjp2pfs::content::ContentId;
use cjp2pfs::mount::{Attributes, Entry, Errno, Fh, FileSystem, Ino, OpenMode, Opened};
use mount_support::{Answer, Fake, bytes};

const SOON: Duration = Duration::from_secs(5);

/// A thread that cannot be named: nobody looks at its signals.
const NOBODY: u32 = 0;

fn sha256(byte: u8) -> ContentId {
    ContentId::sha256([byte; 32])
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

    fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Arc<FileSystem<Fake>>, Box<dyn FnOnce(T) + Send>),
    ) -> Receiver<T> {
        let (sender, receiver) = channel();
        call(&self.fs, Box::new(move |value| sender.send(value).unwrap()));
        receiver
    }

    fn lookup(&self, parent: Ino, name: &str) -> Receiver<Result<Attributes, Errno>> {
        self.ask(|fs, done| fs.lookup(parent, OsStr::new(name), NOBODY, done))
    }

    fn open_folder(&self, ino: Ino) -> Result<Fh, Errno> {
        let opened = self.ask(|fs, done| fs.open_folder(ino, NOBODY, done));
        opened.recv_timeout(SOON).unwrap()
    }

    fn open(&self, ino: Ino) -> Receiver<Result<Opened, Errno>> {
        self.ask(|fs, done| fs.open(ino, NOBODY, done))
    }

    fn read(&self, fh: Fh, offset: u64, length: u32) -> Receiver<Result<Vec<u8>, Errno>> {
        self.ask(|fs, done: Box<dyn FnOnce(Result<Vec<u8>, Errno>) + Send>| {
            fs.read(fh, offset, length, NOBODY, move |read| {
                done(read.map(<[u8]>::to_vec));
            });
        })
    }
}

#[test]
fn nothing_is_kept_of_what_is_closed_and_forgotten() {
    let kernel = Kernel::new();
    let id = sha256(1);
    kernel.fake.add(id, bytes(100, 1), true);
    let name = id.to_string();
    let found = kernel.lookup(Ino::ROOT, &name).recv().unwrap().unwrap();
    let again = kernel
        .lookup(Ino::ROOT, &format!("{name}.mp4"))
        .recv()
        .unwrap()
        .unwrap();
    assert_eq!(found, again);
    let first = kernel.open(found.ino).recv().unwrap().unwrap();
    let second = kernel.open(found.ino).recv().unwrap().unwrap();
    assert_eq!(first.mode, OpenMode::Cached { keep: false });
    assert_eq!(second.mode, OpenMode::Cached { keep: true });
    assert_eq!(kernel.fs.open_handles(found.ino), [0, 2, 0]);
    let data = kernel.read(first.fh, 90, 100).recv().unwrap().unwrap();
    assert_eq!(data, bytes(100, 1)[90..]);

    let folder = kernel.open_folder(Ino::ROOT).unwrap();
    // Room for the folders and no more: what did not fit has not been told.
    kernel
        .fs
        .list_with_attributes(folder, 0, |_, entry, _| matches!(entry, Entry::Content(_)))
        .unwrap();
    assert_eq!(kernel.fs.counts(), [1, 2, 1]);
    kernel.fs.close_folder(folder);
    kernel.fs.close(first.fh);
    kernel.fs.close(second.fh);
    kernel.fs.forget(found.ino, 2);
    assert_eq!(kernel.fs.counts(), [0, 0, 0]);
    assert_eq!(
        kernel.read(first.fh, 0, 1).recv().unwrap(),
        Err(Errno::EBADF)
    );
    assert_eq!(
        kernel.open(found.ino).recv().unwrap().err(),
        Some(Errno::ESTALE)
    );
}

#[test]
fn folders_are_folders_and_files_are_files() {
    let kernel = Kernel::new();
    kernel.fake.add(sha256(1), bytes(100, 1), true);
    let blake3 = kernel.lookup(Ino::ROOT, "blake3").recv().unwrap().unwrap();
    assert_eq!((blake3.ino, blake3.folder), (Ino::BLAKE3, true));
    assert_eq!(
        kernel.open(Ino::ROOT).recv().unwrap().err(),
        Some(Errno::EISDIR)
    );
    let file = kernel.lookup(Ino::ROOT, &sha256(1).to_string());
    let file = file.recv().unwrap().unwrap().ino;
    assert_eq!(kernel.open_folder(file).err(), Some(Errno::ENOTDIR));
    let inside = kernel.lookup(file, "x").recv().unwrap();
    assert_eq!(inside.err(), Some(Errno::ENOTDIR));
    assert_eq!(kernel.fs.attributes(Ino(77)).err(), Some(Errno::ENOENT));
}

#[test]
fn what_has_been_forgotten_is_looked_for_when_it_is_opened() {
    let kernel = Kernel::new();
    let id = sha256(1);
    let content = kernel.fake.add(id, bytes(100, 1), true);
    let ino = kernel.lookup(Ino::ROOT, &id.to_string()).recv().unwrap();
    let ino = ino.unwrap().ino;
    content.forgotten.store(true, Ordering::SeqCst);
    *content.lookup.lock().unwrap() = Answer::Late(Duration::from_millis(20));
    let opened = kernel.open(ino).recv_timeout(SOON).unwrap().unwrap();
    assert!(kernel.read(opened.fh, 0, 100).recv().unwrap().is_ok());
}

#[test]
fn stopping_ends_what_waits_and_leaves_what_is_here() {
    let kernel = Kernel::new();
    let here = kernel.fake.add(sha256(1), bytes(100, 1), true);
    let stalled = kernel.fake.add(sha256(2), bytes(100, 2), false);
    *stalled.read.lock().unwrap() = Answer::Never;
    kernel
        .fake
        .add_remote(sha256(3), bytes(100, 3), Answer::Never);
    let opened = |byte| {
        let found = kernel.lookup(Ino::ROOT, &sha256(byte).to_string());
        let ino = found.recv().unwrap().unwrap().ino;
        kernel.open(ino).recv().unwrap().unwrap().fh
    };
    let read = kernel.read(opened(2), 0, 10);
    let lookup = kernel.lookup(Ino::ROOT, &sha256(3).to_string());
    assert!(read.try_recv().is_err() && lookup.try_recv().is_err());
    kernel.fs.stop();
    assert_eq!(read.recv_timeout(SOON).unwrap(), Err(Errno::ESHUTDOWN));
    assert_eq!(lookup.recv_timeout(SOON).unwrap(), Err(Errno::ESHUTDOWN));
    assert!(kernel.read(opened(1), 0, 10).recv().unwrap().is_ok());
    *here.read.lock().unwrap() = Answer::Never;
    let later = kernel.read(opened(1), 0, 10).recv_timeout(SOON).unwrap();
    assert_eq!(later, Err(Errno::ESHUTDOWN));
}
