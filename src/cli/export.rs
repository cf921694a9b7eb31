//! Content becomes a file of the user's, all of it or none.
//!
//! It is written under a temporary name in the same folder, made durable, and renamed. On the file
//! system of the store it is the store's own file under a second name (see `Store::lend`); elsewhere
//! bytes go by `copy_file_range` where they can (the standard library's `io::copy` between files).

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};

use crate::store::Content;

/// Bytes copied at a time.
const PART: u64 = 16 << 20;

/// The temporary files of what is being written, for an end of the process that drops nothing.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Removes what is being written. To be called when the process is about to end as it is.
pub fn remove_unfinished() {
    let unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    for path in &*unfinished {
        let _ = fs::remove_file(path);
    }
}

/// A file that will exist when [`Export::keep`] is called, and leaves nothing behind otherwise.
pub struct Export {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    force: bool,
    kept: bool,
}

impl Export {
    /// Begins to write `target`. Without `force` it must not exist.
    pub fn begin(target: &Path, force: bool) -> Result<Self> {
        check(target, force)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        // A short piece of the name: with the whole of it the temporary one could be too long.
        let start: String = name.chars().take(32).collect();
        let temporary = target.with_file_name(format!(".{start}.{}.part", std::process::id()));
        UNFINISHED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(temporary.clone());
        let file = match create(&temporary) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // Left by a process of this number that was killed.
                fs::remove_file(&temporary).and_then(|()| create(&temporary))
            }
            result => result,
        }
        .with_context(|| format!("cannot write {}", target.display()))?;
        Ok(Self {
            target: target.to_owned(),
            temporary,
            file,
            force,
            kept: false,
        })
    }

    /// Lets `lend` make the file: it is given its temporary name, which then does not exist, and the
    /// permissions that a new file has. `false`: it could not, and all is as before.
    pub fn lent_by(&mut self, lend: impl FnOnce(&Path, u32) -> Result<bool>) -> Result<bool> {
        let mode = self.file.metadata().with_context(|| self.cannot())?;
        let mode = mode.permissions().mode() & 0o777;
        fs::remove_file(&self.temporary).with_context(|| self.cannot())?;
        let lent = lend(&self.temporary, mode)?;
        self.file = if lent {
            File::open(&self.temporary)
        } else {
            create(&self.temporary)
        }
        .with_context(|| self.cannot())?;
        Ok(lent)
    }

    /// Writes all of `content`.
    ///
    /// # Errors
    /// Beside the operating system's: it is a file of the user's, and was changed before all of it
    /// was copied.
    pub fn copy_of(&mut self, content: &Content) -> Result<()> {
        self.copy_from(content.file())?;
        // In this order, so that no change while it was copied goes unnoticed.
        if !content.still_valid() {
            bail!("the file that it was read from has been changed meanwhile");
        }
        Ok(())
    }

    /// Whether it lies on the file system of `folder`.
    pub fn lies_beside(&self, folder: &Path) -> bool {
        let device = fs::metadata(folder).map(|folder| folder.dev());
        let own = self.file.metadata().map(|file| file.dev());
        matches!((own, device), (Ok(own), Ok(device)) if own == device)
    }

    /// Takes back what was written.
    pub fn empty(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .with_context(|| self.cannot())
    }

    /// Writes all of `source` from its start.
    pub fn copy_from(&mut self, source: &File) -> Result<()> {
        // Opened anew, to have a position of its own: descriptors of the store are shared.
        let mut source = File::open(format!("/proc/self/fd/{}", source.as_raw_fd()))
            .context("cannot read the store")?;
        let mut copied = 0;
        loop {
            let part = io::copy(&mut (&mut source).take(PART), &mut self.file)
                .with_context(|| self.cannot())?;
            if part == 0 {
                return Ok(());
            }
            begin_writing(&self.file, copied, part);
            copied += part;
        }
    }

    /// Where to write instead.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// The file is whole: makes it durable and gives it its name.
    pub fn keep(mut self, length: u64) -> Result<()> {
        let written = self.file.metadata().with_context(|| self.cannot())?.len();
        if written != length {
            bail!(
                "{}: {written} of {length} bytes were written",
                self.cannot()
            );
        }
        self.file.sync_all().with_context(|| self.cannot())?;
        if self.force {
            fs::rename(&self.temporary, &self.target).with_context(|| self.cannot())?;
            self.kept = true;
            return Ok(());
        }
        // A link is refused where the name has come to exist meanwhile; a rename would replace it.
        match fs::hard_link(&self.temporary, &self.target) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(exists(&self.target)),
            // A file system without hard links.
            Err(_) => {
                check(&self.target, false)?;
                fs::rename(&self.temporary, &self.target).with_context(|| self.cannot())?;
                self.kept = true;
                Ok(())
            }
        }
    }

    fn cannot(&self) -> String {
        format!("cannot write {}", self.target.display())
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Lets the disk begin with what was copied while the rest is being copied, so that little is left
/// to wait for when it is made durable.
fn begin_writing(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
        return;
    };
    // SAFETY: no memory is handed over. It is a hint: where it fails, the sync at the end does all.
    unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            offset,
            length,
            libc::SYNC_FILE_RANGE_WRITE,
        );
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.temporary);
        }
        UNFINISHED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.temporary);
    }
}

/// Whether `target` may be written, before anything is fetched for it.
pub fn check(target: &Path, force: bool) -> Result<()> {
    match fs::symlink_metadata(target) {
        Ok(metadata) if metadata.is_dir() => bail!("{} is a folder", target.display()),
        // Replacing a device or a pipe would break what it is there for, /dev/null above all.
        Ok(metadata) if !metadata.is_file() && !metadata.is_symlink() => bail!(
            "{} is not a regular file; -o - writes to standard output",
            target.display()
        ),
        Ok(_) if !force => return Err(exists(target)),
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).with_context(|| format!("cannot write {}", target.display())),
    }
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if folder.is_dir() && target.file_name().is_some() {
        Ok(())
    } else {
        bail!("cannot write {}: there is no such folder", target.display())
    }
}

fn exists(target: &Path) -> anyhow::Error {
    anyhow!("{} exists; --force replaces it", target.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{ContentHasher, ContentId};
    use crate::store::{Identity, Store};

    #[test]
    fn a_device_is_never_replaced() {
        for force in [false, true] {
            let refusal = check(Path::new("/dev/null"), force)
                .unwrap_err()
                .to_string();
            assert!(refusal.contains("not a regular file"), "{refusal}");
        }
    }
    use std::io::Write;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("file");
        let mut export = Export::begin(&target, false).unwrap();
        export.file().write_all(b"abc").unwrap();
        drop(export);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let mut export = Export::begin(&target, false).unwrap();
        export.file().write_all(b"abc").unwrap();
        assert!(export.keep(4).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let source_path = dir.path().join("source");
        fs::write(&source_path, b"abcd").unwrap();
        let source = File::open(&source_path).unwrap();
        for force in [false, true] {
            let mut export = Export::begin(&target, force).unwrap();
            export.copy_from(&source).unwrap();
            export.keep(4).unwrap();
            assert_eq!(fs::read(&target).unwrap(), b"abcd");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_copied_is_not_taken_for_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let source = fs::canonicalize(dir.path()).unwrap().join("source");
        fs::write(&source, b"abcd").unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let mut hasher = ContentHasher::new();
        hasher.update(b"abcd");
        let digests = hasher.finish();
        let identity = Identity::of(&fs::symlink_metadata(&source).unwrap());
        store.add_seeded(&source, identity, &digests).unwrap();
        let id = ContentId::sha256(digests.sha256.0);
        let copy = |change: bool| {
            let content = store.open_content(&id).unwrap().unwrap();
            if change {
                let mut file = File::options().append(true).open(&source).unwrap();
                file.write_all(b"e").unwrap();
            }
            let mut export = Export::begin(&dir.path().join("target"), true).unwrap();
            export.copy_of(&content)
        };
        copy(false).unwrap();
        let error = copy(true).unwrap_err().to_string();
        assert!(error.contains("changed"), "{error}");
    }

    #[test]
    fn what_exists_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("file");
        let export = Export::begin(&target, false).unwrap();
        fs::write(&target, b"mine").unwrap();
        assert!(export.keep(0).is_err());
        assert!(Export::begin(&target, false).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        assert!(Export::begin(dir.path(), true).is_err());
        assert!(Export::begin(&dir.path().join("no/file"), true).is_err());
    }
}
