//! Reading what the kernel has in memory, and nothing else.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// Of `statfs(2)`; the `libc` crate does not have it.
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Past the end of every file. To try to read there tells as much as elsewhere, and has the kernel read nothing
/// ahead.
const BEYOND: u64 = (i64::MAX - 1).cast_unsigned();

/// Whether reading a file can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// The kernel tells (`preadv2(2)` with `RWF_NOWAIT`), as on most local file systems.
    Told,
    /// Never: the file lies in memory.
    Never,
    /// Nobody can tell, as on network file systems.
    Perhaps,
}

impl Waits {
    /// How it is with `file`. May wait for where it lies.
    pub fn of(file: &File) -> Self {
        match read_at(file, &mut [0], BEYOND) {
            Ok(_) => Self::Told,
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => Self::Told,
            Err(_) if lies_in_memory(file) => Self::Never,
            Err(_) => Self::Perhaps,
        }
    }

    /// Fills `buffer` from `offset` of `file`; whether that was possible without waiting for the disk. Where that
    /// cannot be told, it was not.
    ///
    /// # Errors
    /// The operating system's; [`io::ErrorKind::UnexpectedEof`] where the file ends before.
    pub fn read_exact_at(self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        match self {
            Self::Told => read_exact_at(file, buffer, offset),
            Self::Never => file.read_exact_at(buffer, offset).map(|()| true),
            Self::Perhaps => Ok(false),
        }
    }
}

fn lies_in_memory(file: &File) -> bool {
    let mut answer = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and `answer` has room for what the call fills in.
    if unsafe { libc::fstatfs(file.as_raw_fd(), answer.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call has succeeded, so it has filled all of `answer`.
    let kind = unsafe { answer.assume_init() }.f_type;
    kind == libc::TMPFS_MAGIC || kind == RAMFS_MAGIC
}

fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match read_at(file, rest, offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(e) => match e.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN | libc::EOPNOTSUPP | libc::ENOSYS) => return Ok(false),
                _ => return Err(e),
            },
        }
    }
    Ok(true)
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    // An offset that this platform's call cannot express is left to the call that waits.
    let offset = libc::off_t::try_from(offset)
        .map_err(|_| io::Error::from_raw_os_error(libc::EOPNOTSUPP))?;
    let vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: `vector` is one iovec that describes exactly `buffer`, which is borrowed mutably and
    // so valid for writing until the call has returned; the descriptor is open as long as `file`.
    let read = unsafe {
        libc::preadv2(
            file.as_raw_fd(),
            &raw const vector,
            1,
            offset,
            libc::RWF_NOWAIT,
        )
    };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn what_is_in_memory_is_read_at_once() {
        for dir in ["/tmp", "/dev/shm"] {
            let Ok(mut file) = tempfile::tempfile_in(dir) else {
                println!("skipped: no {dir}");
                continue;
            };
            file.write_all(b"content").unwrap();
            let waits = Waits::of(&file);
            let mut read = [0; 4];
            match waits.read_exact_at(&file, &mut read, 3).unwrap() {
                true => assert_eq!(&read, b"tent"),
                false => assert_eq!(waits, Waits::Perhaps, "it was written just now"),
            }
            if dir == "/dev/shm" {
                assert_ne!(waits, Waits::Perhaps);
            }
            let error = waits.read_exact_at(&file, &mut [0; 8], 0);
            assert!(waits == Waits::Perhaps || error.is_err());
        }
        // One that knows nothing of it and lies on no disk.
        let odd = fs::File::open("/proc/self/status").unwrap();
        assert_eq!(Waits::of(&odd), Waits::Perhaps);
    }
}
