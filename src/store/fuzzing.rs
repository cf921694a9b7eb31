//! Doors for fuzzers to decoders that nothing outside of the store reaches otherwise.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::map::{MapFile, Subject};
use super::record::Record;
use crate::content::{ContentId, RangeSet};

/// Makes `file` the map of content of `length` bytes, with `pages` for its pages as they come, and
/// reads what it says is present.
///
/// # Errors
/// Those of the file.
pub fn load_map(
    file: &File,
    id: ContentId,
    length: u64,
    pages: &[u8],
) -> io::Result<Option<RangeSet>> {
    drop(MapFile::create(file.try_clone()?, Subject { id, length })?);
    file.write_all_at(pages, file.metadata()?.len())?;
    Ok(MapFile::load(file.try_clone()?)?.map(|(_, present)| present))
}

/// Reads `bytes` as the whole of a map.
///
/// # Errors
/// Those of the file.
pub fn load_any_map(file: &File, bytes: &[u8]) -> io::Result<Option<RangeSet>> {
    file.set_len(0)?;
    file.write_all_at(bytes, 0)?;
    Ok(MapFile::load(file.try_clone()?)?.map(|(_, present)| present))
}

/// Reads `bytes` as the record of a seeded file, and writes it again.
#[must_use]
pub fn rewritten_record(bytes: &[u8]) -> Option<Vec<u8>> {
    let (record, number) = Record::decode(bytes)?;
    Some(record.encode(number).to_vec())
}
