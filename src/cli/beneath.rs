//! Files below an open folder, and nowhere else.
//!
//! The names come from strangers and the folder may be written to by others meanwhile. So every step
//! is taken from the open folder before it, and none follows a link.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, futimens,
    mkdirat, openat, readlinkat, renameat_with, statat, symlinkat, syncfs, unlinkat,
};

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const NEW_FOLDER: Mode = Mode::from_raw_mode(0o777);

/// An open folder.
pub struct Folder(OwnedFd);

impl Folder {
    /// The folder that the user named, made if it is not there. A link to one is followed.
    pub fn create(path: &Path) -> io::Result<Self> {
        match mkdirat(CWD, path, NEW_FOLDER) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = FOLDER.difference(OFlags::NOFOLLOW);
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }

    /// The folder at `path` below, made with all that lead to it.
    pub fn below(&self, path: &str) -> io::Result<Self> {
        let mut folder = Self(self.0.try_clone()?);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            match mkdirat(&folder.0, name, NEW_FOLDER) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = Self(openat(&folder.0, name, FOLDER, Mode::empty())?);
        }
        Ok(folder)
    }

    /// Opens the regular file `name`, if that is what is there; `None` if nothing is.
    pub fn open(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => {
                let file = File::from(file);
                if file.metadata()?.is_file() {
                    Ok(Some(file))
                } else {
                    Err(io::ErrorKind::AlreadyExists.into())
                }
            }
            Err(rustix::io::Errno::NOENT) => Ok(None),
            // A link, a socket.
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A new file `name` to write to; one that is there goes.
    pub fn create_file(&self, name: &str) -> io::Result<File> {
        self.remove(name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        Ok(File::from(openat(&self.0, name, flags, mode)?))
    }

    /// Removes the file or link `name`; that there is none is fine.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Renames `from` to `to`, which must not exist unless it is to be replaced.
    pub fn rename(&self, from: &str, to: &str, replace: bool) -> io::Result<()> {
        let flags = if replace {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        match renameat_with(&self.0, from, &self.0, to, flags) {
            // A file system that cannot refuse: nothing was there a moment ago.
            Err(rustix::io::Errno::INVAL) if !replace => {
                match statat(&self.0, to, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                    Err(_) => self.rename(from, to, true),
                }
            }
            renamed => Ok(renamed?),
        }
    }

    /// Where the link `name` points, if it is one.
    pub fn link_target(&self, name: &str) -> Option<Vec<u8>> {
        let target = readlinkat(&self.0, name, Vec::new()).ok()?;
        Some(target.into_bytes())
    }

    /// A new link.
    pub fn link(&self, target: &str, name: &str) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, name)?)
    }

    /// Makes everything on its file system durable.
    pub fn sync_all(&self) -> io::Result<()> {
        Ok(syncfs(&self.0)?)
    }
}

/// Gives a file its permissions and its time of modification, in seconds since 1970.
pub fn dress(file: &File, mode: u32, modified: i64) -> io::Result<()> {
    fchmod(file, Mode::from_raw_mode(mode))?;
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: modified,
            tv_nsec: 0,
        },
    };
    Ok(futimens(file, &times)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_step_follows_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "theirs").unwrap();
        let folder = Folder::create(&dir.path().join("in")).unwrap();
        symlink(&outside, dir.path().join("in/way")).unwrap();
        symlink(outside.join("file"), dir.path().join("in/link")).unwrap();
        assert!(folder.below("way").is_err());
        assert!(folder.below("way/deeper").is_err());
        assert!(folder.open("link").is_err());
        // The link is replaced, not what it points to.
        let file = folder.create_file("link").unwrap();
        io::Write::write_all(&mut &file, b"ours").unwrap();
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        let deep = folder.below("a/b/c").unwrap();
        deep.create_file("x").unwrap();
        assert!(deep.rename("x", "y", false).is_ok());
        deep.create_file("x").unwrap();
        assert!(deep.rename("x", "y", false).is_err());
        assert!(deep.rename("x", "y", true).is_ok());
        assert!(dir.path().join("in/a/b/c/y").exists());
    }
}
