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

/// How long a `stat` of the mount point may take.
const STAT_LIMIT: Duration = Duration::from_secs(2);

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
    let path = unmount::resolve(path);
    for _ in 0..MOST_DEAD {
        let there = path.clone();
        let stat = limited::within(STAT_LIMIT, move || std::fs::metadata(there))
            .ok_or_else(|| MountError::NoAnswer(path.clone()))?;
        match stat {
            Ok(metadata) if !metadata.is_dir() => return Err(MountError::NotAFolder(path)),
            Ok(_) => {
                return match mount_at(&path)? {
                    None => Ok(path),
                    Some(mount) => Err(MountError::AlreadyMounted {
                        path,
                        kind: mount.kind,
                    }),
                };
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(MountError::Missing(path));
            }
            Err(error) if is_dead(&error) && mount_at(&path)?.is_some_and(|m| m.is_fuse()) => {
                info!(path = %path.display(), "taking away the mount that a dead daemon left");
                unmount::detach(&path, true).map_err(|source| MountError::NotHealed {
                    path: path.clone(),
                    source,
                })?;
            }
            Err(source) => return Err(MountError::Unusable { path, source }),
        }
    }
    Err(MountError::NoAnswer(path))
}

/// What the kernel says of a FUSE mount whose daemon is gone: the second while it is going.
fn is_dead(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOTCONN | libc::ECONNABORTED)
    )
}

fn mount_at(path: &Path) -> Result<Option<mountinfo::MountEntry>, MountError> {
    mountinfo::at(path).map_err(|source| MountError::Unusable {
        path: path.to_owned(),
        source,
    })
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
    if !root && !has_helper() {
        return Err(MountError::NoHelper);
    }
    Ok(())
}

fn has_helper() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/bin".into(), "/sbin".into()])
        .any(|folder| folder.join(HELPER).is_file())
        || std::env::var_os("FUSERMOUNT_PATH").is_some()
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
