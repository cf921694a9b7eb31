//! A process that is killed while it fills a store: whatever it was doing, what the next one finds
//! is right.
//!
//! The test runs itself again as the process to be killed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cjp2pfs::content::{ByteRange, ContentHasher, ContentId, Digests};
use cjp2pfs::store::{Identity, Store};

const STORE: &str = "CJP2PFS_TEST_STORE_TO_FILL";
/// Of the content that never gets complete.
const LENGTH: u64 = 1 << 30;
const BLOCK: u64 = 16384;

fn content(number: u32) -> (Vec<u8>, Digests) {
    let data = blake3::hash(&number.to_le_bytes())
        .as_bytes()
        .repeat(1 + number as usize % 700);
    let mut hasher = ContentHasher::new();
    hasher.update(&data);
    (data, hasher.finish())
}

fn block(number: u64) -> Vec<u8> {
    blake3::hash(&number.to_le_bytes())
        .as_bytes()
        .repeat(BLOCK as usize / 32)
}

fn endless() -> ContentId {
    ContentId::blake3([0xee; 32])
}

fn seeded_path(dir: &Path, number: u32) -> PathBuf {
    dir.with_extension(format!("seeded-{number}"))
}

/// Completes content, seeds files and fetches blocks until it is killed.
fn fill(dir: &Path) {
    let store = Store::open(dir).unwrap();
    let partial = store.partial(&endless(), LENGTH).unwrap();
    let first = u32::try_from(store.counts().held).unwrap();
    let present = partial.present_bytes() / BLOCK;
    for step in 0.. {
        let (data, digests) = content(first + step);
        let id = ContentId::sha256(digests.sha256.0);
        let complete = store.partial(&id, digests.length).unwrap();
        complete.write_at(0, &data).unwrap();
        complete.note_present(ByteRange::at(0, digests.length));
        complete.complete().unwrap();
        store.learned_digests(&digests);

        let at = (present + u64::from(step)) * BLOCK;
        partial.write_at(at, &block(at)).unwrap();
        partial.note_present(ByteRange::at(at, BLOCK));
        if step % 3 == 0 {
            partial.sync().unwrap();
        }

        let path = seeded_path(dir, step % 8);
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, &data).unwrap();
        let identity = Identity::of(&std::fs::symlink_metadata(&path).unwrap());
        store.add_seeded(&path, identity, &digests).unwrap();
        if step % 50 == 7 {
            store.flush().unwrap();
        }
    }
}

fn check(dir: &Path) -> (usize, u64) {
    let store = Store::open(dir).unwrap();
    let contents = store.contents(usize::MAX);
    for (id, length) in &contents {
        let Some(open) = store.open_content(id).unwrap() else {
            // Seeded, and written anew when the process was killed.
            assert!(
                !dir.join("complete/sha256")
                    .join(&id.to_string()[..2])
                    .join(id.to_string())
                    .exists()
            );
            continue;
        };
        assert_eq!(open.length(), *length);
        let mut data = vec![0; usize::try_from(*length).unwrap()];
        open.read_at(0, &mut data).unwrap();
        let mut hasher = ContentHasher::new();
        hasher.update(&data);
        assert_eq!(hasher.finish().sha256, id.hash);
    }
    // Every complete file is in the index.
    let mut files = 0;
    for folder in std::fs::read_dir(dir.join("complete/sha256")).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let id: ContentId = name.parse().unwrap();
            assert!(store.may_hold(&id));
            assert!(
                contents.iter().any(|(of, _)| *of == id),
                "{id} is not listed"
            );
            files += 1;
        }
    }
    let partial = store.partial(&endless(), LENGTH).unwrap();
    let present = partial.present();
    for range in present.iter() {
        for at in (range.start..range.end).step_by(BLOCK as usize) {
            let mut data = vec![0; BLOCK as usize];
            partial.read_at(at, &mut data).unwrap();
            assert!(data == block(at), "block at {at}");
        }
    }
    (files, present.bytes())
}

#[test]
fn a_killed_process_leaves_a_store_that_is_right() {
    if let Some(dir) = std::env::var_os(STORE) {
        fill(Path::new(&dir));
    }
    let room = tempfile::tempdir().unwrap();
    let dir = room.path().join("store");
    let (mut files, mut bytes) = (0, 0);
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("a_killed_process_leaves_a_store_that_is_right")
            .env(STORE, &dir)
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(60 + round * 37));
        child.kill().unwrap();
        child.wait().unwrap();
        let (files_now, bytes_now) = check(&dir);
        // Nothing that was there is lost.
        assert!(files_now >= files && bytes_now >= bytes);
        (files, bytes) = (files_now, bytes_now);
    }
    assert!(files > 0 && bytes > 0);
}
