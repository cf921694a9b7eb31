//! Looking at a mount point before anything is mounted there, so that each thing that can be wrong
//! is told in one sentence, and healing what a dead daemon left.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tracing::info;

use super::limited;
use super::mountinfo;
use super::unmount::{self, HELPER, UnmountError};

/// The kernel's door to FUSE.
const DEVICE: &str = "/dev/fuse";

/// How long looking at the mount point may take.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// The most dead mounts that are taken off one another.
const MOST_DEAD: usize = 16;

/// Why nothing was mounted.
#[derive(Debug, Error)]
pub enum MountError {
    /// The mount point is not there.
    #[error("the mount point {0} does not exist")]
    Missing(PathBuf),
    /// The mount point is a file.
    #[error("the mount point {0} is not a folder")]
    NotAFolder(PathBuf),
    /// The mount point cannot be looked at.
    #[error("the mount point {path} cannot be used: {source}")]
    Unusable {
        /// The mount point.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something is mounted there.
    #[error("{path} already is the mount point of a file system ({kind}), unmount that first")]
    AlreadyMounted {
        /// The mount point.
        path: PathBuf,
        /// The type of the file system there.
        kind: String,
    },
    /// Something is mounted there and hangs.
    #[error("what is mounted on {0} does not answer, unmount it with `umount -l`")]
    NoAnswer(PathBuf),
    /// A daemon has died and its mount cannot be taken away.
    #[error("the mount that a dead daemon left on {path} cannot be taken away: {source}")]
    NotHealed {
        /// The mount point.
        path: PathBuf,
        /// Why not.
        source: UnmountError,
    },
    /// The kernel has no FUSE here.
    #[error(
        "{DEVICE} does not exist: load the kernel module `fuse`, or give the container the device"
    )]
    NoDevice,
    /// This user may not use FUSE.
    #[error("{DEVICE} may not be opened by this user: {0}")]
    DeviceDenied(io::Error),
    /// The helper that other users than root need is not there.
    #[error("{HELPER} is needed to mount as an ordinary user and was not found: install fuse3")]
    NoHelper,
    /// Other users may not be let in.
    #[error("to let other users in, /etc/fuse.conf needs a line `user_allow_other`")]
    OthersNotAllowed,
    /// The kernel or the helper refused.
    #[error("mounting on {path} failed: {source}")]
    Refused {
        /// The mount point.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

/// Makes sure that something can be mounted on `path`, taking away what dead daemons left there,
/// and returns it without symbolic links.
pub fn prepare(path: &Path) -> Result<PathBuf, MountError> {
    let path = unmount::resolve(path).ok_or_else(|| MountError::NoAnswer(path.to_owned()))?;
    for _ in 0..MOST_DEAD {
        let there = path.clone();
        let seen = limited::within(LOOK_LIMIT, move || look(&there))
            .ok_or_else(|| MountError::NoAnswer(path.clone()))?;
        let mount = mountinfo::at(&path).map_err(|source| MountError::Unusable {
            path: path.clone(),
            source,
        })?;
        match (seen, mount) {
            (Err(error), Some(mount)) if is_dead(&error) && mount.is_fuse() => {
                info!(path = %path.display(), "taking away the mount that a dead daemon left");
                unmount::detach(&path, true).map_err(|source| MountError::NotHealed {
                    path: path.clone(),
                    source,
                })?;
            }
            (_, Some(mount)) => {
                let kind = mount.kind;
                return Err(MountError::AlreadyMounted { path, kind });
            }
            (Ok(true), None) => return Ok(path),
            (Ok(false), None) => return Err(MountError::NotAFolder(path)),
            (Err(error), None) if error.kind() == ErrorKind::NotFound => {
                return Err(MountError::Missing(path));
            }
            (Err(source), None) => return Err(MountError::Unusable { path, source }),
        }
    }
    Err(MountError::NoAnswer(path))
}

/// Whether `path` is a folder. The kernel answers `stat` from what it remembers, daemon or no
/// daemon, but opening a folder asks the daemon.
fn look(path: &Path) -> io::Result<bool> {
    let is_folder = std::fs::metadata(path)?.is_dir();
    match is_folder.then(|| std::fs::read_dir(path)) {
        Some(Err(error)) if is_dead(&error) => Err(error),
        // A folder that may not be listed can be mounted on.
        _ => Ok(is_folder),
    }
}

/// What the kernel says of a FUSE mount whose daemon is gone: the second while it is going.
fn is_dead(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOTCONN | libc::ECONNABORTED)
    )
}

/// Makes sure that this process may use FUSE; `root` needs no helper.
pub fn check_fuse(root: bool) -> Result<(), MountError> {
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => {}
        // `ENXIO` and `ENODEV`: the file is there and the module is not.
        Err(error)
            if error.kind() == ErrorKind::NotFound
                || matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV)) =>
        {
            return Err(MountError::NoDevice);
        }
        Err(error) => return Err(MountError::DeviceDenied(error)),
    }
    if !root && unmount::helper().is_none() {
        return Err(MountError::NoHelper);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_mount_point_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        assert!(matches!(prepare(&missing), Err(MountError::Missing(_))));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(prepare(&file), Err(MountError::NotAFolder(_))));
        assert!(matches!(
            prepare(Path::new("/proc")),
            Err(MountError::AlreadyMounted { kind, .. }) if kind == "proc"
        ));
        // A folder with something in it will do.
        assert_eq!(
            prepare(folder.path()).unwrap(),
            std::fs::canonicalize(folder.path()).unwrap()
        );
    }
}
