//! A disk that is full: it is said so, nothing wrong is recorded, and all works again once there
//! is room.
//!
//! The disk is a small tmpfs in a mount namespace of the test's own thread, which is gone with it,
//! however it ends. That takes root.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::ptr;

use cjp2pfs::content::{ByteRange, ContentHasher, ContentId, LEAF};
use cjp2pfs::store::{Partial, Store, StoreError};

/// Over two pages of the map.
const LENGTH: u64 = 300 << 20;
/// A leaf that the second page of the map speaks of.
const FAR: u64 = 40_000;

/// A tmpfs of 16 MiB, to be used by the calling thread alone.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> io::Result<Self> {
        let done = |result: libc::c_int| match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        let dir = tempfile::tempdir()?;
        let target = std::ffi::CString::new(dir.path().to_str().unwrap())?;
        // SAFETY: no memory is handed over; only this thread sees other mounts from here on.
        done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: every pointer is null or a C string that outlives the call.
        done(unsafe {
            libc::mount(
                ptr::null(),
                c"/".as_ptr(),
                ptr::null(),
                private,
                ptr::null(),
            )
        })?;
        // SAFETY: as above.
        done(unsafe {
            libc::mount(
                c"tmpfs".as_ptr(),
                target.as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                c"size=16m".as_ptr().cast(),
            )
        })?;
        Ok(Self { dir })
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn filler(&self) -> PathBuf {
        self.dir.path().join("filler")
    }

    /// Takes what room there is.
    fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        let error = loop {
            if let Err(error) = file.write_all(&[1; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let target = std::ffi::CString::new(self.dir.path().to_str().unwrap()).unwrap();
        // SAFETY: the path is a C string that outlives the call.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    }
}

/// The disk, or `None` after a line that says why not.
fn disk() -> Option<Disk> {
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: only root can mount a tmpfs");
        return None;
    }
    match Disk::new() {
        Ok(disk) => Some(disk),
        Err(error) => {
            println!("skipped: cannot mount a tmpfs: {error}");
            None
        }
    }
}

fn id(number: u8) -> ContentId {
    ContentId::sha256([number; 32])
}

fn leaf(number: u64) -> ByteRange {
    ByteRange::at(number * LEAF, LEAF)
}

fn leaf_bytes(number: u64) -> Vec<u8> {
    let hash = blake3::hash(&number.to_le_bytes());
    hash.as_bytes().repeat(LEAF as usize / 32)
}

fn write(partial: &Partial, number: u64) -> io::Result<()> {
    partial.write_at(leaf(number).start, &leaf_bytes(number))?;
    partial.note_present(leaf(number));
    Ok(())
}

fn all_right(partial: &Partial) {
    for range in partial.present().iter() {
        for number in range.start / LEAF..range.end / LEAF {
            let mut found = vec![0; LEAF as usize];
            partial.read_at(leaf(number).start, &mut found).unwrap();
            assert!(found == leaf_bytes(number), "leaf {number}");
        }
    }
}

fn numbers(partial: &Partial) -> Vec<u64> {
    let present = partial.present();
    let ranges = present.iter();
    ranges
        .flat_map(|range| range.start / LEAF..range.end / LEAF)
        .collect()
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull && error.raw_os_error() == Some(libc::ENOSPC)
}

fn files_of(store: &Path, id: &ContentId) -> usize {
    let hash = id.hash.to_string();
    let names = fs::read_dir(store.join("partial")).unwrap();
    names
        .filter(|name| {
            let name = name.as_ref().unwrap().file_name();
            name.to_str().unwrap().contains(&hash)
        })
        .count()
}

#[test]
fn writing_and_syncing_say_so_and_go_on_later() {
    let Some(disk) = disk() else { return };
    let store = Store::open(&disk.store()).unwrap();
    let partial = store.partial(&id(1), LENGTH).unwrap();
    for number in 0..4 {
        write(&partial, number).unwrap();
    }
    partial.sync().unwrap();
    // In the data, but its page of the map has no room of its own yet.
    write(&partial, FAR).unwrap();
    disk.fill();

    for number in [4, FAR + 1] {
        assert!(is_full(&write(&partial, number).unwrap_err()));
    }
    // What has its room can be written again.
    write(&partial, 2).unwrap();
    for _ in 0..2 {
        assert!(is_full(&partial.sync().unwrap_err()));
    }
    assert_eq!(numbers(&partial), [0, 1, 2, 3, FAR]);
    all_right(&partial);
    // Stopped while it was full: what was durable before is there, and nothing else.
    drop((partial, store));
    disk.free();
    let store = Store::open(&disk.store()).unwrap();
    let partial = store.partial(&id(1), LENGTH).unwrap();
    assert_eq!(numbers(&partial), [0, 1, 2, 3]);
    all_right(&partial);

    // The same without stopping.
    write(&partial, FAR).unwrap();
    disk.fill();
    assert!(is_full(&partial.sync().unwrap_err()));
    disk.free();
    write(&partial, 4).unwrap();
    partial.sync().unwrap();
    drop((partial, store));
    let store = Store::open(&disk.store()).unwrap();
    let partial = store.partial(&id(1), LENGTH).unwrap();
    assert_eq!(numbers(&partial), [0, 1, 2, 3, 4, FAR]);
    all_right(&partial);
}

#[test]
fn nothing_is_begun_by_halves() {
    let Some(disk) = disk() else { return };
    let store = Store::open(&disk.store()).unwrap();
    disk.fill();
    for _ in 0..2 {
        let error = store.partial(&id(2), LENGTH).err().unwrap();
        assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
        assert_eq!(error.errno(), libc::ENOSPC);
        assert!(error.to_string().starts_with("no space left to"));
        assert_eq!(files_of(&disk.store(), &id(2)), 0);
    }
    assert_eq!(store.partials(), []);
    disk.free();
    let partial = store.partial(&id(2), LENGTH).unwrap();
    write(&partial, 0).unwrap();
    partial.sync().unwrap();
    assert_eq!(store.partials(), [(id(2), LENGTH, LEAF)]);
}

#[test]
fn completing_says_so_and_can_be_done_later() {
    let Some(disk) = disk() else { return };
    let data: Vec<_> = (0..50).flat_map(leaf_bytes).collect();
    let mut hasher = ContentHasher::new();
    hasher.update(&data);
    let id = ContentId::sha256(hasher.finish().sha256.0);
    let length = data.len() as u64;

    let store = Store::open(&disk.store()).unwrap();
    let partial = store.partial(&id, length).unwrap();
    partial.write_at(0, &data).unwrap();
    partial.note_present(ByteRange::at(0, length));
    disk.fill();
    for _ in 0..2 {
        let error = partial.complete().unwrap_err();
        assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
        assert!(store.open_content(&id).unwrap().is_none());
        assert_eq!(partial.present_bytes(), length);
        assert_eq!(store.counts().held, 0);
    }
    // Still partial, and still open for writing.
    write(&partial, 7).unwrap();
    disk.free();
    let content = partial.complete().unwrap();
    let mut found = vec![0; data.len()];
    content.read_at(0, &mut found).unwrap();
    assert!(found == data);
    drop((content, partial, store));
    let store = Store::open(&disk.store()).unwrap();
    assert_eq!(store.contents(10), [(id, length)]);
    assert_eq!(files_of(&disk.store(), &id), 0);
}

/// The data is all there and durable: whatever of the index finds no room is entered later.
#[test]
fn what_was_completed_on_a_full_disk_is_held_afterwards() {
    let Some(disk) = disk() else { return };
    let mut store = Store::open(&disk.store()).unwrap();
    let length = 20 * LEAF;
    let mut completed = Vec::new();
    for round in 0..3 {
        let partials: Vec<_> = (0..40)
            .map(|number| {
                let partial = store.partial(&id(round * 40 + number), length).unwrap();
                (0..20).for_each(|number| write(&partial, number).unwrap());
                partial.sync().unwrap();
                partial
            })
            .collect();
        disk.fill();
        for partial in &partials {
            match partial.complete() {
                Ok(content) => assert_eq!(content.length(), length),
                Err(StoreError::NoSpace { .. }) => assert_eq!(partial.present_bytes(), length),
                // The index could not be read; the file is where it belongs.
                Err(StoreError::Index(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
            completed.push(partial.id());
        }
        let _ = store.flush();
        disk.free();
        for partial in &partials {
            assert_eq!(partial.complete().unwrap().length(), length);
        }
        store.flush().unwrap();
        for id in &completed {
            assert_eq!(store.length_of(id).unwrap(), Some(length));
        }
        if round == 1 {
            drop((partials, store));
            store = Store::open(&disk.store()).unwrap();
            let mut held: Vec<_> = store.contents(1000).into_iter().map(|(id, _)| id).collect();
            held.sort_unstable();
            completed.sort_unstable();
            assert_eq!(held, completed);
            assert_eq!(store.partials(), []);
        }
    }
}
