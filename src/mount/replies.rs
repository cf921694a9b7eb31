//! What the file system says, in the kernel's terms.

use std::io;
use std::os::fd::BorrowedFd;

use fuser::{
    FileAttr, FileHandle, FileType, FopenFlags, INodeNo, ReplyOpen, ReplyStatfs, ReplyXattr,
};

use super::attributes::{Attributes, BLOCK_SIZE, Owner};
use super::errno::Errno;
use super::fs::{Opened, Opening};
use super::inodes::OpenMode;
use super::names::MAX_NAME;
use super::passing::{Passed, Passing};
use super::source::Space;

/// The unit that `statfs` counts in, in bytes.
const STATFS_UNIT: u32 = 4096;

/// The answer to an open.
pub(super) struct OpenReply {
    pub reply: ReplyOpen,
    pub passing: Passing,
}

impl Opening<Passed> for OpenReply {
    fn pass(&self, file: BorrowedFd<'_>) -> io::Result<Passed> {
        self.passing.pass(&self.reply, file)
    }

    fn done(self, opened: Result<Opened<Passed>, Errno>) {
        match opened {
            Err(errno) => self.reply.error(errno.into()),
            Ok(opened) => {
                let (fh, flags) = (FileHandle(opened.fh.0), open_flags(opened.mode));
                match opened.passage {
                    None => self.reply.opened(fh, flags),
                    Some(passage) => passage.kernel.answer(self.reply, fh, flags),
                }
            }
        }
    }
}

impl From<Errno> for fuser::Errno {
    fn from(errno: Errno) -> Self {
        Self::from_i32(errno.0)
    }
}

pub(super) fn file_attr(attributes: &Attributes, owner: Owner) -> FileAttr {
    let time = attributes.time();
    FileAttr {
        ino: INodeNo(attributes.ino.0),
        size: attributes.length,
        blocks: attributes.blocks(),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(Some(attributes)),
        perm: attributes.mode(),
        nlink: attributes.links(),
        uid: owner.uid,
        gid: owner.gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// What has no attributes of its own is content.
pub(super) fn file_type(attributes: Option<&Attributes>) -> FileType {
    match attributes {
        Some(attributes) if attributes.folder => FileType::Directory,
        Some(attributes) if attributes.link() => FileType::Symlink,
        _ => FileType::RegularFile,
    }
}

fn open_flags(mode: OpenMode) -> FopenFlags {
    match mode {
        OpenMode::Direct { keep: true } => {
            FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_KEEP_CACHE
        }
        OpenMode::Direct { keep: false } => FopenFlags::FOPEN_DIRECT_IO,
        OpenMode::Cached { keep: true } => FopenFlags::FOPEN_KEEP_CACHE,
        // The kernel takes no `FOPEN_KEEP_CACHE` with a passage: what it has cached it drops.
        OpenMode::Cached { keep: false } | OpenMode::Passed => FopenFlags::empty(),
    }
}

/// Answers `statfs`. No inodes are counted, as on file systems that make them as needed.
pub(super) fn reply_space(reply: ReplyStatfs, space: Space) {
    let units = |bytes: u64| bytes / u64::from(STATFS_UNIT);
    let (total, free) = (units(space.total), units(space.free));
    let name = MAX_NAME as u32;
    reply.statfs(total, free, free, 0, 0, STATFS_UNIT, name, STATFS_UNIT);
}

/// Answers a request for a value of unknown size: its size where none fits, the value where it does.
pub(super) fn reply_xattr(reply: ReplyXattr, value: &[u8], room: u32) {
    match u32::try_from(value.len()) {
        Ok(size) if room == 0 => reply.size(size),
        Ok(size) if size <= room => reply.data(value),
        _ => reply.error(Errno::ERANGE.into()),
    }
}
