//! Which error number a program sees, and why that one.

use crate::node::Failure;

/// An error number of the system (`errno(3)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// The name names nothing.
    pub const ENOENT: Self = Self(libc::ENOENT);
    /// The operation failed for a reason that no other number tells.
    pub const EIO: Self = Self(libc::EIO);
    /// A signal ended the wait.
    pub const EINTR: Self = Self(libc::EINTR);
    /// Too many operations wait already. Not `EAGAIN`: from a file, programs take that as "poll and
    /// try again", and would spin.
    pub const EBUSY: Self = Self(libc::EBUSY);
    /// The mount is going away.
    pub const ESHUTDOWN: Self = Self(libc::ESHUTDOWN);
    /// Everything here is read-only.
    pub const EROFS: Self = Self(libc::EROFS);
    /// The handle is not open.
    pub const EBADF: Self = Self(libc::EBADF);
    /// The kernel's idea of the file is outdated; it looks the name up again by itself.
    pub const ESTALE: Self = Self(libc::ESTALE);
    /// A file was needed and this is a folder.
    pub const EISDIR: Self = Self(libc::EISDIR);
    /// A folder was needed and this is a file.
    pub const ENOTDIR: Self = Self(libc::ENOTDIR);
    /// It is no symbolic link.
    pub const EINVAL: Self = Self(libc::EINVAL);
    /// The name is longer than 255 bytes.
    pub const ENAMETOOLONG: Self = Self(libc::ENAMETOOLONG);
    /// There is no such extended attribute.
    pub const ENODATA: Self = Self(libc::ENODATA);
    /// There are no extended attributes of this class.
    pub const EOPNOTSUPP: Self = Self(libc::EOPNOTSUPP);
    /// The buffer is too small for the value.
    pub const ERANGE: Self = Self(libc::ERANGE);

    /// For a name that was looked up or opened. Nothing distinguishes content that nobody has from
    /// content whose holders stay silent, so both are `ENOENT`.
    #[must_use]
    pub fn of_lookup(failure: Failure) -> Self {
        match failure {
            Failure::NotFound | Failure::TimedOut => Self::ENOENT,
            other => Self::of_read(other),
        }
    }

    /// For a file that was looked up and is opened: its name may name nothing any more.
    #[must_use]
    pub fn of_open(failure: Failure) -> Self {
        match failure {
            Failure::NotFound => Self::ENOENT,
            other => Self::of_read(other),
        }
    }

    /// For bytes of a file that does exist: whatever keeps them away is `EIO`, save what is not
    /// about the content at all.
    #[must_use]
    pub fn of_read(failure: Failure) -> Self {
        match failure {
            Failure::Interrupted => Self::EINTR,
            Failure::Stopped => Self::ESHUTDOWN,
            Failure::Busy => Self::EBUSY,
            Failure::NotFound | Failure::TimedOut | Failure::WrongContent | Failure::Disk(_) => {
                Self::EIO
            }
        }
    }
}
