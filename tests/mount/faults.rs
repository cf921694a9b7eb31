//! Never stuck: a process that handles signals gets them while a page of a memory map does not come,
//! though the kernel asks for the page anew before it lets the process have them, and afterwards.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::mount_support::{Answer, Mount, bytes, command, kill, read_mapped, until};
use cjp2pfs::content::ContentId;
use cjp2pfs::node::Failure;

const LENGTH: usize = 1 << 20;
/// How long a signal may take to be handled, on a machine that is busy with other tests. What is promised
/// is 100 ms.
const PROMPT: Duration = Duration::from_secs(3);
const HANDLED: &[u8] = b"handled\n";

extern "C" fn handle(_: libc::c_int) {
    // SAFETY: a write of bytes that live for ever, which a handler may make.
    unsafe { libc::write(1, HANDLED.as_ptr().cast(), HANDLED.len()) };
}

/// Not a test of its own: this test binary as another process, which handles signals and wants a page.
#[test]
fn another_process() {
    let Some(path) = std::env::var_os("CJP2PFS_TEST_FAULT") else {
        return;
    };
    let file = File::open(path).unwrap();
    // SAFETY: the handler does what one may do.
    unsafe {
        libc::signal(
            libc::SIGUSR1,
            handle as extern "C" fn(libc::c_int) as libc::sighandler_t,
        );
    }
    // SAFETY: takes nothing and cannot fail.
    println!("\nthread {}", unsafe { libc::gettid() });
    read_mapped(&file, LENGTH / 2);
}

#[test]
fn a_process_in_a_fault_handles_its_signals() {
    let Some(mount) = Mount::new() else { return };
    let id = ContentId::sha256([1; 32]);
    let content = mount.fake.add(id, bytes(LENGTH, 1), false);
    *content.read.lock().unwrap() = Answer::Never;
    let mut child = command(std::env::current_exe().unwrap())
        .args(["--exact", "faults::another_process", "--nocapture"])
        .env("CJP2PFS_TEST_FAULT", mount.path(&id))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (tell, lines) = channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().try_for_each(|line| tell.send(line.unwrap())));
    let said = |wanted: &str| {
        loop {
            let line = lines.recv_timeout(PROMPT).expect(wanted);
            if let Some(rest) = line.strip_prefix(wanted) {
                return rest.to_owned();
            }
        }
    };
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    let thread: libc::pid_t = said("thread ").parse().unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        // It wants the page again each time.
        until("it waits", || mount.fake.waiting() == 1);
        let start = Instant::now();
        // SAFETY: signals a thread of our own child, which has not been waited for.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, libc::SIGUSR1) };
        assert_eq!(sent, 0);
        said("handled");
        slowest = slowest.max(start.elapsed());
    }
    println!("handled after {slowest:?} at most (promised: 100 ms)");
    assert!(slowest < PROMPT, "{slowest:?}");
    until("it waits", || mount.fake.waiting() == 1);
    let (_, took) = kill(&mut child, libc::SIGKILL);
    assert!(took < PROMPT, "{took:?}");
    until("nothing waits", || mount.fake.waiting() == 0);
    let ends = mount.fake.cancelled();
    assert!(ends.len() > 10 && ends.iter().all(|end| *end == Failure::Interrupted));
}
