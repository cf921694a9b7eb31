//! Giving up content: what was not used for the longest time goes first.
//!
//! Never given up is what is pinned, what somebody reads or waits for, what is being fetched, and a
//! file that the user has as well, which would free nothing. Such content is met once and then put
//! at the end of the order or out of it, so that no pass begins by stepping over all of it.
//!
//! A file goes before its entry in the index: after a crash in between, the entry names a file that
//! is not there, which is found out when it is asked for or met here again.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Weak;
use std::sync::atomic::Ordering;

use tracing::warn;

use crate::content::{ContentId, Kind};

use super::error::StoreError;
use super::index::Entry;
use super::layout::{Layout, Slot, remove_file};
use super::room::Limits;
use super::{Partial, Store, lock, partial_files, uses};

/// Entries taken from the index at a time.
const BATCH: usize = 64;

/// Content that was given up, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// Its id.
    pub id: ContentId,
    /// Bytes that it took on the disk.
    pub on_disk: u64,
    /// Whether all of it was there.
    pub complete: bool,
}

/// Why content stays.
enum Stays {
    /// As long as that is so it need not be looked at again.
    Always,
    ForNow,
}

impl Store {
    /// Keeps `id` from being given up as long as the returned hold lives, whether or not it is held
    /// yet.
    #[must_use]
    pub fn hold(&self, id: &ContentId) -> super::Hold {
        self.0.uses.hold(id)
    }

    /// How often content was given up, or a seeded file taken out: whoever keeps files open closes
    /// them when this changes, so that their room is free and they are served no more.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        let forgotten = self.0.open_files.forgotten();
        self.0
            .room
            .given_up
            .load(Ordering::Relaxed)
            .wrapping_add(forgotten)
    }

    /// Gives up what `limits` (those of the store, where none are given) ask for, and trees whose
    /// content is held no more; `dry` only tells what that would be.
    ///
    /// # Errors
    /// What the index or the disk said.
    pub fn collect(&self, limits: Option<Limits>, dry: bool) -> Result<Vec<GivenUp>, StoreError> {
        let _making = lock(&self.0.room.making);
        self.note_uses()?;
        let mut gone = self.give_up_orphans(dry)?;
        let mut usage = self.usage()?;
        if dry {
            let freed = gone.iter().map(|gone| gone.on_disk).sum();
            usage.complete = usage.complete.saturating_sub(freed);
            usage.free = usage.free.saturating_add(freed);
        }
        let limits = limits.unwrap_or_else(|| self.limits());
        let excess = limits.excess(&usage, 0);
        if excess > 0 {
            let skip = if dry { gone.clone() } else { Vec::new() };
            let more = self.least_used_until(excess, usize::MAX, dry)?;
            gone.extend(more.into_iter().filter(|more| !skip.contains(more)));
        }
        self.flush()?;
        Ok(gone)
    }

    pub(super) fn give_up_least_used(
        &self,
        bytes: u64,
        looks: usize,
    ) -> Result<Vec<GivenUp>, StoreError> {
        self.least_used_until(bytes, looks, false)
    }

    /// Gives up content until `bytes` are free, looking at `looks` of it at most.
    fn least_used_until(
        &self,
        bytes: u64,
        looks: usize,
        dry: bool,
    ) -> Result<Vec<GivenUp>, StoreError> {
        let started = uses::now();
        let mut left: Vec<_> = lock(&self.0.room.left)
            .iter()
            .map(|(id, left)| (left.used, *id, left.on_disk))
            .collect();
        left.sort_unstable();
        let mut left = left.into_iter().peekable();
        let (mut gone, mut freed, mut looked) = (Vec::new(), 0u64, 0);
        let mut place = None;
        loop {
            let batch = self.0.index.least_used(place, BATCH)?;
            let last = batch.is_empty();
            for (at, entry) in batch {
                place = Some(at);
                // What is older and partial goes first.
                while freed < bytes
                    && let Some((_, id, on_disk)) = left.next_if(|left| left.0 <= entry.used)
                {
                    if self.give_up_partial(&id, dry)? {
                        freed = freed.saturating_add(on_disk);
                        gone.push(GivenUp {
                            id,
                            on_disk,
                            complete: false,
                        });
                    }
                }
                looked += 1;
                // What was used since is at the end of the order, and some of it was met before.
                if freed >= bytes || looked > looks || entry.used >= started {
                    return Ok(gone);
                }
                if self.give_up(&entry, dry)? {
                    freed = freed.saturating_add(entry.on_disk);
                    gone.push(GivenUp {
                        id: entry.id,
                        on_disk: entry.on_disk,
                        complete: true,
                    });
                }
            }
            if last {
                break;
            }
        }
        for (_, id, on_disk) in left {
            if freed >= bytes {
                break;
            }
            if self.give_up_partial(&id, dry)? {
                freed = freed.saturating_add(on_disk);
                gone.push(GivenUp {
                    id,
                    on_disk,
                    complete: false,
                });
            }
        }
        Ok(gone)
    }

    /// Gives up partial content, unless it is in use: of an id that is, just what was left on the disk
    /// under another length that peers had claimed.
    fn give_up_partial(&self, id: &ContentId, dry: bool) -> Result<bool, StoreError> {
        let names = self.names_of(id);
        if self.0.index.is_pinned(&names)? {
            return Ok(false);
        }
        // Under the lock, so that nobody opens it meanwhile.
        let partials = lock(&self.0.partials);
        let open = partials.get(id).and_then(Weak::upgrade);
        let open = open.map(Partial::from_shared);
        let slots = match &open {
            None if names.iter().any(|id| self.0.uses.is_held(id)) => return Ok(false),
            None => Slot::BOTH.to_vec(),
            Some(open) => match Slot::BOTH.into_iter().find(|slot| open.is_open_in(*slot)) {
                Some(slot) => vec![slot.other()],
                None => return Ok(false),
            },
        };
        if !dry {
            for slot in slots {
                partial_files::remove_files(self.layout(), id, slot)?;
            }
            lock(&self.0.room.left).remove(id);
        }
        Ok(true)
    }

    /// An id, and those that mean the same content.
    pub(super) fn names_of(&self, id: &ContentId) -> Vec<ContentId> {
        let mut ids = vec![*id];
        ids.extend(self.paired(id));
        ids
    }

    /// Gives up complete content, unless it stays.
    fn give_up(&self, entry: &Entry, dry: bool) -> Result<bool, StoreError> {
        let id = entry.id;
        match self.stays(&id)? {
            Some(_) if dry => return Ok(false),
            Some(Stays::Always) => {
                self.0.index.never_give_up(&id)?;
                return Ok(false);
            }
            Some(Stays::ForNow) => {
                self.0.index.touch(&[(id, uses::now())])?;
                return Ok(false);
            }
            None => {}
        }
        if !dry {
            self.remove_complete(&id)?;
            if let Some(tree) = self.tree_of(&id) {
                self.remove_complete(&tree)?;
            }
        }
        Ok(true)
    }

    fn stays(&self, id: &ContentId) -> Result<Option<Stays>, StoreError> {
        if id.kind == Kind::TreeV2 {
            // It goes with its content.
            let has_content = self.content_of_tree_is_held(id)?;
            return Ok(has_content.then_some(Stays::Always));
        }
        let names = self.names_of(id);
        if self.0.index.is_pinned(&names)? {
            return Ok(Some(Stays::Always));
        }
        if names.iter().any(|id| self.0.uses.is_held(id)) {
            return Ok(Some(Stays::ForNow));
        }
        let open = lock(&self.0.partials)
            .get(id)
            .is_some_and(|shared| shared.strong_count() > 0);
        let lent =
            fs::symlink_metadata(self.layout().complete(id)).is_ok_and(|found| found.nlink() > 1);
        Ok((open || lent).then_some(Stays::ForNow))
    }

    /// The tree of content whose BLAKE3 is known.
    fn tree_of(&self, id: &ContentId) -> Option<ContentId> {
        let blake3 = match id.kind {
            Kind::Blake3 => *id,
            Kind::Sha256 => self.paired(id)?,
            Kind::TreeV2 => return None,
        };
        Some(ContentId::tree_v2(blake3.hash.0))
    }

    fn content_of_tree_is_held(&self, tree: &ContentId) -> Result<bool, StoreError> {
        let blake3 = ContentId::blake3(tree.hash.0);
        for id in self.names_of(&blake3) {
            let file = self.layout().complete(&id);
            let there = file.try_exists();
            if there.map_err(|e| StoreError::io("open", &file, e))?
                || self.0.uses.is_held(&id)
                || lock(&self.0.partials)
                    .get(&id)
                    .is_some_and(|it| it.strong_count() > 0)
                || lock(&self.0.room.left).contains_key(&id)
            {
                return Ok(true);
            }
        }
        Ok(!self.0.index.seeded_as(&blake3, 1)?.is_empty())
    }

    fn give_up_orphans(&self, dry: bool) -> Result<Vec<GivenUp>, StoreError> {
        let mut gone = Vec::new();
        let mut after = None;
        loop {
            let page = self.0.index.trees_after(after, BATCH)?;
            let Some(last) = page.last() else {
                return Ok(gone);
            };
            after = Some(last.id);
            for entry in page {
                if self.content_of_tree_is_held(&entry.id)? {
                    continue;
                }
                if !dry {
                    self.remove_complete(&entry.id)?;
                }
                gone.push(GivenUp {
                    id: entry.id,
                    on_disk: entry.on_disk,
                    complete: true,
                });
            }
        }
    }

    /// Removes the file of complete content, if there is one, and its entry.
    pub(super) fn remove_complete(&self, id: &ContentId) -> Result<(), StoreError> {
        let path = self.layout().complete(id);
        self.forget_open(id);
        let removed = match fs::remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            result => {
                result.map_err(|e| StoreError::io("remove", &path, e))?;
                true
            }
        };
        self.take_out(id)?;
        if removed {
            // Whoever opened it meanwhile keeps it open no longer than it must.
            self.forget_open(id);
            self.0.room.given_up.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes complete content out of the index, and out of what is to be entered there.
    pub(super) fn take_out(&self, id: &ContentId) -> Result<(), StoreError> {
        let landed = {
            let mut unsaved = lock(&self.0.unsaved);
            let before = unsaved.landed.len();
            unsaved.landed.retain(|landed| landed.id != *id);
            unsaved.landed.len() < before
        };
        if landed {
            remove_maps(self.layout(), id);
        }
        self.leave(id)?;
        self.changed(1, None)
    }

    /// Closes the file of content that is kept open for whoever asks next.
    pub(super) fn forget_open(&self, id: &ContentId) {
        for id in self.names_of(id) {
            self.0.open_files.forget(&id);
        }
    }
}

/// Removes what says that complete content may not be in the index yet.
pub(super) fn remove_maps(layout: &Layout, id: &ContentId) {
    for slot in Slot::BOTH {
        let map = layout.partial_map(id, slot);
        if let Err(error) = remove_file(&map) {
            warn!(map = %map.display(), %error, "a map that is done with could not be removed");
        }
    }
}
