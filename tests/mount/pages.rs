//! What goes into pages that everybody sees is told from what goes to one program.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use crate::mount_support::{Answer, Mount, bytes, until};
use cjp2pfs::content::ContentId;
use cjp2pfs::node::Failure;

const LENGTH: usize = 300_000;

/// A mount with content that is not proven.
fn mount_with_unproven() -> Option<(Mount, File, Vec<u8>)> {
    let mount = Mount::new()?;
    let id = ContentId::sha256([1; 32]);
    let data = bytes(LENGTH, 1);
    mount.fake.add(id, data.clone(), false);
    let file = File::open(mount.path(&id)).unwrap();
    Some((mount, file, data))
}

/// The first byte of each page, through a memory map.
fn touch(file: &File, flags: i32) -> Vec<u8> {
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
    assert_ne!(address, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    // SAFETY: that many bytes are mapped there, of a file that nothing changes.
    let mapped = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), LENGTH) };
    let firsts = mapped.iter().step_by(4096).copied().collect();
    // SAFETY: unmaps just that; no reference into it is left.
    unsafe { libc::munmap(address, LENGTH) };
    firsts
}

#[test]
fn memory_maps_fill_pages() {
    for flags in [libc::MAP_SHARED, libc::MAP_PRIVATE] {
        let Some((mount, file, data)) = mount_with_unproven() else {
            return;
        };
        let firsts: Vec<_> = data.iter().step_by(4096).copied().collect();
        assert!(touch(&file, flags) == firsts);
        assert!(mount.fake.fills() > 0);
        assert_eq!(mount.fake.fills(), mount.fake.reads(), "and nothing else");
    }
}

/// Nobody is given what was read of the file before that was known, whoever has it open.
#[test]
fn pages_of_a_file_that_has_rotted_are_forgotten() {
    let Some(mount) = Mount::new() else { return };
    let id = ContentId::sha256([2; 32]);
    let data = bytes(LENGTH, 2);
    let content = mount.fake.add(id, data.clone(), true);
    let file = File::open(mount.path(&id)).unwrap();
    let mut read = vec![0; LENGTH];
    file.read_exact_at(&mut read, 0).unwrap();
    *content.read.lock().unwrap() = Answer::Fails(Failure::WrongContent);
    file.read_exact_at(&mut read, 0).unwrap();
    assert!(read == data, "from the page cache");
    mount.fake.rots(id);
    until("they are forgotten", || {
        let error = file.read_at(&mut [0; 10], 4096).err();
        error.is_some_and(|error| error.raw_os_error() == Some(libc::EIO))
    });
    assert!(
        File::open(mount.path(&id))
            .unwrap()
            .read(&mut [0; 10])
            .is_err()
    );
    *content.read.lock().unwrap() = Answer::AtOnce;
    let mut again = Vec::new();
    File::open(mount.path(&id))
        .unwrap()
        .read_to_end(&mut again)
        .unwrap();
    assert!(again == data);
}

/// So does a program that says that it is going to read.
#[test]
fn advice_fills_pages() {
    let Some((mount, file, _)) = mount_with_unproven() else {
        return;
    };
    // SAFETY: neither involves memory of ours.
    unsafe {
        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_WILLNEED);
        libc::readahead(file.as_raw_fd(), 0, LENGTH);
    }
    until("they come", || mount.fake.reads() > 0);
    assert_eq!(mount.fake.fills(), mount.fake.reads());
}

#[test]
fn reads_of_programs_fill_none() {
    let Some((mount, mut file, data)) = mount_with_unproven() else {
        return;
    };
    let mut read = Vec::new();
    file.read_to_end(&mut read).unwrap();
    assert!(read == data);
    let mut part = [0; 5000];
    file.read_exact_at(&mut part, 100_000).unwrap();
    assert!(mount.fake.reads() > 1);
    assert_eq!(mount.fake.fills(), 0);
}

/// The whole by `sendfile`, which the kernel serves from the page cache.
fn sent(file: &File) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let target = File::create(&copy).unwrap();
    let (mut offset, mut left) = (0, LENGTH);
    while left > 0 {
        // SAFETY: two open files and an offset that lives across the call.
        let sent =
            unsafe { libc::sendfile(target.as_raw_fd(), file.as_raw_fd(), &raw mut offset, left) };
        let sent = usize::try_from(sent).unwrap();
        assert!(sent > 0);
        left -= sent;
    }
    fs::read(copy).unwrap()
}

#[test]
fn copying_within_the_kernel_fills_pages() {
    let Some((mount, file, data)) = mount_with_unproven() else {
        return;
    };
    assert!(sent(&file) == data);
    assert_eq!(mount.fake.fills(), mount.fake.reads());
}

/// What was wrong and is fetched anew: neither those who open it then nor those who come later see
/// pages of before.
#[test]
fn pages_of_content_that_proved_wrong_are_not_left_for_what_comes_after() {
    let Some((mount, wrong, data)) = mount_with_unproven() else {
        return;
    };
    let id = ContentId::sha256([1; 32]);
    assert!(sent(&wrong) == data);
    let mut wrong = Some(wrong);
    for seed in [2, 3] {
        let anew = bytes(LENGTH, seed);
        mount.fake.add(id, anew.clone(), false);
        assert!(sent(&File::open(mount.path(&id)).unwrap()) == anew);
        // Also when none of those before is open any more.
        wrong.take();
    }
}
