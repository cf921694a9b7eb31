//! On a file system that can share blocks between files, `import` and `get` make no second copy.
//!
//! The file system is one of the test's own, in an image, mounted where only the test's thread and
//! what it starts see it. That takes root, and a program that makes such a file system.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;

use crate::common::{Detach, LATER, Node, Place, SOON, Settings};
use crate::common::{cjp2pfs, is_root, on_path, run, sha256_of, wait};

/// The least that `mkfs.xfs` takes, in bytes.
const IMAGE: u64 = 300 << 20;
const LENGTH: usize = (3 << 20) + 777;

/// A folder that is a file system with reflinks, or why there is none.
fn file_system(place: &Place) -> Result<(PathBuf, Detach), String> {
    if !is_root() {
        return Err("only root can mount a file system".into());
    }
    for program in ["mkfs.xfs", "mount", "filefrag"] {
        if !on_path(program) {
            return Err(format!("there is no {program}"));
        }
    }
    let (image, at) = (place.path("image"), place.folder("disk"));
    fs::File::create(&image).unwrap().set_len(IMAGE).unwrap();
    let mut make = Command::new("mkfs.xfs");
    run(make.args(["-q", "-m", "reflink=1"]).arg(&image), LATER).ok();
    // SAFETY: it takes no pointers; only this thread sees other mounts from here on.
    let alone = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let root = c"/".as_ptr();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: every pointer is null or a C string that outlives the call.
    if !alone || unsafe { libc::mount(ptr::null(), root, ptr::null(), private, ptr::null()) } != 0 {
        return Err("no mounts of its own are allowed".into());
    }
    let mut mount = Command::new("mount");
    let mounted = run(mount.args(["-o", "loop"]).arg(&image).arg(&at), LATER);
    match mounted.status.success() {
        true => Ok((at.clone(), Detach(at))),
        false => Err(mounted.stderr),
    }
}

/// Asserts that all of a file's blocks are another's, too, or that none is.
#[track_caller]
fn assert_shared(file: &Path, expected: bool) {
    let said = run(Command::new("filefrag").arg("-sv").arg(file), SOON).ok();
    let said = said.text();
    let mut extents = said.lines().filter(|line| line.contains("..")).peekable();
    assert!(extents.peek().is_some(), "{said}");
    let right = extents.all(|extent| extent.contains("shared") == expected);
    assert!(right, "shared: {expected} expected of {said}");
}

fn sample(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut bytes = vec![0; LENGTH];
    blake3::Hasher::new()
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    fs::write(path, &bytes).unwrap();
    fs::File::open(path).unwrap().sync_all().unwrap();
    sha256_of(&bytes)
}

#[test]
fn what_is_imported_or_got_shares_its_blocks() {
    let place = Place::new();
    let (disk, _detach) = match file_system(&place) {
        Ok(made) => made,
        Err(why) => return println!("skipped: {why}"),
    };
    let store = disk.join("store");

    let mine = disk.join("mine");
    let id = sample(&mine);
    let mut import = cjp2pfs();
    import.args(["import", "--store"]).arg(&store).arg(&mine);
    run(&mut import, LATER).ok();
    let held = store.join("complete/sha256").join(&id[..2]).join(&id);
    assert_ne!(inode(&held), inode(&mine));
    assert_shared(&held, true);
    assert_shared(&mine, true);

    // What is the store's own gets a second name.
    let got = disk.join("got");
    run(&mut Settings::new(&store).get(&id, &got), LATER).ok();
    assert_eq!(inode(&held), inode(&got));

    // What is seeded stays the user's, and blocks of it are shared.
    let seeded = disk.join("seeded");
    let id = sample(&seeded);
    let node = Node::seed(Settings::new(&store), &[&seeded], 1);
    // It says so once the index is on the disk. A node that is told to end waits for that no longer than
    // three seconds, which some disks take, and then hashes again the next time.
    wait("what was hashed to be noted", LATER, || {
        node.said().contains("serving ").then_some(())
    });
    node.stop();
    assert_shared(&seeded, false);
    let got = disk.join("got too");
    run(&mut Settings::new(&store).get(&id, &got), LATER).ok();
    assert_ne!(inode(&seeded), inode(&got));
    assert_shared(&got, true);
    assert_shared(&seeded, true);
}

/// The same where a daemon has the store: no byte need go through its socket.
#[test]
fn what_is_got_of_a_daemon_shares_its_blocks() {
    let place = Place::new();
    let (disk, _detach) = match file_system(&place) {
        Ok(made) => made,
        Err(why) => return println!("skipped: {why}"),
    };
    let store = disk.join("store");
    let seeded = disk.join("seeded");
    let id = sample(&seeded);
    let node = Node::seed(Settings::new(&store), &[&seeded], 1);

    // What is seeded stays the user's.
    let got = disk.join("got");
    run(&mut Settings::new(&store).get(&id, &got), LATER).ok();
    assert_ne!(inode(&seeded), inode(&got));
    assert_shared(&got, true);
    assert_eq!(fs::read(&got).unwrap(), fs::read(&seeded).unwrap());
    node.stop();
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}
