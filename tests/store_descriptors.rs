//! A process that has run out of descriptors loses nothing.
//!
//! One test alone in this file: it lowers the limit of its process.

use std::fs::{self, File};

use cjp2pfs::content::{ByteRange, ContentId, LEAF};
use cjp2pfs::store::Store;

/// Descriptors that this process may have meanwhile; it has a dozen by itself.
const LIMIT: libc::rlim_t = 100;
/// Descriptors that opening partial content takes, at most.
const ENOUGH: usize = 8;

/// Lowers or raises the number of descriptors that may be open; returns what it was.
fn limit(soft: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls are given a whole structure that outlives them.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = soft;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

#[test]
fn partial_content_survives_a_lack_of_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let id = ContentId::sha256([0x5a; 32]);
    let length = 64 * LEAF;
    let here = ByteRange::at(0, 63 * LEAF);
    let store = Store::open(dir.path()).unwrap();
    let partial = store.partial(&id, length).unwrap();
    partial
        .write_at(0, &vec![7; usize::try_from(here.len()).unwrap()])
        .unwrap();
    partial.note_present(here);
    partial.sync().unwrap();
    drop(partial);

    let before = limit(LIMIT);
    let mut failed = 0;
    for left in 0..ENOUGH {
        let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        taken.truncate(taken.len() - left);
        match store.partial(&id, length) {
            Ok(partial) => assert_eq!(partial.present_bytes(), here.len(), "{left} left"),
            Err(error) => {
                assert_eq!(error.errno(), libc::EMFILE, "{left} left: {error}");
                failed += 1;
            }
        }
        drop(taken);
    }
    limit(before);
    assert!(failed > 0, "the descriptors never ran out");

    let partial = store.partial(&id, length).unwrap();
    assert_eq!(partial.present_bytes(), here.len());
    let mut data = vec![0; 10];
    partial.read_at(62 * LEAF, &mut data).unwrap();
    assert_eq!(data, [7; 10]);
    assert_eq!(fs::read_dir(dir.path().join("partial")).unwrap().count(), 2);
}
