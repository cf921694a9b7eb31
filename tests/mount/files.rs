//! What programs see through a real kernel mount: bytes, names, attributes, refusals.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::mount_support::{Answer, Fake, Mount, bytes};
use cjp2pfs::content::ContentId;
use cjp2pfs::mount::{MountError, Mounted, Options};
use cjp2pfs::node::Failure;

const LENGTH: usize = 3_000_001;

fn sha256(byte: u8) -> ContentId {
    ContentId::sha256([byte; 32])
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// The whole file through a memory map.
fn mapped(file: &File, length: usize, flags: i32) -> io::Result<Vec<u8>> {
    use std::os::fd::AsRawFd;
    // SAFETY: a new read-only mapping, wherever the kernel likes; the result is checked.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ,
            flags,
            file.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `length` bytes are mapped at `address`, of a file that nothing changes.
    let data = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length) }.to_vec();
    // SAFETY: unmaps just that; no reference into it is left.
    unsafe { libc::munmap(address, length) };
    Ok(data)
}

#[test]
fn every_way_of_reading_gives_the_right_bytes() {
    let Some(mount) = Mount::new() else { return };
    for (byte, proven, answer) in [
        (1, false, Answer::AtOnce),
        (2, true, Answer::AtOnce),
        (3, false, Answer::Late(Duration::from_millis(3))),
        (4, true, Answer::Late(Duration::from_millis(3))),
    ] {
        let data = bytes(LENGTH, u64::from(byte));
        let content = mount.fake.add(sha256(byte), data.clone(), proven);
        *content.read.lock().unwrap() = answer;
        *content.lookup.lock().unwrap() = answer;
        content.forgotten.store(true, Ordering::SeqCst);
        let path = mount.path(&sha256(byte));
        assert!(fs::read(&path).unwrap() == data, "{byte}");

        let file = File::open(&path).unwrap();
        for (offset, length) in [(0, 1), (4095, 2), (LENGTH - 7, 7), (1 << 20, 1 << 20)] {
            let mut part = vec![0; length];
            file.read_exact_at(&mut part, offset as u64).unwrap();
            assert!(part == data[offset..offset + length], "{byte} at {offset}");
        }
        let mut past = [0; 10];
        assert_eq!(file.read_at(&mut past, LENGTH as u64 - 3).unwrap(), 3);
        assert_eq!(file.read_at(&mut past, LENGTH as u64).unwrap(), 0);
        assert_eq!(file.read_at(&mut past, 1 << 40).unwrap(), 0);

        for flags in [libc::MAP_SHARED, libc::MAP_PRIVATE] {
            assert!(mapped(&file, LENGTH, flags).unwrap() == data, "{byte}");
        }
    }
}

#[test]
fn large_reads_come_as_few_requests() {
    // SAFETY: takes nothing, touches nothing, cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let mut buffer = vec![0; 4 << 20];
    for (byte, proven) in [(1, false), (2, true)] {
        let Some(mount) = Mount::new() else { return };
        mount.fake.add(sha256(byte), bytes(8 << 20, 1), proven);
        let mut file = File::open(mount.path(&sha256(byte))).unwrap();
        file.read_exact(&mut buffer).unwrap();
        let largest = mount.fake.largest_read();
        // What the kernel reads ahead is its own 128 KiB unless root has raised it.
        assert!(largest > 128 << 10 || (proven && !root), "{largest}");
    }
}

#[test]
fn many_readers_of_many_files_at_once() {
    let Some(mount) = Mount::new() else { return };
    for byte in 1..=4 {
        let content = mount
            .fake
            .add(sha256(byte), bytes(LENGTH, u64::from(byte)), byte % 2 == 0);
        *content.read.lock().unwrap() = Answer::Late(Duration::from_millis(1));
    }
    std::thread::scope(|scope| {
        for reader in 0..12u8 {
            let mount = &mount;
            scope.spawn(move || {
                let byte = reader % 4 + 1;
                let data = fs::read(mount.path(&sha256(byte))).unwrap();
                assert!(data == bytes(LENGTH, u64::from(byte)));
            });
        }
    });
}

#[test]
fn names_that_are_no_ids_fail_without_a_lookup() {
    let Some(mount) = Mount::new() else { return };
    let hex = "ab".repeat(32);
    for name in [
        ".Trash",
        ".Trash-0",
        ".hidden",
        "autorun.inf",
        "x",
        &format!("{hex}0"),
        &format!("{hex}-x"),
        "blake3/x",
        "blake3/blake3",
        &"y".repeat(255),
    ] {
        let found = fs::metadata(mount.folder.join(name));
        assert_eq!(errno(found), Some(libc::ENOENT), "{name}");
    }
    let too_long = fs::metadata(mount.folder.join("y".repeat(256)));
    assert_eq!(errno(too_long), Some(libc::ENAMETOOLONG));
    assert_eq!(mount.fake.lookups(), 0);
    let unknown = fs::metadata(mount.folder.join(&hex));
    assert_eq!(errno(unknown), Some(libc::ENOENT));
    assert_eq!(mount.fake.lookups(), 1);
}

#[test]
fn a_suffix_and_the_case_of_digits_change_nothing() {
    let Some(mount) = Mount::new() else { return };
    let data = bytes(5000, 1);
    mount.fake.add(sha256(0xab), data.clone(), true);
    mount
        .fake
        .add(ContentId::blake3([0xcd; 32]), data.clone(), false);
    let inode = fs::metadata(mount.path(&sha256(0xab))).unwrap().ino();
    for name in [
        format!("{}.mp4", "ab".repeat(32)),
        format!("{}.tar.gz", "AB".repeat(32)),
        format!("blake3/{}.squashfs", "cd".repeat(32)),
    ] {
        let path = mount.folder.join(&name);
        assert!(fs::read(&path).unwrap() == data, "{name}");
        let same = fs::metadata(&path).unwrap().ino() == inode;
        assert_eq!(same, !name.starts_with("blake3"), "{name}");
    }
}

#[test]
fn every_change_is_refused_as_read_only() {
    let Some(mount) = Mount::new() else { return };
    let id = sha256(1);
    mount.fake.add(id, bytes(100, 1), true);
    let file = mount.path(&id);
    let new = mount.folder.join("new");
    let folder = mount.folder.join("blake3");
    let open = |options: &mut OpenOptions, path: &Path| errno(options.open(path));
    let c_path = CString::new(file.as_os_str().as_bytes()).unwrap();
    // SAFETY: NUL-terminated strings, and a value of the length that is given.
    let setxattr = unsafe {
        libc::setxattr(
            c_path.as_ptr(),
            c"user.note".as_ptr(),
            b"x".as_ptr().cast(),
            1,
            0,
        )
    };
    let setxattr = (setxattr != 0)
        .then(io::Error::last_os_error)
        .and_then(|error| error.raw_os_error());
    // SAFETY: NUL-terminated strings.
    let removexattr = unsafe { libc::removexattr(c_path.as_ptr(), c"user.cjp2p.id".as_ptr()) };
    let removexattr = (removexattr != 0)
        .then(io::Error::last_os_error)
        .and_then(|error| error.raw_os_error());
    // SAFETY: a NUL-terminated string.
    let truncate = unsafe { libc::truncate(c_path.as_ptr(), 1) };
    let truncate = (truncate != 0)
        .then(io::Error::last_os_error)
        .and_then(|error| error.raw_os_error());
    let later = std::time::SystemTime::now();
    for (what, seen) in [
        ("write", open(OpenOptions::new().write(true), &file)),
        (
            "both",
            open(OpenOptions::new().read(true).write(true), &file),
        ),
        ("append", open(OpenOptions::new().append(true), &file)),
        (
            "empty",
            open(OpenOptions::new().write(true).truncate(true), &file),
        ),
        (
            "create",
            open(OpenOptions::new().write(true).create(true), &new),
        ),
        (
            "create new",
            open(OpenOptions::new().write(true).create_new(true), &new),
        ),
        ("unlink", errno(fs::remove_file(&file))),
        ("mkdir", errno(fs::create_dir(&new))),
        ("rmdir", errno(fs::remove_dir(&folder))),
        ("rename", errno(fs::rename(&file, &new))),
        ("link", errno(fs::hard_link(&file, &new))),
        ("symlink", errno(std::os::unix::fs::symlink("x", &new))),
        (
            "chmod",
            errno(fs::set_permissions(&file, PermissionsExt::from_mode(0o777))),
        ),
        (
            "chown",
            errno(std::os::unix::fs::chown(&file, Some(1), None)),
        ),
        ("truncate", truncate),
        ("setxattr", setxattr),
        ("removexattr", removexattr),
        (
            "utimes",
            errno(File::open(&file).unwrap().set_modified(later)),
        ),
    ] {
        assert_eq!(seen, Some(libc::EROFS), "{what}");
    }
    assert!(fs::read(&file).unwrap() == bytes(100, 1));
}

#[test]
fn attributes_tell_the_content_and_nothing_of_its_state() {
    let Some(mount) = Mount::new() else { return };
    for (byte, proven) in [(1, false), (2, true)] {
        let id = sha256(byte);
        mount.fake.add(id, bytes(LENGTH, 1), proven);
        let shown = fs::metadata(mount.path(&id)).unwrap();
        assert_eq!(shown.len(), LENGTH as u64);
        assert_eq!(shown.blocks(), (LENGTH as u64).div_ceil(512));
        assert_eq!(shown.blksize(), 1 << 20);
        assert_eq!(shown.mode(), libc::S_IFREG | 0o444);
        assert_eq!(shown.nlink(), 1);
        assert_eq!(shown.mtime(), 315_619_200);
        // SAFETY: takes nothing, touches nothing, cannot fail.
        assert_eq!(shown.uid(), unsafe { libc::geteuid() });
    }
    let root = fs::metadata(&mount.folder).unwrap();
    assert_eq!(root.mode(), libc::S_IFDIR | 0o555);
    assert_eq!(root.ino(), 1);
}

#[test]
fn the_whole_of_an_empty_file_is_nothing() {
    let Some(mount) = Mount::new() else { return };
    mount.fake.add(sha256(1), Vec::new(), true);
    assert_eq!(fs::read(mount.path(&sha256(1))).unwrap(), b"");
}

#[test]
fn a_listing_shows_what_is_held_or_in_flight() {
    let Some(mount) = Mount::new() else { return };
    for number in 0..2000u32 {
        let mut hash = [7; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        mount
            .fake
            .add(ContentId::sha256(hash), vec![0; 10], number % 2 == 0);
    }
    mount
        .fake
        .add(ContentId::blake3([3; 32]), vec![0; 10], true);
    let names = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let shown = entry.metadata().unwrap();
                assert!(shown.is_dir() || shown.len() == 10);
                assert_eq!(entry.file_type().unwrap(), shown.file_type());
                entry.file_name()
            })
            .collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(names(&mount.folder).len(), 2005);
    let blake3 = mount.folder.join("blake3");
    assert_eq!(names(&blake3), ["03".repeat(32).as_str()]);
    // The names of a listing can be used, and nothing of all this was looked up on the network.
    let some = names(&mount.folder).swap_remove(17);
    assert_eq!(fs::read(mount.folder.join(some)).unwrap(), [0; 10]);
}

#[test]
fn df_and_extended_attributes_answer() {
    let Some(mount) = Mount::new() else { return };
    let id = sha256(0xab);
    mount.fake.add(id, bytes(10, 1), false);
    let path = CString::new(mount.path(&id).as_os_str().as_bytes()).unwrap();
    let get = |name: &str| {
        let name = CString::new(name).unwrap();
        let mut value = [0u8; 200];
        // SAFETY: NUL-terminated strings and a buffer of the size that is given.
        let size = unsafe {
            libc::getxattr(
                path.as_ptr(),
                name.as_ptr(),
                value.as_mut_ptr().cast(),
                value.len(),
            )
        };
        usize::try_from(size)
            .map(|size| String::from_utf8(value[..size].to_vec()).unwrap())
            .map_err(|_| io::Error::last_os_error().raw_os_error().unwrap())
    };
    assert_eq!(get("user.cjp2p.id"), Ok("ab".repeat(32)));
    assert_eq!(get("user.cjp2p.sha256"), Ok("ab".repeat(32)));
    assert_eq!(get("user.cjp2p.state"), Ok("partial".into()));
    assert_eq!(get("user.cjp2p.verified"), Ok("no".into()));
    assert_eq!(get("user.cjp2p.have"), Ok("1".into()));
    assert_eq!(get("user.cjp2p.blake3"), Err(libc::ENODATA));
    // For `ls -l` this speaks of the whole file system, so that it does not ask of every file.
    assert_eq!(get("security.selinux"), Err(libc::EOPNOTSUPP));
    assert_eq!(get("system.posix_acl_access"), Err(libc::EOPNOTSUPP));
    let mut list = [0u8; 500];
    // SAFETY: a NUL-terminated string and a buffer of the size that is given.
    let size = unsafe { libc::listxattr(path.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    assert_eq!(
        list[..usize::try_from(size).unwrap()]
            .iter()
            .filter(|b| **b == 0)
            .count(),
        5
    );
    // SAFETY: as above, with no buffer: the size is asked for.
    let asked = unsafe { libc::listxattr(path.as_ptr(), std::ptr::null_mut(), 0) };
    assert_eq!(asked, size);
    // SAFETY: as above, with a buffer that is too small.
    let small = unsafe { libc::listxattr(path.as_ptr(), list.as_mut_ptr().cast(), 3) };
    assert_eq!(small, -1);
    assert_eq!(
        io::Error::last_os_error().raw_os_error(),
        Some(libc::ERANGE)
    );

    let df = std::process::Command::new("df")
        .args(["--output=size,avail,fstype", "-B1"])
        .arg(&mount.folder)
        .output()
        .unwrap();
    let df = String::from_utf8(df.stdout).unwrap();
    let row: Vec<_> = df.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["10737418240", "4294967296", "fuse.cjp2pfs"]);
}

#[test]
fn failures_become_error_numbers() {
    let Some(mount) = Mount::new() else { return };
    let id = sha256(1);
    let content = mount.fake.add(id, bytes(100, 1), false);
    let path = mount.path(&id);
    for (failure, lookup, read) in [
        (Failure::NotFound, libc::ENOENT, libc::EIO),
        (Failure::TimedOut, libc::ENOENT, libc::EIO),
        (Failure::WrongContent, libc::EIO, libc::EIO),
        (Failure::Busy, libc::EBUSY, libc::EBUSY),
        (Failure::Stopped, libc::ESHUTDOWN, libc::ESHUTDOWN),
        (Failure::Disk(libc::ENOSPC), libc::EIO, libc::EIO),
    ] {
        *content.read.lock().unwrap() = Answer::Fails(failure);
        assert_eq!(errno(fs::read(&path)), Some(read), "{failure:?}");
        // Another suffix: a name that the kernel has not seen yet.
        *content.lookup.lock().unwrap() = Answer::Fails(failure);
        content.forgotten.store(true, Ordering::SeqCst);
        let other = mount.folder.join(format!("{id}.{failure:?}"));
        assert_eq!(errno(fs::metadata(other)), Some(lookup), "{failure:?}");
        content.forgotten.store(false, Ordering::SeqCst);
    }
    for lost in [Answer::Dropped, Answer::Short] {
        *content.read.lock().unwrap() = lost;
        assert_eq!(errno(fs::read(&path)), Some(libc::EIO), "{lost:?}");
    }
    *content.lookup.lock().unwrap() = Answer::Dropped;
    content.forgotten.store(true, Ordering::SeqCst);
    let dropped = fs::metadata(mount.folder.join(format!("{id}.dropped")));
    assert_eq!(errno(dropped), Some(libc::EIO));
}

#[test]
fn a_length_that_was_a_lie_is_looked_up_again() {
    let Some(mount) = Mount::new() else { return };
    let id = sha256(1);
    let content = mount.fake.add(id, bytes(100, 1), false);
    content.exaggeration.store(50, Ordering::SeqCst);
    assert_eq!(fs::metadata(mount.path(&id)).unwrap().len(), 150);
    content.exaggeration.store(0, Ordering::SeqCst);
    let mut file = File::open(mount.path(&id)).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 100);
    let mut data = Vec::new();
    file.read_to_end(&mut data).unwrap();
    assert!(data == bytes(100, 1));
}

#[test]
fn unproven_pages_are_not_left_for_the_first_cached_reader() {
    let Some(mount) = Mount::new() else { return };
    let id = sha256(1);
    mount.fake.add(id, bytes(LENGTH, 1), false);
    let path = mount.path(&id);
    let unproven = File::open(&path).unwrap();
    let wrong = mapped(&unproven, LENGTH, libc::MAP_SHARED).unwrap();
    // The same length, other bytes: what was given out before it was proven had been forged.
    mount.fake.add(id, bytes(LENGTH, 2), true);
    let right = fs::read(&path).unwrap();
    assert!(right == bytes(LENGTH, 2) && right != wrong);
    // Kept from then on: a source that has gone bad is not asked.
    let content = mount.fake.add(id, bytes(LENGTH, 2), true);
    *content.read.lock().unwrap() = Answer::Fails(Failure::TimedOut);
    assert!(fs::read(&path).unwrap() == right);
}

#[test]
fn the_mount_is_as_safe_as_it_says() {
    let Some(mount) = Mount::new() else { return };
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table
        .lines()
        .find(|line| line.contains(mount.folder.to_str().unwrap()))
        .unwrap();
    let fields: Vec<_> = line.split(' ').collect();
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(fields[5].split(',').any(|set| set == option), "{line}");
    }
    assert!(line.contains(" - fuse.cjp2pfs cjp2pfs "), "{line}");
    assert!(line.contains("default_permissions"), "{line}");
    assert!(!line.contains("allow_other"), "{line}");

    let again = Mounted::start(Fake::default(), &mount.folder, Options::default());
    assert!(matches!(
        again.err(),
        Some(MountError::AlreadyMounted { kind, .. }) if kind == "fuse.cjp2pfs"
    ));

    let everyone = Options {
        allow_other: true,
        exec: true,
        ..Options::default()
    };
    let Some(open) = Mount::with(everyone) else {
        return;
    };
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table
        .lines()
        .find(|line| line.contains(open.folder.to_str().unwrap()))
        .unwrap();
    assert!(
        line.contains("allow_other") && !line.contains("noexec"),
        "{line}"
    );
}
