//! What `stat` shows. Nothing here tells how much of a file is held: `st_blocks` that followed the
//! state would make `cp` and `tar` take what is missing for a hole, and write zeros.

use std::time::{Duration, SystemTime};

use super::ino::Ino;

/// `st_blksize` of a file, in bytes: programs that go by it read in steps of one request of the
/// largest size that the kernel sends unless told otherwise (`fs.fuse.max_pages_limit`, 256 pages).
pub const BLOCK_SIZE: u32 = 1 << 20;

/// The unit of `st_blocks`, whatever `st_blksize` says (`stat(2)`).
const STAT_BLOCK: u64 = 512;

/// Every time of every file: 1980-01-02 00:00:00 UTC, in seconds since the epoch. Content has no
/// time of its own, and one that is the same on every mount keeps `rsync` and backups from copying
/// anew. ZIP archives know no day before 1980-01-01, in local time; hence the day after.
const TIME: i64 = 315_619_200;

/// How long the kernel may believe what cannot change: names and lengths of proven content.
const LASTING: Duration = Duration::from_secs(3600);

/// How long it may believe a length that nothing but peers' word stands for, and that a folder is
/// there: so a `stat` of the mount tells soon when its daemon has died.
const PASSING: Duration = Duration::from_secs(1);

/// Who owns the files: the user that mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// The effective user and group of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        // SAFETY: these calls take nothing, touch nothing and cannot fail.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        Self { uid, gid }
    }
}

/// What a listing says of one of its files or links, or tells of one of its folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Whether it is a symbolic link.
    pub link: bool,
    /// Permission bits.
    pub mode: u16,
    /// Time of the last modification, in seconds since 1970.
    pub modified: i64,
}

/// What is known of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Its number.
    pub ino: Ino,
    /// Whether it is a folder; else it is a regular file.
    pub folder: bool,
    /// Bytes of a file; 0 for a folder.
    pub length: u64,
    /// Whether the length can never change.
    pub lasting: bool,
    /// What a listing says of it, if it is from one.
    pub listed: Option<Listed>,
}

impl Attributes {
    /// Of a folder.
    #[must_use]
    pub fn folder(ino: Ino) -> Self {
        Self {
            ino,
            folder: true,
            length: 0,
            lasting: true,
            listed: None,
        }
    }

    /// Of a folder in a published folder, whose newest file is as old as that.
    #[must_use]
    pub fn published_folder(ino: Ino, modified: i64) -> Self {
        Self {
            listed: Some(Listed {
                link: false,
                // What a copy of it should have: into one that nobody may write nothing can be put.
                mode: 0o755,
                modified,
            }),
            ..Self::folder(ino)
        }
    }

    /// `st_blocks`.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.length.div_ceil(STAT_BLOCK)
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub fn link(&self) -> bool {
        self.listed.is_some_and(|listed| listed.link)
    }

    /// The permission bits: everyone may read. In a published folder what its listing says, but the
    /// user that mounts may always read.
    #[must_use]
    pub fn mode(&self) -> u16 {
        match self.listed {
            Some(listed) => listed.mode & 0o777 | 0o400,
            None if self.folder => 0o555,
            None => 0o444,
        }
    }

    /// `st_nlink`: a folder counts its own `.` and those of the folders in it.
    #[must_use]
    pub fn links(&self) -> u32 {
        match (self.folder, self.ino) {
            (false, _) => 1,
            (true, Ino::ROOT) => 7,
            (true, _) => 2,
        }
    }

    /// Every time that it has.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        let seconds = match self.listed {
            Some(Listed {
                link: false,
                modified,
                ..
            }) => modified,
            _ => TIME,
        };
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        };
        time.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// How long the kernel may go by this without asking.
    #[must_use]
    pub fn validity(&self) -> Duration {
        if self.lasting && !self.folder {
            LASTING
        } else {
            PASSING
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_length_and_no_more() {
        let of = |length| {
            Attributes {
                ino: Ino(9),
                folder: false,
                length,
                lasting: true,
                listed: None,
            }
            .blocks()
        };
        assert_eq!([of(0), of(1), of(512), of(513)], [0, 1, 1, 2]);
        assert_eq!(of(u64::MAX), 1 << 55);
    }
}
