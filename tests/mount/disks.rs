//! Never stuck: a disk that hangs keeps those who need it, and nobody else, and them not from their signals.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::mount_support::{Mount, bytes, command, kill, until};
use cjp2pfs::content::ContentId;

const LENGTH: usize = 100_000;
/// More than there are threads to answer programs.
const CROWD: usize = 12;
/// How long a signalled process may take to die, and all else together.
const PROMPT: Duration = Duration::from_secs(3);

const ATTRIBUTE: &str = "import os, sys; os.getxattr(sys.argv[1], 'user.cjp2p.have')";

fn sha256(byte: u8) -> ContentId {
    ContentId::sha256([byte; 32])
}

/// Goes on with a disk that hangs, whatever becomes of the test.
struct GoesOn<'a>(&'a Mount);

impl Drop for GoesOn<'_> {
    fn drop(&mut self) {
        self.0.fake.hang(false);
    }
}

#[test]
fn a_disk_that_hangs_keeps_those_who_need_it_and_nobody_else() {
    let Some(mount) = Mount::new() else { return };
    let data = bytes(LENGTH, 1);
    let on_it = mount.fake.add(sha256(1), data.clone(), true);
    let arriving = mount.fake.add(sha256(2), data.clone(), false);
    mount.fake.add(sha256(3), data.clone(), true);
    for content in [&on_it, &arriving] {
        content.hangs.store(true, Ordering::SeqCst);
    }
    let paths = [1, 2, 3].map(|byte| mount.path(&sha256(byte)));
    let open = File::open(&paths[1]).unwrap();
    for path in &paths {
        assert_eq!(fs::metadata(path).unwrap().len(), LENGTH as u64);
    }
    let goes_on = GoesOn(&mount);
    mount.fake.hang(true);

    let started = |program: &str, arguments: &[&str]| {
        let mut command = command(program);
        command.args(arguments).stdin(Stdio::null());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut waiting: Vec<(&str, Child)> = Vec::new();
    let on_disk = paths[0].to_str().unwrap();
    for _ in 0..CROWD {
        waiting.push(("an open", started("cat", &[on_disk])));
        if has_python() {
            waiting.push((
                "an attribute",
                started("python3", &["-c", ATTRIBUTE, on_disk]),
            ));
        }
    }
    // One only: the next would wait for it within the kernel.
    waiting.push((
        "a listing",
        started("ls", &[mount.folder.to_str().unwrap()]),
    ));
    until("they wait", || mount.fake.waiting() == waiting.len());

    let start = Instant::now();
    assert!(fs::read(&paths[2]).unwrap() == data);
    // What is open is read, and `stat` shows what is known, also of what is on that disk.
    let mut part = [0; 1000];
    open.read_exact_at(&mut part, 5000).unwrap();
    assert!(part == data[5000..6000]);
    assert_eq!(open.metadata().unwrap().len(), LENGTH as u64);
    assert_eq!(fs::metadata(&paths[1]).unwrap().len(), LENGTH as u64);
    assert!(fs::metadata(mount.folder.join("nothing")).is_err());
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());

    let mut last = waiting.split_off(waiting.len() - 2);
    for (what, mut child) in waiting {
        let (status, took) = kill(&mut child, libc::SIGTERM);
        assert_eq!(status.signal(), Some(libc::SIGTERM), "{what}: {status}");
        assert!(took < PROMPT, "{what}: {took:?}");
    }
    // The others have what they wait for when the disk goes on.
    drop(goes_on);
    for (what, child) in &mut last {
        until(what, || child.try_wait().unwrap().is_some());
        assert!(child.wait().unwrap().success(), "{what}");
    }
    assert_eq!(mount.fake.waiting(), 0);
    assert!(fs::read(&paths[0]).unwrap() == data);
    assert!(fs::read_dir(&mount.folder).unwrap().count() > 3);
}

fn has_python() -> bool {
    let python = Command::new("python3").arg("--version").output();
    python.is_ok_and(|python| python.status.success())
}
