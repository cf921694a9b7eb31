//! Where things lie under the store's folder, and the few operations that make them lie there
//! durably.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::content::{ContentId, Hash, Kind};

use super::error::StoreError;

/// The folder of what was rotten.
pub(super) const ASIDE: &str = "aside";

/// The version of the layout that this program reads and writes.
pub(super) const VERSION: u64 = 1;

/// Every kind of content has a folder of this name under `complete/`, and a prefix under
/// `partial/`.
pub(super) const KINDS: [(Kind, &str); 3] = [
    (Kind::Sha256, "sha256"),
    (Kind::Blake3, "blake3"),
    (Kind::TreeV2, "tree"),
];

/// What the name of a file begins with that one process gives another by way of the store.
const OFFERED: &str = "offered-";

/// Where content on its way lies under `partial/`. An id has two such places, for where peers
/// disagree about how long it is: what is here of the one length is kept while the other is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    First,
    Second,
}

impl Slot {
    pub(super) const BOTH: [Self; 2] = [Self::First, Self::Second];

    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn data(self) -> &'static str {
        match self {
            Self::First => "data",
            Self::Second => "data2",
        }
    }

    fn map(self) -> &'static str {
        match self {
            Self::First => "map",
            Self::Second => "map2",
        }
    }
}

/// Files that are being written and mean nothing yet end in this; they are removed at open.
const UNFINISHED: &str = ".tmp";

/// The paths of one store.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn index(&self) -> PathBuf {
        self.dir.join("index.redb")
    }

    /// Content of no bytes, which is always held.
    pub(super) fn empty(&self) -> PathBuf {
        self.complete_root().join("empty")
    }

    pub(super) fn complete_root(&self) -> PathBuf {
        self.dir.join("complete")
    }

    pub(super) fn kind_folder(&self, kind: Kind) -> PathBuf {
        self.complete_root().join(kind_name(kind))
    }

    /// The folder that holds, or would hold, complete content of this id.
    pub(super) fn complete_folder(&self, id: &ContentId) -> PathBuf {
        let hex = id.hash.to_string();
        self.kind_folder(id.kind).join(hex.get(..2).unwrap_or("00"))
    }

    pub(super) fn complete(&self, id: &ContentId) -> PathBuf {
        self.complete_folder(id).join(id.hash.to_string())
    }

    pub(super) fn partial_root(&self) -> PathBuf {
        self.dir.join("partial")
    }

    pub(super) fn partial_data(&self, id: &ContentId, slot: Slot) -> PathBuf {
        self.partial(id, slot.data())
    }

    pub(super) fn partial_map(&self, id: &ContentId, slot: Slot) -> PathBuf {
        self.partial(id, slot.map())
    }

    /// Where complete content is written before it is renamed; another path each time.
    pub(super) fn unfinished(&self, id: &ContentId) -> PathBuf {
        self.partial(id, &unfinished_suffix())
    }

    /// The same for a tree file whose id is not known before it is whole.
    pub(super) fn unfinished_tree(&self) -> PathBuf {
        let suffix = unfinished_suffix();
        self.partial_root()
            .join(format!("{}.{suffix}", kind_name(Kind::TreeV2)))
    }

    /// Where a file is brought whose id is not known yet.
    pub(super) fn unfinished_import(&self) -> PathBuf {
        let suffix = unfinished_suffix();
        self.partial_root().join(format!("import.{suffix}"))
    }

    /// Where another process gives a file a name for the daemon to take, or the daemon for another.
    pub(super) fn offered(&self) -> PathBuf {
        let (process, suffix) = (std::process::id(), unfinished_suffix());
        self.partial_root()
            .join(format!("{OFFERED}{process}.{suffix}"))
    }

    /// Whether a file of this name is such a one.
    pub(super) fn is_offered(name: &OsStr) -> bool {
        name.as_encoded_bytes().starts_with(OFFERED.as_bytes())
    }

    /// What was found not to be what its name says.
    pub(super) fn aside(&self) -> PathBuf {
        self.dir.join(ASIDE)
    }

    fn partial(&self, id: &ContentId, suffix: &str) -> PathBuf {
        self.partial_root()
            .join(format!("{}-{}.{suffix}", kind_name(id.kind), id.hash))
    }

    /// Creates what is missing of the folders, takes the lock, checks the version.
    ///
    /// The lock lasts as long as the returned file is open, and goes with a killed process.
    pub(super) fn prepare(&self) -> Result<File, StoreError> {
        create_folder(&self.dir)?;
        let path = self.dir.join("lock");
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| StoreError::io("open", &path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse {
                    dir: self.dir.clone(),
                });
            }
            Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", &path, e)),
        }
        self.check_version()?;
        create_folder(&self.partial_root())?;
        create_folder(&self.complete_root())?;
        for (kind, _) in KINDS {
            create_folder(&self.kind_folder(kind))?;
        }
        let empty = self.empty();
        if !empty.exists() {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o444)
                .open(&empty)
                .map_err(|e| StoreError::io("create", &empty, e))?;
        }
        Ok(lock)
    }

    fn check_version(&self) -> Result<(), StoreError> {
        let path = self.dir.join("version");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => "not a number".into(),
            Err(e) => return Err(StoreError::io("read", &path, e)),
        };
        match text.trim() {
            // Absent, or created by a process that was killed before it wrote the number.
            "" => {
                let new = self.dir.join("version.tmp");
                let written = || -> io::Result<()> {
                    let mut file = OpenOptions::new()
                        .write(true)
                        .create(true)
                        .truncate(true)
                        .mode(0o600)
                        .open(&new)?;
                    writeln!(file, "{VERSION}")?;
                    file.sync_all()?;
                    fs::rename(&new, &path)?;
                    sync_folder(&self.dir)
                };
                written().map_err(|e| StoreError::io("write", &path, e))
            }
            number => match number.parse::<u64>() {
                Ok(found) if found > VERSION => Err(StoreError::NewerVersion {
                    dir: self.dir.clone(),
                    found,
                }),
                Ok(_) => Ok(()),
                Err(_) => Err(StoreError::NotAStore {
                    dir: self.dir.clone(),
                }),
            },
        }
    }
}

/// What a name in the `partial` folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartialName {
    Data(ContentId, Slot),
    Map(ContentId, Slot),
    Unfinished,
}

impl PartialName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        if name.ends_with(UNFINISHED) {
            return Some(Self::Unfinished);
        }
        let (stem, suffix) = name.rsplit_once('.')?;
        let (kind, hex) = stem.split_once('-')?;
        let kind = KINDS.iter().find(|(_, name)| *name == kind)?.0;
        let id = ContentId {
            kind,
            hash: Hash::from_hex(hex)?,
        };
        Slot::BOTH.into_iter().find_map(|slot| match suffix {
            _ if suffix == slot.data() => Some(Self::Data(id, slot)),
            _ if suffix == slot.map() => Some(Self::Map(id, slot)),
            _ => None,
        })
    }
}

/// Another one each time.
fn unfinished_suffix() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{number}{UNFINISHED}")
}

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Sha256 => "sha256",
        Kind::Blake3 => "blake3",
        Kind::TreeV2 => "tree",
    }
}

/// Creates `dir` and its parents, for this user alone.
pub(super) fn create_folder(dir: &Path) -> Result<(), StoreError> {
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(StoreError::NotAFolder { path: dir.into() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(StoreError::io("open", dir, e)),
    }
    match DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(StoreError::NotAFolder { path: dir.into() })
        }
        Err(e) => Err(StoreError::io("create", dir, e)),
    }
}

/// Bytes that a file takes on the disk.
pub(super) fn on_disk(file: &fs::Metadata) -> u64 {
    file.blocks().saturating_mul(512)
}

/// Makes the names in `dir` durable.
pub(super) fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes a file; one that is not there is removed already.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_partial_files_are_read_back() {
        let layout = Layout::new(Path::new("/store"));
        for (kind, _) in KINDS {
            let id = ContentId {
                kind,
                hash: Hash([0xa5; 32]),
            };
            let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            let parse = |path| PartialName::parse(&name(path));
            for slot in Slot::BOTH {
                let (data, map) = (
                    layout.partial_data(&id, slot),
                    layout.partial_map(&id, slot),
                );
                assert_eq!(parse(data), Some(PartialName::Data(id, slot)));
                assert_eq!(parse(map), Some(PartialName::Map(id, slot)));
            }
            assert_eq!(parse(layout.unfinished(&id)), Some(PartialName::Unfinished));
        }
        let tree = layout.unfinished_tree();
        let name = tree.file_name().unwrap().to_str().unwrap();
        assert_eq!(PartialName::parse(name), Some(PartialName::Unfinished));
        for odd in ["", ".", "sha256-", "sha256-00.data", "a.b", "md5-00.map"] {
            assert_eq!(PartialName::parse(odd), None);
        }
    }
}
