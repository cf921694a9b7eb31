//! The FUSE adaptor: requests in, replies out, no decisions.
//!
//! Every operation that fuser would otherwise log as not implemented is answered here, so that what
//! a program sees is chosen: `EROFS` for whatever would change something (the mount is read-only
//! and the kernel says so first, but it can be remounted), and the numbers that make the kernel
//! stop asking (`ENOSYS`) where it does better alone.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, Generation,
    INodeNo, IoctlFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::attributes::Owner;
use super::errno::Errno;
use super::fs::FileSystem;
use super::handles::Fh;
use super::ino::Ino;
use super::kernel;
use super::passing::{Passed, Passing};
use super::replies::{OpenReply, file_attr, file_type, reply_space, reply_xattr};
use super::source::Source;

/// Inode numbers are not used for other content while the kernel knows them, so one will do.
const GENERATION: Generation = Generation(0);

/// What fuser drives.
pub struct Adaptor<S: Source> {
    fs: Arc<FileSystem<S, Passed>>,
    owner: Owner,
    /// How the kernel is told to read files by itself where it can.
    passing: Passing,
}

impl<S: Source> Adaptor<S> {
    /// In front of `fs`, with files that belong to `owner`.
    pub fn new(fs: Arc<FileSystem<S, Passed>>, owner: Owner, passing: Passing) -> Self {
        Self { fs, owner, passing }
    }
}

impl<S: Source> Filesystem for Adaptor<S> {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        kernel::configure(config);
        if !self.passing.is_off() && !kernel::allow_passthrough(config, self.fs.is_layered()) {
            self.passing = Passing::Off;
        }
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let owner = self.owner;
        self.fs.lookup(
            Ino(parent.0),
            name,
            request.pid(),
            move |found| match found {
                Ok(attributes) => reply.entry(
                    &attributes.validity(),
                    &file_attr(&attributes, owner),
                    GENERATION,
                ),
                Err(errno) => reply.error(errno.into()),
            },
        );
    }

    fn forget(&self, _request: &Request, ino: INodeNo, nlookup: u64) {
        self.fs.forget(Ino(ino.0), nlookup);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.fs.attributes(Ino(ino.0)) {
            Ok(attributes) => {
                reply.attr(&attributes.validity(), &file_attr(&attributes, self.owner))
            }
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS.into());
        }
        let passing = self.passing.clone();
        let opening = OpenReply { reply, passing };
        self.fs.open(Ino(ino.0), request.pid(), opening);
    }

    fn read(
        &self,
        request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let done = move |read: Result<&[u8], Errno>| match read {
            Ok(data) => reply.data(data),
            Err(errno) => reply.error(errno.into()),
        };
        let (fh, pid) = (Fh(fh.0), request.pid());
        // The kernel names the owner of a read that goes to a program. One that fills the page cache
        // is nobody's.
        match lock_owner {
            Some(_) => self.fs.read(fh, offset, size, pid, done),
            None => self.fs.fill(fh, offset, size, pid, done),
        }
    }

    fn flush(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn release(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.fs.close(Fh(fh.0));
        reply.ok();
    }

    fn fsync(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.fs.link_target(Ino(ino.0)) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.fs
            .open_folder(Ino(ino.0), request.pid(), move |opened| match opened {
                Ok(fh) => reply.opened(FileHandle(fh.0), FopenFlags::empty()),
                Err(errno) => reply.error(errno.into()),
            });
    }

    fn readdir(
        &self,
        request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let (fs, fh) = (Arc::clone(&self.fs), Fh(fh.0));
        self.fs.prepare(fh, offset, request.pid(), move |prepared| {
            let listed = prepared.and_then(|()| {
                fs.list(fh, offset, |next, entry| {
                    let kind = file_type(entry.attributes().as_ref());
                    let ino = INodeNo(entry.ino().0);
                    entry.with_name(|name| reply.add(ino, next, kind, name))
                })
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn readdirplus(
        &self,
        request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let owner = self.owner;
        let (fs, fh) = (Arc::clone(&self.fs), Fh(fh.0));
        self.fs.prepare(fh, offset, request.pid(), move |prepared| {
            let listed = prepared.and_then(|()| {
                fs.list_with_attributes(fh, offset, |next, entry, attributes| {
                    entry.with_name(|name| {
                        reply.add(
                            INodeNo(attributes.ino.0),
                            next,
                            name,
                            &attributes.validity(),
                            &file_attr(attributes, owner),
                            GENERATION,
                        )
                    })
                })
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn releasedir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.fs.close_folder(Fh(fh.0));
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn statfs(&self, request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.fs.space(request.pid(), |space| match space {
            Ok(space) => reply_space(reply, space),
            Err(errno) => reply.error(errno.into()),
        });
    }

    fn getxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        self.fs
            .xattr(Ino(ino.0), name, request.pid(), move |value| match value {
                Ok(value) => reply_xattr(reply, value.as_bytes(), size),
                Err(errno) => reply.error(errno.into()),
            });
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        reply_xattr(reply, &self.fs.xattr_names(Ino(ino.0)), size);
    }

    fn access(&self, _request: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks permissions by itself (`default_permissions`).
        reply.ok();
    }

    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(fuser::Errno::ENOTTY);
    }

    fn lseek(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        // The kernel then treats every file as having no holes: what is not fetched yet is not one.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn setattr(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(Errno::EROFS.into());
    }

    fn mknod(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EROFS.into());
    }

    fn mkdir(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EROFS.into());
    }

    fn unlink(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS.into());
    }

    fn rmdir(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS.into());
    }

    fn symlink(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _link_name: &OsStr,
        _target: &Path,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EROFS.into());
    }

    fn rename(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _newparent: INodeNo,
        _newname: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS.into());
    }

    fn link(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _newparent: INodeNo,
        _newname: &OsStr,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EROFS.into());
    }

    fn write(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        _data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS.into());
    }

    fn create(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EROFS.into());
    }

    fn setxattr(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS.into());
    }

    fn removexattr(&self, _request: &Request, _ino: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS.into());
    }

    fn fallocate(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS.into());
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _ino_in: INodeNo,
        _fh_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _fh_out: FileHandle,
        _offset_out: u64,
        _len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS.into());
    }
}
