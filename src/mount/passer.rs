//! Passthrough by another process.
//!
//! That it is to read a file by itself the kernel is told by nobody who has no `CAP_SYS_ADMIN`, nor that it
//! need not any more. A daemon of root gives up that right with all others, and this process keeps it, and
//! no other. With each question it is handed the connection of the mount and the file, which the daemon
//! has open. So whoever has taken over the daemon can have the kernel read, for who opens files of this
//! one mount, what the daemon can read anyway.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fuser::BackingId;
use rustix::ioctl::{Setter, ioctl, opcode};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::thread::CapabilitySet;
use tracing::warn;

use super::helper;
use crate::node::calls::{self, Threads};
use crate::node::rights;

/// In the environment of such a process.
const MARK: &str = "CJP2PFS_PASSER";
/// What is shown as its name.
const NAME: &str = "cjp2pfs-passthrough";
/// How long its answer may take: whoever opens a file waits for it, and can do without.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// A question: what is to be done, and the number of a file that the kernel is to let go.
const QUESTION: usize = 1 + size_of::<u32>();
const OPEN: u8 = b'o';
const CLOSE: u8 = b'c';
/// An answer: an errno, or 0 and the number that the kernel has given the file.
const ANSWER: usize = size_of::<i32>() + size_of::<u32>();
/// Open files that come with a question at most: the connection, and the file.
const HANDED: usize = 2;

/// `FUSE_DEV_IOC_BACKING_CLOSE` (linux/fuse.h).
const BACKING_CLOSE: rustix::ioctl::Opcode = opcode::write::<u32>(229, 2);

/// The process that tells the kernel for this one which files to read by itself.
pub(super) struct Passer {
    /// `None` once it has failed to answer.
    process: Mutex<Option<(Child, UnixStream)>>,
    connection: OnceLock<OwnedFd>,
}

impl Passer {
    /// Starts it.
    ///
    /// # Errors
    /// This program cannot be run once more.
    pub fn start() -> io::Result<Self> {
        let (child, socket) = helper::start(NAME, MARK, OsStr::new("1"))?;
        socket.set_read_timeout(Some(ANSWER_LIMIT))?;
        socket.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self {
            process: Mutex::new(Some((child, socket))),
            connection: OnceLock::new(),
        })
    }

    /// The mount that it is for: its `/dev/fuse`.
    pub fn connect(&self, connection: OwnedFd) {
        let _ = self.connection.set(connection);
    }

    /// Has the kernel prepare for reading `file` by itself.
    ///
    /// # Errors
    /// The kernel refuses it, or there is no such process any more.
    pub fn open(self: &Arc<Self>, file: BorrowedFd<'_>) -> io::Result<PassedFile> {
        let number = self.ask(OPEN, 0, Some(file))?;
        Ok(PassedFile {
            number,
            passer: Arc::clone(self),
        })
    }

    fn ask(&self, what: u8, number: u32, file: Option<BorrowedFd<'_>>) -> io::Result<u32> {
        let connection = self.connection.get().ok_or(io::ErrorKind::NotConnected)?;
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, socket) = process.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let answer = exchange(socket, connection.as_fd(), what, number, file);
        if answer.is_err() {
            warn!("the process for passthrough does not answer: files are read without");
            // What it may answer yet is not to be taken for another answer.
            let _ = socket.shutdown(Shutdown::Both);
            *process = None;
        }
        match answer? {
            (0, number) => Ok(number),
            (errno, _) => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl Drop for Passer {
    fn drop(&mut self) {
        let process = self
            .process
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((child, socket)) = process {
            // It ends when it hears no more.
            let _ = socket.shutdown(Shutdown::Both);
            let _ = child.try_wait();
        }
    }
}

fn exchange(
    mut socket: &UnixStream,
    connection: BorrowedFd<'_>,
    what: u8,
    number: u32,
    file: Option<BorrowedFd<'_>>,
) -> io::Result<(i32, u32)> {
    let [a, b, c, d] = number.to_ne_bytes();
    let question = [what, a, b, c, d];
    let handed = [connection, file.unwrap_or(connection)];
    let handed = if file.is_some() {
        &handed[..]
    } else {
        &handed[..1]
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(handed)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(
        socket,
        &[IoSlice::new(&question)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    if sent != QUESTION {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut answer = [0; ANSWER];
    socket.read_exact(&mut answer)?;
    let [a, b, c, d, e, f, g, h] = answer;
    Ok((
        i32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    ))
}

/// A file that the kernel reads by itself, until this is dropped.
pub struct PassedFile {
    number: u32,
    passer: Arc<Passer>,
}

impl PassedFile {
    /// The number that the kernel has given it.
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for PassedFile {
    fn drop(&mut self) {
        // Without that process the kernel lets go of it when the mount ends.
        let _ = self.passer.ask(CLOSE, self.number, None);
    }
}

/// Whether this process is such a one.
pub(super) fn is_wanted() -> bool {
    env::var_os(MARK).is_some()
}

/// Does what it is asked, until its daemon has ended.
///
/// # Errors
/// It cannot give up the other rights, or not hear from its daemon.
pub(super) fn serve(socket: &UnixStream) -> io::Result<()> {
    rights::keep_capabilities(CapabilitySet::SYS_ADMIN)?;
    rights::gain_no_privileges();
    calls::give_up(Threads::This);
    loop {
        let mut question = [0; QUESTION];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut question)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if received.bytes == 0 {
            return Ok(());
        }
        let handed: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(handed) => Some(handed),
                _ => None,
            })
            .flatten()
            .collect();
        if received.bytes != QUESTION {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (errno, number) = match answer(question, &handed) {
            Ok(number) => (0, number),
            Err(error) => (error.raw_os_error().unwrap_or(libc::EIO), 0),
        };
        let mut answer = [0; ANSWER];
        let (first, second) = answer.split_at_mut(size_of::<i32>());
        first.copy_from_slice(&errno.to_ne_bytes());
        second.copy_from_slice(&number.to_ne_bytes());
        (&mut &*socket).write_all(&answer)?;
    }
}

fn answer([what, number @ ..]: [u8; QUESTION], handed: &[OwnedFd]) -> io::Result<u32> {
    match (what, handed) {
        (OPEN, [connection, file]) => BackingId::create_raw(connection, file),
        (CLOSE, [connection]) => {
            let number = u32::from_ne_bytes(number);
            // SAFETY: this call takes a pointer to such a number and keeps it not.
            unsafe { ioctl(connection, Setter::<BACKING_CLOSE, u32>::new(number))? };
            Ok(0)
        }
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}
