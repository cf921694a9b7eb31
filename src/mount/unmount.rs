//! Taking a mount away, by whichever way this user may.
//!
//! Root asks the kernel. Other users ask `fusermount3`, which is setuid and takes away only what
//! they mounted themselves.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use thiserror::Error;

use super::{limited, mountinfo};

/// The helper, by the name of the FUSE version that brings it.
pub const HELPER: &str = "fusermount3";

/// How long following links to a mount point may take.
const RESOLVE_LIMIT: Duration = Duration::from_secs(2);

/// Why something could not be unmounted.
#[derive(Debug, Error)]
pub enum UnmountError {
    /// Nothing is mounted there.
    #[error("nothing is mounted on {0}")]
    NotMounted(PathBuf),
    /// It is another program's mount.
    #[error("{path} is a mount of {kind}, not of cjp2pfs")]
    NotOurs {
        /// The mount point.
        path: PathBuf,
        /// The type of the file system there.
        kind: String,
    },
    /// The helper that other users than root need is not there.
    #[error("{HELPER} is needed to unmount as an ordinary user and was not found: install fuse3")]
    NoHelper,
    /// The helper refused.
    #[error("{HELPER} could not unmount {path}: {message}")]
    Helper {
        /// The mount point.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// The process that unmounts for this one could not; its sentence.
    #[error("{0}")]
    Told(String),
    /// The process that unmounts for this one is not there any more.
    #[error("{0} could not be unmounted: the process that does so has ended")]
    NoUnmounter(PathBuf),
    /// The kernel refused.
    #[error("{path} could not be unmounted: {source}")]
    Refused {
        /// The mount point.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// The system did not come back from the attempt.
    #[error("{0} could not be unmounted: the system does not answer")]
    NoAnswer(PathBuf),
}

/// How a mount has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// Wholly.
    Now,
    /// From the tree of files; what programs have open there goes on until they close it.
    Lazily,
}

/// Unmounts the mount of cjp2pfs at `path`, lazily if it is in use.
pub fn unmount_path(path: &Path) -> Result<Unmounted, UnmountError> {
    let path = resolve(path).ok_or_else(|| UnmountError::NoAnswer(path.to_owned()))?;
    let mount = mountinfo::at(&path).map_err(|source| UnmountError::Refused {
        path: path.clone(),
        source,
    })?;
    match mount {
        None => Err(UnmountError::NotMounted(path)),
        Some(mount) if !mount.is_ours() => Err(UnmountError::NotOurs {
            path,
            kind: mount.kind,
        }),
        Some(_) => match detach(&path, false) {
            Ok(()) => Ok(Unmounted::Now),
            Err(_) => detach(&path, true).map(|()| Unmounted::Lazily),
        },
    }
}

/// `path` without symbolic links, as `/proc/self/mountinfo` has it; `None` if what it leads through
/// does not answer.
///
/// The last component may be the root of a mount that no daemon serves any more, or none that
/// answers. So it is never looked into, which a slash at the end would do, too: it is only asked
/// whether it is a link, which the kernel knows without the daemon.
pub fn resolve(path: &Path) -> Option<PathBuf> {
    // Without a slash or a dot at the end.
    let path: PathBuf = path.components().collect();
    limited::within(RESOLVE_LIMIT, move || {
        let absolute = std::path::absolute(&path).unwrap_or(path);
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            // The root, or ".." at the end.
            return fs::canonicalize(&absolute).unwrap_or(absolute);
        };
        let beside = fs::canonicalize(parent)
            .map(|parent| parent.join(name))
            .unwrap_or_else(|_| absolute.clone());
        match fs::read_link(&absolute) {
            Ok(_) => fs::canonicalize(&absolute).unwrap_or(beside),
            Err(_) => beside,
        }
    })
}

/// Takes away the topmost mount at `path`, even if it is in use where `lazily`.
pub fn detach(path: &Path, lazily: bool) -> Result<(), UnmountError> {
    let refused = |source| UnmountError::Refused {
        path: path.to_owned(),
        source,
    };
    let c_path = CString::new(path.as_os_str().as_bytes())
        .map_err(|error| refused(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let flags = libc::UMOUNT_NOFOLLOW | if lazily { libc::MNT_DETACH } else { 0 };
    // SAFETY: the path is NUL-terminated and outlives the call.
    if unsafe { libc::umount2(c_path.as_ptr(), flags) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EPERM) {
        return Err(refused(error));
    }
    detach_by_helper(path, lazily)
}

/// The helper's file: what `$FUSERMOUNT_PATH` says, which fuser goes by too, or the first on `$PATH`
/// and in the system's own folders, which a service's `$PATH` may lack.
pub fn helper() -> Option<PathBuf> {
    if let Some(helper) = std::env::var_os("FUSERMOUNT_PATH") {
        return Some(helper.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/bin".into(), "/sbin".into()])
        .map(|folder| folder.join(HELPER))
        .find(|helper| helper.is_file())
}

fn detach_by_helper(path: &Path, lazily: bool) -> Result<(), UnmountError> {
    let mut helper = Command::new(helper().ok_or(UnmountError::NoHelper)?);
    helper.arg("-u");
    if lazily {
        helper.arg("-z");
    }
    let output = helper
        .arg(OsStr::new("--"))
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| UnmountError::Refused {
            path: path.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(UnmountError::Helper {
        path: path.to_owned(),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_mounts_are_touched() {
        assert!(matches!(
            unmount_path(Path::new("/proc")),
            Err(UnmountError::NotOurs { kind, .. }) if kind == "proc"
        ));
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            unmount_path(folder.path()),
            Err(UnmountError::NotMounted(_))
        ));
        assert!(matches!(
            unmount_path(&folder.path().join("no/such")),
            Err(UnmountError::NotMounted(_))
        ));
    }

    #[test]
    fn a_path_is_resolved_as_far_as_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        let folder = fs::canonicalize(folder.path()).unwrap();
        let link = folder.join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let resolve = |path: &Path| resolve(path).unwrap();
        assert_eq!(resolve(&link), folder);
        assert_eq!(resolve(&link.join("")), folder);
        assert_eq!(resolve(&link.join("absent")), folder.join("absent"));
        fs::create_dir(folder.join("inner")).unwrap();
        assert_eq!(resolve(&link.join("inner/.")), folder.join("inner"));
        assert_eq!(resolve(&link.join("inner/..")), folder);
        assert_eq!(resolve(Path::new("/")), Path::new("/"));
    }
}
