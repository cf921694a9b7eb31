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
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::gather::Gathered;
use super::observers::{Silent, UntilStopped, Watched};
use super::pass::{Pass, Start};
use super::status::{RootStatus, statuses};
use super::turns::Turns;
use super::unseeding::{UnseedError, forget, is_in, unpin, unseed};
use super::watching::Watching;
use super::{Observer, Skip};
use crate::content::listing::ListingError;
use crate::content::{ContentHasher, ContentId, Hash};
use crate::store::{Root, Store, StoreError};

/// How long a pass waits for another one over the same root before it looks whether it is still
/// wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a pass may take to notice that it has been cancelled.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);

/// Roots that are gone over at once, so that a huge one does not keep the others waiting.
pub(super) const PASSES: usize = 4;

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
    /// Where it lies.
    pub path: PathBuf,
    /// Files that are served.
    pub files: u64,
    /// A folder's listing by its SHA-256, or why it has none.
    pub listing: Option<Result<Hash, ListingError>>,
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
    turns: Turns,
    /// Is told what a root has after each pass over it.
    told: OnceLock<Told>,
}

type Told = Box<dyn Fn(&Path, Hash) + Send + Sync>;

/// A pass that runs.
#[derive(Default)]
pub(super) struct Progress {
    pub cancelled: AtomicBool,
    pub found: AtomicU64,
    pub done: AtomicU64,
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
            turns: Turns::default(),
            told: OnceLock::new(),
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

    /// Calls `told` after each pass with what the root then is: a folder's listing, or the content of
    /// a file. The first one to ask is told, and no other.
    pub fn tell_content(&self, told: impl Fn(&Path, Hash) + Send + Sync + 'static) {
        let _ = self.0.told.set(Box::new(told));
    }

    /// Goes over everything that is remembered and not in `except`, on threads of its own.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn resume(&self, except: &[PathBuf]) -> io::Result<()> {
        let mut roots = self.0.store.roots();
        roots.retain(|root| !except.contains(&root.path));
        let threads = roots.len().min(PASSES);
        let next = Arc::new(Mutex::new(roots.into_iter()));
        for _ in 0..threads {
            let (inner, next) = (Arc::clone(&self.0), Arc::clone(&next));
            let take = move || lock(&next).next();
            thread::Builder::new()
                .name("seeding".into())
                .spawn(move || {
                    while let Some(root) = take() {
                        inner.go_over_silently(&root.path);
                    }
                })?;
        }
        Ok(())
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

    /// [`Seeder::seed`]; but what was not seeded before and has nothing to serve, not even a listing,
    /// is not remembered.
    ///
    /// # Errors
    /// The store fails. What is wrong with a file is told to the observer and ends nothing.
    pub fn seed_if_any(
        &self,
        paths: &[PathBuf],
        once: bool,
        observer: &dyn Observer,
    ) -> Result<Vec<SeededRoot>, StoreError> {
        let known = self.0.store.roots();
        let roots = self.seed(paths, once, observer)?;
        let is_new = |root: &SeededRoot| known.iter().all(|known| known.path != root.path);
        let serves = |root: &SeededRoot| root.files > 0 || matches!(root.listing, Some(Ok(_)));
        for root in roots.iter().filter(|root| !serves(root) && is_new(root)) {
            // Unless it was published meanwhile, or taken out.
            if let Err(UnseedError::Store(error)) = self.unseed(&root.path) {
                return Err(error);
            }
        }
        Ok(roots)
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
    pub fn go_over_silently(&self, root: &Path) {
        let (roots, starts) = ([root.to_owned()], [Start::Argument(root.to_owned())]);
        if let Err(error) = self.pass(&roots, &starts, &Silent) {
            tracing::warn!(%error, root = %root.display(), "seeding failed");
        }
    }

    /// Whether a pass over this root runs.
    pub fn is_gone_over(&self, root: &Path) -> bool {
        lock(&self.passes).contains_key(root)
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
            .in_turn(&self.turns)
            .run(starts)?;
        let mut results = Vec::new();
        if watched.wanted() {
            for ((root, start), found) in roots.iter().zip(starts).zip(gathered) {
                results.push(SeededRoot {
                    shown: start.path().to_owned(),
                    path: root.clone(),
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
        mut found: Gathered,
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
            match found.take_listing() {
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
        if let Some(told) = self.told.get() {
            // Of one that has been emptied the store still knows what it was.
            let of_file = || match found.empty {
                true => Some(ContentHasher::new().finish().sha256),
                false => self.store.seeded_at(path).map(|file| file.sha256),
            };
            match now.listing.or_else(of_file) {
                Some(sha256) if !found.folder || now.listing.is_some() => told(path, sha256),
                _ => {}
            }
        }
        Ok(listing)
    }
}
