//! Never stuck: what happens to processes, other files and the mount itself while content does not
//! arrive, and after the daemon has died.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::mount_support::{Answer, Fake, Mount, bytes, command, kill, read_mapped, send, until};
use cjp2pfs::content::ContentId;
use cjp2pfs::mount::{Mounted, Options, UNMOUNT_LIMIT, UnmountError, Unmounted, unmount_path};
use cjp2pfs::node::Failure;

/// How long a signalled process may take to die.
const PROMPT: Duration = Duration::from_secs(3);

/// How long what is not stalled may take while something else is.
const UNHINDERED: Duration = Duration::from_secs(5);

fn sha256(byte: u8) -> ContentId {
    ContentId::sha256([byte; 32])
}

fn spawn(program: &str, path: &Path) -> Child {
    command(program)
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// This test binary as another process, doing what `role` says to `path`.
fn spawn_self(role: &str, path: &Path) -> Child {
    command(std::env::current_exe().unwrap())
        .args(["--exact", "stalls::another_process", "--nocapture"])
        .env("CJP2PFS_TEST_ROLE", role)
        .env("CJP2PFS_TEST_PATH", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test of its own: what `spawn_self` runs. Does nothing otherwise.
#[test]
fn another_process() {
    let Ok(role) = std::env::var("CJP2PFS_TEST_ROLE") else {
        return;
    };
    let path = std::env::var_os("CJP2PFS_TEST_PATH").unwrap();
    let path = Path::new(&path);
    match role.as_str() {
        // Mounts, says so, and is killed.
        "daemon" => {
            let fake = Fake::default();
            fake.add(sha256(1), bytes(100, 1), true);
            let _mounted = Mounted::start(fake, path, Options::default()).unwrap();
            println!("ready");
            std::thread::sleep(Duration::from_secs(600));
        }
        // Reads on a thread that is not the first: the kernel names the thread.
        "thread" => {
            let path = path.to_owned();
            let reader = std::thread::spawn(move || fs::read(path));
            let _ = reader.join();
        }
        // Ignores what it is sent, all but SIGKILL.
        "deaf" => {
            // SAFETY: ignoring a signal runs no code of ours.
            unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
            let _ = fs::read(path);
        }
        "map" => {
            read_mapped(&File::open(path).unwrap(), 0);
        }
        other => panic!("no role: {other}"),
    }
}

/// A process that waits on the mount: how it came to, and who it is.
fn waiting_processes(mount: &Mount) -> Vec<(&'static str, Child)> {
    let mut children = Vec::new();
    let expect = |what: &'static str, child: Child, children: &mut Vec<_>| {
        children.push((what, child));
        let count = children.len();
        until(what, || mount.fake.waiting() >= count);
    };

    for (byte, proven, what) in [(1, false, "a direct read"), (2, true, "a cached read")] {
        let content = mount.fake.add(sha256(byte), bytes(10_000, 1), proven);
        *content.read.lock().unwrap() = Answer::Never;
        expect(
            what,
            spawn("cat", &mount.path(&sha256(byte))),
            &mut children,
        );
    }

    let never = Answer::Never;
    mount.fake.add_remote(sha256(3), bytes(10_000, 1), never);
    expect(
        "a lookup",
        spawn("stat", &mount.path(&sha256(3))),
        &mut children,
    );

    // The kernel knows the name still, and the source has to look for the content again.
    let content = mount.fake.add(sha256(4), bytes(10_000, 1), true);
    fs::metadata(mount.path(&sha256(4))).unwrap();
    *content.lookup.lock().unwrap() = Answer::Never;
    content.forgotten.store(true, Ordering::SeqCst);
    expect(
        "an open",
        spawn("cat", &mount.path(&sha256(4))),
        &mut children,
    );

    let content = mount.fake.add(sha256(5), bytes(10_000, 1), false);
    *content.read.lock().unwrap() = Answer::Never;
    let path = mount.path(&sha256(5));
    expect(
        "a thread's read",
        spawn_self("thread", &path),
        &mut children,
    );
    expect("a memory map", spawn_self("map", &path), &mut children);
    children
}

fn signalled_processes_die(signal: i32) {
    let Some(mount) = Mount::new() else { return };
    for (what, mut child) in waiting_processes(&mount) {
        let (status, took) = kill(&mut child, signal);
        assert_eq!(status.signal(), Some(signal), "{what}: {status}");
        assert!(took < PROMPT, "{what} took {took:?}");
    }
    // What nobody waits for is given up.
    until("nothing waits", || mount.fake.waiting() == 0);
    assert!(
        mount
            .fake
            .cancelled()
            .iter()
            .all(|end| *end == Failure::Interrupted)
    );
}

#[test]
fn a_process_that_is_interrupted_while_it_waits_dies_at_once() {
    signalled_processes_die(libc::SIGINT);
}

#[test]
fn a_process_that_is_killed_while_it_waits_dies_at_once() {
    signalled_processes_die(libc::SIGKILL);
}

#[test]
fn an_ignored_signal_interrupts_nothing() {
    let Some(mount) = Mount::new() else { return };
    let content = mount.fake.add(sha256(1), bytes(10_000, 1), false);
    *content.read.lock().unwrap() = Answer::Never;
    let mut child = spawn_self("deaf", &mount.path(&sha256(1)));
    until("it waits", || mount.fake.waiting() == 1);
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: signals our own child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    // Several looks of the watcher, past its patience.
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!((mount.fake.waiting(), child.try_wait().unwrap()), (1, None));
    let (status, took) = kill(&mut child, libc::SIGKILL);
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    assert!(took < PROMPT, "{took:?}");
}

#[test]
fn what_is_stalled_hinders_nothing_else() {
    let Some(mount) = Mount::new() else { return };
    let data = bytes(3_000_000, 9);
    mount.fake.add(sha256(0xee), data.clone(), true);
    mount.fake.add(sha256(0xef), data.clone(), false);
    let mut stalled: Vec<_> = waiting_processes(&mount);
    // More than there are threads to serve them. Cached reads and lookups of one thing wait for
    // the first of them within the kernel; direct reads all come here.
    for _ in 0..20 {
        stalled.push(("one more", spawn("cat", &mount.path(&sha256(1)))));
        stalled.push(("one more", spawn("cat", &mount.path(&sha256(2)))));
    }
    stalled.push(("one more", spawn("stat", &mount.path(&sha256(3)))));
    until("all wait", || mount.fake.waiting() >= 6 + 20);
    let start = Instant::now();
    assert_eq!(fs::read_dir(&mount.folder).unwrap().count(), 10);
    assert_eq!(
        fs::read_dir(mount.folder.join("blake3")).unwrap().count(),
        0
    );
    for byte in [0xee, 0xef] {
        assert!(fs::read(mount.path(&sha256(byte))).unwrap() == data);
    }
    assert!(fs::metadata(mount.folder.join("nothing")).is_err());
    // A stalled file itself can be looked at and opened once more.
    let opened = File::open(mount.path(&sha256(5))).unwrap();
    assert_eq!(opened.metadata().unwrap().len(), 10_000);
    assert!(start.elapsed() < UNHINDERED, "{:?}", start.elapsed());
    for (_, child) in &mut stalled {
        child.kill().unwrap();
    }
    for (what, child) in &mut stalled {
        until(what, || child.try_wait().unwrap().is_some());
    }
}

#[test]
fn content_that_arrives_late_still_arrives() {
    let Some(mount) = Mount::new() else { return };
    let late = Answer::Late(Duration::from_millis(400));
    let content = mount.fake.add_remote(sha256(1), bytes(10_000, 1), late);
    *content.read.lock().unwrap() = late;
    assert!(fs::read(mount.path(&sha256(1))).unwrap() == bytes(10_000, 1));
    assert_eq!(mount.fake.cancelled(), []);
}

#[test]
fn unmounting_ends_in_time_whatever_waits() {
    let Some(mut mount) = Mount::new() else {
        return;
    };
    let mut stalled = waiting_processes(&mount);
    let open = File::open(mount.path(&sha256(1))).unwrap();
    let mounted = mount.mounted.take().unwrap();
    let start = Instant::now();
    mounted.unmount(UNMOUNT_LIMIT).unwrap();
    let took = start.elapsed();
    println!("unmounted in {took:?} (promised: 3 s)");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(fs::read_dir(&mount.folder).unwrap().next().is_none());
    for (what, child) in &mut stalled {
        until(what, || child.try_wait().unwrap().is_some());
    }
    // Later operations on what is still open do not wait either.
    assert!((&open).read(&mut [0; 10]).is_err());
    drop(open);
    mounted.wait();
    assert!(mounted.has_ended());
    assert_eq!(mounted.unmount(UNMOUNT_LIMIT).unwrap(), Unmounted::Now);
}

#[test]
fn an_idle_mount_goes_at_once() {
    let Some(mount) = Mount::new() else { return };
    let start = Instant::now();
    let limit = Duration::from_secs(30);
    assert_eq!(mount.mounted().unmount(limit).unwrap(), Unmounted::Now);
    assert!(start.elapsed() < limit / 3, "it waited for nothing");
    // What is mounted there afterwards is not ours to take away.
    let next = Mounted::start(Fake::default(), &mount.folder, Options::default()).unwrap();
    mount.mounted().unmount(UNMOUNT_LIMIT).unwrap();
    assert!(!next.has_ended());
    drop(next);
}

#[test]
fn a_mount_that_is_unmounted_from_outside_ends() {
    let Some(mount) = Mount::new() else { return };
    let status = Command::new("umount").arg(&mount.folder).status().unwrap();
    assert!(status.success());
    mount.mounted().wait();

    let Some(mount) = Mount::new() else { return };
    assert_eq!(unmount_path(&mount.folder).unwrap(), Unmounted::Now);
    mount.mounted().wait();
    assert!(matches!(
        unmount_path(&mount.folder),
        Err(UnmountError::NotMounted(path)) if path == mount.folder
    ));

    let Some(mount) = Mount::new() else { return };
    mount.fake.add(sha256(1), bytes(100, 1), true);
    let mut open = File::open(mount.path(&sha256(1))).unwrap();
    assert_eq!(unmount_path(&mount.folder).unwrap(), Unmounted::Lazily);
    // What is open goes on.
    let mut data = Vec::new();
    open.read_to_end(&mut data).unwrap();
    assert!(data == bytes(100, 1) && !mount.mounted().has_ended());
    drop(open);
    mount.mounted().wait();
}

/// A folder with the mount of a daemon that has been used and killed.
fn dead_mount() -> Option<tempfile::TempDir> {
    let (folder, mut daemon) = foreign_mount()?;
    kill(&mut daemon, libc::SIGKILL);
    until("the mount is dead", || {
        fs::read_dir(folder.path()).is_err_and(|e| e.raw_os_error() == Some(libc::ENOTCONN))
    });
    Some(folder)
}

/// A folder with the mount of another process, which has been used.
fn foreign_mount() -> Option<(tempfile::TempDir, Child)> {
    drop(Mount::new()?);
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = spawn_self("daemon", folder.path());
    let mut said = Vec::new();
    let mut stdout = daemon.stdout.take().unwrap();
    while !said.ends_with(b"ready\n") {
        let mut byte = [0];
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "the daemon has ended");
        said.push(byte[0]);
    }
    let inside = folder.path().join(sha256(1).to_string());
    assert!(fs::read(&inside).unwrap() == bytes(100, 1));
    Some((folder, daemon))
}

#[test]
fn the_mount_of_a_dead_daemon_is_healed() {
    let Some(folder) = dead_mount() else { return };
    let inside = folder.path().join(sha256(1).to_string());
    let fake = Fake::default();
    fake.add(sha256(1), bytes(50, 2), true);
    let mounted = Mounted::start(fake, folder.path(), Options::default()).unwrap();
    assert!(fs::read(&inside).unwrap() == bytes(50, 2));
    assert_eq!(mounted.unmount(UNMOUNT_LIMIT).unwrap(), Unmounted::Now);
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[test]
fn a_dead_mount_can_be_unmounted_by_path() {
    let Some(folder) = dead_mount() else { return };
    unmount_path(folder.path()).unwrap();
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[test]
fn the_mount_of_a_daemon_that_does_not_answer_can_be_unmounted_however_it_is_written() {
    for ending in ["", "/", "/.", "/./"] {
        let Some((folder, mut daemon)) = foreign_mount() else {
            return;
        };
        send(&daemon, libc::SIGSTOP);
        let path = format!("{}{ending}", folder.path().display());
        // On a thread of its own, for it must not hang the test.
        let (ended, result) = std::sync::mpsc::channel();
        std::thread::spawn(move || ended.send(unmount_path(Path::new(&path))));
        let result = result.recv_timeout(Duration::from_secs(20));
        // Then whoever asked it is answered, and the folder can be looked at and removed.
        send(&daemon, libc::SIGCONT);
        kill(&mut daemon, libc::SIGKILL);
        result.expect("it does not return").unwrap();
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
