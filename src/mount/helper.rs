//! Small processes that may do one thing which their daemon has given up the right to.
//!
//! Rights that were given up never come back. So before that, a daemon starts the same program once more,
//! without threads, network or store, for each such thing: it hears from its daemon on its standard input,
//! and ends with it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::{passer, unmounter};

/// Starts such a process, which may then do what this one may do now. `name` is shown as its name, and
/// `mark` is the variable that tells it in its environment what it is to do: `task`. Nothing else does.
pub(super) fn start(name: &str, mark: &str, task: &OsStr) -> io::Result<(Child, UnixStream)> {
    let (socket, theirs) = UnixStream::pair()?;
    // By that name also where the file has been replaced, or lies where this user cannot go.
    let child = Command::new("/proc/self/exe")
        .arg0(name)
        .env(mark, task)
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok((child, socket))
}

/// If this process is such a one, does what it is asked until its daemon has ended.
///
/// # Errors
/// It cannot hear from its daemon.
pub fn serve() -> Option<io::Result<()>> {
    if let Some(path) = unmounter::task() {
        return Some(daemon().and_then(|daemon| unmounter::serve(&path, daemon)));
    }
    passer::is_wanted().then(|| passer::serve(&daemon()?))
}

/// The way to the daemon of this process.
fn daemon() -> io::Result<UnixStream> {
    // Not to end before its daemon by a signal that is meant for that: of a terminal, of a service's
    // group.
    // SAFETY: setsid touches no memory, and ignoring a signal runs no code of ours.
    unsafe {
        libc::setsid();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
    let standard_input = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(UnixStream::from(standard_input))
}
