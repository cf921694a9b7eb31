//! The walk that finds files and hashes them into the store's index, so that they can be served.
//!
//! One thread walks, two hash: SHA-256 of one file keeps one core busy, so that a second helps, and
//! more would take the machine from its owner. Between them is a bounded queue, so that the memory
//! for names does not follow the number of files. The walk runs ahead of the hashing as far as the
//! queue lets it; for all but huge folders the observer knows the whole size after a moment.
//!
//! What is being written to must not be hashed half old, half new. A file's identity is taken
//! before and after, and a file that was changed a moment ago is left to rest first: the kernel
//! stamps changes with a clock that ticks every few milliseconds, and a write within the tick of
//! the first look would not show.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::content::{ContentHasher, Hash};
use crate::store::{Identity, Store, StoreError, open_link_free};

/// Files found and not yet hashed.
const QUEUE: usize = 1 << 16;
/// Threads that hash.
const HASHERS: usize = 2;
/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Times that a file is begun anew because it changed meanwhile.
const ATTEMPTS: u32 = 3;
/// Longer than the tick of any kernel clock (1 to 10 ms).
const REST: Duration = Duration::from_millis(20);
/// Folders within folders; deeper ones are left out, as a guard of the stack.
const DEPTH: u32 = 200;

/// Why something that was found is not seeded.
#[derive(Debug)]
pub enum Skip {
    /// The network does not carry content of length zero.
    Empty,
    /// Met inside a folder. A link that the user names is followed.
    SymbolicLink,
    /// A device, socket or pipe.
    Special,
    /// It cannot be opened, listed or read.
    Unreadable(io::Error),
    /// It was written to each time that it was hashed.
    Changing,
    /// The folder of the store itself, which is served anyway.
    OwnStore,
    /// Folders nested deeper than this walk goes.
    TooDeep,
}

/// One file that is served from now on.
#[derive(Debug)]
pub struct SeededFile<'a> {
    /// As the user named it: the argument, and below it the path inside.
    pub path: &'a Path,
    /// SHA-256 of the content.
    pub sha256: Hash,
    /// BLAKE3 of the content.
    pub blake3: Hash,
    /// Bytes.
    pub length: u64,
}

/// What the walk tells while it runs, from several threads at once.
pub trait Observer: Sync {
    /// A file of this many bytes will be hashed.
    fn found(&self, length: u64);
    /// This many more bytes have been hashed, or need no hashing since the index knows the file.
    fn progress(&self, bytes: u64);
    /// This file is served from now on.
    fn seeded(&self, file: &SeededFile<'_>);
    /// This path is not seeded.
    fn skipped(&self, path: &Path, why: &Skip);
    /// Whether to go on; asked at least once per MiB.
    fn wanted(&self) -> bool;
}

struct Found {
    shown: PathBuf,
    real: PathBuf,
    length: u64,
}

/// Walks `paths`, hashes what the index does not know unchanged, and adds it to `store`, which
/// serves each file from then on. Returns when all is done, or soon after the observer wants no
/// more.
///
/// # Errors
/// The store fails. What is wrong with a file is told to the observer and ends nothing.
pub fn seed_paths(
    store: &Store,
    paths: &[PathBuf],
    observer: &dyn Observer,
) -> Result<(), StoreError> {
    let (sender, receiver) = sync_channel(QUEUE);
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        let hashers: Vec<_> = (0..HASHERS)
            .map(|_| scope.spawn(|| hash_all(store, &receiver, observer)))
            .collect();
        let own = fs::canonicalize(store.dir()).ok();
        let walk = Walk {
            own: own.as_deref(),
            observer,
            queue: sender,
        };
        for path in paths {
            walk.argument(path);
        }
        drop(walk);
        let mut result = Ok(());
        for hasher in hashers {
            match hasher.join() {
                Ok(one) => result = result.and(one),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        // A seeder runs for days and ends by a power cut: what was hashed is not hashed again.
        result.and_then(|()| store.flush())
    })
}

struct Walk<'a> {
    own: Option<&'a Path>,
    observer: &'a dyn Observer,
    queue: SyncSender<Found>,
}

impl Walk<'_> {
    /// A path that the user named: links are followed here, and only here.
    fn argument(&self, shown: &Path) {
        match fs::canonicalize(shown) {
            Ok(real) => self.visit(shown, &real, 0),
            Err(e) => self.observer.skipped(shown, &Skip::Unreadable(e)),
        }
    }

    fn visit(&self, shown: &Path, real: &Path, depth: u32) {
        if !self.observer.wanted() {
            return;
        }
        let skip = match fs::symlink_metadata(real) {
            Err(e) => Skip::Unreadable(e),
            Ok(metadata) if metadata.is_dir() => {
                if self.own == Some(real) {
                    Skip::OwnStore
                } else if depth >= DEPTH {
                    Skip::TooDeep
                } else {
                    match self.folder(shown, real, depth) {
                        Ok(()) => return,
                        Err(e) => Skip::Unreadable(e),
                    }
                }
            }
            Ok(metadata) if metadata.is_symlink() => Skip::SymbolicLink,
            Ok(metadata) if !metadata.is_file() => Skip::Special,
            Ok(metadata) if metadata.len() == 0 => Skip::Empty,
            Ok(metadata) => {
                let found = Found {
                    shown: shown.to_owned(),
                    real: real.to_owned(),
                    length: metadata.len(),
                };
                self.observer.found(found.length);
                // The hashers are gone only if the store failed, which ends the walk anyway.
                let _ = self.queue.send(found);
                return;
            }
        };
        self.observer.skipped(shown, &skip);
    }

    fn folder(&self, shown: &Path, real: &Path, depth: u32) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(real)? {
            names.push(entry?.file_name());
        }
        names.sort_unstable();
        for name in names {
            self.visit(&shown.join(&name), &real.join(&name), depth + 1);
        }
        Ok(())
    }
}

fn hash_all(
    store: &Store,
    queue: &Mutex<Receiver<Found>>,
    observer: &dyn Observer,
) -> Result<(), StoreError> {
    let mut buffer = vec![0; CHUNK];
    let mut result = Ok(());
    loop {
        // A poisoned lock means that the other hasher panicked; the queue itself is sound.
        let next = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(poisoned) => poisoned.into_inner().recv(),
        };
        let Ok(found) = next else { return result };
        // After a failure the queue is still emptied, so that the walk does not wait for room.
        if result.is_ok() && observer.wanted() {
            result = seed_one(store, &found, observer, &mut buffer);
        }
    }
}

/// What came of one attempt to hash a file.
enum Attempt {
    Seeded(Hash, Hash, u64),
    /// It changed while it was read; this many bytes were counted as progress.
    Changed(u64),
    Stopped,
    Skipped(Skip),
}

fn seed_one(
    store: &Store,
    found: &Found,
    observer: &dyn Observer,
    buffer: &mut [u8],
) -> Result<(), StoreError> {
    let mut told = 0;
    let mut skip = Skip::Changing;
    for _ in 0..ATTEMPTS {
        // Later attempts tell no progress: their bytes have been told already.
        let tell = |bytes: u64| {
            if told == 0 {
                observer.progress(bytes);
            }
        };
        match attempt(store, &found.real, observer, tell, buffer) {
            Ok(Attempt::Seeded(sha256, blake3, length)) => {
                observer.seeded(&SeededFile {
                    path: &found.shown,
                    sha256,
                    blake3,
                    length,
                });
                return Ok(());
            }
            Ok(Attempt::Changed(bytes)) => told = told.max(bytes),
            Ok(Attempt::Stopped) => return Ok(()),
            Ok(Attempt::Skipped(why)) => {
                skip = why;
                break;
            }
            Err(AttemptError::File(e)) => {
                skip = Skip::Unreadable(e);
                break;
            }
            Err(AttemptError::Store(e)) => return Err(e),
        }
    }
    observer.skipped(&found.shown, &skip);
    Ok(())
}

enum AttemptError {
    File(io::Error),
    Store(StoreError),
}

impl From<io::Error> for AttemptError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

fn attempt(
    store: &Store,
    path: &Path,
    observer: &dyn Observer,
    tell: impl Fn(u64),
    buffer: &mut [u8],
) -> Result<Attempt, AttemptError> {
    // It may be another thing by now than when it was found, and its folder be a link to another.
    let mut file = open_link_free(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Attempt::Skipped(Skip::Special));
    }
    let mut before = Identity::of(&metadata);
    if let Some((sha256, blake3, length)) = store.seeded_digests(path, &before) {
        tell(length);
        return Ok(Attempt::Seeded(sha256, blake3, length));
    }
    if changed_just_now(&before) {
        thread::sleep(REST);
        before = Identity::of(&file.metadata()?);
    }
    let mut hasher = ContentHasher::new();
    let mut hashed = 0;
    loop {
        if !observer.wanted() {
            return Ok(Attempt::Stopped);
        }
        let count = match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        let Some(read) = buffer.get(..count) else {
            break;
        };
        hasher.update(read);
        hashed += read.len() as u64;
        tell(read.len() as u64);
        if hashed > before.size {
            return Ok(Attempt::Changed(hashed));
        }
    }
    // By the path, not by the descriptor: the path is what will be opened to serve it.
    let after = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Identity::of(&metadata),
        Ok(_) => return Ok(Attempt::Skipped(Skip::Special)),
        Err(e) => return Err(e.into()),
    };
    if after != before || hashed != before.size {
        return Ok(Attempt::Changed(hashed));
    }
    if hashed == 0 {
        return Ok(Attempt::Skipped(Skip::Empty));
    }
    let digests = hasher.finish();
    store
        .add_seeded(path, before, &digests)
        .map_err(AttemptError::Store)?;
    Ok(Attempt::Seeded(
        digests.sha256,
        digests.blake3,
        digests.length,
    ))
}

/// Whether the file was changed less than [`REST`] ago, or in the future of a clock set back.
fn changed_just_now(identity: &Identity) -> bool {
    let (seconds, nanoseconds) = identity.ctime;
    let Ok(seconds) = u64::try_from(seconds) else {
        return false;
    };
    let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    match changed.elapsed() {
        Ok(age) => age < REST,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests;
