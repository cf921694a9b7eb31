//! Where the socket is.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const NAME: &str = "control.sock";

/// The longest path of a socket, unix(7): 108 bytes with the NUL.
const LONGEST: usize = 107;

/// A path by which the socket in a store can be bound or connected to.
pub struct SocketPath {
    path: PathBuf,
    /// Keeps `/proc/self/fd/<n>` what it is.
    _dir: Option<File>,
}

impl SocketPath {
    /// The socket in `dir`. Where its path is too long for a socket address, the folder is reached
    /// through a descriptor.
    pub fn in_store(dir: &Path) -> io::Result<Self> {
        let path = dir.join(NAME);
        if path.as_os_str().as_bytes().len() <= LONGEST {
            return Ok(Self { path, _dir: None });
        }
        let dir = File::open(dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()));
        Ok(Self {
            path,
            _dir: Some(dir),
        })
    }

    pub fn as_path(&self) -> &Path {
        &self.path
    }
}
