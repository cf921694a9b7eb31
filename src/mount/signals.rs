//! Whether a process that waits for us has been signalled.
//!
//! The kernel's own notice of that (`FUSE_INTERRUPT`) does not get through fuser 0.18, so this
//! reads what `/proc` shows of the waiting thread: the signals that are pending, less those that it
//! blocks or ignores. A signal that is ignored by default is never pending, so what remains would
//! run a handler, stop the process or kill it, if only our operation let it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Whether `/proc` speaks of the processes that requests name: not so in a container that has been
/// given another one's, where acting on it would interrupt at random.
pub fn proc_is_ours() -> bool {
    std::fs::read_link("/proc/self")
        .is_ok_and(|target| target == Path::new(&std::process::id().to_string()))
}

/// Whether the thread or process `pid` would do something else than wait, if it could: it has a
/// signal to handle, or is dead. What cannot be found out is `false`: the operation's own limit
/// serves then. `buffer` is for reuse.
pub fn is_called_away(pid: u32, buffer: &mut Vec<u8>) -> bool {
    buffer.clear();
    let read =
        File::open(format!("/proc/{pid}/status")).and_then(|mut status| status.read_to_end(buffer));
    match read {
        Ok(_) => status_says_so(buffer),
        Err(error)
            if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) =>
        {
            is_gone(pid)
        }
        Err(_) => false,
    }
}

/// `/proc` may hide other users' processes (`hidepid`), so that one is not in it proves nothing.
fn is_gone(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: signal 0 is never delivered; the call only tells whether `pid` exists.
    let result = unsafe { libc::kill(pid, 0) };
    result != 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

/// Reads the text of `/proc/<pid>/status` (`proc_pid_status(5)`).
fn status_says_so(status: &[u8]) -> bool {
    let (mut pending, mut held_back) = (0u64, 0u64);
    for line in status.split(|&byte| byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (field, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match field {
            // A thread that has died and is still to be reaped, or is being taken down.
            b"State" if matches!(value.first(), Some(b'Z' | b'X' | b'x')) => return true,
            b"SigPnd" | b"ShdPnd" => pending |= mask(value),
            b"SigBlk" | b"SigIgn" => held_back |= mask(value),
            _ => {}
        }
    }
    pending & !held_back != 0
}

fn mask(hex: &[u8]) -> u64 {
    std::str::from_utf8(hex)
        .ok()
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: &str, [own, shared, blocked, ignored]: [u64; 4]) -> Vec<u8> {
        format!(
            "Name:\tca:t\nState:\t{state}\nPid:\t7\nSigQ:\t1/95903\nSigPnd:\t{own:016x}\n\
             ShdPnd:\t{shared:016x}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\n\
             SigCgt:\t0000000000004002\n"
        )
        .into_bytes()
    }

    #[test]
    fn only_what_would_be_delivered_counts() {
        const INT: u64 = 1 << 1;
        const KILL: u64 = 1 << 8;
        let says = |masks| status_says_so(&status("D (disk sleep)", masks));
        assert!(!says([0, 0, 0, 0]));
        assert!(says([INT, 0, 0, 0]));
        assert!(says([0, INT, 0, 0]));
        assert!(!says([INT, INT, INT, 0]));
        assert!(!says([INT, INT, 0, INT]));
        assert!(says([INT | KILL, 0, INT, INT]));
    }

    #[test]
    fn the_dead_wait_for_nothing() {
        assert!(status_says_so(&status("Z (zombie)", [0; 4])));
        assert!(status_says_so(&status("X (dead)", [0; 4])));
        assert!(!status_says_so(b""));
        assert!(!status_says_so(b"SigPnd\nSigPnd:\nSigPnd: what\n:\n"));
    }

    #[test]
    fn this_process_is_not_called_away_and_one_that_never_was_is() {
        let mut buffer = Vec::new();
        assert!(proc_is_ours());
        assert!(!is_called_away(std::process::id(), &mut buffer));
        // Past the largest process id that Linux gives out (2^22).
        assert!(is_called_away(1 << 30, &mut buffer));
        assert!(!is_called_away(u32::MAX, &mut buffer));
    }
}
