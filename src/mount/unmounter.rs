//! Unmounting by another process.
//!
//! The kernel lets no process unmount that Landlock holds, and who may run no programs cannot call the
//! helper that other users than root need. A daemon that gives all of that up therefore starts this
//! process before: the same program without threads, network or store. It waits on its standard input,
//! and when it is asked, it detaches the mount of ours at the one path that it was started with, and
//! says how that went.
//!
//! Of root's rights it keeps two: to unmount (`CAP_SYS_ADMIN`), and to reach the mount in a folder that is
//! another user's own (`CAP_DAC_READ_SEARCH`). Other users have none, and `fusermount3` brings its own.
//!
//! It ends with its daemon. What a daemon leaves that was killed is not unmounted: reading a dead mount
//! is an error, while an empty folder in its place would look like content that somebody has deleted.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use rustix::thread::{CapabilitySet, capabilities};

use super::helper;
use super::mountinfo;
use super::unmount::{self, UnmountError};
use crate::node::calls::{self, Threads};
use crate::node::rights;

/// In the environment of such a process: the path.
const MARK: &str = "CJP2PFS_UNMOUNTER";
/// What is shown as its name.
const NAME: &str = "cjp2pfs-unmounter";
/// The question, a byte; the answer is a line, empty where all went well.
const DETACH: u8 = b'd';

/// The process that unmounts for this one.
pub struct Unmounter {
    path: PathBuf,
    process: Mutex<(Child, UnixStream)>,
}

impl Unmounter {
    /// Starts it, for what will be mounted on `path`, which is absolute and free of symbolic links.
    /// It may then do what this process may do now.
    ///
    /// # Errors
    /// This program cannot be run once more.
    pub fn start(path: PathBuf) -> io::Result<Self> {
        let (child, socket) = helper::start(NAME, MARK, path.as_os_str())?;
        Ok(Self {
            path,
            process: Mutex::new((child, socket)),
        })
    }

    /// Detaches the mount. Waits for the answer.
    ///
    /// # Errors
    /// What the other process met with, or that there is none any more.
    pub fn detach(&self) -> Result<(), UnmountError> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let mut socket = &process.1;
        let mut answer = String::new();
        let asked = socket
            .write_all(&[DETACH])
            .and_then(|()| BufReader::new(socket).read_line(&mut answer));
        match (asked, answer.strip_suffix('\n')) {
            (Ok(_), Some("")) => Ok(()),
            (Ok(_), Some(reason)) => Err(UnmountError::Told(reason.to_owned())),
            _ => Err(UnmountError::NoUnmounter(self.path.clone())),
        }
    }

    /// Ends the process, and waits for that.
    pub fn end(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        // It ends when it hears no more. That it has ended before is fine.
        let _ = process.1.shutdown(Shutdown::Both);
        let _ = process.0.wait();
    }
}

/// What this process is to unmount, if it is such a process.
pub(super) fn task() -> Option<PathBuf> {
    env::var_os(MARK)
        .filter(|path| !path.is_empty())
        .map(OsString::into)
}

/// Does what it is asked, until its daemon has ended.
///
/// # Errors
/// It cannot hear from its daemon, or cannot give up rights.
pub(super) fn serve(path: &Path, mut socket: UnixStream) -> io::Result<()> {
    rights::keep_capabilities(CapabilitySet::SYS_ADMIN | CapabilitySet::DAC_READ_SEARCH)?;
    if capabilities(None)?
        .effective
        .contains(CapabilitySet::SYS_ADMIN)
    {
        // It needs no other program for it, with which user 0 would have all of root's rights again.
        rights::gain_no_privileges();
        calls::give_up(Threads::This);
    }
    let mut question = [0];
    while socket.read(&mut question)? == 1 {
        let answer = match question {
            [DETACH] => detach(path).map_or_else(|error| error.to_string(), |()| String::new()),
            _ => "it was asked for something else".to_owned(),
        };
        socket.write_all(format!("{}\n", answer.replace('\n', " ")).as_bytes())?;
    }
    Ok(())
}

/// That nothing of ours is there is fine: someone was faster.
fn detach(path: &Path) -> Result<(), UnmountError> {
    let there = mountinfo::at(path).map_err(|source| UnmountError::Refused {
        path: path.to_owned(),
        source,
    })?;
    match there {
        Some(mount) if mount.is_ours() => unmount::detach(path, true),
        _ => Ok(()),
    }
}
