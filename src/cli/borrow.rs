//! A file of the user's from the store of a running daemon, without its bytes going through the socket:
//! the store's own file under a second name, or a copy by the kernel, which shares the blocks where the
//! file system can.
//!
//! The same as `get` without a daemon does, but that the store is another process's. What the two need
//! not agree on is left to the socket: another user's store, another file system, a file that changes.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;
use tracing::debug;

use super::export::Export;
use crate::content::ContentId;
use crate::control::Client;
use crate::store::{Identity, Loan, offered_in, open_link_free};

/// Makes `export` the content `id`, all of which the daemon of `client` has; `false` where the bytes
/// have to come over the socket. Then nothing of it is written.
pub fn borrow(client: &Client, id: &ContentId, export: &mut Export) -> Result<bool> {
    // Root may enter any store, and is not to be given a file that another can write to, nor to copy
    // what another chose.
    if !client.is_of_this_user() {
        return Ok(false);
    }
    let near = export.lies_beside(client.store());
    let mut lies = None;
    let lent = export.lent_by(|target, mode| {
        match client.lend(id, near, mode) {
            Ok(Some(Loan::Name(name))) => {
                let name = offered_in(client.store(), &name);
                if let Some(name) = name
                    && take(&name, target)?
                {
                    return Ok(true);
                }
            }
            Ok(found) => lies = found,
            // A daemon of an earlier version, perhaps. Whatever it is, the socket says it, too.
            Err(error) => debug!(%error, "the daemon lends nothing"),
        }
        Ok(false)
    })?;
    if lent {
        return Ok(true);
    }
    let Some(Loan::Lies {
        path,
        identity,
        seeded,
    }) = lies
    else {
        return Ok(false);
    };
    let Ok(file) = open_link_free(&path) else {
        return Ok(false);
    };
    let same = |found: Metadata| is_same(&identity, &Identity::of(&found), seeded);
    let found = file.metadata()?;
    // What others have the daemon may not be able to read, and names it all the same.
    if !is_own_file(&found) || !same(found) {
        return Ok(false);
    }
    export.copy_from(&file)?;
    // In this order, so that no change while it was copied goes unnoticed.
    if same(file.metadata()?) {
        return Ok(true);
    }
    export.empty()?;
    Ok(false)
}

/// Moves the file that is called `name` to `target`, if it is one of this user's.
fn take(name: &Path, target: &Path) -> io::Result<bool> {
    if let Err(error) = fs::rename(name, target) {
        debug!(%error, "the name that the store gave cannot be moved");
        let _ = fs::remove_file(name);
        return Ok(false);
    }
    if is_own_file(&fs::symlink_metadata(target)?) {
        return Ok(true);
    }
    fs::remove_file(target)?;
    Ok(false)
}

fn is_own_file(found: &Metadata) -> bool {
    // SAFETY: it takes nothing and cannot fail.
    found.is_file() && found.uid() == unsafe { libc::geteuid() }
}

/// Whether it is the file that was told of, unchanged. Another name changes the time of the last change
/// of a file of the store's, and nothing else.
fn is_same(told: &Identity, found: &Identity, seeded: bool) -> bool {
    let told = match seeded {
        true => *told,
        false => Identity {
            ctime: found.ctime,
            ..*told
        },
    };
    told.is_still(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changed_is_another() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = Identity::of(&file.as_file().metadata().unwrap());
        assert!(is_same(&told, &told, true));
        let renamed = Identity {
            ctime: (told.ctime.0 + 1, 0),
            ..told
        };
        assert!(is_same(&told, &renamed, false));
        assert!(!is_same(&told, &renamed, true));
        let written = Identity {
            mtime: (told.mtime.0 + 1, 0),
            ..told
        };
        assert!(!is_same(&told, &written, false));
    }

    #[test]
    fn what_is_taken_is_a_file_of_ones_own_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (name, target) = (dir.path().join("name"), dir.path().join("target"));
        assert!(!take(&name, &target).unwrap(), "there is none");
        std::os::unix::fs::symlink("elsewhere", &name).unwrap();
        assert!(!take(&name, &target).unwrap(), "a link");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::write(&name, "bytes").unwrap();
        assert!(take(&name, &target).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"bytes");
        assert!(!name.exists());
    }
}
