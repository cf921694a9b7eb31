//! What tests do with the processes that they start, and what those do.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Waits until `condition` holds; panics with `what` if it does not soon.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A command that SIGINT ends. Where the tests were started in the background of a script they ignore it, and so
/// would what they start.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // SAFETY: signal is a bare system call, safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        })
    };
    command
}

/// Sends `signal` to `child`, which has not been waited for.
pub fn send(child: &Child, signal: i32) {
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: signals a child that has not been waited for, so the number is still its own.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Kills `child` with `signal`; its status and how long it took to die.
pub fn kill(child: &mut Child, signal: i32) -> (ExitStatus, Duration) {
    let start = Instant::now();
    send(child, signal);
    let mut status = None;
    until("the signalled process ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    (status.unwrap(), start.elapsed())
}

/// Maps `file` into memory and reads the byte at `offset` there.
pub fn read_mapped(file: &File, offset: usize) {
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    assert!(offset < length);
    // SAFETY: a new read-only mapping, wherever the kernel likes.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(address, libc::MAP_FAILED);
    // SAFETY: mapped just above, and readable.
    let _ = unsafe { address.cast::<u8>().add(offset).read_volatile() };
}
