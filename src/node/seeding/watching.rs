//! Following what changes in seeded folders.
//!
//! The system tells of changes folder by folder (inotify, by way of `notify`). Every folder that a
//! pass enters is watched from before it is read. A file that changes is hashed again as soon as it
//! has been left alone for a moment; the folder's listing, for which the whole folder is gone over,
//! follows a little later, and the later the longer that takes. In between the old content is not
//! served: whoever serves compares the file with what it was when it was hashed.
//!
//! The number of watches is limited (`fs.inotify.max_user_watches`), and so is the queue of notices.
//! Where a limit is reached, everything is gone over again every minute, and that is said. It is
//! gone over now and then in any case: changes through a memory map make no notice.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Config, RecommendedWatcher, RecursiveMode, Watcher};

use super::keeper::{Inner, PASSES, lock};
use super::lanes::Lanes;
use super::pass::{Pass, Start};
use super::status::Watch;

/// How long the thread sleeps at most.
const TICK: Duration = Duration::from_millis(100);
/// Changed paths that are kept apart; with more, whole roots are gone over.
const DIRTY: usize = 10_000;
/// How long after a change the listing is made anew, at the least.
const LISTING_AFTER: Duration = Duration::from_secs(1);
/// A root is gone over so that it takes a tenth of the time ...
const SHARE: u32 = 10;
/// ... but no later than this: the first time takes long because it hashes.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Everything is gone over after so long even if nothing seems to change.
const ANYWAY: Duration = Duration::from_secs(15 * 60);

/// What is heard of changes.
pub(super) enum Notice {
    System(notify::Result<notify::Event>),
    Stop,
}

/// The watches.
pub(super) struct Watching {
    watcher: Mutex<Option<RecommendedWatcher>>,
    watched: Mutex<HashSet<PathBuf>>,
    /// Whether a limit was reached.
    limited: AtomicBool,
    /// When each root was last gone over, and how long that took.
    passes: Mutex<HashMap<PathBuf, (Instant, Duration)>>,
    stop: Sender<Notice>,
}

impl Watching {
    pub fn new(notices: bool) -> (Self, Receiver<Notice>) {
        let (sender, events) = mpsc::channel();
        let tell = sender.clone();
        let handler = move |event| drop(tell.send(Notice::System(event)));
        let config = Config::default().with_follow_symlinks(false);
        let watcher = notices
            .then(|| RecommendedWatcher::new(handler, config).map_err(tell_limit))
            .and_then(Result::ok);
        let watching = Self {
            limited: AtomicBool::new(watcher.is_none()),
            watcher: Mutex::new(watcher),
            watched: Mutex::default(),
            passes: Mutex::default(),
            stop: sender,
        };
        (watching, events)
    }

    /// Watches `folder` from now on.
    pub fn enter(&self, folder: &Path) {
        if self.limited.load(Ordering::Relaxed) || lock(&self.watched).contains(folder) {
            return;
        }
        let mut watcher = lock(&self.watcher);
        let Some(watcher) = watcher.as_mut() else {
            return;
        };
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                lock(&self.watched).insert(folder.to_owned());
            }
            // Gone again, or not to be read: nothing in it is served.
            Err(error) if !is_limit(&error) => {
                tracing::debug!(%error, folder = %folder.display(), "a folder is not watched");
            }
            Err(error) => {
                self.limited.store(true, Ordering::Relaxed);
                tell_limit(error);
            }
        }
    }

    /// A root is no longer seeded.
    pub fn forget(&self, path: &Path) {
        self.unwatch(path);
        lock(&self.passes).remove(path);
    }

    /// Watches nothing below `path` any more.
    fn unwatch(&self, path: &Path) {
        let gone: Vec<PathBuf> = lock(&self.watched)
            .extract_if(|folder| folder.starts_with(path))
            .collect();
        if let Some(watcher) = lock(&self.watcher).as_mut() {
            for folder in gone {
                // The system drops the watch of a folder that is gone by itself.
                let _ = watcher.unwatch(&folder);
            }
        }
    }

    /// How changes are noticed.
    pub fn watch(&self) -> Watch {
        if self.limited.load(Ordering::Relaxed) {
            Watch::Rescans
        } else {
            Watch::Live
        }
    }

    /// A root has been gone over, which took this long.
    pub fn gone_over(&self, root: &Path, took: Duration) {
        lock(&self.passes).insert(root.to_owned(), (Instant::now(), took));
    }

    pub fn stop(&self) {
        // Its thread may have ended.
        let _ = self.stop.send(Notice::Stop);
    }
}

fn is_limit(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => true,
        notify::ErrorKind::Io(error) => matches!(
            error.raw_os_error(),
            Some(libc::ENOSPC | libc::EMFILE | libc::ENFILE | libc::ENOMEM)
        ),
        _ => false,
    }
}

fn tell_limit(error: notify::Error) {
    tracing::warn!(
        %error,
        "changes of seeded folders are looked for every minute only, since the system gives no \
         more watches; raise fs.inotify.max_user_watches and start again to have them noticed at once"
    );
}

/// Starts the thread that follows changes. It ends when it is told to, or nobody has the seeder.
pub(super) fn start(inner: Weak<Inner>, events: Receiver<Notice>) -> std::io::Result<()> {
    thread::Builder::new()
        .name("watching".into())
        .spawn(move || {
            let mut follower = Follower::default();
            loop {
                let next = events.recv_timeout(TICK);
                let Some(inner) = inner.upgrade() else {
                    return;
                };
                match next {
                    Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                    Ok(Notice::System(event)) => follower.hear(&inner, event),
                    Err(RecvTimeoutError::Timeout) => {}
                }
                // A busy folder tells thousands of times a second.
                for notice in events.try_iter().take(DIRTY) {
                    match notice {
                        Notice::Stop => return,
                        Notice::System(event) => follower.hear(&inner, event),
                    }
                }
                if inner.stopping.load(Ordering::Relaxed) {
                    return;
                }
                follower.act(&inner);
            }
        })
        .map(drop)
}

#[derive(Default)]
struct Follower {
    /// Changed paths, and when last.
    dirty: HashMap<PathBuf, Instant>,
    /// Roots whose listing is out of date, and since when.
    outdated: HashMap<PathBuf, Instant>,
    /// Roots to be gone over at once.
    urgent: HashSet<PathBuf>,
    /// What has been left alone and is to be hashed.
    lanes: Lanes,
    /// Roots that are being gone over because of what was noticed.
    rescanning: Arc<Mutex<HashSet<PathBuf>>>,
    acted: Option<Instant>,
}

impl Follower {
    fn hear(&mut self, inner: &Inner, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                if is_limit(&error) {
                    inner.watching.limited.store(true, Ordering::Relaxed);
                    tell_limit(error);
                } else {
                    tracing::debug!(%error, "a notice of changes was lost");
                }
                self.all(inner);
                return;
            }
        };
        if event.need_rescan() {
            self.all(inner);
        }
        let reading = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => true,
            _ => false,
        };
        if reading {
            return;
        }
        let now = Instant::now();
        for path in event.paths {
            if matches!(
                event.kind,
                EventKind::Remove(_) | EventKind::Modify(notify::event::ModifyKind::Name(_))
            ) && lock(&inner.watching.watched).contains(&path)
            {
                inner.watching.unwatch(&path);
            }
            self.dirty.insert(path, now);
        }
        if self.dirty.len() + self.lanes.len() > DIRTY {
            self.dirty.clear();
            self.lanes.clear();
            self.all(inner);
        }
    }

    /// Everything is to be gone over.
    fn all(&mut self, inner: &Inner) {
        let roots = inner.store.roots().into_iter().filter(|root| !root.once);
        self.urgent.extend(roots.map(|root| root.path));
    }

    fn act(&mut self, inner: &Arc<Inner>) {
        let now = Instant::now();
        if self.acted.is_some_and(|acted| acted + TICK > now) {
            return;
        }
        self.acted = Some(now);
        self.hash_changed(inner, now);
        self.go_over(inner, now);
    }

    /// Hashes the files that have been left alone.
    fn hash_changed(&mut self, inner: &Arc<Inner>, now: Instant) {
        let quiet = inner.options.quiet;
        let ready: Vec<PathBuf> = self
            .dirty
            .extract_if(|_, last| *last + quiet <= now)
            .map(|(path, _)| path)
            .collect();
        if !ready.is_empty() {
            self.queue(inner, ready, now);
        }
        while let Some((paths, place)) = self.lanes.next(|path| self.dirty.contains_key(path)) {
            let inner = Arc::clone(inner);
            let spawned = thread::Builder::new()
                .name("rehashing".into())
                .spawn(move || {
                    hash_again(&inner, &paths);
                    drop(place);
                });
            if let Err(error) = spawned {
                tracing::warn!(%error, "changed files could not be hashed");
            }
        }
    }

    /// Puts what has changed in the lanes, and their roots down for new listings.
    fn queue(&mut self, inner: &Inner, changed: Vec<PathBuf>, now: Instant) {
        let roots = inner.store.roots();
        for path in changed {
            let holding: Vec<_> = roots
                .iter()
                .filter(|root| !root.once && is_visible(&root.path, &path))
                .collect();
            for root in &holding {
                self.outdated.insert(root.path.clone(), now);
            }
            if !holding.is_empty() && !path.starts_with(inner.store.dir()) {
                self.lanes.add(path);
            }
        }
    }

    /// Goes over the roots that it is time for.
    fn go_over(&mut self, inner: &Arc<Inner>, now: Instant) {
        let mut due = std::mem::take(&mut self.urgent);
        let rescans = inner.watching.watch() == Watch::Rescans;
        for root in inner.store.roots() {
            // What was never gone over is being gone over, or waits for it.
            let known = lock(&inner.watching.passes).get(&root.path).copied();
            let Some((last, took)) = known else { continue };
            let pause = took.saturating_mul(SHARE).min(LONGEST_PAUSE);
            let changed = self.outdated.get(&root.path).copied();
            let every = if rescans {
                inner.options.rescan_every
            } else {
                ANYWAY
            };
            let overdue = last + every.max(pause) <= now;
            let outdated =
                changed.is_some_and(|at| at + LISTING_AFTER <= now && last + pause <= now);
            if !root.once && (overdue || outdated) {
                due.insert(root.path);
            }
        }
        for root in due {
            // One pass at a time over a root, and only so many in all; the others stay due.
            if inner.is_gone_over(&root) || !self.begin_pass(inner, &root) {
                self.urgent.insert(root);
            } else {
                self.outdated.remove(&root);
            }
        }
    }

    /// Goes over a root on a thread of its own, if one more may.
    fn begin_pass(&self, inner: &Arc<Inner>, root: &Path) -> bool {
        {
            let mut rescanning = lock(&self.rescanning);
            if rescanning.len() >= PASSES || !rescanning.insert(root.to_owned()) {
                return false;
            }
        }
        let (inner, rescanning) = (Arc::clone(inner), Arc::clone(&self.rescanning));
        let (path, ended) = (root.to_owned(), Arc::clone(&rescanning));
        let spawned = thread::Builder::new()
            .name("seeding".into())
            .spawn(move || {
                inner.go_over_silently(&path);
                lock(&ended).remove(&path);
            });
        if let Err(error) = &spawned {
            lock(&rescanning).remove(root);
            tracing::warn!(%error, "seeded folders could not be gone over");
        }
        spawned.is_ok()
    }
}

/// Whether `path` is `root` or in it, and no name on the way begins with a dot.
fn is_visible(root: &Path, path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    path.strip_prefix(root)
        .is_ok_and(|inside| inside.iter().all(|name| !name.as_bytes().starts_with(b".")))
}

/// Hashes `paths` again, and forgets those that are gone.
fn hash_again(inner: &Inner, paths: &[PathBuf]) {
    let mut starts = Vec::new();
    for path in paths {
        match std::fs::symlink_metadata(path) {
            Ok(_) => starts.push(Start::Inside(path.clone())),
            Err(_) => {
                if let Err(error) = inner.store.forget_seeded_below(path, |_| false) {
                    tracing::warn!(%error, "a file that is gone could not be forgotten");
                }
            }
        }
    }
    let observer = inner.until_stopped();
    let entering = |folder: &Path| inner.watching.enter(folder);
    let passed = Pass::of_store(&inner.store, &observer)
        .entering(&entering)
        .at_low_priority(inner.options.background)
        .run(&starts);
    // What has been taken out meanwhile is not to come back by this.
    let roots = inner.store.roots();
    let gone = |path: &&Path| !roots.iter().any(|root| is_visible(&root.path, path));
    let forgotten = passed.and_then(|_| {
        for path in starts.iter().map(Start::path).filter(gone) {
            inner.store.forget_seeded_below(path, |_| false)?;
        }
        inner.store.flush()
    });
    if let Err(error) = forgotten {
        tracing::warn!(%error, "changed files could not be seeded");
    }
}
