//! Hashing one file, so that what is noted is what was there.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use super::pass::Work;
use super::turns::LONG;
use super::walk::{Found, listed_file};
use super::{Observer, SeededFile, Skip};
use crate::content::listing::{Entry, Listed};
use crate::content::{ContentHasher, Digests};
use crate::store::{Hashing, Identity, Store, StoreError, StreamingHasher, open_link_free};

/// Bytes read at once.
pub(super) const CHUNK: usize = 1 << 20;
/// Times that a file is begun anew because it changed meanwhile.
const ATTEMPTS: u32 = 3;
/// Longer than the tick of any kernel clock (1 to 10 ms).
const REST: Duration = Duration::from_millis(20);

/// What came of one attempt to hash a file.
enum Attempt {
    Hashed(Listed),
    /// It changed while it was read; this many bytes were counted as progress.
    Changed(u64),
    Stopped,
    Skipped(Skip),
}

/// Hashes a file and notes it; nothing of it where the observer wants no more.
pub(super) fn seed_one(
    work: &Work<'_>,
    found: &Found,
    observer: &dyn Observer,
    buffer: &mut Vec<u8>,
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
        match attempt(work, &found.real, observer, tell, buffer) {
            Ok(Attempt::Hashed(listed)) => {
                note(work, found, listed, observer);
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

fn note(work: &Work<'_>, found: &Found, listed: Listed, observer: &dyn Observer) {
    let Listed::File {
        length,
        sha256,
        blake3: Some(blake3),
        ..
    } = listed
    else {
        return;
    };
    work.gather(found.start, |gathered| {
        gathered.bytes = gathered.bytes.saturating_add(length);
        gathered.served.insert(found.real.clone());
        if let Some(path) = &found.listed {
            gathered.entries.push(Entry {
                path: path.clone(),
                what: listed,
            });
        }
    });
    observer.seeded(&SeededFile {
        path: &found.shown,
        sha256,
        blake3,
        length,
    });
}

enum AttemptError {
    File(io::Error),
    Store(StoreError),
}

impl From<StoreError> for AttemptError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for AttemptError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

fn attempt(
    work: &Work<'_>,
    path: &Path,
    observer: &dyn Observer,
    tell: impl Fn(u64),
    buffer: &mut Vec<u8>,
) -> Result<Attempt, AttemptError> {
    let store = work.store;
    // It may be another thing by now than when it was found, and its folder be a link to another.
    let mut file = open_link_free(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Attempt::Skipped(Skip::Special));
    }
    let mut before = Identity::of(&metadata);
    if let Some((sha256, blake3, length)) =
        store.and_then(|store| store.seeded_digests(path, &before))
    {
        tell(length);
        let listed = listed_file(&metadata, &sha256, &blake3, length);
        return Ok(Attempt::Hashed(listed));
    }
    let turn = match work.turns.filter(|_| before.size > LONG) {
        None => None,
        Some(turns) => match turns.take(&|| observer.wanted()) {
            None => return Ok(Attempt::Stopped),
            turn => turn,
        },
    };
    if changed_just_now(&before) {
        thread::sleep(REST);
    }
    // Anew: it has waited.
    before = Identity::of(&file.metadata()?);
    let mut hashing = Hasher::new(store, before.size)?;
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
        hashing.hand_over(buffer, count)?;
        hashed += count as u64;
        tell(count as u64);
        if hashed > before.size {
            return Ok(Attempt::Changed(hashed));
        }
    }
    drop(turn);
    // By the path, not by the descriptor: the path is what will be opened to serve it.
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return Ok(Attempt::Skipped(Skip::Special)),
        Err(e) => return Err(e.into()),
    };
    if Identity::of(&metadata) != before || hashed != before.size {
        return Ok(Attempt::Changed(hashed));
    }
    if hashed == 0 {
        return Ok(Attempt::Skipped(Skip::Empty { listed: false }));
    }
    let Some(digests) = hashing.finish()? else {
        return Ok(Attempt::Changed(hashed));
    };
    if let Some(store) = store {
        store.add_seeded(path, before, &digests)?;
    }
    Ok(Attempt::Hashed(listed_file(
        &metadata,
        &digests.sha256,
        &digests.blake3,
        digests.length,
    )))
}

/// Into the store, tree and all, or only for the hashes.
enum Hasher {
    Stored(Hashing),
    Short(Box<ContentHasher>),
    Long(Box<StreamingHasher>),
}

impl Hasher {
    fn new(store: Option<&Store>, length: u64) -> Result<Self, StoreError> {
        Ok(match (store, StreamingHasher::new(length)) {
            (Some(store), _) => Self::Stored(store.hashing(length)?),
            (None, Some(hasher)) => Self::Long(Box::new(hasher)),
            (None, None) => Self::Short(Box::new(ContentHasher::new())),
        })
    }

    fn hand_over(&mut self, buffer: &mut Vec<u8>, count: usize) -> Result<(), AttemptError> {
        match self {
            Self::Stored(hashing) => hashing.hand_over(buffer, count)?,
            Self::Short(hasher) => hasher.update(buffer.get(..count).unwrap_or(buffer)),
            Self::Long(hasher) => hasher.hand_over(buffer, count, |_, _| Ok(()))?,
        }
        Ok(())
    }

    /// `None` if the content had another length than was said.
    fn finish(self) -> Result<Option<Digests>, AttemptError> {
        Ok(match self {
            Self::Stored(hashing) => match hashing.finish()? {
                Some(hashed) => Some(hashed.keep_tree()?),
                None => None,
            },
            Self::Short(hasher) => Some(hasher.finish()),
            Self::Long(hasher) => hasher.finish(|_, _| Ok(()))?,
        })
    }
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
