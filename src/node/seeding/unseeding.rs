//! What is seeded no longer.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::content::{ContentId, Hash, PublishedName};
use crate::store::{Root, Store, StoreError};

/// Why a path is not taken out.
#[derive(Debug, Error)]
pub enum UnseedError {
    /// It is not seeded.
    #[error("{} is not seeded", .0.display())]
    NotSeeded(PathBuf),
    /// Only what was named can be taken out.
    #[error("{} is seeded as a part of {}", path.display(), root.display())]
    PartOf {
        /// What was named.
        path: PathBuf,
        /// What it is in.
        root: PathBuf,
    },
    /// What is published would be had by nobody.
    #[error("{} is published as {name}; unpublish that first", path.display())]
    Published {
        /// What was named.
        path: PathBuf,
        /// What it is published as.
        name: PublishedName,
    },
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes `path` out of what `store` seeds; for a store that no seeder runs on.
///
/// # Errors
/// [`UnseedError`].
pub fn unseed(store: &Store, path: &Path) -> Result<u64, UnseedError> {
    let roots = store.roots();
    let named = roots.iter().any(|root| root.path == path);
    if !named {
        let around = roots.iter().find(|root| path.starts_with(&root.path));
        if let Some(root) = around {
            return Err(UnseedError::PartOf {
                path: path.to_owned(),
                root: root.path.clone(),
            });
        }
    }
    if let Some(one) = store.published()?.into_iter().find(|one| one.path == path) {
        return Err(UnseedError::Published {
            path: path.to_owned(),
            name: one.name,
        });
    }
    let forgotten = forget(store, path)?;
    // Files that a store of an earlier version seeds have no root.
    if !named && forgotten == 0 {
        return Err(UnseedError::NotSeeded(path.to_owned()));
    }
    Ok(forgotten)
}

/// A listing that no root has any more may be given up.
pub(super) fn unpin(store: &Store, listing: Option<Hash>) -> Result<(), StoreError> {
    match listing {
        Some(hash) if store.roots().iter().all(|root| root.listing != listing) => {
            store.unpin(&ContentId::sha256(hash.0)).map(drop)
        }
        _ => Ok(()),
    }
}

pub(super) fn forget(store: &Store, path: &Path) -> Result<u64, StoreError> {
    let known = store.roots();
    store.remove_root(path)?;
    let root = known.iter().find(|root| root.path == path);
    unpin(store, root.and_then(|root| root.listing))?;
    let others = store.roots();
    let forgotten = store.forget_seeded_below(path, |file| is_in(&others, file))?;
    store.flush()?;
    Ok(forgotten)
}

pub(super) fn is_in(roots: &[Root], file: &Path) -> bool {
    roots.iter().any(|root| file.starts_with(&root.path))
}
