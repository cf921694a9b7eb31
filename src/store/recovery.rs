//! What opening a store finds after a crash, and how the index is made again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use redb::Error;
use tracing::{info, warn};

use crate::content::{ContentId, Hash};

use super::error::StoreError;
use super::index::{Entry, Index};
use super::layout::{KINDS, Layout, PartialName, Slot, on_disk, remove_file};
use super::map::MapFile;
use super::prefixes::Prefixes;
use super::{Store, lock, partial, partial_files};

/// Entries added to the index at a time when it is made again.
const BATCH: usize = 4096;

/// Opens the index and fills `prefixes` from it. A damaged one is put aside for a new one.
pub(super) fn open_index(layout: &Layout, prefixes: &Prefixes) -> Result<Index, StoreError> {
    let path = layout.index();
    let newer = std::panic::catch_unwind(|| Index::newer(&path));
    // That it cannot be told is told by the opening that follows.
    if let Ok(Ok(Some(what))) = newer {
        return Err(StoreError::NewerIndex {
            dir: layout.dir().to_owned(),
            what,
        });
    }
    match open_whole(&path, prefixes) {
        Ok(index) => return Ok(index),
        Err(error) if !is_damage(&error) => return Err(error.into()),
        Err(error) => {
            warn!(path = %path.display(), %error, "the index is damaged and made again; seeded files have to be added again");
        }
    }
    let aside = path.with_extension("redb.damaged");
    fs::rename(&path, &aside).map_err(|e| StoreError::io("rename", &path, e))?;
    Ok(open_whole(&path, prefixes)?)
}

/// Opens the index and reads all that a start needs of it.
fn open_whole(path: &Path, prefixes: &Prefixes) -> Result<Index, Error> {
    // A damaged page can fail an assertion deep inside the database.
    let opened = std::panic::catch_unwind(|| {
        let index = Index::open(path)?;
        let all = index.prefixes()?;
        Ok((index, all))
    });
    let (index, all) = opened
        .unwrap_or_else(|_| Err(Error::Corrupted("reading it failed an assertion".into())))?;
    prefixes.replace(all);
    Ok(index)
}

/// Whether it lies in what the file holds, rather than in the disk or the rights to it.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ),
        Error::Corrupted(_)
        | Error::RepairAborted
        | Error::UpgradeRequired(_)
        | Error::TableTypeMismatch { .. }
        | Error::TableIsMultimap(_)
        | Error::TypeDefinitionChanged { .. } => true,
        _ => false,
    }
}

impl Store {
    /// Looks through the `partial` folder: removes what means nothing or is blank, and enters into
    /// the index what was completed and perhaps not entered.
    ///
    /// Only while the store is being opened: then its lock is held and no partial content is open,
    /// in this process or another, so whatever lies there was left.
    pub(super) fn recover_partials(&self) -> Result<(), StoreError> {
        let layout = self.layout();
        let folder = layout.partial_root();
        for name in names(&folder)? {
            let recovered = match PartialName::parse(&name) {
                Some(PartialName::Unfinished) => remove_file(&folder.join(&name))
                    .map_err(|e| StoreError::io("remove", &folder, e)),
                Some(PartialName::Data(id, slot)) => {
                    match is_there(&layout.partial_map(&id, slot)) {
                        Ok(true) => Ok(()),
                        Ok(false) => partial_files::remove_files(layout, &id, slot),
                        Err(error) => Err(error),
                    }
                }
                Some(PartialName::Map(id, slot)) => self.recover_map(&id, slot),
                // Nothing of ours.
                None => Ok(()),
            };
            if let Err(error) = recovered {
                warn!(name, %error, "partial content could not be recovered");
            }
        }
        Ok(())
    }

    fn recover_map(&self, id: &ContentId, slot: Slot) -> Result<(), StoreError> {
        let layout = self.layout();
        let path = layout.complete(id);
        let complete = match fs::metadata(&path) {
            Ok(found) => found.is_file().then_some(found.len()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(StoreError::io("open", &path, e)),
        };
        match complete {
            // The map is removed when the index is durable.
            Some(length) => {
                let data = layout.partial_data(id, slot);
                remove_file(&data).map_err(|e| StoreError::io("remove", &data, e))?;
                self.0.prefixes.insert(id);
                let entry = self.entry(id, length);
                self.0.index.add_complete(&[entry])?;
                self.changed(1, Some(entry))
            }
            None if is_there(&layout.partial_data(id, slot))? => {
                self.remove_blank(id, slot)?;
                self.note_left(id, slot);
                Ok(())
            }
            None => partial_files::remove_files(layout, id, slot),
        }
    }

    /// Notes what partial content takes that nobody has open, beside what is noted of it already.
    pub(super) fn note_left(&self, id: &ContentId, slot: Slot) {
        if let Ok(found) = fs::metadata(self.layout().partial_data(id, slot)) {
            self.0.room.add_left(id, on_disk(&found), modified(&found));
        }
    }

    /// Removes partial content of which nothing is present: what was asked for once and never
    /// came, or nothing that was made durable.
    fn remove_blank(&self, id: &ContentId, slot: Slot) -> Result<(), StoreError> {
        let (data, map) = (
            self.layout().partial_data(id, slot),
            self.layout().partial_map(id, slot),
        );
        let blank = partial_files::open_for_writing(&map).and_then(|file| MapFile::is_blank(&file));
        if !blank.map_err(|e| StoreError::io("read", &map, e))? {
            return Ok(());
        }
        // Not made durable, as there may be thousands: a map that is blank can be taken for that
        // of any data, and either file alone is removed at the next start.
        for path in [data, map] {
            remove_file(&path).map_err(|e| StoreError::io("remove", &path, e))?;
        }
        Ok(())
    }

    /// Makes the part of the index that can be made from the files again: complete content and
    /// tree files. Seeded files and hash pairs that are in it stay.
    ///
    /// # Errors
    /// What the disk or the index said.
    pub fn rebuild_index(&self) -> Result<(), StoreError> {
        let layout = self.layout();
        self.0.index.forget_complete()?;
        let mut batch = Vec::with_capacity(BATCH);
        let mut found = 0usize;
        for (kind, _) in KINDS {
            let above = layout.kind_folder(kind);
            for folder in names(&above)? {
                let folder = above.join(folder);
                if !folder.is_dir() {
                    continue;
                }
                let entries =
                    fs::read_dir(&folder).map_err(|e| StoreError::io("list", &folder, e))?;
                for entry in entries {
                    let entry = entry.map_err(|e| StoreError::io("list", &folder, e))?;
                    let name = entry.file_name();
                    let Some(hash) = name.to_str().and_then(Hash::from_hex) else {
                        continue;
                    };
                    let id = ContentId { kind, hash };
                    match entry.metadata() {
                        // Under its right name: "../AB/ab.." is not where it would be looked for.
                        Ok(file) if file.is_file() && entry.path() == layout.complete(&id) => {
                            batch.push(Entry {
                                id,
                                length: file.len(),
                                on_disk: on_disk(&file),
                                used: modified(&file),
                            });
                        }
                        _ => continue,
                    }
                    if batch.len() >= BATCH {
                        found += self.adopt(&mut batch)?;
                    }
                }
            }
        }
        found += self.adopt(&mut batch)?;
        if found > 0 {
            info!(found, "the index was made from the files");
        }
        self.0.index.mark_whole()?;
        Ok(self.0.index.flush(&[])?)
    }

    fn adopt(&self, batch: &mut Vec<Entry>) -> Result<usize, StoreError> {
        self.0.index.add_complete(batch)?;
        for entry in &*batch {
            self.0.prefixes.insert(&entry.id);
        }
        let count = batch.len();
        batch.clear();
        Ok(count)
    }

    /// Partial content: id, length, bytes present. Where there is some of two lengths, that which is
    /// open, or of which more is here.
    pub(super) fn list_partials(&self) -> Result<Vec<(ContentId, u64, u64)>, StoreError> {
        let layout = self.layout();
        let mut found: BTreeMap<ContentId, (bool, u64, u64)> = BTreeMap::new();
        let mut add = |id, is_open, length, present| {
            let one = found.entry(id).or_default();
            if (is_open, present) >= (one.0, one.2) {
                *one = (is_open, length, present);
            }
        };
        for name in names(&layout.partial_root())? {
            let Some(PartialName::Data(id, slot)) = PartialName::parse(&name) else {
                continue;
            };
            let open = lock(&self.0.partials)
                .get(&id)
                .and_then(|shared| shared.upgrade());
            let open = open.map(partial::Partial::from_shared);
            if let Some(partial) = open.filter(|open| open.is_open_in(slot)) {
                add(id, true, partial.length(), partial.present_bytes());
            } else if let Ok(map) = File::open(layout.partial_map(&id, slot))
                && let Ok(Some((map, present))) = MapFile::load(map)
            {
                add(id, false, map.subject().length, present.bytes());
            }
        }
        let entries = found.into_iter();
        Ok(entries
            .map(|(id, (_, length, present))| (id, length, present))
            .collect())
    }
}

/// When a file was written last, in microseconds since 1970.
fn modified(file: &fs::Metadata) -> u64 {
    let since = u64::try_from(file.mtime()).unwrap_or(0);
    since.saturating_mul(1_000_000)
}

/// Whether there is something at `path`. That it cannot be told is an error: what is removed for
/// want of the other file must be known to want it.
fn is_there(path: &Path) -> Result<bool, StoreError> {
    path.try_exists()
        .map_err(|e| StoreError::io("open", path, e))
}

/// The names in a folder that are text; ours all are.
fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    };
    list().map_err(|e| StoreError::io("list", folder, e))
}
