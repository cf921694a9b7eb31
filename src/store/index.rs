//! The embedded database: what is held, where it is seeded from, which hashes belong together.
//!
//! The files are the truth of complete content; of what is seeded, the database is the only record,
//! and losing the last seconds of it costs hashing again. So a change is committed in memory at
//! once and made durable in batches ([`Index::flush`]): a commit costs some tens of microseconds
//! in place of an fsync, and a million files can be added at the speed of hashing. Durable commits
//! save redb's allocator state too (`quick_repair`), since a start after a crash would otherwise
//! walk the whole database.

mod seeded;
mod uses;

use std::ffi::OsStr;
use std::fs::{OpenOptions, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{RwLock, RwLockReadGuard};

use redb::{
    Builder, Database, Durability, Error, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition, TableHandle, WriteTransaction,
};
use tracing::warn;

use crate::content::{ContentId, Hash, Kind};

pub(super) use uses::Entry;

use super::lent::RECORD;
use super::prefixes::prefix;

/// Kind and hash -> length.
const COMPLETE: TableDefinition<[u8; 33], u64> = TableDefinition::new("complete_v1");
/// SHA-256 -> BLAKE3 of the same content, and the other way round.
const PAIRS: TableDefinition<[u8; 32], [u8; 32]> = TableDefinition::new("pairs_v1");
const PAIRS_BACK: TableDefinition<[u8; 32], [u8; 32]> = TableDefinition::new("pairs_back_v1");
/// Path -> record.
const SEEDED: TableDefinition<&[u8], &[u8]> = TableDefinition::new("seeded_v1");
/// Number of a seeded file -> path. The number keeps paths out of the table below, whose size
/// decides how fast a store with a million files opens.
const SEEDED_PATHS: TableDefinition<u64, &[u8]> = TableDefinition::new("seeded_paths_v1");
/// First 64 bits of the id (see [`prefix`]), number of a seeded file.
const SEEDED_IDS: TableDefinition<(u64, u64), ()> = TableDefinition::new("seeded_ids_v1");
/// Kind and hash -> what a file was when it was lent (see `lent`).
const LENT: TableDefinition<[u8; 33], [u8; RECORD]> = TableDefinition::new("lent_v1");
/// Path of a file or folder that the user seeds -> record (see `roots`).
const ROOTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("roots_v1");
/// Rank -> address.
const PEERS: TableDefinition<u32, &str> = TableDefinition::new("peers_v1");

/// `whole` -> 1, once every complete file has been entered.
const STATE: TableDefinition<&str, u64> = TableDefinition::new("state_v1");

/// Pages kept in memory; the system's page cache holds the rest.
const CACHE: usize = 16 << 20;

fn key(id: &ContentId) -> [u8; 33] {
    let mut key = [0; 33];
    key[0] = match id.kind {
        Kind::Sha256 => 1,
        Kind::Blake3 => 2,
        Kind::TreeV2 => 3,
    };
    key[1..].copy_from_slice(&id.hash.0);
    key
}

fn id(key: &[u8; 33]) -> Option<ContentId> {
    let (kind, hash) = key.split_first()?;
    let kind = match kind {
        1 => Kind::Sha256,
        2 => Kind::Blake3,
        3 => Kind::TreeV2,
        _ => return None,
    };
    Some(ContentId {
        kind,
        hash: Hash(hash.try_into().ok()?),
    })
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

type Result<T> = std::result::Result<T, Error>;

/// The open database.
pub(super) struct Index {
    path: PathBuf,
    /// `None` only when it could not be opened again after a failure of the disk.
    database: RwLock<Option<Database>>,
}

fn open_database(path: &Path) -> Result<Database> {
    // It tells what the user has and where; also a file of before is closed to others.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(Builder::new().set_cache_size(CACHE).create_file(file)?)
}

/// `complete_v1` is version 1 of `complete`.
fn version_of(name: &str) -> Option<(String, u64)> {
    let (base, version) = name.rsplit_once("_v")?;
    Some((base.to_owned(), version.parse().ok()?))
}

/// The version of the file's format, if it is newer than this program's database understands: that
/// calls it damage. In a file that is damaged the two places where it is noted do not agree.
fn newer_format(path: &Path) -> Option<u8> {
    use std::os::unix::fs::FileExt;
    const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
    const SLOTS: [usize; 2] = [64, 192];
    const KNOWN: u8 = 3;
    let mut header = [0; 256];
    let file = std::fs::File::open(path).ok()?;
    file.read_exact_at(&mut header, 0).ok()?;
    let [first, second] = SLOTS.map(|slot| header.get(slot).copied());
    let newer = header.starts_with(MAGIC) && first == second;
    first.filter(|version| newer && (KNOWN + 1..32).contains(version))
}

impl Index {
    /// What of the database is of a later release, if anything is: the file's own format, or a table
    /// of ours with a higher version.
    pub(super) fn newer(path: &Path) -> Result<Option<String>> {
        if let Some(version) = newer_format(path) {
            return Ok(Some(format!("redb file format {version}")));
        }
        if !path.exists() {
            return Ok(None);
        }
        let database = open_database(path)?;
        let txn = database.begin_read()?;
        let known: Vec<(String, u64)> = Self::names().into_iter().filter_map(version_of).collect();
        let newer = txn.list_tables()?.find(|table| {
            version_of(table.name()).is_some_and(|(base, version)| {
                known
                    .iter()
                    .any(|(name, known)| *name == base && version > *known)
            })
        });
        Ok(newer.map(|table| format!("table {}", table.name())))
    }

    fn names() -> Vec<&'static str> {
        let mut names = vec![
            COMPLETE.name(),
            PAIRS.name(),
            PAIRS_BACK.name(),
            SEEDED.name(),
            SEEDED_PATHS.name(),
            SEEDED_IDS.name(),
            LENT.name(),
            PEERS.name(),
            STATE.name(),
        ];
        names.extend(uses::names());
        names
    }

    pub(super) fn open(path: &Path) -> Result<Self> {
        let index = Self {
            path: path.to_owned(),
            database: RwLock::new(Some(open_database(path)?)),
        };
        index.write(|txn| {
            txn.open_table(COMPLETE)?;
            txn.open_table(PAIRS)?;
            txn.open_table(PAIRS_BACK)?;
            txn.open_table(SEEDED)?;
            txn.open_table(SEEDED_PATHS)?;
            txn.open_table(SEEDED_IDS)?;
            txn.open_table(LENT)?;
            txn.open_table(ROOTS)?;
            txn.open_table(PEERS)?;
            txn.open_table(STATE)?;
            uses::create_tables(txn)
        })?;
        index.enter_uses()?;
        Ok(index)
    }

    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(|e| e.into_inner())
    }

    /// Runs `action`; after a failure of the disk (redb then refuses everything), such as one that
    /// was full, opens the database again for the next one.
    fn with<T>(&self, action: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        let result = match &*self.database() {
            Some(database) => action(database),
            None => Err(Error::DatabaseClosed),
        };
        if matches!(
            result,
            Err(Error::Io(_) | Error::PreviousIo | Error::DatabaseClosed)
        ) {
            let mut database = self.database.write().unwrap_or_else(|e| e.into_inner());
            *database = None;
            match open_database(&self.path) {
                Ok(again) => *database = Some(again),
                Err(error) => warn!(%error, "the index could not be opened again"),
            }
        }
        result
    }

    fn read<T>(&self, action: impl FnOnce(&ReadTransaction) -> Result<T>) -> Result<T> {
        self.with(|database| action(&database.begin_read()?))
    }

    pub(super) fn write<T>(
        &self,
        action: impl FnOnce(&WriteTransaction) -> Result<T>,
    ) -> Result<T> {
        self.with(|database| {
            let mut txn = database.begin_write()?;
            txn.set_durability(Durability::None)?;
            let result = action(&txn)?;
            txn.commit()?;
            Ok(result)
        })
    }

    /// Makes everything so far durable, and `complete` content with it: that may have been entered
    /// before, and lost when a failing disk had the database opened again.
    pub(super) fn flush(&self, complete: &[Entry]) -> Result<()> {
        self.with(|database| {
            let mut txn = database.begin_write()?;
            txn.set_durability(Durability::Immediate)?;
            txn.set_quick_repair(true);
            uses::enter_if_lost(&txn, complete)?;
            txn.commit()?;
            Ok(())
        })
    }

    /// The prefix of every id in the index.
    pub(super) fn prefixes(&self) -> Result<Vec<u64>> {
        self.read(|txn| {
            let seeded = txn.open_table(SEEDED_IDS)?;
            let complete = txn.open_table(COMPLETE)?;
            let pairs = txn.open_table(PAIRS)?;
            let count = seeded.len()? + complete.len()? + 2 * pairs.len()?;
            // A damaged count must not cost gigabytes.
            let mut all = Vec::with_capacity(usize::try_from(count.min(1 << 23)).unwrap_or(0));
            for entry in seeded.iter()? {
                all.push(entry?.0.value().0);
            }
            for entry in complete.iter()? {
                all.extend(id(&entry?.0.value()).map(|id| prefix(&id)));
            }
            for entry in pairs.iter()? {
                let (sha256, blake3) = entry?;
                all.push(prefix(&ContentId::sha256(sha256.value())));
                all.push(prefix(&ContentId::blake3(blake3.value())));
            }
            Ok(all)
        })
    }

    /// Whether [`Index::mark_whole`] was ever reached.
    pub(super) fn is_whole(&self) -> Result<bool> {
        self.read(|txn| Ok(txn.open_table(STATE)?.get("whole")?.is_some()))
    }

    /// Notes that every complete file has been entered.
    pub(super) fn mark_whole(&self) -> Result<()> {
        self.write(|txn| {
            txn.open_table(STATE)?.insert("whole", 1)?;
            Ok(())
        })
    }

    /// Takes all complete content out, before it is entered anew from the files.
    pub(super) fn forget_complete(&self) -> Result<()> {
        self.write(uses::leave_all)
    }

    /// Enters complete content of the store.
    pub(super) fn add_complete(&self, content: &[Entry]) -> Result<()> {
        self.write(|txn| uses::enter(txn, content))
    }

    /// Notes what the file of complete content was when it was lent.
    pub(super) fn add_lent(&self, id: &ContentId, lent: &[u8; RECORD]) -> Result<()> {
        self.write(|txn| {
            txn.open_table(LENT)?.insert(key(id), *lent)?;
            Ok(())
        })
    }

    /// What it was.
    pub(super) fn lent(&self, id: &ContentId) -> Result<Option<[u8; RECORD]>> {
        self.read(|txn| {
            let found = txn.open_table(LENT)?.get(key(id))?;
            Ok(found.map(|lent| lent.value()))
        })
    }

    pub(super) fn remove_complete(&self, id: &ContentId) -> Result<()> {
        self.write(|txn| uses::leave(txn, id))
    }

    /// Complete content of `kind` from the hash `from` on and round to it again, at most `limit`.
    pub(super) fn complete(
        &self,
        kind: Kind,
        from: Hash,
        limit: usize,
    ) -> Result<Vec<(ContentId, u64)>> {
        let bound = |hash| key(&ContentId { kind, hash });
        let (first, last) = (bound(Hash([0; 32])), bound(Hash([0xff; 32])));
        let from = bound(from);
        self.read(|txn| {
            let table = txn.open_table(COMPLETE)?;
            let mut found = Vec::new();
            let before = table.range(first..from)?;
            for entry in table.range(from..=last)?.chain(before).take(limit) {
                let (key, length) = entry?;
                found.extend(id(&key.value()).map(|id| (id, length.value())));
            }
            Ok(found)
        })
    }

    /// How many are complete (trees among them) and how many files are seeded.
    pub(super) fn counts(&self) -> Result<(u64, u64)> {
        self.read(|txn| {
            Ok((
                txn.open_table(COMPLETE)?.len()?,
                txn.open_table(SEEDED)?.len()?,
            ))
        })
    }

    pub(super) fn add_pair(&self, sha256: Hash, blake3: Hash) -> Result<()> {
        self.write(|txn| {
            txn.open_table(PAIRS)?.insert(sha256.0, blake3.0)?;
            txn.open_table(PAIRS_BACK)?.insert(blake3.0, sha256.0)?;
            Ok(())
        })
    }

    /// The same content's other id, if it is known.
    pub(super) fn paired(&self, id: &ContentId) -> Result<Option<ContentId>> {
        let (table, other): (_, fn([u8; 32]) -> ContentId) = match id.kind {
            Kind::Sha256 => (PAIRS, ContentId::blake3),
            Kind::Blake3 => (PAIRS_BACK, ContentId::sha256),
            Kind::TreeV2 => return Ok(None),
        };
        self.read(|txn| {
            let found = txn.open_table(table)?.get(id.hash.0)?;
            Ok(found.map(|hash| other(hash.value())))
        })
    }

    /// What the user seeds, with records, in the order of the paths' bytes.
    pub(super) fn roots(&self) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        self.read(|txn| {
            let mut found = Vec::new();
            for entry in txn.open_table(ROOTS)?.iter()? {
                let (at, record) = entry?;
                found.push((path(at.value()), record.value().to_vec()));
            }
            Ok(found)
        })
    }

    pub(super) fn put_root(&self, root: &Path, record: &[u8]) -> Result<()> {
        self.write(|txn| {
            txn.open_table(ROOTS)?
                .insert(root.as_os_str().as_bytes(), record)?;
            Ok(())
        })
    }

    pub(super) fn remove_root(&self, root: &Path) -> Result<()> {
        self.write(|txn| {
            txn.open_table(ROOTS)?.remove(root.as_os_str().as_bytes())?;
            Ok(())
        })
    }

    pub(super) fn peers(&self) -> Result<Vec<String>> {
        self.read(|txn| {
            let table = txn.open_table(PEERS)?;
            let mut found = Vec::new();
            for entry in table.iter()? {
                found.push(entry?.1.value().to_owned());
            }
            Ok(found)
        })
    }

    pub(super) fn set_peers(&self, peers: &[String]) -> Result<()> {
        self.write(|txn| {
            let mut table = txn.open_table(PEERS)?;
            table.retain(|_, _| false)?;
            for (rank, peer) in (0u32..).zip(peers) {
                table.insert(rank, peer.as_str())?;
            }
            Ok(())
        })
    }
}
