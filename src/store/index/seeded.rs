//! Which files are seeded from where they lie, by their paths and by what is in them.

use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use redb::ReadableTable;

use super::{Index, Result, SEEDED, SEEDED_IDS, SEEDED_PATHS, path};
use crate::content::ContentId;
use crate::store::prefixes::prefix;
use crate::store::record::Record;

impl Index {
    pub(in crate::store) fn add_seeded(&self, files: &[(&Path, Record)]) -> Result<()> {
        self.write(|txn| {
            let mut seeded = txn.open_table(SEEDED)?;
            let mut paths = txn.open_table(SEEDED_PATHS)?;
            let mut ids = txn.open_table(SEEDED_IDS)?;
            let mut next = paths
                .last()?
                .map_or(0, |(number, _)| number.value().saturating_add(1));
            for (path, record) in files {
                let path = path.as_os_str().as_bytes();
                let old = seeded
                    .get(path)?
                    .and_then(|old| Record::decode(old.value()));
                let number = match old {
                    Some((old, number)) => {
                        for prefix in old.prefixes() {
                            ids.remove((prefix, number))?;
                        }
                        number
                    }
                    None => {
                        next = next.saturating_add(1);
                        next - 1
                    }
                };
                paths.insert(number, path)?;
                seeded.insert(path, &record.encode(number)[..])?;
                for prefix in record.prefixes() {
                    ids.insert((prefix, number), ())?;
                }
            }
            Ok(())
        })
    }

    pub(in crate::store) fn remove_seeded(&self, path: &Path) -> Result<()> {
        let path = path.as_os_str().as_bytes();
        self.write(|txn| {
            let mut seeded = txn.open_table(SEEDED)?;
            let old = seeded
                .remove(path)?
                .and_then(|old| Record::decode(old.value()));
            if let Some((old, number)) = old {
                txn.open_table(SEEDED_PATHS)?.remove(number)?;
                let mut ids = txn.open_table(SEEDED_IDS)?;
                for prefix in old.prefixes() {
                    ids.remove((prefix, number))?;
                }
            }
            Ok(())
        })
    }

    pub(in crate::store) fn seeded_at(&self, path: &Path) -> Result<Option<Record>> {
        self.read(|txn| {
            let found = txn.open_table(SEEDED)?.get(path.as_os_str().as_bytes())?;
            Ok(found.and_then(|found| Some(Record::decode(found.value())?.0)))
        })
    }

    /// Where content of this id is seeded from, at most `limit` places.
    pub(in crate::store) fn seeded_as(
        &self,
        id: &ContentId,
        limit: usize,
    ) -> Result<Vec<(PathBuf, Record)>> {
        let prefix = prefix(id);
        self.read(|txn| {
            let seeded = txn.open_table(SEEDED)?;
            let paths = txn.open_table(SEEDED_PATHS)?;
            let ids = txn.open_table(SEEDED_IDS)?;
            let mut found = Vec::new();
            for entry in ids.range((prefix, 0)..=(prefix, u64::MAX))? {
                let Some(at) = paths.get(entry?.0.value().1)? else {
                    continue;
                };
                let record = seeded
                    .get(at.value())?
                    .and_then(|record| Record::decode(record.value()));
                if let Some((record, _)) = record
                    && record.hash_of(id.kind) == Some(id.hash)
                {
                    found.push((path(at.value()), record));
                    if found.len() >= limit {
                        break;
                    }
                }
            }
            Ok(found)
        })
    }

    /// The seeded files after `after`, in the order of the paths' bytes, at most `limit`.
    pub(in crate::store) fn seeded(
        &self,
        after: &Path,
        limit: usize,
    ) -> Result<Vec<(PathBuf, Record)>> {
        let after = Bound::Excluded(after.as_os_str().as_bytes());
        self.read(|txn| {
            let seeded = txn.open_table(SEEDED)?;
            let mut found = Vec::new();
            for entry in seeded
                .range::<&[u8]>((after, Bound::Unbounded))?
                .take(limit)
            {
                let (at, record) = entry?;
                found.extend(
                    Record::decode(record.value()).map(|(record, _)| (path(at.value()), record)),
                );
            }
            Ok(found)
        })
    }

    /// The path of the seeded file that is next to `place` among the first 64 bits of ids.
    pub(in crate::store) fn seeded_near(&self, place: u64) -> Result<Option<PathBuf>> {
        self.read(|txn| {
            let ids = txn.open_table(SEEDED_IDS)?;
            let next = match ids.range((place, 0)..)?.next() {
                Some(next) => Some(next?),
                None => ids.first()?,
            };
            let Some((id, _)) = next else {
                return Ok(None);
            };
            let found = txn.open_table(SEEDED_PATHS)?.get(id.value().1)?;
            Ok(found.map(|found| path(found.value())))
        })
    }
}
