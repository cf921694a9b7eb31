//! The two files of partial content, data and map, in either of the two places that it may have.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use tracing::warn;

use crate::content::{ContentId, RangeSet};

use super::error::StoreError;
use super::layout::{Layout, Slot, remove_file, sync_folder};
use super::map::{MapFile, Subject};

/// Creates both files of partial content that has nothing yet.
pub(super) fn start(
    layout: &Layout,
    slot: Slot,
    subject: Subject,
) -> Result<(File, MapFile), StoreError> {
    let path = layout.partial_data(&subject.id, slot);
    let data = create(&path)?;
    data.set_len(subject.length)
        .map_err(|e| StoreError::io("make room in", &path, e))?;
    let path = layout.partial_map(&subject.id, slot);
    let map =
        MapFile::create(create(&path)?, subject).map_err(|e| StoreError::io("write", &path, e))?;
    Ok((data, map))
}

fn create(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| StoreError::io("create", path, e))
}

pub(super) fn open_for_writing(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).open(path);
    match open() {
        // Killed between the protecting and the renaming of `complete`.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            open()
        }
        opened => opened,
    }
}

/// What an earlier run left of `subject`. What is not there, speaks of something else or is damaged
/// is `None` and may be removed; what cannot be looked at now, be it for want of descriptors, may
/// be nearly complete, and is an error.
pub(super) fn resume(
    layout: &Layout,
    slot: Slot,
    subject: Subject,
) -> Result<Option<(File, MapFile, RangeSet)>, StoreError> {
    let path = layout.partial_map(&subject.id, slot);
    let unread = |e| StoreError::io("read", &path, e);
    let Some(map) = open_if_there(&path)? else {
        return Ok(None);
    };
    if MapFile::subject_of(&map).map_err(unread)? != Some(subject) {
        return Ok(None);
    }
    let data_path = layout.partial_data(&subject.id, slot);
    let Some(data) = open_if_there(&data_path)? else {
        return Ok(None);
    };
    let found = data
        .metadata()
        .map_err(|e| StoreError::io("read", &data_path, e))?;
    if found.len() != subject.length {
        return Ok(None);
    }
    let Some((mut map, present)) = MapFile::load(map).map_err(unread)? else {
        return Ok(None);
    };
    if let Err(error) = map.wipe_torn() {
        // The first sync does it, or fails.
        warn!(id = %subject.id, %error, "the map of partial content could not be written");
    }
    Ok(Some((data, map, present)))
}

/// Where content of another length than what is here may lie: where there is nothing, or less than
/// in the other place.
pub(super) fn slot_for_new(layout: &Layout, id: &ContentId) -> Result<Slot, StoreError> {
    let here = present_in(layout, id, Slot::First)?;
    if here > 0 && present_in(layout, id, Slot::Second)? < here {
        return Ok(Slot::Second);
    }
    Ok(Slot::First)
}

/// Bytes that count in a place. What cannot be looked at now is an error, as in [`resume`].
fn present_in(layout: &Layout, id: &ContentId, slot: Slot) -> Result<u64, StoreError> {
    let path = layout.partial_map(id, slot);
    let Some(map) = open_if_there(&path)? else {
        return Ok(0);
    };
    let Some(data) = open_if_there(&layout.partial_data(id, slot))? else {
        return Ok(0);
    };
    let unread = |e| StoreError::io("read", &path, e);
    let length = data.metadata().map_err(unread)?.len();
    let found = MapFile::load(map).map_err(unread)?;
    let counts = found.filter(|(map, _)| map.subject() == Subject { id: *id, length });
    Ok(counts.map_or(0, |(_, present)| present.bytes()))
}

fn open_if_there(path: &Path) -> Result<Option<File>, StoreError> {
    match open_for_writing(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io("open", path, e)),
    }
}

/// Removes the map, durably, and then the data: a map must never speak of other data than its own.
pub(super) fn remove_files(layout: &Layout, id: &ContentId, slot: Slot) -> Result<(), StoreError> {
    let map = layout.partial_map(id, slot);
    let remove_map = || -> io::Result<()> {
        if map.try_exists()? {
            remove_file(&map)?;
            sync_folder(&layout.partial_root())?;
        }
        Ok(())
    };
    remove_map().map_err(|e| StoreError::io("remove", &map, e))?;
    let data = layout.partial_data(id, slot);
    remove_file(&data).map_err(|e| StoreError::io("remove", &data, e))
}
