//! When complete content was used last, what it takes on the disk, and what is pinned: by this the
//! store knows what to give up first without looking at all that it holds.

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use super::{COMPLETE, Index, LENT, Result, STATE, id, key};
use crate::content::{ContentId, Kind};

type Key = [u8; 33];

/// Kind and hash -> when it was used last (microseconds since 1970), bytes that it takes.
const USED: TableDefinition<Key, (u64, u64)> = TableDefinition::new("used_v1");
/// When, kind and hash: the order in which content is given up. What was found to be kept in any
/// case is not in it.
const BY_USE: TableDefinition<(u64, Key), ()> = TableDefinition::new("by_use_v1");
/// Kind and hash -> since when it is pinned.
const PINNED: TableDefinition<Key, u64> = TableDefinition::new("pinned_v1");
/// In the table of states: bytes that all complete content takes.
const BYTES: &str = "bytes";
/// In the table of states: whether all complete content has been entered here.
const ENTERED: &str = "uses";
/// Entries made at a time where an older store had none.
const BATCH: usize = 1 << 16;

/// Complete content as the index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Entry {
    pub id: ContentId,
    /// Bytes of the content.
    pub length: u64,
    /// Bytes that it takes on the disk.
    pub on_disk: u64,
    /// When it was used last, in microseconds since 1970.
    pub used: u64,
}

/// Where to go on in the order of use.
pub(in crate::store) type Place = (u64, Key);

pub(super) fn create_tables(txn: &WriteTransaction) -> Result<()> {
    txn.open_table(USED)?;
    txn.open_table(BY_USE)?;
    txn.open_table(PINNED)?;
    Ok(())
}

pub(super) fn names() -> [&'static str; 3] {
    use redb::TableHandle;
    [USED.name(), BY_USE.name(), PINNED.name()].map(|name| match name {
        "used_v1" => "used_v1",
        "by_use_v1" => "by_use_v1",
        _ => "pinned_v1",
    })
}

/// Enters complete content, in place of what was known of it.
pub(super) fn enter(txn: &WriteTransaction, entries: &[Entry]) -> Result<()> {
    let mut complete = txn.open_table(COMPLETE)?;
    let mut used = txn.open_table(USED)?;
    let mut by_use = txn.open_table(BY_USE)?;
    let mut state = txn.open_table(STATE)?;
    let mut bytes = state.get(BYTES)?.map_or(0, |bytes| bytes.value());
    for entry in entries {
        let key = key(&entry.id);
        complete.insert(key, entry.length)?;
        let old = used.insert(key, (entry.used, entry.on_disk))?;
        if let Some((at, taken)) = old.map(|old| old.value()) {
            by_use.remove((at, key))?;
            bytes = bytes.saturating_sub(taken);
        }
        by_use.insert((entry.used, key), ())?;
        bytes = bytes.saturating_add(entry.on_disk);
    }
    state.insert(BYTES, bytes)?;
    Ok(())
}

/// The same where it is not entered already.
pub(super) fn enter_if_lost(txn: &WriteTransaction, entries: &[Entry]) -> Result<()> {
    let lost: Vec<Entry> = {
        let complete = txn.open_table(COMPLETE)?;
        let mut lost = Vec::new();
        for entry in entries {
            if complete.get(key(&entry.id))?.is_none() {
                lost.push(*entry);
            }
        }
        lost
    };
    if lost.is_empty() {
        Ok(())
    } else {
        enter(txn, &lost)
    }
}

/// Takes content out.
pub(super) fn leave(txn: &WriteTransaction, id: &ContentId) -> Result<()> {
    let key = key(id);
    txn.open_table(COMPLETE)?.remove(key)?;
    txn.open_table(LENT)?.remove(key)?;
    let old = txn.open_table(USED)?.remove(key)?.map(|old| old.value());
    if let Some((at, taken)) = old {
        txn.open_table(BY_USE)?.remove((at, key))?;
        let mut state = txn.open_table(STATE)?;
        let bytes = state.get(BYTES)?.map_or(0, |bytes| bytes.value());
        state.insert(BYTES, bytes.saturating_sub(taken))?;
    }
    Ok(())
}

/// Takes all complete content out.
pub(super) fn leave_all(txn: &WriteTransaction) -> Result<()> {
    txn.delete_table(COMPLETE)?;
    txn.open_table(COMPLETE)?;
    txn.delete_table(USED)?;
    txn.open_table(USED)?;
    txn.delete_table(BY_USE)?;
    txn.open_table(BY_USE)?;
    txn.open_table(STATE)?.remove(BYTES)?;
    Ok(())
}

impl Index {
    /// A store of an earlier release knows no uses: there everything counts as used long ago, and
    /// as taking its length.
    pub(super) fn enter_uses(&self) -> Result<()> {
        let entered =
            |txn: &redb::ReadTransaction| Ok(txn.open_table(STATE)?.get(ENTERED)?.is_some());
        if self.read(entered)? {
            return Ok(());
        }
        let mut after = None;
        loop {
            let page = self.complete_after(after, BATCH)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            self.write(|txn| enter(txn, &page))?;
        }
        self.write(|txn| {
            txn.open_table(STATE)?.insert(ENTERED, 1)?;
            Ok(())
        })
    }

    /// Bytes that complete content takes on the disk.
    pub(in crate::store) fn bytes(&self) -> Result<u64> {
        self.read(|txn| {
            let bytes = txn.open_table(STATE)?.get(BYTES)?;
            Ok(bytes.map_or(0, |bytes| bytes.value()))
        })
    }

    /// Notes when content was used; what is not held is left out.
    pub(in crate::store) fn touch(&self, uses: &[(ContentId, u64)]) -> Result<()> {
        self.write(|txn| {
            let mut used = txn.open_table(USED)?;
            let mut by_use = txn.open_table(BY_USE)?;
            for (id, now) in uses {
                let key = key(id);
                let Some((at, bytes)) = used.get(key)?.map(|old| old.value()) else {
                    continue;
                };
                used.insert(key, (*now, bytes))?;
                if by_use.remove((at, key))?.is_some() {
                    by_use.insert((*now, key), ())?;
                }
            }
            Ok(())
        })
    }

    /// What may be given up first, after `after` in the order of last use, with its place.
    pub(in crate::store) fn least_used(
        &self,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<(Place, Entry)>> {
        let from = match after {
            Some(place) => std::ops::Bound::Excluded(place),
            None => std::ops::Bound::Unbounded,
        };
        self.read(|txn| {
            let (complete, used) = (txn.open_table(COMPLETE)?, txn.open_table(USED)?);
            let mut found = Vec::new();
            for place in txn
                .open_table(BY_USE)?
                .range::<Place>((from, std::ops::Bound::Unbounded))?
                .take(limit)
            {
                let place = place?.0.value();
                let length = complete.get(place.1)?.map_or(0, |length| length.value());
                let on_disk = used.get(place.1)?.map_or(0, |used| used.value().1);
                found.extend(id(&place.1).map(|id| {
                    let entry = Entry {
                        id,
                        length,
                        on_disk,
                        used: place.0,
                    };
                    (place, entry)
                }));
            }
            Ok(found)
        })
    }

    /// Takes content out of the order in which it is given up, for what is kept in any case.
    pub(in crate::store) fn never_give_up(&self, id: &ContentId) -> Result<()> {
        let key = key(id);
        self.write(|txn| {
            if let Some(used) = txn.open_table(USED)?.get(key)? {
                txn.open_table(BY_USE)?.remove((used.value().0, key))?;
            }
            Ok(())
        })
    }

    /// Pins content, or pins it no more and puts it, under each of its ids in `all`, back in the
    /// order in which it is given up. Whether that is news.
    pub(in crate::store) fn set_pinned(
        &self,
        id: &ContentId,
        since: Option<u64>,
        all: &[ContentId],
    ) -> Result<bool> {
        self.write(|txn| {
            let mut pinned = txn.open_table(PINNED)?;
            if let Some(since) = since {
                if pinned.get(key(id))?.is_some() {
                    return Ok(false);
                }
                pinned.insert(key(id), since)?;
                return Ok(true);
            }
            let known = pinned.remove(key(id))?.is_some();
            let (used, mut by_use) = (txn.open_table(USED)?, txn.open_table(BY_USE)?);
            for id in all {
                let key = key(id);
                if let Some(used) = used.get(key)? {
                    by_use.insert((used.value().0, key), ())?;
                }
            }
            Ok(known)
        })
    }

    /// Whether one of these ids is pinned.
    pub(in crate::store) fn is_pinned(&self, ids: &[ContentId]) -> Result<bool> {
        self.read(|txn| {
            let pinned = txn.open_table(PINNED)?;
            if pinned.is_empty()? {
                return Ok(false);
            }
            for id in ids {
                if pinned.get(key(id))?.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Every id that is pinned.
    pub(in crate::store) fn pinned(&self) -> Result<Vec<ContentId>> {
        self.read(|txn| {
            let mut found = Vec::new();
            for entry in txn.open_table(PINNED)?.iter()? {
                found.extend(id(&entry?.0.value()));
            }
            Ok(found)
        })
    }

    /// Complete content after `after` in the order of kind and hash, at most `limit`.
    pub(in crate::store) fn complete_after(
        &self,
        after: Option<ContentId>,
        limit: usize,
    ) -> Result<Vec<Entry>> {
        let from = match &after {
            Some(id) => std::ops::Bound::Excluded(key(id)),
            None => std::ops::Bound::Unbounded,
        };
        self.read(|txn| {
            let (complete, used) = (txn.open_table(COMPLETE)?, txn.open_table(USED)?);
            let mut found = Vec::new();
            for entry in complete
                .range::<Key>((from, std::ops::Bound::Unbounded))?
                .take(limit)
            {
                let (key, length) = entry?;
                let (key, length) = (key.value(), length.value());
                let known = used.get(key)?.map(|used| used.value());
                let (used, on_disk) = known.unwrap_or((0, length));
                found.extend(id(&key).map(|id| Entry {
                    id,
                    length,
                    on_disk,
                    used,
                }));
            }
            Ok(found)
        })
    }

    /// Tree files after `after`, at most `limit`.
    pub(in crate::store) fn trees_after(
        &self,
        after: Option<ContentId>,
        limit: usize,
    ) -> Result<Vec<Entry>> {
        // Trees are the last kind of the order.
        let first = ContentId {
            kind: Kind::TreeV2,
            hash: crate::content::Hash([0; 32]),
        };
        let mut found = self.complete_after(Some(after.unwrap_or(first)), limit)?;
        found.retain(|entry| entry.id.kind == Kind::TreeV2);
        Ok(found)
    }
}
