//! Reading what the kernel has in memory, and nothing else (`preadv2(2)` with `RWF_NOWAIT`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Fills `buffer` from `offset`; whether that was possible without waiting for the disk. Where the file
/// system cannot tell, it was not.
///
/// # Errors
/// The operating system's; [`io::ErrorKind::UnexpectedEof`] where the file ends before.
pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
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

/// Whether the file system can tell whether a read would wait.
pub(super) fn can_tell(file: &File) -> bool {
    match read_at(file, &mut [0], 0) {
        Ok(_) => true,
        Err(e) => e.raw_os_error() == Some(libc::EAGAIN),
    }
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
