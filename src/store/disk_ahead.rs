//! What is brought from the disk before it is read.
//!
//! A disk reads ahead by itself, and where it does so far enough it does it best: in large pages, and
//! while the reader goes on. Asking for the same pages beforehand takes the reader's time instead, and
//! brings small ones. Measured with 768 MiB read cold through the mount with 128 KiB of read-ahead (ext4
//! on a virtual disk, 2 cores): where the disk reads 8 MiB ahead 0.28 s, and 0.62 s if asked; where it
//! reads 512 KiB ahead 0.77 s and 1.02 s; where it reads 128 KiB ahead, the kernel's default, 1.2 s and 0.9 s.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::content::ByteRange;

use super::file::Content;

/// Read-ahead of a disk that is enough, in KiB.
const ENOUGH: u64 = 512;
/// Where the kernel tells of block devices by their numbers.
const DEVICES: &str = "/sys/dev/block";

/// What disks have told.
static TOLD: Mutex<Told> = Mutex::new(Told::new());

impl Content {
    /// `range` is expected to be read after what was read just now: has it brought from the disk, if
    /// that does not bring it by itself.
    pub fn read_ahead(&self, range: ByteRange) {
        if self.come_to_its_disk().is_err() {
            return;
        }
        let device = self.file().metadata().map(|file| file.dev());
        let own = device.ok().and_then(|device| {
            let ask = || kib_ahead(DEVICES.as_ref(), device);
            let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
            told.of(device, Instant::now(), ask)
        });
        if own.is_none_or(|own| own < ENOUGH) {
            self.will_need(range);
        }
    }
}

/// How far disks read ahead. To ask takes two files to be opened and read: too much for each window of a
/// reader (8 MiB, some milliseconds), and little for a minute, after which it may have been changed.
struct Told(BTreeMap<u64, (Instant, Option<u64>)>);

impl Told {
    const LASTS: Duration = Duration::from_secs(60);
    /// Disks that are remembered; the store and what is seeded seldom lie on more.
    const DISKS: usize = 64;

    const fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn of(&mut self, device: u64, now: Instant, ask: impl FnOnce() -> Option<u64>) -> Option<u64> {
        match self.0.get(&device) {
            Some((since, own)) if now.saturating_duration_since(*since) < Self::LASTS => *own,
            _ => {
                let own = ask();
                if self.0.len() >= Self::DISKS {
                    self.0.clear();
                }
                self.0.insert(device, (now, own));
                own
            }
        }
    }
}

/// How far the disk `device` reads ahead, in KiB; `None` where that is not told, as for file systems on
/// several disks.
fn kib_ahead(devices: &Path, device: u64) -> Option<u64> {
    let name = format!("{}:{}", libc::major(device), libc::minor(device));
    // A partition lies in the folder of its disk, which alone has a queue.
    let queues = ["queue", "../queue"].iter();
    let told = queues
        .map(|queue| devices.join(&name).join(queue).join("read_ahead_kb"))
        .find_map(|file| fs::read_to_string(file).ok())?;
    told.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_disk_tells_for_itself_and_its_partitions() {
        let dir = tempfile::tempdir().unwrap();
        let devices = dir.path().join("dev");
        fs::create_dir_all(dir.path().join("disk/queue")).unwrap();
        fs::create_dir_all(dir.path().join("disk/partition")).unwrap();
        fs::create_dir(&devices).unwrap();
        fs::write(dir.path().join("disk/queue/read_ahead_kb"), "8192\n").unwrap();
        symlink("../disk", devices.join("8:0")).unwrap();
        symlink("../disk/partition", devices.join("8:1")).unwrap();
        for minor in [0, 1] {
            assert_eq!(kib_ahead(&devices, libc::makedev(8, minor)), Some(8192));
        }
        assert_eq!(kib_ahead(&devices, libc::makedev(0, 42)), None);
    }

    #[test]
    fn a_disk_is_asked_once_a_minute() {
        let mut told = Told::new();
        let start = Instant::now();
        let mut asked = 0;
        let mut at = |seconds, device| {
            let now = start + Duration::from_secs(seconds);
            told.of(device, now, || {
                asked += 1;
                Some(asked)
            })
        };
        assert_eq!(
            [at(0, 1), at(59, 1), at(61, 1)],
            [Some(1), Some(1), Some(2)]
        );
        assert_eq!([at(61, 2), at(62, 1)], [Some(3), Some(2)]);
        for device in 0..1000 {
            at(62, device);
        }
        assert!(told.0.len() <= Told::DISKS);
    }
}
