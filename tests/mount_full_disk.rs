//! A real mount whose store lies on a disk that is smaller than the content: it is read to its end.
//!
//! The disk is a small tmpfs in a mount namespace of the test's own thread, in which the daemon and
//! the programs that read are started. That takes root.

mod common;

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;

use common::{LATER, Node, Place, SOON, Settings, cjp2pfs, requires_mount, run, sha256_of};

/// More than the disk and the cache together.
const LENGTH: usize = 40 << 20;

/// Makes `folder` a tmpfs of 16 MiB, for this thread and what it starts.
fn small_disk(folder: &Path) -> io::Result<()> {
    let done = |result: libc::c_int| match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    let target = CString::new(folder.to_str().unwrap())?;
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
    })
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let target = CString::new(self.0.to_str().unwrap()).unwrap();
        // SAFETY: the path is a C string that outlives the call.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    }
}

#[test]
fn content_larger_than_the_disk_is_read_to_its_end() {
    requires_mount!();
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: only root can mount a tmpfs");
        return;
    }
    let place = Place::new();
    let mut data = vec![0; LENGTH];
    blake3::Hasher::new()
        .update(b"larger than the disk")
        .finalize_xof()
        .fill(&mut data);
    let file = place.path("file");
    fs::write(&file, &data).unwrap();
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[&file], 1);

    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    if let Err(error) = small_disk(&disk) {
        println!("skipped: cannot mount a tmpfs: {error}");
        return;
    }
    let _disk = Unmount(disk.clone());
    let mountpoint = place.path("mnt");
    fs::create_dir(&mountpoint).unwrap();
    let settings = Settings::new(disk.join("store"))
        .peer(seeder.address)
        .with(&["--cache", "8MiB", "-f"]);
    let mut command = settings.command("mount");
    command.arg(&mountpoint);
    let mount = Node::start(settings.clone(), &mut command);

    let id = sha256_of(&data);
    // `sha256sum` says what came, and fails where reading does.
    let read = run(Command::new("sha256sum").arg(mountpoint.join(&id)), LATER).ok();
    assert!(read.text().starts_with(&id), "{}", read.text());
    let trouble = &mount.status()["disk_trouble"];
    assert_eq!(trouble["errno"], libc::ENOSPC, "{trouble}");
    let status = run(
        cjp2pfs().arg("status").arg("--store").arg(&settings.store),
        SOON,
    )
    .ok()
    .text();
    assert!(
        status.contains("no space left on the disk of the store: content is read through memory"),
        "{status}"
    );
    let target = place.path("target");
    let said = run(&mut Settings::new(&settings.store).get(&id, &target), LATER).failed(1);
    assert!(
        said.contains("no space left on the disk of the store"),
        "{said}"
    );
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(!target.exists());
    mount.stop();
}

#[test]
fn a_get_without_a_daemon_is_told_in_one_sentence() {
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: only root can mount a tmpfs");
        return;
    }
    let place = Place::new();
    let data = vec![0x5a; LENGTH];
    let file = place.path("file");
    fs::write(&file, &data).unwrap();
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[&file], 1);
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    if let Err(error) = small_disk(&disk) {
        println!("skipped: cannot mount a tmpfs: {error}");
        return;
    }
    let _disk = Unmount(disk.clone());
    let target = place.path("target");
    let settings = Settings::new(disk.join("store")).peer(seeder.address);
    let said = run(&mut settings.get(&sha256_of(&data), &target), LATER).failed(1);
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("cjp2pfs: "))
        .collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(
        lines[0].contains("no space left on the disk of the store"),
        "{said}"
    );
    assert!(!target.exists());
}
