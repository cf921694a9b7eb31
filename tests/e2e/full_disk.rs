//! A `get` whose store lies on a disk that is smaller than the content: one sentence says so.
//!
//! The disk is a small tmpfs in a mount namespace of the test's own thread, in which the command is
//! started. That takes root.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;

use crate::common::{LATER, Node, Place, Settings, can_mount, cjp2pfs, run, sha256_of};

/// More than the disk has room for.
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

/// The store's disk is full, and so is that of the daemon's own log.
#[test]
fn a_mount_in_the_background_reads_on() {
    if let Err(why) = can_mount() {
        println!("skipped: {why}");
        return;
    }
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: only root can mount a tmpfs");
        return;
    }
    let place = Place::new();
    let file = place.file("file", 5 << 20);
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[&file.path], 1);
    let (disk, at) = (place.folder("disk"), place.folder("mount"));
    if let Err(error) = small_disk(&disk) {
        println!("skipped: cannot mount a tmpfs: {error}");
        return;
    }
    let _disk = Unmount(disk.clone());
    let settings = Settings::new(disk.join("store")).peer(seeder.address);
    run(settings.command("mount").arg(&at), LATER).ok();
    let _mount = Unmount(at.clone());
    let mut filler = fs::File::create(disk.join("filler")).unwrap();
    for block in [64 << 10, 1] {
        while filler.write_all(&vec![1; block]).is_ok() {}
    }
    let read = run(Command::new("cat").arg(at.join(&file.sha256)), LATER).ok();
    file.is(&read.stdout);
    let status = settings.status().expect("the daemon lives");
    assert!(!status["disk_trouble"].is_null(), "{status}");
    let mut umount = cjp2pfs();
    umount.arg("umount").arg("--store").arg(&settings.store);
    run(umount.arg(&at), LATER).ok();
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
