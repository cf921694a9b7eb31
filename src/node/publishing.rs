//! From a path to content that can be published: hashed, and served from where it lies.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::seeding::{Observer, SeededFile, Skip, seed_paths};
use crate::content::Hash;
use crate::store::{Store, StoreError};

/// Why a path cannot be published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It was written to each time that it was hashed.
    #[error("{} is being changed", path.display())]
    Changing {
        /// The path.
        path: PathBuf,
    },
    /// A device, pipe or socket, or a folder.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Who asked for it wants it no more.
    #[error("interrupted")]
    Interrupted,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Hashes the file at `path`, unless it is known unchanged, and serves it from now on; gives its
/// SHA-256 and its real path. `tell` hears how many bytes are done and how many there are, from
/// another thread, and says whether to go on.
///
/// # Errors
/// [`PublishError`].
pub fn prepare(
    store: &Store,
    path: &Path,
    tell: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<(Hash, PathBuf), PublishError> {
    let unreadable = |source| PublishError::Unreadable {
        path: path.into(),
        source,
    };
    let real = fs::canonicalize(path).map_err(unreadable)?;
    if !fs::metadata(&real).map_err(unreadable)?.is_file() {
        return Err(PublishError::NotAFile { path: path.into() });
    }
    let watch = Watch {
        tell,
        state: Mutex::default(),
    };
    seed_paths(store, std::slice::from_ref(&real), &watch)?;
    let wanted = watch.wanted();
    let state = watch.state.into_inner().unwrap_or_else(|e| e.into_inner());
    match (state.sha256, state.skip) {
        (Some(sha256), _) => Ok((sha256, real)),
        (None, Some(Skip::Empty)) => Ok((Hash(Sha256::digest([]).into()), real)),
        (None, Some(Skip::Changing)) => Err(PublishError::Changing { path: path.into() }),
        (None, Some(Skip::Unreadable(source))) => Err(unreadable(source)),
        _ if !wanted => Err(PublishError::Interrupted),
        _ => Err(PublishError::NotAFile { path: path.into() }),
    }
}

struct Watch<'a> {
    tell: &'a (dyn Fn(u64, u64) -> bool + Sync),
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    done: u64,
    all: u64,
    sha256: Option<Hash>,
    skip: Option<Skip>,
}

impl Watch<'_> {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

impl Observer for Watch<'_> {
    fn found(&self, length: u64) {
        self.with(|state| state.all += length);
    }

    fn progress(&self, bytes: u64) {
        let (done, all) = self.with(|state| {
            state.done += bytes;
            (state.done, state.all)
        });
        (self.tell)(done, all);
    }

    fn seeded(&self, file: &SeededFile<'_>) {
        self.with(|state| state.sha256 = Some(file.sha256));
    }

    fn skipped(&self, _path: &Path, why: &Skip) {
        let why = match why {
            Skip::Empty => Skip::Empty,
            Skip::Changing => Skip::Changing,
            Skip::Unreadable(error) => Skip::Unreadable(match error.raw_os_error() {
                Some(number) => std::io::Error::from_raw_os_error(number),
                None => error.kind().into(),
            }),
            _ => Skip::Special,
        };
        self.with(|state| state.skip = Some(why));
    }

    fn wanted(&self) -> bool {
        let (done, all) = self.with(|state| (state.done, state.all));
        (self.tell)(done, all)
    }
}
