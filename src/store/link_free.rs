//! Opening a file where it lies and nowhere else.
//!
//! The paths of seeded files are canonical when they are noted. A link that is found on the way to
//! one later was put there since, by whoever may write to one of its folders, and could lead to a
//! file that this user alone may read. So no link is followed, in any component.

use std::ffi::{CStr, CString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Neither follows a link at the end nor ever waits: opening a FIFO, a terminal or a device must
/// not hang or have effects.
const FLAGS: libc::c_int = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

/// Opens `path`, which is absolute and canonical, for reading, without following any symbolic link
/// and without waiting for the other end of a pipe.
///
/// # Errors
/// The operating system's; `ELOOP` where a component of `path` is a symbolic link.
pub fn open_link_free(path: &Path) -> io::Result<File> {
    match open_by_kernel(path) {
        // Linux before 5.6, or a filter of system calls that is as old, which says EPERM.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            open_and_compare(path)
        }
        opened => opened,
    }
}

fn open_by_kernel(path: &Path) -> io::Result<File> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    open_with(&path, libc::O_RDONLY | FLAGS, libc::RESOLVE_NO_SYMLINKS)
}

/// `openat2(2)` with these flags and `RESOLVE_` flags.
///
/// # Errors
/// The operating system's.
pub(super) fn open_with(path: &CStr, flags: libc::c_int, resolve: u64) -> io::Result<File> {
    // SAFETY: all zeros are a valid `open_how`, and ask for nothing.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
    how.resolve = resolve;
    loop {
        // SAFETY: the path is NUL-terminated, `how` is whole and its size is told; both outlive the
        // call.
        let opened = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                libc::AT_FDCWD,
                path.as_ptr(),
                &raw const how,
                size_of_val(&how),
            )
        };
        match RawFd::try_from(opened) {
            Ok(descriptor) if descriptor >= 0 => {
                // SAFETY: the call has just opened it, and nobody else knows of it.
                return Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }.into());
            }
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// The same by asking afterwards where the file that was opened lies.
fn open_and_compare(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(FLAGS)
        .open(path)?;
    if fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))? == path {
        return Ok(file);
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_component_may_be_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir(dir.join("folder")).unwrap();
        fs::write(dir.join("folder/file"), "content").unwrap();
        symlink("folder", dir.join("way")).unwrap();
        symlink("file", dir.join("folder/link")).unwrap();
        for open in [open_link_free, open_by_kernel, open_and_compare] {
            assert!(open(&dir.join("folder/file")).is_ok());
            for odd in ["way/file", "folder/link"] {
                let error = open(&dir.join(odd)).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "{odd}");
            }
            let missing = open(&dir.join("folder/missing")).unwrap_err();
            assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        }
    }
}
