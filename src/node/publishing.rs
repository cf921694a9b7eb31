//! From a path to content that can be published: hashed, and seeded from then on.
//!
//! What is published is a root of the seeder, so it is watched as any other; and who asks for the
//! name is to get what is there now. So after each pass over the root the name follows it, see
//! [`follow`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::Node;
use super::seeding::{Observer, Options, SeededFile, Seeder, Skip};
use crate::content::listing::ListingError;
use crate::content::{Hash, PublishedName};
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
    /// A device, pipe or socket.
    #[error("{} is neither a file nor a folder", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A folder that cannot be listed.
    #[error("{} cannot be listed", path.display())]
    Unlisted {
        /// The path.
        path: PathBuf,
        /// Why.
        source: ListingError,
    },
    /// No thread can be started.
    #[error("cannot start hashing")]
    NoThread(#[source] std::io::Error),
    /// Who asked for it wants it no more.
    #[error("interrupted")]
    Interrupted,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Has `seeder` seed the file or folder at `path` from now on; gives the SHA-256 of the file or of the
/// folder's listing, and the real path. Without a seeder the next one goes on with it. It is to be
/// published under `name`, so nothing is hashed where that cannot be. `tell` hears how many bytes are
/// done and how many there are, from another thread, and says whether to go on.
///
/// # Errors
/// [`PublishError`]; then `path` is not seeded by this.
pub fn prepare(
    store: &Store,
    seeder: Option<&Seeder>,
    path: &Path,
    name: &PublishedName,
    tell: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<(Hash, PathBuf), PublishError> {
    store.may_publish(name)?;
    let unreadable = |source| PublishError::Unreadable {
        path: path.into(),
        source,
    };
    let real = fs::canonicalize(path).map_err(unreadable)?;
    let metadata = fs::metadata(&real).map_err(unreadable)?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(PublishError::NotAFile { path: path.into() });
    }
    let seeder = match seeder {
        Some(seeder) => seeder.clone(),
        None => {
            let options = Options {
                background: false,
                notices: false,
                ..Options::default()
            };
            Seeder::start(store.clone(), options, &[]).map_err(PublishError::NoThread)?
        }
    };
    let was_seeded = store.roots().iter().any(|root| root.path == real);
    let prepared = hash(&seeder, path, &real, tell);
    if prepared.is_err() && !was_seeded {
        // What could not be published is no more than a path that was tried.
        let _ = seeder.unseed(&real);
    }
    Ok((prepared?, real))
}

fn hash(
    seeder: &Seeder,
    path: &Path,
    real: &Path,
    tell: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Hash, PublishError> {
    let watch = Watch {
        tell,
        state: Mutex::default(),
    };
    let roots = seeder.seed(&[real.to_owned()], false, &watch)?;
    if !watch.wanted() {
        return Err(PublishError::Interrupted);
    }
    let listing = roots.into_iter().next().and_then(|root| root.listing);
    let state = watch.state.into_inner().unwrap_or_else(|e| e.into_inner());
    let path = path.to_owned();
    match (listing, state.sha256, state.skip) {
        (Some(listing), _, _) => listing.map_err(|source| PublishError::Unlisted { path, source }),
        // Of a folder, its files'.
        _ if real.is_dir() => Err(PublishError::Changing { path }),
        (None, Some(sha256), _) => Ok(sha256),
        (None, None, Some(Skip::Empty { .. })) => Ok(Hash(Sha256::digest([]).into())),
        (None, None, Some(Skip::Changing)) => Err(PublishError::Changing { path }),
        (None, None, Some(Skip::Unreadable(source))) => {
            Err(PublishError::Unreadable { path, source })
        }
        _ => Err(PublishError::NotAFile { path }),
    }
}

/// From now on, what `node` publishes follows what `seeder` finds at its path: a file or folder that
/// has changed is published once more when it has been hashed.
pub fn follow(node: &Node, seeder: &Seeder) {
    let node = node.clone();
    seeder.tell_content(move |path, sha256| {
        let published = node.published().and_then(|all| {
            let outdated = all
                .into_iter()
                .filter(|one| one.path == path && one.sha256 != sha256);
            for one in outdated {
                node.publish(&one.name, sha256, path)?;
            }
            Ok(())
        });
        if let Err(error) = published {
            tracing::warn!(%error, path = %path.display(), "what has changed could not be published");
        }
    });
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
            Skip::Empty { listed } => Skip::Empty { listed: *listed },
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
