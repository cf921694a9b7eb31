//! A disk that fails when a test says so, below one folder.
//!
//! The calls by which this process writes are replaced by others of the same name, which the linker
//! prefers to the C library's: they do what those do, unless the file lies in a folder that is to
//! fail. So a test needs neither root nor a broken disk, and what a kernel may do after a failed
//! `fsync` can be done: what was not durable yet is gone, and reads as a hole.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use libc::{c_char, c_int, c_void, off64_t, size_t, ssize_t};

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// `fsync` of partial content fails with `EIO`, and what it should have made durable is gone.
    pub sync_loses: bool,
    /// `fsync` of the maps beside partial content fails with this error; nothing is gone.
    pub map_sync: Option<c_int>,
    /// Writing to partial content fails with this error.
    pub write: Option<c_int>,
    /// Creating or making room in partial content fails with this error.
    pub create: Option<c_int>,
    /// Renaming fails with this error.
    pub rename: Option<c_int>,
}

struct Watched {
    folder: PathBuf,
    faults: Faults,
    /// Offset and length of what was written and not synced, by file.
    unsynced: HashMap<PathBuf, Vec<(off64_t, off64_t)>>,
    /// Calls of `fsync` that failed.
    failed_syncs: usize,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

fn watched() -> MutexGuard<'static, Vec<Watched>> {
    WATCHED.lock().unwrap_or_else(|e| e.into_inner())
}

/// The disk below a folder, which works until it is told to fail, and again when this drops.
pub struct FailingDisk {
    folder: PathBuf,
}

impl FailingDisk {
    /// To be made before anything is written there.
    pub fn below(folder: &Path) -> Self {
        watched().push(Watched {
            folder: folder.to_owned(),
            faults: Faults::default(),
            unsynced: HashMap::new(),
            failed_syncs: 0,
        });
        Self {
            folder: folder.to_owned(),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Watched) -> T) -> T {
        let mut all = watched();
        f(all.iter_mut().find(|it| it.folder == self.folder).unwrap())
    }

    pub fn fail(&self, faults: Faults) {
        self.with(|watched| watched.faults = faults);
    }

    pub fn heal(&self) {
        self.fail(Faults::default());
    }

    pub fn failed_syncs(&self) -> usize {
        self.with(|watched| watched.failed_syncs)
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        watched().retain(|it| it.folder != self.folder);
    }
}

/// Calls `f` with what is watched of `path`, if it is.
fn watching<T>(path: &Path, f: impl FnOnce(&mut Watched) -> T) -> Option<T> {
    let mut all = watched();
    let it = all.iter_mut().find(|it| path.starts_with(&it.folder))?;
    Some(f(it))
}

/// The same for an open file.
fn watching_file<T>(fd: RawFd, f: impl FnOnce(&Path, &mut Watched) -> T) -> Option<T> {
    if watched().is_empty() {
        return None;
    }
    let path = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    watching(&path, |watched| f(&path, watched))
}

fn has_suffix(path: &Path, suffix: &str) -> bool {
    path.extension().is_some_and(|found| found == suffix)
}

fn fails(error: c_int) -> c_int {
    // SAFETY: it points at this thread's own number.
    unsafe { *libc::__errno_location() = error };
    -1
}

fn sync(fd: c_int, call: libc::c_long) -> c_int {
    let error = watching_file(fd, |path, watched| {
        let error = match watched.faults {
            faults if has_suffix(path, "data") && faults.sync_loses => {
                for (offset, length) in watched.unsynced.remove(path).unwrap_or_default() {
                    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                    // SAFETY: no memory is handed over.
                    assert_eq!(unsafe { libc::fallocate(fd, mode, offset, length) }, 0);
                }
                Some(libc::EIO)
            }
            faults if has_suffix(path, "map") => faults.map_sync,
            _ => None,
        };
        match error {
            Some(_) => watched.failed_syncs += 1,
            None => drop(watched.unsynced.remove(path)),
        }
        error
    });
    match error.flatten() {
        Some(error) => fails(error),
        // SAFETY: no memory is handed over.
        None => unsafe { libc::syscall(call, fd) as c_int },
    }
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(
    fd: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off64_t,
) -> ssize_t {
    let error = watching_file(fd, |path, watched| {
        if !has_suffix(path, "data") {
            return None;
        }
        if watched.faults.write.is_none() {
            let unsynced = watched.unsynced.entry(path.to_owned()).or_default();
            unsynced.push((offset, count as off64_t));
        }
        watched.faults.write
    });
    match error.flatten() {
        Some(error) => fails(error) as ssize_t,
        // SAFETY: what the caller promises of its arguments holds here.
        None => unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, count, offset) as ssize_t },
    }
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate64(fd: c_int, length: off64_t) -> c_int {
    let error = watching_file(fd, |_, watched| watched.faults.create);
    match error.flatten() {
        Some(error) => fails(error),
        // SAFETY: no memory is handed over.
        None => unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) as c_int },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt;

    // SAFETY: the caller hands over a C string.
    let path = Path::new(OsStr::from_bytes(
        unsafe { CStr::from_ptr(from) }.to_bytes(),
    ));
    match watching(path, |watched| watched.faults.rename).flatten() {
        Some(error) => fails(error),
        // SAFETY: what the caller promises of its arguments holds here.
        None => unsafe { libc::syscall(libc::SYS_rename, from, to) as c_int },
    }
}
