//! How the kernel is told to read a file by itself, and what it has been told of.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};

use super::passer::{PassedFile, Passer};

/// Who tells the kernel.
#[derive(Clone)]
pub(super) enum Passing {
    /// Nobody: every read comes here.
    Off,
    /// This process, if it may.
    Own,
    /// Another process, since this one has given up the right to.
    By(Arc<Passer>),
}

/// A file that the kernel reads by itself, until this is dropped.
pub enum Passed {
    /// Told by this process.
    Own(BackingId),
    /// Told by another.
    By(PassedFile),
}

impl Passing {
    pub fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Has the kernel prepare for reading `file` by itself, for an open that is still to be answered.
    pub fn pass(&self, reply: &ReplyOpen, file: BorrowedFd<'_>) -> io::Result<Passed> {
        match self {
            Self::Off => Err(io::ErrorKind::Unsupported.into()),
            Self::Own => reply.open_backing(file).map(Passed::Own),
            Self::By(passer) => passer.open(file).map(Passed::By),
        }
    }
}

impl Passed {
    /// Answers an open so that its reads go past us.
    pub fn answer(&self, reply: ReplyOpen, fh: FileHandle, flags: FopenFlags) {
        match self {
            Self::Own(id) => reply.opened_passthrough(fh, flags, id),
            Self::By(file) => {
                // SAFETY: the number is the kernel's for a file of this connection, and is taken out again
                // below: letting the file go stays with `file`.
                let id = unsafe { reply.wrap_backing(file.number()) };
                reply.opened_passthrough(fh, flags, &id);
                id.into_raw();
            }
        }
    }
}
