//! The file beside partial content that says which of its leaves are on disk.
//!
//! It is written in pages, only those that changed: the map of a terabyte is 32 MiB, a block that
//! arrives costs one page. A page is written to one of its two slots in turn, with a generation and
//! a checksum, so a write that power failure tears spoils only the newer slot and what was durable
//! before stays trusted. What such a write left is wiped before the slot is used again: all that
//! keeps it from being good may be a sector that the next write, torn in its turn, happens to put
//! right, long after the leaves that it speaks of came to be something else. A page with no good slot speaks of no leaf at all: wrong trust is worse
//! than fetching again.
//!
//! ```text
//! page 0            header: magic, version, kind, hash, length, checksum
//! page 1 + 2p       slot 0 of page p: generation, checksum, one bit per leaf
//! page 2 + 2p       slot 1 of page p
//! ```
//! Numbers are little-endian; a checksum is 16 bytes of a BLAKE3 that also covers the id, the
//! length and the page's number, so that no page is taken for another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use crate::content::{ByteRange, ContentId, Hash, Kind, LEAF, MAX_LENGTH, RangeSet};

const MAGIC: [u8; 8] = *b"cjp2pmap";
const VERSION: u32 = 1;
/// One block of most disks and one page of the page cache.
const PAGE: usize = 4096;
/// Generation and checksum.
const PAGE_HEAD: usize = 24;
/// Content bytes that one page speaks of.
const PAGE_SPAN: u64 = (PAGE - PAGE_HEAD) as u64 * 8 * LEAF;

/// Whose leaves a map speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) id: ContentId,
    /// Bytes of the whole content.
    pub(super) length: u64,
}

impl Subject {
    /// The numbers of the pages that speak of `range`.
    pub(super) fn pages(range: ByteRange) -> std::ops::Range<u64> {
        if range.is_empty() {
            return 0..0;
        }
        range.start / PAGE_SPAN..(range.end - 1) / PAGE_SPAN + 1
    }

    fn page_range(self, page: u64) -> ByteRange {
        let start = page.saturating_mul(PAGE_SPAN);
        ByteRange::new(start, start.saturating_add(PAGE_SPAN).min(self.length))
    }

    fn page_count(self) -> u64 {
        self.length.div_ceil(PAGE_SPAN)
    }

    fn header(self) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        page[..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        page[12] = kind_number(self.id.kind);
        page[16..48].copy_from_slice(&self.id.hash.0);
        page[48..56].copy_from_slice(&self.length.to_le_bytes());
        let checksum = blake3::hash(&page[..56]);
        page[56..72].copy_from_slice(&checksum.as_bytes()[..16]);
        page
    }

    fn of_header(page: &[u8; PAGE]) -> Option<Self> {
        let kind = [Kind::Sha256, Kind::Blake3, Kind::TreeV2]
            .into_iter()
            .find(|kind| kind_number(*kind) == page[12])?;
        let subject = Self {
            id: ContentId {
                kind,
                hash: Hash(page[16..48].try_into().ok()?),
            },
            length: u64::from_le_bytes(page[48..56].try_into().ok()?),
        };
        let sound = subject.length <= MAX_LENGTH && subject.header() == *page;
        sound.then_some(subject)
    }

    fn checksum(self, page: u64, generation: u64, bits: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.id.hash.0);
        hasher.update(&[kind_number(self.id.kind)]);
        for number in [self.length, page, generation] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(bits);
        let mut checksum = [0; 16];
        checksum.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        checksum
    }

    fn page_image(self, page: u64, generation: u64, present: &RangeSet) -> [u8; PAGE] {
        let mut image = [0; PAGE];
        let span = self.page_range(page);
        for range in present.within(span) {
            let first = (range.start - span.start).div_ceil(LEAF);
            let last = if range.end == self.length {
                (range.end - span.start).div_ceil(LEAF)
            } else {
                (range.end - span.start) / LEAF
            };
            set_bits(&mut image[PAGE_HEAD..], first, last);
        }
        image[..8].copy_from_slice(&generation.to_le_bytes());
        let checksum = self.checksum(page, generation, &image[PAGE_HEAD..]);
        image[8..PAGE_HEAD].copy_from_slice(&checksum);
        image
    }

    /// The generation of a slot, if it is whole and of this page.
    fn generation_of(self, page: u64, slot: &[u8]) -> Option<u64> {
        let (head, bits) = slot.split_at_checked(PAGE_HEAD)?;
        let generation = u64::from_le_bytes(head.get(..8)?.try_into().ok()?);
        if generation == 0 || bits.len() != PAGE - PAGE_HEAD {
            return None;
        }
        (head.get(8..)? == self.checksum(page, generation, bits)).then_some(generation)
    }

    /// The generation and the bits of the newer of a page's good slots.
    fn newest(self, page: u64, slots: &[u8]) -> Option<(u64, &[u8])> {
        slots
            .chunks_exact(PAGE)
            .filter_map(|slot| Some((self.generation_of(page, slot)?, slot.get(PAGE_HEAD..)?)))
            .max_by_key(|(generation, _)| *generation)
    }
}

fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Sha256 => 1,
        Kind::Blake3 => 2,
        Kind::TreeV2 => 3,
    }
}

fn set_bits(bits: &mut [u8], first: u64, last: u64) {
    let mut at = first;
    while at < last {
        let Some(byte) = usize::try_from(at / 8).ok().and_then(|i| bits.get_mut(i)) else {
            return;
        };
        if at.is_multiple_of(8) && last - at >= 8 {
            *byte = 0xff;
            at += 8;
        } else {
            *byte |= 1 << (at % 8);
            at += 1;
        }
    }
}

/// Adds what the bits of one page say to `present`.
fn add_bits(bits: &[u8], span: ByteRange, present: &mut RangeSet) {
    let mut run: Option<u64> = None;
    let mut close = |run: &mut Option<u64>, leaf: u64| {
        if let Some(first) = run.take() {
            let range = ByteRange::new(span.start + first * LEAF, span.start + leaf * LEAF);
            present.insert(range.intersection(span));
        }
    };
    let mut leaf = 0;
    for byte in bits {
        match byte {
            0 => close(&mut run, leaf),
            0xff => run = run.or(Some(leaf)),
            _ => {
                for bit in 0..8 {
                    if byte >> bit & 1 == 1 {
                        run = run.or(Some(leaf + bit));
                    } else {
                        close(&mut run, leaf + bit);
                    }
                }
            }
        }
        leaf += 8;
    }
    close(&mut run, leaf);
}

/// An open map.
#[derive(Debug)]
pub(super) struct MapFile {
    file: File,
    subject: Subject,
    /// The newest durable generation of each page that has one.
    generations: BTreeMap<u64, u64>,
    /// Generations written since the last sync. If that fails they are written again to the same
    /// slot, never over the durable one.
    written: Vec<(u64, u64)>,
    /// Page and number of the slots that hold the rest of a torn write.
    torn: Vec<(u64, u64)>,
}

impl MapFile {
    /// Starts a map that speaks of no leaf.
    pub(super) fn create(file: File, subject: Subject) -> io::Result<Self> {
        file.set_len(0)?;
        file.write_all_at(&subject.header(), 0)?;
        Ok(Self {
            file,
            subject,
            generations: BTreeMap::new(),
            written: Vec::new(),
            torn: Vec::new(),
        })
    }

    /// Reads whose map `file` is; `None` when its header is damaged or of another version.
    pub(super) fn subject_of(file: &File) -> io::Result<Option<Subject>> {
        let mut header = [0; PAGE];
        match file.read_exact_at(&mut header, 0) {
            Ok(()) => Ok(Subject::of_header(&header)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads a map and what it says is on disk; `None` when the header is not good.
    pub(super) fn load(file: File) -> io::Result<Option<(Self, RangeSet)>> {
        let Some(subject) = Self::subject_of(&file)? else {
            return Ok(None);
        };
        let mut map = Self {
            file,
            subject,
            generations: BTreeMap::new(),
            written: Vec::new(),
            torn: Vec::new(),
        };
        let mut present = RangeSet::new();
        let (generations, torn) = (&mut map.generations, &mut map.torn);
        each_page(&map.file, subject, |page, slots| {
            if let Some((generation, bits)) = subject.newest(page, slots) {
                generations.insert(page, generation);
                add_bits(bits, subject.page_range(page), &mut present);
            }
            for (number, slot) in (0..).zip(slots.chunks_exact(PAGE)) {
                let written = slot.iter().take(PAGE_HEAD).any(|byte| *byte != 0);
                if written && subject.generation_of(page, slot).is_none() {
                    torn.push((page, number));
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(Some((map, present)))
    }

    /// Whether a map says of no leaf that it is on disk; so does one whose header is not good.
    pub(super) fn is_blank(file: &File) -> io::Result<bool> {
        let Some(subject) = Self::subject_of(file)? else {
            return Ok(true);
        };
        let mut blank = true;
        each_page(file, subject, |page, slots| {
            let newest = subject.newest(page, slots);
            if newest.is_none_or(|(_, bits)| bits.iter().all(|byte| *byte == 0)) {
                return ControlFlow::Continue(());
            }
            blank = false;
            ControlFlow::Break(())
        })?;
        Ok(blank)
    }

    /// Whose leaves it speaks of.
    pub(super) fn subject(&self) -> Subject {
        self.subject
    }

    /// Wipes, durably, what torn writes left. Done at the first write, too, if it failed before.
    pub(super) fn wipe_torn(&mut self) -> io::Result<()> {
        if self.torn.is_empty() {
            return Ok(());
        }
        for (page, slot) in &self.torn {
            // Within one sector, so this cannot be torn.
            self.file
                .write_all_at(&[0; PAGE_HEAD], slot_offset(*page, *slot))?;
        }
        self.file.sync_data()?;
        self.torn.clear();
        Ok(())
    }

    /// Writes `page` as `present` has it, not yet durably.
    pub(super) fn write_page(&mut self, page: u64, present: &RangeSet) -> io::Result<()> {
        self.wipe_torn()?;
        let generation = self
            .generations
            .get(&page)
            .map_or(1, |g| g.saturating_add(1));
        let image = self.subject.page_image(page, generation, present);
        self.file
            .write_all_at(&image, slot_offset(page, generation % 2))?;
        self.written.push((page, generation));
        Ok(())
    }

    /// Makes the pages written so far durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let written = std::mem::take(&mut self.written);
        self.file.sync_data()?;
        self.generations.extend(written);
        Ok(())
    }
}

/// Gives `each` the number and both slots of every page that was ever written.
fn each_page(
    file: &File,
    subject: Subject,
    mut each: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    let end = file.metadata()?.len();
    let mut slots = vec![0; 2 * PAGE];
    let mut page = 0;
    while page < subject.page_count() {
        let Some(next) = next_data(file, slot_offset(page, 0), end)? else {
            break;
        };
        page = page.max(next.saturating_sub(PAGE as u64) / (2 * PAGE as u64));
        if page >= subject.page_count() {
            break;
        }
        read_what_is_there(file, slot_offset(page, 0), &mut slots)?;
        if each(page, &slots).is_break() {
            break;
        }
        page += 1;
    }
    Ok(())
}

fn slot_offset(page: u64, slot: u64) -> u64 {
    // Pages are at most 2^62 / PAGE_SPAN, so this stays far below 2^63.
    (1 + 2 * page + slot) * PAGE as u64
}

/// The next offset from `from` that is not in a hole, if there is one before `end`.
fn next_data(file: &File, from: u64, end: u64) -> io::Result<Option<u64>> {
    if from >= end {
        return Ok(None);
    }
    let Ok(offset) = libc::off_t::try_from(from) else {
        return Ok(None);
    };
    // SAFETY: no memory is handed over; the descriptor is open as long as `file` is borrowed.
    let found = unsafe { libc::lseek(file.as_raw_fd(), offset, libc::SEEK_DATA) };
    match u64::try_from(found) {
        Ok(found) => Ok(Some(found)),
        Err(_) => {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENXIO) => Ok(None),
                // A file system that knows no holes.
                Some(libc::EINVAL | libc::EOPNOTSUPP) => Ok(Some(from)),
                _ => Err(error),
            }
        }
    }
}

/// Fills `buffer` from `offset`; what lies past the end of the file reads as zeros.
fn read_what_is_there(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    buffer.fill(0);
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
