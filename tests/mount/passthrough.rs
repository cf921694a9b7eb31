//! The kernel reads the files of complete content by itself, and whoever opens one in whatever
//! order never sees the difference.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::mount_support::{Answer, Content, Mount, bytes, until};
use cjp2pfs::content::ContentId;
use cjp2pfs::mount::{Options, UNMOUNT_LIMIT};
use cjp2pfs::node::Failure;

const LENGTH: usize = 1_500_001;

fn sha256(byte: u8) -> ContentId {
    ContentId::sha256([byte; 32])
}

/// A file with this content, of which no name is left.
fn file_of(data: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(data).unwrap();
    file.rewind().unwrap();
    Arc::new(file)
}

/// Complete content that can be read through its backing file and in no other way.
fn complete(mount: &Mount, byte: u8) -> (Arc<Content>, Vec<u8>, PathBuf) {
    let data = bytes(LENGTH, u64::from(byte));
    let content = mount.fake.add(sha256(byte), data.clone(), true);
    *content.backing.lock().unwrap() = Some(file_of(&data));
    *content.read.lock().unwrap() = Answer::Fails(Failure::TimedOut);
    (content, data, mount.path(&sha256(byte)))
}

/// Whether this kernel and this user can do it at all.
fn can_pass() -> Option<Mount> {
    let mount = Mount::new()?;
    let (_, data, path) = complete(&mount, 0xfe);
    // An open that does not fit what the kernel was told of the inode fails; what is not passed is
    // a read that fails.
    let mut file = File::open(&path).expect("whether passed or not, it can be opened");
    let mut read = Vec::new();
    match file.read_to_end(&mut read) {
        Ok(_) => {
            assert!(read == data);
            drop(file);
            Some(mount)
        }
        Err(error) => {
            println!("skipped: no passthrough here: {error}");
            None
        }
    }
}

/// The whole file through a memory map.
fn mapped(file: &File, flags: i32) -> io::Result<Map> {
    // SAFETY: a new read-only mapping, wherever the kernel likes; the result is checked.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            LENGTH,
            libc::PROT_READ,
            flags,
            file.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(Map(address))
}

struct Map(*mut libc::c_void);

impl Map {
    fn bytes(&self) -> &[u8] {
        // SAFETY: that many bytes are mapped there, of a file that nothing changes.
        unsafe { std::slice::from_raw_parts(self.0.cast(), LENGTH) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: unmaps just that; no reference into it outlives it.
        unsafe { libc::munmap(self.0, LENGTH) };
    }
}

#[test]
fn every_way_of_reading_goes_past_us_and_gives_the_right_bytes() {
    let Some(mount) = can_pass() else { return };
    let (_, data, path) = complete(&mount, 1);
    assert!(fs::read(&path).unwrap() == data);
    let file = File::open(&path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), LENGTH as u64);
    for flags in [libc::MAP_SHARED, libc::MAP_PRIVATE] {
        assert!(mapped(&file, flags).unwrap().bytes() == data);
    }
    let mut tail = [0; 100];
    assert_eq!(file.read_at(&mut tail, LENGTH as u64 - 40).unwrap(), 40);
    assert!(tail[..40] == data[LENGTH - 40..]);
    assert_eq!(file.read_at(&mut tail, LENGTH as u64).unwrap(), 0);
    // `cat` and `cp` copy within the kernel where they can.
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg(&path)
        .arg(copy.path().join("copy"))
        .status();
    assert!(copied.unwrap().success());
    assert!(fs::read(copy.path().join("copy")).unwrap() == data);
    assert_eq!(mount.fake.largest_read(), 0, "no read came here");
}

#[test]
fn who_does_not_want_it_reads_as_before() {
    let Some(mount) = Mount::with(Options {
        no_passthrough: true,
        ..Options::default()
    }) else {
        return;
    };
    let (content, data, path) = complete(&mount, 1);
    *content.read.lock().unwrap() = Answer::AtOnce;
    assert!(fs::read(&path).unwrap() == data);
    assert!(mount.fake.largest_read() > 0);
}

#[test]
fn what_completes_while_it_is_open_goes_on_and_is_passed_when_all_is_closed() {
    let Some(mount) = can_pass() else { return };
    for mapping in [None, Some(libc::MAP_SHARED), Some(libc::MAP_PRIVATE)] {
        let byte = 10 + mapping.unwrap_or_default() as u8;
        let (content, data, path) = complete(&mount, byte);
        content.proven.store(false, Ordering::SeqCst);
        let backing = content.backing.lock().unwrap().take();
        *content.read.lock().unwrap() = Answer::AtOnce;
        let mut arriving = File::open(&path).unwrap();
        let map = mapping.map(|flags| mapped(&arriving, flags).unwrap());
        let mut head = vec![0; LENGTH / 2];
        arriving.read_exact(&mut head).unwrap();

        content.proven.store(true, Ordering::SeqCst);
        *content.backing.lock().unwrap() = backing;
        let early = File::open(&path).unwrap();
        let early_map = mapped(&early, libc::MAP_SHARED).unwrap();
        assert!(fs::read(&path).unwrap() == data);
        assert!(early_map.bytes() == data);
        arriving.read_to_end(&mut head).unwrap();
        assert!(head == data);
        if let Some(map) = &map {
            assert!(map.bytes() == data);
        }
        drop((map, early_map, arriving, early));

        // A handle counts until the kernel has told that it is closed.
        *content.read.lock().unwrap() = Answer::Fails(Failure::TimedOut);
        let (content, path) = (&content, &path);
        until("it is passed", || {
            *content.read.lock().unwrap() = Answer::AtOnce;
            let before = mount.fake.reads();
            let file = File::open(path).unwrap();
            // SAFETY: drops what the page cache has of an open file; no memory is involved.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
            let mut read = Vec::new();
            (&file).read_to_end(&mut read).unwrap();
            assert!(read == data);
            mount.fake.reads() == before
        });
    }
}

#[test]
fn what_is_removed_while_it_is_open_can_be_read_and_opened_on() {
    let Some(mount) = can_pass() else { return };
    let (content, data, path) = complete(&mount, 1);
    let mut first = File::open(&path).unwrap();
    let map = mapped(&first, libc::MAP_SHARED).unwrap();
    let mut half = vec![0; LENGTH / 2];
    first.read_exact(&mut half).unwrap();
    // Evicted: the source has neither the file nor the content, and nobody else has it.
    content.backing.lock().unwrap().take();
    content.proven.store(false, Ordering::SeqCst);
    content.forgotten.store(true, Ordering::SeqCst);
    *content.lookup.lock().unwrap() = Answer::Fails(Failure::NotFound);
    let mut second = File::open(&path).unwrap();
    let mut whole = Vec::new();
    second.read_to_end(&mut whole).unwrap();
    assert!(whole == data);
    first.read_to_end(&mut half).unwrap();
    assert!(half == data && map.bytes() == data);
    drop((first, second, map));
    until("it is closed and looked for anew", || {
        File::open(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
    });
}

/// The kernel refuses an open that does not fit those before with `EIO`: none may.
#[test]
fn opening_and_closing_at_once_in_every_state_never_fails() {
    let Some(mount) = can_pass() else { return };
    let (content, data, path) = complete(&mount, 1);
    *content.read.lock().unwrap() = Answer::AtOnce;
    let backing = content.backing.lock().unwrap().clone();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..6_usize {
            let (path, data, over) = (&path, &data, &over);
            scope.spawn(move || {
                let mut turn = thread;
                while !over.load(Ordering::SeqCst) {
                    turn += 1;
                    let file = File::open(path).unwrap();
                    let offset = turn * 7919 % (LENGTH - 5000);
                    if turn % 5 == 0 {
                        let flags = [libc::MAP_SHARED, libc::MAP_PRIVATE][turn % 2];
                        let map = mapped(&file, flags).unwrap();
                        assert!(map.bytes()[offset..][..5000] == data[offset..][..5000]);
                    }
                    let mut part = [0; 5000];
                    file.read_exact_at(&mut part, offset as u64).unwrap();
                    assert!(part == data[offset..][..5000]);
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            // Content goes both ways: it completes, and it is evicted.
            for proven in [false, true] {
                if proven {
                    *content.backing.lock().unwrap() = backing.clone();
                }
                content.proven.store(proven, Ordering::SeqCst);
                if !proven {
                    content.backing.lock().unwrap().take();
                }
                std::thread::sleep(Duration::from_millis(7));
            }
        }
        over.store(true, Ordering::SeqCst);
    });
}

/// The passage is given back: else the kernel would hold every file that ever was read.
#[test]
fn what_is_closed_is_let_go() {
    let Some(mount) = can_pass() else { return };
    let (content, _, path) = complete(&mount, 1);
    let backing = content.backing.lock().unwrap().clone().unwrap();
    let open: Vec<_> = (0..20).map(|_| File::open(&path).unwrap()).collect();
    assert!(Arc::strong_count(&backing) > 2);
    drop(open);
    until("it is let go", || Arc::strong_count(&backing) == 2);
}

#[test]
fn a_reader_of_passed_content_goes_on_when_the_mount_is_cut_off() {
    let Some(mut mount) = can_pass() else { return };
    let (_, data, path) = complete(&mount, 1);
    let mut file = File::open(&path).unwrap();
    let mut read = vec![0; 1000];
    file.read_exact(&mut read).unwrap();
    let mounted = mount.mounted.take().unwrap();
    mounted.unmount(UNMOUNT_LIMIT).unwrap();
    file.read_to_end(&mut read).unwrap();
    assert!(read == data);
}

/// What it reads for those who have it open the kernel lets nobody take from it, nor may others read
/// another file meanwhile: they are not given the rotten one.
#[test]
fn a_file_that_has_rotted_is_passed_to_nobody_else() {
    let Some(mount) = can_pass() else { return };
    let (content, data, path) = complete(&mount, 0x70);
    let open = File::open(&path).unwrap();
    mount.fake.rots(sha256(0x70));
    let refused = File::open(&path).map(drop).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EIO));
    drop(open);
    // The right one, come anew.
    *content.backing.lock().unwrap() = Some(file_of(&data));
    until("it can be opened again", || {
        fs::read(&path).is_ok_and(|read| read == data)
    });
}
