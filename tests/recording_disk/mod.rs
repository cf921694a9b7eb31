//! A disk that writes down what is done to it below one folder, or ends the process at some point.
//!
//! The calls by which this process changes files are replaced by others of the same name, which the
//! linker prefers to the C library's: they do what those do, and note it. From the notes every state
//! can be made that the loss of power may leave: what was not synced may have reached the disk or
//! not, in any order, and a write may be torn between two sectors. Changes of names reach it in their
//! order, as file systems with a journal have it.

// Each test uses a part of it.
#![allow(dead_code)]

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::{self, File};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use libc::{c_char, c_int, c_uint, c_void, mode_t, off64_t, size_t, ssize_t};

/// Bytes that a disk writes all or none of.
const SECTOR: usize = 512;
/// With what the process ends where it is told to.
pub const ENDED: i32 = 86;

/// A file, whatever its names.
type Inode = usize;

#[derive(Clone, Debug)]
pub enum Op {
    Folder(PathBuf),
    Create(PathBuf, Inode),
    Link(PathBuf, Inode),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    Write(Inode, u64, Vec<u8>),
    Length(Inode, u64),
    Hole(Inode, u64, u64),
    Sync(Inode),
    SyncFolder(PathBuf),
    /// Something that the test was told.
    Mark(usize),
}

impl Op {
    fn is_name(&self) -> bool {
        matches!(
            self,
            Self::Folder(_)
                | Self::Create(..)
                | Self::Link(..)
                | Self::Rename(..)
                | Self::Unlink(_)
        )
    }

    fn is_in(&self, folder: &Path) -> bool {
        let in_it = |path: &Path| path.parent() == Some(folder);
        match self {
            Self::Folder(path)
            | Self::Create(path, _)
            | Self::Link(path, _)
            | Self::Unlink(path) => in_it(path),
            Self::Rename(from, to) => in_it(from) || in_it(to),
            _ => false,
        }
    }

    fn changes(&self) -> Option<Inode> {
        match self {
            Self::Write(inode, ..) | Self::Length(inode, _) | Self::Hole(inode, ..) => Some(*inode),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Recorder {
    folder: Option<PathBuf>,
    ops: Vec<Op>,
    inodes: HashMap<u64, Inode>,
    next: Inode,
    /// Calls after which the process ends, and whether the last of them is done by half.
    end_at: Option<(usize, bool)>,
    calls: usize,
}

static RECORDER: Mutex<Option<Recorder>> = Mutex::new(None);

fn recorder() -> MutexGuard<'static, Option<Recorder>> {
    RECORDER.lock().unwrap_or_else(|e| e.into_inner())
}

/// Notes what is done below `folder` until [`finish`].
pub fn record(folder: &Path) {
    *recorder() = Some(Recorder {
        folder: Some(folder.to_owned()),
        ..Recorder::default()
    });
}

/// Ends the process at the `call`th change below `folder`: before it, or `halfway`.
pub fn end_at(folder: &Path, call: usize, halfway: bool) {
    *recorder() = Some(Recorder {
        folder: Some(folder.to_owned()),
        end_at: Some((call, halfway)),
        ..Recorder::default()
    });
}

pub fn mark(what: usize) {
    if let Some(recorder) = &mut *recorder() {
        recorder.ops.push(Op::Mark(what));
    }
}

pub fn finish() -> Vec<Op> {
    recorder().take().map_or_else(Vec::new, |it| it.ops)
}

/// The state after the first `end` of `ops` and the loss of power, made below `to`; `coin` decides
/// what of the rest has reached the disk.
pub fn make(ops: &[Op], end: usize, from: &Path, to: &Path, coin: &mut dyn FnMut(usize) -> usize) {
    let ops = &ops[..end];
    // Names: all that were synced, and some of those after.
    let mut synced = 0;
    for (at, op) in ops.iter().enumerate() {
        if let Op::SyncFolder(folder) = op {
            let last = ops[..at]
                .iter()
                .rposition(|op| op.is_name() && op.is_in(folder));
            synced = synced.max(last.map_or(0, |last| last + 1));
        }
    }
    let names_until = synced + coin(end - synced + 1);
    let mut names: HashMap<PathBuf, Inode> = HashMap::new();
    let there = |path: &Path| to.join(path.strip_prefix(from).unwrap());
    fs::create_dir_all(to).unwrap();
    for op in &ops[..names_until] {
        match op {
            Op::Folder(path) => fs::create_dir_all(there(path)).unwrap(),
            Op::Create(path, inode) | Op::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Op::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Op::Unlink(path) => {
                names.remove(path);
            }
            _ => {}
        }
    }
    let mut last_sync: HashMap<Inode, usize> = HashMap::new();
    for (at, op) in ops.iter().enumerate() {
        if let Op::Sync(inode) = op {
            last_sync.insert(*inode, at);
        }
    }
    let mut contents: HashMap<Inode, Vec<u8>> = HashMap::new();
    for (at, op) in ops.iter().enumerate() {
        let Some(inode) = op.changes() else { continue };
        let safe = last_sync.get(&inode).is_some_and(|sync| at < *sync);
        let content = contents.entry(inode).or_default();
        match op {
            Op::Write(_, offset, data) => {
                let start = *offset as usize;
                let whole = safe || coin(3) == 0;
                // Sectors end at multiples of their size in the file.
                let mut done = 0;
                while done < data.len() {
                    let step = (SECTOR - (start + done) % SECTOR).min(data.len() - done);
                    if whole || coin(2) == 0 {
                        let end = start + done + step;
                        if content.len() < end {
                            content.resize(end, 0);
                        }
                        content[start + done..end].copy_from_slice(&data[done..done + step]);
                    }
                    done += step;
                }
            }
            Op::Length(_, length) if safe || coin(2) == 0 => content.resize(*length as usize, 0),
            Op::Hole(_, offset, length) if safe || coin(2) == 0 => {
                let end = (offset + length).min(content.len() as u64) as usize;
                let start = (*offset as usize).min(end);
                content[start..end].fill(0);
            }
            _ => {}
        }
    }
    let mut made: HashMap<Inode, PathBuf> = HashMap::new();
    for (path, inode) in names {
        let path = there(&path);
        if let Some(first) = made.get(&inode) {
            fs::hard_link(first, &path).unwrap();
            continue;
        }
        let file = File::create(&path).unwrap();
        let content = contents.get(&inode).map_or(&[][..], |it| it);
        file.set_len(content.len() as u64).unwrap();
        // Sparse as it was.
        for (number, chunk) in content.chunks(4096).enumerate() {
            if chunk.iter().any(|byte| *byte != 0) {
                file.write_all_at(chunk, number as u64 * 4096).unwrap();
            }
        }
        made.insert(inode, path);
    }
}

fn path_of(fd: RawFd) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{fd}")).ok()
}

fn inode_number(fd: RawFd) -> u64 {
    // SAFETY: all zeros are a valid `stat`, and the call fills it in.
    let mut found: libc::stat64 = unsafe { std::mem::zeroed() };
    // SAFETY: `found` outlives the call.
    unsafe { libc::fstat64(fd, &raw mut found) };
    found.st_ino
}

impl Recorder {
    /// Counts a change, and ends the process if it is the one. `true`: after half of it.
    fn counts(&mut self) -> bool {
        self.calls += 1;
        match self.end_at {
            Some((at, halfway)) if at == self.calls => {
                if !halfway {
                    // SAFETY: it takes no pointers and does not return.
                    unsafe { libc::_exit(ENDED) };
                }
                true
            }
            _ => false,
        }
    }

    fn watches(&self, path: &Path) -> bool {
        self.folder
            .as_ref()
            .is_some_and(|folder| path.starts_with(folder))
    }
}

/// Notes a change of the file `fd`, if it is watched; whether to end halfway.
fn on_file(fd: RawFd, op: impl FnOnce(Inode) -> Op) -> bool {
    let mut slot = recorder();
    let Some(recorder) = slot.as_mut() else {
        return false;
    };
    let Some(path) = path_of(fd) else {
        return false;
    };
    if !recorder.watches(&path) {
        return false;
    }
    let halfway = recorder.counts();
    if let Some(inode) = recorder.inodes.get(&inode_number(fd)) {
        let op = op(*inode);
        recorder.ops.push(op);
    }
    halfway
}

fn on_name(path: &Path, op: impl FnOnce(&mut Recorder) -> Option<Op>) {
    if let Some(recorder) = recorder().as_mut()
        && recorder.watches(path)
    {
        if recorder.counts() {
            end();
        }
        if let Some(op) = op(recorder) {
            recorder.ops.push(op);
        }
    }
}

fn end() -> ! {
    // SAFETY: it takes no pointers and does not return.
    unsafe { libc::_exit(ENDED) }
}

unsafe fn text<'a>(path: *const c_char) -> &'a Path {
    // SAFETY: the caller has a C string.
    Path::new(OsStr::from_bytes(
        unsafe { CStr::from_ptr(path) }.to_bytes(),
    ))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: what the caller promises of its arguments holds here.
    let name = unsafe { text(path) };
    let new = flags & libc::O_CREAT != 0 && fs::symlink_metadata(name).is_err();
    if new {
        on_name(name, |_| None);
    }
    let at = libc::AT_FDCWD;
    // SAFETY: as above.
    let fd = unsafe { libc::syscall(libc::SYS_openat, at, path, flags, mode) } as c_int;
    if fd >= 0
        && (new || flags & libc::O_TRUNC != 0)
        && let Some(recorder) = recorder().as_mut()
        && recorder.watches(name)
    {
        let number = inode_number(fd);
        if new {
            let inode = recorder.next;
            recorder.next += 1;
            recorder.inodes.insert(number, inode);
            recorder.ops.push(Op::Create(name.to_owned(), inode));
        } else if let Some(inode) = recorder.inodes.get(&number) {
            recorder.ops.push(Op::Length(*inode, 0));
        }
    }
    fd
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: what the caller promises of its arguments holds here.
    let name = unsafe { text(path) };
    on_name(name, |_| None);
    // SAFETY: as above.
    let made = unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode) } as c_int;
    if made == 0
        && let Some(recorder) = recorder().as_mut()
        && recorder.watches(name)
    {
        recorder.ops.push(Op::Folder(name.to_owned()));
    }
    made
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: what the caller promises of its arguments holds here.
    let (old, new) = unsafe { (text(from), text(to)) };
    on_name(old, |_| Some(Op::Rename(old.to_owned(), new.to_owned())));
    let at = libc::AT_FDCWD;
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_renameat, at, from, at, to) as c_int }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: what the caller promises of its arguments holds here.
    let name = unsafe { text(path) };
    if fs::symlink_metadata(name).is_ok() {
        on_name(name, |_| Some(Op::Unlink(name.to_owned())));
    }
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) as c_int }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(
    fd: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off64_t,
) -> ssize_t {
    // SAFETY: the caller hands over `count` bytes.
    let data = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), count) };
    let halfway = on_file(fd, |inode| Op::Write(inode, offset as u64, data.to_vec()));
    let count = if halfway { count / 2 } else { count };
    // SAFETY: what the caller promises of its arguments holds here.
    let done = unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, count, offset) as ssize_t };
    if halfway {
        end();
    }
    done
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    // Standard output and the like are never watched, and may be written to by whoever holds locks.
    if fd > 2 {
        // SAFETY: the caller hands over `count` bytes.
        let data = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), count) };
        // SAFETY: no memory is handed over.
        let at = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
        if at >= 0 && on_file(fd, |inode| Op::Write(inode, at as u64, data.to_vec())) {
            end();
        }
    }
    // SAFETY: what the caller promises of its arguments holds here.
    unsafe { libc::syscall(libc::SYS_write, fd, bytes, count) as ssize_t }
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate64(fd: c_int, length: off64_t) -> c_int {
    if on_file(fd, |inode| Op::Length(inode, length as u64)) {
        end();
    }
    // SAFETY: no memory is handed over.
    unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) as c_int }
}

#[unsafe(no_mangle)]
extern "C" fn fallocate(fd: c_int, mode: c_int, offset: off64_t, length: off64_t) -> c_int {
    if on_file(fd, |inode| Op::Hole(inode, offset as u64, length as u64)) {
        end();
    }
    // SAFETY: no memory is handed over.
    unsafe { libc::syscall(libc::SYS_fallocate, fd, mode, offset, length) as c_int }
}

fn sync(fd: c_int, call: libc::c_long) -> c_int {
    // SAFETY: no memory is handed over.
    let done = unsafe { libc::syscall(call, fd) as c_int };
    let folder = path_of(fd).filter(|path| path.is_dir());
    match folder {
        Some(folder) => {
            if let Some(recorder) = recorder().as_mut()
                && recorder.watches(&folder)
            {
                if recorder.counts() {
                    end();
                }
                recorder.ops.push(Op::SyncFolder(folder));
            }
        }
        None => {
            if on_file(fd, Op::Sync) {
                end();
            }
        }
    }
    done
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}
