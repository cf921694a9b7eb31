//! What tells that a seeded file is still the one that was hashed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// The size, times and place of a file, by which a change of its content shows without reading it.
///
/// The change time cannot be set by a program, so a tool that restores the modification time after
/// writing is still noticed. A write within the same tick of the kernel's clock (a few
/// milliseconds) as the hashing is not: whoever hashes takes the identity before and after and
/// lets a file that was changed a moment ago rest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Bytes.
    pub size: u64,
    /// Modification time: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Change time: seconds since 1970 and nanoseconds.
    pub ctime: (i64, u32),
    /// Inode number.
    pub inode: u64,
    /// Device number. Not stable over a restart of the machine, see [`Identity::is_still`].
    pub device: u64,
}

impl Identity {
    /// The identity that `metadata` tells of.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |n: i64| u32::try_from(n).unwrap_or(0);
        Self {
            size: metadata.size(),
            mtime: (metadata.mtime(), nanoseconds(metadata.mtime_nsec())),
            ctime: (metadata.ctime(), nanoseconds(metadata.ctime_nsec())),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    /// Whether `now`, seen later and perhaps after a restart, is the same file unchanged.
    ///
    /// The device number is left out: the kernel numbers network and volume-manager devices anew at
    /// each boot, and a million files would have to be hashed again for nothing. A different file
    /// that agrees in inode and in both times to the nanosecond is not met in practice.
    #[must_use]
    pub fn is_still(&self, now: &Self) -> bool {
        Self {
            device: now.device,
            ..*self
        } == *now
    }
}
