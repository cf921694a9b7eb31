//! Whether a process that waits for us has been signalled.
//!
//! The kernel's own notice of that (`FUSE_INTERRUPT`) does not get through fuser 0.18, so this
//! reads what `/proc` shows of the waiting thread: the signals that are pending, less those that it
//! blocks or ignores. A signal that is ignored by default is never pending, so what remains would
//! run a handler, stop the process or kill it, if only our operation let it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// `SIGKILL` in a set of signals.
const KILL: u64 = 1 << (libc::SIGKILL - 1);

/// Whether `/proc` speaks of the processes that requests name: not so in a container that has been
/// given another one's, where acting on it would interrupt at random.
pub fn proc_is_ours() -> bool {
    std::fs::read_link("/proc/self")
        .is_ok_and(|target| target == Path::new(&std::process::id().to_string()))
}

/// What `/proc` shows of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// It would do something else than wait, if it could: it has a signal to handle, or is dead.
    pub called_away: bool,
    /// The process that it is a thread of; 0 where that is not known.
    pub process: u32,
    /// A signal waits for any thread of the process to handle it, be it that this one blocks it.
    pub process_called: bool,
    /// The whole process is being killed.
    pub process_killed: bool,
}

/// Looks at the thread or process `pid`. What cannot be found out is `false`: the operation's own limit
/// serves then. `buffer` is for reuse.
pub fn look(pid: u32, buffer: &mut Vec<u8>) -> Seen {
    buffer.clear();
    let read =
        File::open(format!("/proc/{pid}/status")).and_then(|mut status| status.read_to_end(buffer));
    match read {
        Ok(_) => seen_in(buffer),
        Err(error)
            if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) =>
        {
            Seen {
                called_away: is_gone(pid),
                ..Seen::default()
            }
        }
        Err(_) => Seen::default(),
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
fn seen_in(status: &[u8]) -> Seen {
    let (mut own, mut shared, mut blocked, mut ignored) = (0, 0, 0, 0);
    let (mut process, mut dead) = (0, false);
    for line in status.split(|&byte| byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (field, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match field {
            // A thread that has died and is still to be reaped, or is being taken down.
            b"State" => dead = matches!(value.first(), Some(b'Z' | b'X' | b'x')),
            b"Tgid" => process = number(value),
            b"SigPnd" => own = mask(value),
            b"ShdPnd" => shared = mask(value),
            b"SigBlk" => blocked = mask(value),
            b"SigIgn" => ignored = mask(value),
            _ => {}
        }
    }
    Seen {
        called_away: dead || (own | shared) & !(blocked | ignored) != 0,
        process,
        process_called: shared & !ignored != 0,
        // The kernel gives it to every thread, also where another signal is what ends them all.
        process_killed: (own | shared) & KILL != 0,
    }
}

fn number(decimal: &[u8]) -> u32 {
    std::str::from_utf8(decimal)
        .ok()
        .and_then(|decimal| decimal.parse().ok())
        .unwrap_or(0)
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
            "Name:\tca:t\nState:\t{state}\nTgid:\t7\nPid:\t8\nSigQ:\t1/95903\nSigPnd:\t{own:016x}\n\
             ShdPnd:\t{shared:016x}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\n\
             SigCgt:\t0000000000004002\n"
        )
        .into_bytes()
    }

    #[test]
    fn only_what_would_be_delivered_counts() {
        const INT: u64 = 1 << 1;
        let says = |masks| seen_in(&status("D (disk sleep)", masks)).called_away;
        assert!(!says([0, 0, 0, 0]));
        assert!(says([INT, 0, 0, 0]));
        assert!(says([0, INT, 0, 0]));
        assert!(!says([INT, INT, INT, 0]));
        assert!(!says([INT, INT, 0, INT]));
        assert!(says([INT | KILL, 0, INT, INT]));
    }

    #[test]
    fn what_concerns_all_threads_of_a_process_is_told_apart() {
        const INT: u64 = 1 << 1;
        let sees = |masks| seen_in(&status("D (disk sleep)", masks));
        assert_eq!(sees([0; 4]).process, 7);
        assert!(!sees([INT, 0, 0, 0]).process_called);
        assert!(sees([0, INT, INT, 0]).process_called);
        assert!(!sees([0, INT, 0, INT]).process_called);
        assert!(!sees([INT, INT, 0, 0]).process_killed);
        assert!(sees([KILL, 0, 0, 0]).process_killed);
    }

    #[test]
    fn the_dead_wait_for_nothing() {
        let says = |status: &[u8]| seen_in(status).called_away;
        assert!(says(&status("Z (zombie)", [0; 4])));
        assert!(says(&status("X (dead)", [0; 4])));
        assert!(!says(b""));
        assert!(!says(b"SigPnd\nSigPnd:\nSigPnd: what\nTgid:\n:\n"));
    }

    #[test]
    fn this_process_is_not_called_away_and_one_that_never_was_is() {
        let mut buffer = Vec::new();
        assert!(proc_is_ours());
        let own = look(std::process::id(), &mut buffer);
        assert!(!own.called_away);
        assert_eq!(own.process, std::process::id());
        // Past the largest process id that Linux gives out (2^22).
        assert!(look(1 << 30, &mut buffer).called_away);
        assert!(!look(u32::MAX, &mut buffer).called_away);
    }
}
