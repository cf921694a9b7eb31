//! Never stuck: every kind of reader and every signal, hundreds of seeks that are given up, a thousand
//! readers that wait beside one that does not.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::mount_support::{Answer, Mount, bytes, command, kill, read_mapped, until};
use cjp2pfs::content::ContentId;
use cjp2pfs::node::Failure;

/// How long a signalled process may take to die, on a machine that is busy with other tests. What is
/// promised is 100 ms.
const PROMPT: Duration = Duration::from_secs(3);

/// The same of what looks at other names; promised are 50 ms.
const UNHINDERED: Duration = Duration::from_secs(2);

const LENGTH: usize = 10_000;
const CROWD: usize = 1000;

fn sha256(byte: u8) -> ContentId {
    ContentId::sha256([byte; 32])
}

/// Children that are killed, and waited for with a limit, when dropped.
struct Children(Vec<(&'static str, Child)>);

impl Drop for Children {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            let _ = child.kill();
        }
        let start = Instant::now();
        for (_, child) in &mut self.0 {
            while matches!(child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// This test binary as another process, doing what `role` says to `path`.
fn spawn(role: &str, path: &Path) -> Child {
    command(std::env::current_exe().unwrap())
        .args(["--exact", "crowds::another_process", "--nocapture"])
        .env("CJP2PFS_TEST_ROLE", role)
        .env("CJP2PFS_TEST_PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test of its own: what `spawn` runs. Does nothing otherwise.
#[test]
fn another_process() {
    let Ok(role) = std::env::var("CJP2PFS_TEST_ROLE") else {
        return;
    };
    let path = std::env::var_os("CJP2PFS_TEST_PATH").unwrap();
    let path = Path::new(&path);
    match role.as_str() {
        "read" => drop(std::fs::read(path)),
        "map" => {
            read_mapped(&File::open(path).unwrap(), 0);
        }
        "send" => {
            let file = File::open(path).unwrap();
            let target = File::options().write(true).open("/dev/null").unwrap();
            // SAFETY: two open files, and no offset of ours.
            unsafe {
                libc::sendfile(
                    target.as_raw_fd(),
                    file.as_raw_fd(),
                    std::ptr::null_mut(),
                    LENGTH,
                )
            };
        }
        // Each at a place of its own.
        "crowd" => {
            let readers: Vec<_> = (0..CROWD)
                .map(|reader| {
                    let path = path.to_owned();
                    std::thread::Builder::new()
                        .stack_size(64 << 10)
                        .spawn(move || {
                            let file = File::open(path).unwrap();
                            let _ = file.read_at(&mut [0; 10], reader as u64);
                        })
                        .unwrap()
                })
                .collect();
            for reader in readers {
                let _ = reader.join();
            }
        }
        // How long the slowest of some looks took, in microseconds: `stat` of the name, `statfs`,
        // a listing.
        "look" => {
            let folder = path.parent().unwrap();
            let mut slowest = Duration::ZERO;
            for _ in 0..20 {
                let start = Instant::now();
                std::fs::metadata(path).unwrap();
                assert!(std::fs::read_dir(folder).unwrap().count() > 0);
                statfs(folder);
                slowest = slowest.max(start.elapsed());
            }
            println!("slowest {}", slowest.as_micros());
        }
        other => panic!("no role: {other}"),
    }
}

fn statfs(folder: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let folder = std::ffi::CString::new(folder.as_os_str().as_bytes()).unwrap();
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: a NUL-terminated path, and room for what the call fills in.
    assert_eq!(
        unsafe { libc::statfs(folder.as_ptr(), answer.as_mut_ptr()) },
        0
    );
}

/// A child's end and what it said, within a limit.
fn finish(mut child: Child, limit: Duration) -> String {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > limit {
            let _ = child.kill();
            panic!("a child takes more than {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut said).unwrap();
    said
}

/// The second reader of a page waits for the first within the kernel: it, too, can be signalled.
#[test]
fn every_kind_of_reader_dies_of_every_signal() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL] {
        let Some(mount) = Mount::new() else { return };
        let mut children = Children(Vec::new());
        let mut waiting = 0;
        for (byte, proven, what, role, requests) in [
            (1, false, "a read", "read", 2),
            (2, true, "a cached read", "read", 1),
            (3, false, "a memory map", "map", 1),
            (4, true, "a cached memory map", "map", 1),
            (5, false, "a copy within the kernel", "send", 1),
        ] {
            let content = mount.fake.add(sha256(byte), bytes(LENGTH, 1), proven);
            *content.read.lock().unwrap() = Answer::Never;
            let path = mount.path(&sha256(byte));
            children.0.push((what, spawn(role, &path)));
            waiting += 1;
            until(what, || mount.fake.waiting() >= waiting);
            // What has opened it does not show whether it comes here or waits for the first's page.
            let opened = mount.fake.opens();
            children.0.push(("the second of these", spawn(role, &path)));
            waiting += requests - 1;
            until("the second", || {
                mount.fake.opens() > opened && mount.fake.waiting() >= waiting
            });
        }
        mount
            .fake
            .add_remote(sha256(6), bytes(LENGTH, 1), Answer::Never);
        let lookup = spawn("read", &mount.path(&sha256(6)));
        children.0.push(("a lookup", lookup));
        waiting += 1;
        until("a lookup", || mount.fake.waiting() >= waiting);
        // The kernel knows the name still, and the source has to look for the content again.
        let content = mount.fake.add(sha256(7), bytes(LENGTH, 1), true);
        std::fs::metadata(mount.path(&sha256(7))).unwrap();
        *content.lookup.lock().unwrap() = Answer::Never;
        content.forgotten.store(true, Ordering::SeqCst);
        let open = spawn("read", &mount.path(&sha256(7)));
        children.0.push(("an open", open));
        until("an open", || mount.fake.waiting() > waiting);
        let mut slowest = ("", Duration::ZERO);
        for (what, child) in &mut children.0 {
            let (status, took) = kill(child, signal);
            assert_eq!(status.signal(), Some(signal), "{what}: {status}");
            assert!(took < PROMPT, "{what}, signal {signal}: {took:?}");
            slowest = std::cmp::max_by_key(slowest, (*what, took), |(_, took)| *took);
        }
        let (what, took) = slowest;
        println!("signal {signal}: the slowest to die was {what}, {took:?} (promised: 100 ms)");
        until("nothing waits", || mount.fake.waiting() == 0);
    }
}

#[test]
fn hundreds_of_seeks_that_are_given_up_leave_nothing() {
    let Some(mount) = Mount::new() else { return };
    let content = mount.fake.add(sha256(1), bytes(1 << 20, 1), false);
    *content.read.lock().unwrap() = Answer::Never;
    let path = mount.path(&sha256(1));
    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        let mut seekers = Children(Vec::new());
        for seek in 0..50 {
            let mut dd = Command::new("dd");
            dd.arg(format!("if={}", path.display()))
                .arg(format!("skip={}", round * 50 + seek))
                .args(["bs=1000", "count=1", "of=/dev/null"])
                .stderr(Stdio::null());
            seekers.0.push(("a seek", dd.spawn().unwrap()));
        }
        until("all wait", || mount.fake.waiting() == 50);
        let start = Instant::now();
        drop(seekers);
        slowest = slowest.max(start.elapsed());
        until("nothing waits", || mount.fake.waiting() == 0);
    }
    println!("fifty at a time died in {slowest:?} at most (promised: 100 ms)");
    assert!(slowest < PROMPT, "{slowest:?}");
    let ends = mount.fake.cancelled();
    assert_eq!(ends.len(), 500);
    assert!(ends.iter().all(|end| *end == Failure::Interrupted));
    *content.read.lock().unwrap() = Answer::AtOnce;
    let read = Command::new("cat").arg(&path).output().unwrap();
    assert!(read.stdout == bytes(1 << 20, 1));
}

#[test]
fn beside_a_thousand_that_wait_one_that_does_not_keeps_its_speed() {
    let Some(mount) = Mount::new() else { return };
    let stalled = mount.fake.add(sha256(1), bytes(LENGTH, 1), false);
    *stalled.read.lock().unwrap() = Answer::Never;
    let data = bytes(32 << 20, 2);
    mount.fake.add(sha256(2), data.clone(), false);
    let healthy = mount.path(&sha256(2));
    let reading = || {
        let mut times: Vec<_> = (0..5)
            .map(|_| {
                let start = Instant::now();
                let mut cat = Command::new("timeout");
                cat.args(["-s", "KILL", "20", "cat"]).arg(&healthy);
                let read = cat.output().unwrap();
                assert!(read.stdout == data);
                start.elapsed()
            })
            .collect();
        times.sort();
        times[1]
    };
    let alone = reading();
    let mut crowd = Children(vec![("a crowd", spawn("crowd", &mount.path(&sha256(1))))]);
    until("all wait", || mount.fake.waiting() == CROWD);
    let beside = reading();
    println!("{alone:?} alone, {beside:?} beside {CROWD} that wait");
    assert!(
        beside < alone * 2 + Duration::from_millis(500),
        "{alone:?} alone, {beside:?} beside them"
    );
    let said = finish(spawn("look", &healthy), Duration::from_secs(20));
    let slowest = said.lines().find_map(|line| line.strip_prefix("slowest "));
    let slowest = Duration::from_micros(slowest.unwrap().parse().unwrap());
    println!("the slowest look took {slowest:?} (promised: 50 ms)");
    assert!(slowest < UNHINDERED, "{slowest:?}");
    assert_eq!(mount.fake.waiting(), CROWD, "all wait still");
    let (_, took) = kill(&mut crowd.0[0].1, libc::SIGKILL);
    println!("the crowd died in {took:?}");
    assert!(took < PROMPT * 2, "{took:?}");
    until("nothing waits", || mount.fake.waiting() == 0);
}
