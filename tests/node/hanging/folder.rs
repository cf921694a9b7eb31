//! A file system with one file, which answers nobody while a test has it hang: like a disk that has died, or a
//! server that has gone away.

use std::ffi::{CString, OsStr};
use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, Request, Session,
};

const NAME: &str = "film";
const FILE: INodeNo = INodeNo(2);
/// The kernel asks each time.
const TTL: Duration = Duration::ZERO;

#[derive(Default)]
struct Gate {
    hangs: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let hangs = self.hangs.lock().unwrap();
        drop(self.changed.wait_while(hangs, |hangs| *hangs).unwrap());
    }
}

struct OneFile {
    data: Vec<u8>,
    gate: Arc<Gate>,
}

impl OneFile {
    fn attr(&self, ino: INodeNo) -> FileAttr {
        let file = ino == FILE;
        FileAttr {
            ino,
            size: if file { self.data.len() as u64 } else { 0 },
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: match file {
                true => FileType::RegularFile,
                false => FileType::Directory,
            },
            perm: if file { 0o444 } else { 0o755 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for OneFile {
    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.gate.pass();
        match name == NAME {
            true => reply.entry(&TTL, &self.attr(FILE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.gate.pass();
        reply.attr(&TTL, &self.attr(ino));
    }

    fn open(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.gate.pass();
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn flush(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.gate.pass();
        reply.ok();
    }

    fn read(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.gate.pass();
        let start = (offset as usize).min(self.data.len());
        let end = (start + size as usize).min(self.data.len());
        reply.data(&self.data[start..end]);
    }
}

/// The mount of it.
pub struct Folder {
    gate: Arc<Gate>,
    session: Option<BackgroundSession>,
    at: tempfile::TempDir,
    _alive: Sender<()>,
}

impl Folder {
    /// With a file of this content; `None` where nothing can be mounted.
    pub fn with(data: Vec<u8>) -> Option<Self> {
        // SAFETY: takes nothing, touches nothing, cannot fail.
        let is_root = unsafe { libc::geteuid() } == 0;
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        if !is_root || device.is_err() {
            println!("skipped: needs root and /dev/fuse");
            return None;
        }
        let gate = Arc::<Gate>::default();
        let files = OneFile {
            data,
            gate: Arc::clone(&gate),
        };
        let at = tempfile::tempdir().unwrap();
        let session = Session::new(files, at.path(), &Config::default()).unwrap();
        let (alive, watched) = channel();
        rescue(at.path().to_owned(), watched);
        Some(Self {
            gate,
            session: Some(session.spawn().unwrap()),
            at,
            _alive: alive,
        })
    }

    /// Where the file lies.
    pub fn file(&self) -> PathBuf {
        std::fs::canonicalize(self.path()).unwrap().join(NAME)
    }

    fn path(&self) -> &Path {
        self.at.path()
    }

    /// From now on whoever comes to it waits, or goes on.
    pub fn hang(&self, hangs: bool) {
        self.gate.set(hangs);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.hang(false);
        unmount(self.path(), libc::MNT_DETACH);
        // It answers until the last file on it is closed: whoever came to it after that would wait for ever.
        std::mem::forget(self.session.take());
    }
}

fn unmount(path: &Path, flags: libc::c_int) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a NUL-terminated path that outlives the call.
    unsafe { libc::umount2(path.as_ptr(), flags) };
}

/// Cuts off a mount that a test has got stuck on: this process could not even be killed then, as it waits for
/// itself.
fn rescue(path: PathBuf, watched: Receiver<()>) {
    std::thread::spawn(move || {
        if watched.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("aborting {}: a test is stuck", path.display());
            unmount(&path, libc::MNT_FORCE | libc::MNT_DETACH);
        }
    });
}
