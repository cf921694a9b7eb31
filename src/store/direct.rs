//! Long runs of arriving content, written past the page cache.
//!
//! Who fetches a file that nobody reads yet needs no copy of it in the page cache. Writing it there
//! was the dearest part of a fetch: the kernel took 0.35 to 1.5 s of a core for 1 GiB (looking for
//! pages, copying, writing back), against 0.06 s with `O_DIRECT` (1 MiB writes, ext4, 2 cores).
//! The memory of an [`AlignedBuffer`] is handed to the disk as it is; so its start, its length and
//! the offset in the file have to be multiples of [`ALIGNMENT`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::OnceLock;

/// What any disk in use today can write by itself, in bytes.
pub const ALIGNMENT: usize = 4096;
/// Shorter runs wait for the disk more often than the page cache would make them, in bytes.
const SHORTEST: usize = 128 << 10;

/// Bytes in memory that a disk can be given without a copy.
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
    capacity: usize,
}

impl AlignedBuffer {
    /// An empty buffer for `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::from_memory(vec![0; capacity + ALIGNMENT])
    }

    /// The same in memory that such a buffer had before.
    #[must_use]
    pub fn from_memory(memory: Vec<u8>) -> Self {
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(memory.len());
        Self {
            capacity: memory.len().saturating_sub(ALIGNMENT),
            memory,
            start,
            length: 0,
        }
    }

    /// Its memory, for another.
    #[must_use]
    pub fn into_memory(self) -> Vec<u8> {
        self.memory
    }

    /// The bytes that it holds.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// Appends as much of `data` as there is room for; returns how much that was, in bytes.
    pub fn append(&mut self, data: &[u8]) -> usize {
        let room = &mut self.memory[self.start + self.length..self.start + self.capacity];
        let added = data.len().min(room.len());
        room[..added].copy_from_slice(&data[..added]);
        self.length += added;
        added
    }
}

/// A second way into a file, past the page cache; opened when it is first needed.
#[derive(Default)]
pub(super) struct DirectFile(OnceLock<Option<File>>);

impl DirectFile {
    /// Writes what can be of `data`, which begins at an aligned place in memory, to `offset` of
    /// `file`; returns how many bytes that was. The rest is for the usual way, as is everything
    /// where the file system does not know such writes.
    pub fn write_at(&self, file: &File, data: &[u8], offset: u64) -> usize {
        let length = data.len() - data.len() % ALIGNMENT;
        let aligned =
            data.as_ptr().align_offset(ALIGNMENT) == 0 && offset.is_multiple_of(ALIGNMENT as u64);
        if !aligned || length < SHORTEST {
            return 0;
        }
        let Some(direct) = self.0.get_or_init(|| open(file).ok()) else {
            return 0;
        };
        // Whatever is wrong, the usual way finds out as well, and says it.
        match direct.write_all_at(&data[..length], offset) {
            Ok(()) => length,
            Err(_) => 0,
        }
    }
}

/// Opens an open file once more, whatever has become of its name.
fn open(file: &File) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    #[test]
    fn what_is_written_past_the_page_cache_is_read_through_it() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 << 20).unwrap();
        let content = noise(2 << 20);
        let mut buffer = AlignedBuffer::new(1 << 20);
        assert_eq!(buffer.append(&content[..100]), 100);
        assert_eq!(buffer.append(&content[100..]), (1 << 20) - 100);
        let bytes = buffer.bytes();
        // The page cache knows other bytes of it.
        file.write_all_at(&[9; 8192], 1 << 20).unwrap();
        let direct = DirectFile::default();
        let written = direct.write_at(&file, bytes, 1 << 20);
        assert!(written == 0 || written == 1 << 20, "{written}");
        if written > 0 {
            let mut found = vec![0; 1 << 20];
            file.read_exact_at(&mut found, 1 << 20).unwrap();
            assert_eq!(found, content[..1 << 20]);
        }
    }

    #[test]
    fn what_is_not_aligned_or_short_goes_the_usual_way() {
        let file = tempfile::tempfile().unwrap();
        let mut buffer = AlignedBuffer::new(1 << 20);
        buffer.append(&noise(1 << 20));
        let direct = DirectFile::default();
        assert_eq!(direct.write_at(&file, buffer.bytes(), 512), 0);
        assert_eq!(direct.write_at(&file, &buffer.bytes()[1..1 << 20], 0), 0);
        assert_eq!(
            direct.write_at(&file, &buffer.bytes()[..SHORTEST - 1], 0),
            0
        );
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
