//! Noticing that a mount has been taken out of the tree of files while programs still use it
//! (`umount -l`): nobody can come to it any more, and the kernel does not tell its daemon.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::mountinfo;

/// How long to wait for a change before looking whether it matters still.
const LOOK: Duration = Duration::from_millis(500);

/// Waits until nothing is mounted with the number `device`, or until `over`.
pub fn wait(device: u64, over: impl Fn() -> bool) -> io::Result<()> {
    // Opened before the first look, so that no change after it is missed.
    let table = File::open("/proc/self/mountinfo")?;
    while !over() && mountinfo::has(device)? {
        wait_for_change(&table)?;
    }
    Ok(())
}

fn wait_for_change(table: &File) -> io::Result<()> {
    let mut changed = libc::pollfd {
        fd: table.as_raw_fd(),
        events: libc::POLLPRI,
        revents: 0,
    };
    let limit = LOOK.as_millis().try_into().unwrap_or(500);
    // SAFETY: one descriptor, which is open, in a structure that lives across the call.
    let result = unsafe { libc::poll(&raw mut changed, 1, limit) };
    if result >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        error => Err(error),
    }
}
