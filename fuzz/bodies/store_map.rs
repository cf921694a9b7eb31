//! What the store reads back of its own files, after a disk, a crash or a local user had their way
//! with them: the map of partial content, and records of seeded files.

use std::fs::File;

use arbitrary::{Result, Unstructured};
use cjp2pfs::content::{ByteRange, ContentId, LEAF};
use cjp2pfs::store::fuzzing::{load_any_map, load_map, rewritten_record};

thread_local! {
    static FILE: File = tempfile::tempfile().expect("a temporary file");
}

pub fn run(data: &[u8]) {
    if let Some(written) = rewritten_record(data) {
        assert!(data.starts_with(&written));
    }
    FILE.with(|file| {
        if let Some(present) = load_any_map(file, data).expect("a file that can be read") {
            assert!(present.bytes() <= 1 << 62);
        }
        let _ = pages(file, Unstructured::new(data));
    });
}

fn pages(file: &File, mut u: Unstructured<'_>) -> Result<()> {
    let length = match u.int_in_range(0..=3u8)? {
        0 => u.arbitrary::<u64>()? >> 2,
        1 => u.int_in_range(0..=LEAF * 9)?,
        _ => u.int_in_range(0..=1 << 40)?,
    };
    let id = ContentId::sha256([u.arbitrary()?; 32]);
    let rest = u.take_rest();
    let present = load_map(file, id, length, rest).expect("a file that can be read");
    let present = present.expect("its header is good");
    // No page that somebody made up has the checksum of one that was written.
    assert!(present.is_empty() || ByteRange::new(0, length).is_empty());
    Ok(())
}
