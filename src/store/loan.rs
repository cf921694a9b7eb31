//! Complete content for another process of the same user, which is to have a file of it: a name that it
//! may give another place, or where the bytes lie, to be copied by the kernel.
//!
//! A daemon that may not write outside its store can give no file a name where the user wants it, but
//! can give one beside the store's own, and who asked moves that. One that is never moved goes when the
//! store is opened the next time.

use std::io;
use std::path::{Path, PathBuf};

use crate::content::ContentId;

use super::Store;
use super::error::StoreError;
use super::identity::Identity;
use super::layout::Layout;

/// How another process comes to the bytes of complete content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loan {
    /// This name in the store is the file's, is lent ([`Store::lend`]), and nobody else's: to be moved.
    Name(PathBuf),
    /// It lies here as long as it has this identity, of which the change time counts only if it is
    /// seeded: names that are added to a file of the store's own change it.
    Lies {
        /// The file.
        path: PathBuf,
        /// What it is.
        identity: Identity,
        /// Whether it is a file of the user's.
        seeded: bool,
    },
}

/// Where the file that a daemon calls `name` lies in the folder of its `store`; `None`: it is not one that
/// is there to be moved. A daemon that has been taken over would have others moved.
#[must_use]
pub fn offered_in(store: &Path, name: &Path) -> Option<PathBuf> {
    let name = name.file_name()?;
    let offered = Layout::is_offered(name);
    offered.then(|| Layout::new(store).partial_root().join(name))
}

impl Store {
    /// Lends complete content, with the permissions `mode` where a `name` is wanted and can be had.
    /// `None`: it is not held, or not in a file.
    ///
    /// # Errors
    /// What the index or the disk said.
    pub fn loan(&self, id: &ContentId, name: bool, mode: u32) -> Result<Option<Loan>, StoreError> {
        let offered = self.layout().offered();
        if name && self.lend(id, &offered, mode)? {
            return Ok(Some(Loan::Name(offered)));
        }
        let Some(content) = self.open_content(id)? else {
            return Ok(None);
        };
        let seeded = content.seeded_path().map(|path| path.to_owned());
        let is_seeded = seeded.is_some();
        let own = [Some(*id), self.paired(id)].into_iter().flatten();
        let mut own = own.map(|id| self.layout().complete(&id));
        let Some(path) = seeded.or_else(|| own.find(|path| path.is_file())) else {
            return Ok(None);
        };
        let failed = |e: io::Error| StoreError::io("look at", &path, e);
        let identity = Identity::of(&content.file().metadata().map_err(failed)?);
        // In this order: what was changed since it was hashed is not lent as if it were the content.
        Ok(content.still_valid().then_some(Loan::Lies {
            path,
            identity,
            seeded: is_seeded,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_moved_but_what_was_offered() {
        let store = Path::new("/store");
        let offered = Layout::new(store).offered();
        assert_eq!(offered_in(store, &offered), Some(offered.clone()));
        let name = Path::new("/elsewhere").join(offered.file_name().unwrap());
        assert_eq!(offered_in(store, &name), Some(offered));
        for other in ["/home/me/.profile", "..", "/", "sha256-00.data", ""] {
            assert_eq!(offered_in(store, Path::new(other)), None, "{other}");
        }
    }
}
