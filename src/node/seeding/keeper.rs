//! The seeder: what the user has told to be seeded is, from then on, what is served.
//!
//! Each path that the user names is a root. Roots are remembered in the store; at the start each is
//! gone through again, which costs little for files that have not changed, and while the seeder
//! runs each is watched (see [`super::watching`]). After every full pass over a folder its listing
//! is made anew, and files that are no longer there are forgotten.
//!
//! One pass at a time goes over a root, and every pass can be ended: by [`Seeder::unseed`], by
//! [`Seeder::stop`], by the observer of whoever asked for it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::gather::Gathered;
use super::pass::{Pass, Start};
use super::status::{RootStatus, Watch};
use super::watching::Watching;
use super::{Observer, SeededFile, Skip};
use crate::content::listing::ListingError;
use crate::content::{ContentId, Hash, Listing};
use crate::store::{Root, Store, StoreError};

/// How long a pass waits for another one over the same root before it looks whether it is still
/// wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a pass may take to notice that it has been cancelled.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);

/// How the seeder goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Hash at low priority.
    pub background: bool,
    /// Use the system's notices of changes.
    pub notices: bool,
    /// How long a file must be left alone before it is hashed.
    pub quiet: Duration,
    /// How often to look again where there are no notices.
    pub rescan_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            background: true,
            notices: true,
            quiet: Duration::from_millis(400),
            rescan_every: Duration::from_secs(60),
        }
    }
}

/// What came of one path.
#[derive(Debug)]
pub struct SeededRoot {
    /// As the user named it.
    pub shown: PathBuf,
    /// Files that are served.
    pub files: u64,
    /// A folder's listing by its SHA-256, or why it has none.
    pub listing: Option<Result<Hash, ListingError>>,
}

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
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is seeded, and the threads that see to it. Clones are the same.
#[derive(Clone)]
pub struct Seeder(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub store: Store,
    pub options: Options,
    pub stopping: AtomicBool,
    /// The passes that run, by root.
    passes: Mutex<HashMap<PathBuf, Arc<Progress>>>,
    ended: Condvar,
    pub watching: Watching,
}

/// A pass that runs.
#[derive(Default)]
struct Progress {
    cancelled: AtomicBool,
    found: AtomicU64,
    done: AtomicU64,
}

/// The right to go over some roots; given back when dropped.
pub(super) struct Claim<'a> {
    inner: &'a Inner,
    roots: Vec<PathBuf>,
    progress: Arc<Progress>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut passes = lock(&self.inner.passes);
        for root in &self.roots {
            passes.remove(root);
        }
        self.inner.ended.notify_all();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The observer of a pass, which ends it when the seeder or the user wants that.
struct Watched<'a> {
    observer: &'a dyn Observer,
    inner: &'a Inner,
    progress: &'a Progress,
}

impl Observer for Watched<'_> {
    fn found(&self, length: u64) {
        self.progress.found.fetch_add(length, Ordering::Relaxed);
        self.observer.found(length);
    }

    fn progress(&self, bytes: u64) {
        self.progress.done.fetch_add(bytes, Ordering::Relaxed);
        self.observer.progress(bytes);
    }

    fn seeded(&self, file: &SeededFile<'_>) {
        self.observer.seeded(file);
    }

    fn skipped(&self, path: &Path, why: &Skip) {
        self.observer.skipped(path, why);
    }

    fn wanted(&self) -> bool {
        !self.inner.stopping.load(Ordering::Relaxed)
            && !self.progress.cancelled.load(Ordering::Relaxed)
            && self.observer.wanted()
    }
}

/// Like [`Silent`], until the seeder stops.
pub(super) struct UntilStopped<'a>(&'a Inner);

impl Observer for UntilStopped<'_> {
    fn found(&self, _: u64) {}
    fn progress(&self, _: u64) {}
    fn seeded(&self, file: &SeededFile<'_>) {
        Silent.seeded(file);
    }
    fn skipped(&self, path: &Path, why: &Skip) {
        Silent.skipped(path, why);
    }
    fn wanted(&self) -> bool {
        !self.0.stopping.load(Ordering::Relaxed)
    }
}

/// Nobody looks; what is odd goes to the log.
pub(super) struct Silent;

impl Observer for Silent {
    fn found(&self, _: u64) {}
    fn progress(&self, _: u64) {}
    fn seeded(&self, file: &SeededFile<'_>) {
        tracing::debug!(path = %file.path.display(), sha256 = %file.sha256, "seeded");
    }
    fn skipped(&self, path: &Path, why: &Skip) {
        tracing::debug!(path = %path.display(), ?why, "not seeded");
    }
    fn wanted(&self) -> bool {
        true
    }
}

impl Seeder {
    /// Over `store`. What was to be seeded only once is forgotten, unless it is in `keep`. Nothing
    /// is hashed before [`Seeder::seed`] or [`Seeder::resume`].
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(store: Store, options: Options, keep: &[PathBuf]) -> io::Result<Self> {
        let (watching, events) = Watching::new(options.notices);
        let seeder = Self(Arc::new(Inner {
            store,
            options,
            stopping: AtomicBool::new(false),
            passes: Mutex::default(),
            ended: Condvar::new(),
            watching,
        }));
        for root in seeder.0.store.roots() {
            if root.once && !keep.contains(&root.path) {
                let gone = seeder.0.forget(&root.path);
                gone.unwrap_or_else(|error| {
                    tracing::warn!(%error, "what was seeded once could not be forgotten");
                    0
                });
            }
        }
        super::watching::start(Arc::downgrade(&seeder.0), events)?;
        Ok(seeder)
    }

    /// Goes over everything that is remembered, on a thread of its own.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn resume(&self) -> io::Result<()> {
        let inner = Arc::clone(&self.0);
        thread::Builder::new()
            .name("seeding".into())
            .spawn(move || {
                for root in inner.store.roots() {
                    if inner.watching.was_gone_over(&root.path) {
                        continue;
                    }
                    if let Err(error) = inner.go_over(&root.path, &Silent) {
                        tracing::warn!(%error, root = %root.path.display(), "seeding failed");
                    }
                }
            })
            .map(drop)
    }

    /// Seeds `paths` from now on: hashes them on this thread and others, and returns when they are
    /// all served, or soon after `observer` wants no more. They are remembered at once, so what is
    /// interrupted is gone on with.
    ///
    /// # Errors
    /// The store fails. What is wrong with a file is told to the observer and ends nothing.
    pub fn seed(
        &self,
        paths: &[PathBuf],
        once: bool,
        observer: &dyn Observer,
    ) -> Result<Vec<SeededRoot>, StoreError> {
        let mut roots = Vec::new();
        let mut starts = Vec::new();
        for path in paths {
            match fs::canonicalize(path) {
                Ok(real) => {
                    roots.push(real);
                    starts.push(Start::Argument(path.clone()));
                }
                Err(e) => observer.skipped(path, &Skip::Unreadable(e)),
            }
        }
        let inner = &self.0;
        let known = inner.store.roots();
        for path in &roots {
            // Whoever names it once more without --once wants it remembered.
            let root = match known.iter().find(|root| root.path == *path) {
                Some(root) if !root.once || once => continue,
                Some(root) => Root {
                    once: false,
                    ..root.clone()
                },
                None => Root::new(path.clone(), once),
            };
            inner.store.put_root(&root)?;
        }
        inner.pass(&roots, &starts, observer)
    }

    /// Seeds `path` no longer. Returns how many files that were.
    ///
    /// # Errors
    /// [`UnseedError`].
    pub fn unseed(&self, path: &Path) -> Result<u64, UnseedError> {
        if let Some(progress) = lock(&self.0.passes).get(path) {
            progress.cancelled.store(true, Ordering::Relaxed);
        }
        // What a pass that still runs adds would stay. One that hangs in a disk is not waited for.
        let since = Instant::now();
        let patient = || since.elapsed() < CANCEL_LIMIT;
        let _claim = self.0.claim(&[path.to_owned()], &patient);
        let forgotten = unseed(&self.0.store, path)?;
        self.0.watching.forget(path);
        Ok(forgotten)
    }

    /// What is seeded.
    #[must_use]
    pub fn roots(&self) -> Vec<RootStatus> {
        let mut all = statuses(&self.0.store);
        for status in &mut all {
            if !status.once {
                status.watch = self.0.watching.watch();
            }
            status.hashing = lock(&self.0.passes).get(&status.path).map(|progress| {
                (
                    progress.done.load(Ordering::Relaxed),
                    progress.found.load(Ordering::Relaxed),
                )
            });
        }
        all
    }

    /// Ends every pass soon. What was hashed is served until the node ends.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
        self.0.watching.stop();
    }
}

/// What is seeded, as the store has it.
#[must_use]
pub fn statuses(store: &Store) -> Vec<RootStatus> {
    let mut taken: HashMap<String, u32> = HashMap::new();
    let status = |root: Root| {
        let name = root.path.file_name().unwrap_or_default();
        let name = match name.to_string_lossy() {
            name if name.is_empty() => "root".to_owned(),
            name => name.into_owned(),
        };
        let times = taken.entry(name.clone()).or_default();
        *times += 1;
        RootStatus {
            folder: root.listing.is_some() || root.path.is_dir(),
            name: match *times {
                1 => name,
                n => format!("{name} ({n})"),
            },
            path: root.path,
            once: root.once,
            files: root.files,
            bytes: root.bytes,
            listing: root.listing,
            hashing: None,
            watch: Watch::Never,
        }
    };
    store.roots().into_iter().map(status).collect()
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
    let forgotten = forget(store, path)?;
    // Files that a store of an earlier version seeds have no root.
    if !named && forgotten == 0 {
        return Err(UnseedError::NotSeeded(path.to_owned()));
    }
    Ok(forgotten)
}

/// A listing that no root has any more may be given up.
fn unpin(store: &Store, listing: Option<Hash>) -> Result<(), StoreError> {
    match listing {
        Some(hash) if store.roots().iter().all(|root| root.listing != listing) => {
            store.unpin(&ContentId::sha256(hash.0)).map(drop)
        }
        _ => Ok(()),
    }
}

fn forget(store: &Store, path: &Path) -> Result<u64, StoreError> {
    let known = store.roots();
    store.remove_root(path)?;
    let root = known.iter().find(|root| root.path == path);
    unpin(store, root.and_then(|root| root.listing))?;
    let others = store.roots();
    let forgotten = store.forget_seeded_below(path, |file| is_in(&others, file))?;
    store.flush()?;
    Ok(forgotten)
}

fn is_in(roots: &[Root], file: &Path) -> bool {
    roots.iter().any(|root| file.starts_with(&root.path))
}

impl Inner {
    /// An observer that tells nobody and wants everything until the seeder stops.
    pub fn until_stopped(&self) -> UntilStopped<'_> {
        UntilStopped(self)
    }

    fn forget(&self, path: &Path) -> Result<u64, StoreError> {
        forget(&self.store, path)
    }

    /// Waits for the passes over `roots` that run, unless that is not wanted any more.
    fn claim(&self, roots: &[PathBuf], wanted: &dyn Fn() -> bool) -> Option<Claim<'_>> {
        let mut passes = lock(&self.passes);
        while roots.iter().any(|root| passes.contains_key(root)) {
            if !wanted() || self.stopping.load(Ordering::Relaxed) {
                return None;
            }
            let waited = self.ended.wait_timeout(passes, LOOK_EVERY);
            passes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let progress = Arc::new(Progress::default());
        for root in roots {
            passes.insert(root.clone(), Arc::clone(&progress));
        }
        Some(Claim {
            inner: self,
            roots: roots.to_vec(),
            progress,
        })
    }

    /// Goes over one root again.
    pub fn go_over(&self, root: &Path, observer: &dyn Observer) -> Result<(), StoreError> {
        let roots = [root.to_owned()];
        self.pass(&roots, &[Start::Argument(root.to_owned())], observer)
            .map(drop)
    }

    fn pass(
        &self,
        roots: &[PathBuf],
        starts: &[Start],
        observer: &dyn Observer,
    ) -> Result<Vec<SeededRoot>, StoreError> {
        let begun = Instant::now();
        let Some(claim) = self.claim(roots, &|| observer.wanted()) else {
            return Ok(Vec::new());
        };
        let watched = Watched {
            observer,
            inner: self,
            progress: &claim.progress,
        };
        let remembered = self.store.roots();
        // Taken out while this waited.
        if !roots
            .iter()
            .all(|path| remembered.iter().any(|root| root.path == *path))
        {
            return Ok(Vec::new());
        }
        let once = |path: &Path| remembered.iter().any(|root| root.path == path && root.once);
        for path in roots.iter().filter(|path| !once(path)) {
            if !path.is_dir() {
                // What replaces a file shows in its folder.
                self.watching.enter(path.parent().unwrap_or(path));
            }
        }
        let live: Vec<&PathBuf> = roots.iter().filter(|path| !once(path)).collect();
        let entering = |folder: &Path| {
            if live.iter().any(|root| folder.starts_with(root)) {
                self.watching.enter(folder);
            }
        };
        let gathered = Pass::of_store(&self.store, &watched)
            .entering(&entering)
            .at_low_priority(self.options.background)
            .run(starts)?;
        let mut results = Vec::new();
        if watched.wanted() {
            for ((root, start), found) in roots.iter().zip(starts).zip(gathered) {
                results.push(SeededRoot {
                    shown: start.path().to_owned(),
                    files: found.served.len() as u64,
                    listing: self.finish(root, found)?,
                });
                self.watching.gone_over(root, begun.elapsed());
            }
        }
        // A seeder runs for days and ends by a power cut: what was hashed is not hashed again.
        self.store.flush()?;
        Ok(results)
    }

    /// After a whole pass over a root: forgets what is no longer there, and makes the listing.
    fn finish(
        &self,
        path: &Path,
        found: Gathered,
    ) -> Result<Option<Result<Hash, ListingError>>, StoreError> {
        let roots = self.store.roots();
        // It may have been taken out meanwhile.
        let Some(root) = roots.iter().find(|root| root.path == path) else {
            return Ok(None);
        };
        let files = found.served.len() as u64;
        // A disk that is not mounted now comes back; what is not there is not served meanwhile.
        if files > 0 {
            let others: Vec<Root> = roots.iter().filter(|r| r.path != path).cloned().collect();
            self.store.forget_seeded_below(path, |file| {
                found.served.contains(file) || is_in(&others, file)
            })?;
        }
        if found.real.is_none() {
            return Ok(None);
        }
        let listing = if found.folder {
            match Listing::new(found.entries) {
                Ok(listing) => Some(Ok(self.store.keep_listing(&listing)?.sha256)),
                Err(error) => {
                    tracing::warn!(%error, folder = %path.display(), "a folder has no listing");
                    Some(Err(error))
                }
            }
        } else {
            None
        };
        let now = Root {
            listing: listing
                .as_ref()
                .and_then(|made| made.as_ref().ok().copied()),
            files,
            bytes: found.bytes,
            ..root.clone()
        };
        if now != *root {
            if let Some(listing) = now.listing {
                self.store.pin(&ContentId::sha256(listing.0))?;
            }
            self.store.put_root(&now)?;
            unpin(&self.store, root.listing)?;
        }
        Ok(listing)
    }
}
