//! What is mounted where (`/proc/self/mountinfo`, `proc_pid_mountinfo(5)`).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Its device number.
    pub device: u64,
    /// The type of its file system, `fuse.cjp2pfs` for ours.
    pub kind: String,
}

impl MountEntry {
    /// Whether a daemon of ours mounted it.
    pub fn is_ours(&self) -> bool {
        self.kind == FILE_SYSTEM_TYPE
    }

    /// Whether any FUSE daemon mounted it.
    pub fn is_fuse(&self) -> bool {
        self.kind == "fuse" || self.kind.starts_with("fuse.")
    }
}

/// The subtype that our mounts carry, which also is their source.
pub const SUBTYPE: &str = "cjp2pfs";

/// The type that the kernel shows for our mounts.
pub const FILE_SYSTEM_TYPE: &str = "fuse.cjp2pfs";

/// The mount that is visible at exactly `path`, if one is: the last one, where several lie on one
/// another. `path` is absolute and free of symbolic links.
pub fn at(path: &Path) -> io::Result<Option<MountEntry>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(table
        .split(|&byte| byte == b'\n')
        .filter_map(parse)
        .rfind(|mount| mount.path == path))
}

/// Whether anything is mounted with this device number, wherever.
pub fn has(device: u64) -> io::Result<bool> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(table
        .split(|&byte| byte == b'\n')
        .filter_map(parse)
        .any(|mount| mount.device == device))
}

fn parse(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let device = libc::makedev(major.parse().ok()?, minor.parse().ok()?);
    let path = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    // Options, then any number of optional fields up to a lone hyphen.
    fields.find(|field| *field == b"-")?;
    let kind = String::from_utf8(unescape(fields.next()?)).ok()?;
    Some(MountEntry { path, device, kind })
}

/// Undoes `\040` and the like, which stand for blanks, tabs, newlines and backslashes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] => {
                text.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                text.push(byte);
                rest = after;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = br"36 35 98:17 /mnt1 /mnt/a\040b\134c rw,noatime master:1 shared:2 - fuse.cjp2pfs cjp2pfs rw";
        let mount = parse(line).unwrap();
        assert_eq!(mount.path, Path::new(r"/mnt/a b\c"));
        assert_eq!(mount.device, libc::makedev(98, 17));
        assert!(mount.is_ours() && mount.is_fuse());
    }

    #[test]
    fn what_is_no_line_is_none() {
        for line in [
            "",
            "a b c",
            "1 2 x:y / /m rw - ext4 d rw",
            "1 2 3:4 / /m rw shared:1",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn proc_is_mounted_on_proc() {
        let mount = at(Path::new("/proc")).unwrap().unwrap();
        assert_eq!(mount.kind, "proc");
        assert!(!mount.is_ours() && !mount.is_fuse());
        assert!(has(mount.device).unwrap() && !has(libc::makedev(4000, 1)).unwrap());
        assert_eq!(at(Path::new("/proc/self")).unwrap(), None);
    }
}
