//! What the kernel knows of a file without asking a disk or a server.
//!
//! A thread that serves many must not wait for one file: a name lies in a folder that may have to be
//! read again, and on a network file system the server may have gone.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::identity::Identity;
use super::link_free::open_with;

/// The identity of an open file as the kernel has it in memory (`AT_STATX_DONT_SYNC`: what a network
/// file system was told last).
///
/// # Errors
/// The operating system's.
pub(super) fn of_open(file: &File) -> io::Result<Identity> {
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is empty and NUL-terminated, and `answer` has room for what is filled in.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC,
            libc::STATX_BASIC_STATS,
            answer.as_mut_ptr(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeros would be valid, and the call has succeeded.
    let answer = unsafe { answer.assume_init() };
    Ok(Identity {
        size: answer.stx_size,
        mtime: (answer.stx_mtime.tv_sec, answer.stx_mtime.tv_nsec),
        ctime: (answer.stx_ctime.tv_sec, answer.stx_ctime.tv_nsec),
        inode: answer.stx_ino,
        device: libc::makedev(answer.stx_dev_major, answer.stx_dev_minor),
    })
}

/// The same of what lies at `path`, which is absolute and canonical; `None` where it would have to be
/// waited for, or cannot be told (before Linux 5.12).
pub(super) fn at(path: &Path) -> Option<io::Result<Identity>> {
    let Ok(c_path) = CString::new(path.as_os_str().as_bytes()) else {
        return Some(Err(io::ErrorKind::InvalidInput.into()));
    };
    let resolve = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_CACHED;
    let found = open_with(&c_path, libc::O_PATH | libc::O_NOFOLLOW, resolve);
    match found {
        Ok(found) => Some(of_open(&found)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINVAL | libc::ENOSYS | libc::EPERM) => None,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => None,
            _ => Some(Err(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn it_is_what_stat_tells() {
        let dir = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(dir.path()).unwrap().join("file");
        fs::write(&path, "content").unwrap();
        let file = File::open(&path).unwrap();
        let told = Identity::of(&file.metadata().unwrap());
        assert_eq!(of_open(&file).unwrap(), told);
        if let Some(at) = at(&path) {
            assert_eq!(at.unwrap(), told);
        }
        fs::remove_file(&path).unwrap();
        assert!(at(&path).is_none_or(|gone| gone.is_err()));
        assert_ne!(of_open(&file).unwrap(), told, "its change time has changed");
    }
}
