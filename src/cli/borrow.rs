//! A file of the user's from the store of a running daemon, without its bytes going through the socket:
//! the store's own file under a second name, or a copy by the kernel, which shares the blocks where the
//! file system can.
//!
//! The same as `get` without a daemon does, but that the store is another process's. What the two need
//! not agree on is left to the socket: another user's store, another file system, a file that changes.

use std::fs::{self, Metadata};

use anyhow::Result;
use tracing::debug;

use super::export::Export;
use crate::content::ContentId;
use crate::control::Client;
use crate::store::{Identity, Loan, open_link_free};

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
            Ok(Some(Loan::Name(name))) => match fs::rename(&name, target) {
                Ok(()) => return Ok(true),
                Err(error) => {
                    debug!(%error, "the name that the store gave cannot be moved");
                    let _ = fs::remove_file(&name);
                }
            },
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
    if !same(file.metadata()?) {
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
}
