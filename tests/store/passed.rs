//! Files that the kernel reads past the store: only what cannot change, as long as it is passed on.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use cjp2pfs::content::{ByteRange, ContentHasher, ContentId, Digests};
use cjp2pfs::store::{Identity, Passed, Store};
use tempfile::TempDir;

struct Scene {
    folder: TempDir,
    store: Store,
    data: Vec<u8>,
    digests: Digests,
    id: ContentId,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let data: Vec<u8> = (0..100_000u32).map(|i| (i * 3 + i / 241) as u8).collect();
        let mut hasher = ContentHasher::new();
        hasher.update(&data);
        let digests = hasher.finish();
        Self {
            id: ContentId::sha256(digests.sha256.0),
            folder,
            store,
            data,
            digests,
        }
    }

    fn fetched(self) -> Self {
        let length = self.data.len() as u64;
        let partial = self.store.partial(&self.id, length).unwrap();
        partial.write_at(0, &self.data).unwrap();
        partial.note_present(ByteRange::at(0, length));
        partial.complete().unwrap();
        self.store.learned_digests(&self.digests);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn passed(&self) -> Option<Passed> {
        let content = self.store.open_content(&self.id).unwrap().unwrap();
        self.store.pass(&content)
    }
}

fn read(passed: &Passed) -> Vec<u8> {
    let mut data = Vec::new();
    let mut file = File::from(passed.as_fd().try_clone_to_owned().unwrap());
    file.read_to_end(&mut data).unwrap();
    data
}

#[test]
fn what_was_fetched_is_passed_on_and_stays_when_it_is_removed() {
    let scene = Scene::new().fetched();
    let passed = scene.passed().unwrap();
    let folder = scene.folder.path().join("store/complete/sha256");
    fs::remove_dir_all(folder).unwrap();
    assert!(read(&passed) == scene.data);
}

#[test]
fn a_file_of_the_users_is_not_passed_on() {
    let scene = Scene::new();
    let path = scene.path("file");
    fs::write(&path, &scene.data).unwrap();
    // Not even when nobody seems to be allowed to change it.
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    let identity = Identity::of(&fs::symlink_metadata(&path).unwrap());
    scene
        .store
        .add_seeded(&path, identity, &scene.digests)
        .unwrap();
    assert!(scene.passed().is_none());
}

#[test]
fn what_is_lent_is_not_passed_on_nor_the_other_way_round() {
    let scene = Scene::new().fetched();
    let passed = scene.passed().unwrap();
    let again = scene.passed().unwrap();
    let target = scene.path("target");
    for held in [passed, again] {
        assert!(!scene.store.lend(&scene.id, &target, 0o644).unwrap());
        assert!(!target.exists(), "it is left as it was");
        drop(held);
    }
    assert!(scene.store.lend(&scene.id, &target, 0o644).unwrap());
    assert!(scene.passed().is_none());
    // The other name is gone, but whoever opened it before can write on.
    fs::remove_file(&target).unwrap();
    assert!(scene.passed().is_none());
}

#[test]
fn a_file_with_another_name_or_that_can_be_written_is_not_passed_on() {
    let scene = Scene::new().fetched();
    let hex = scene.digests.sha256.to_string();
    let own = scene
        .path("store/complete/sha256")
        .join(&hex[..2])
        .join(&hex);
    let other = scene.path("other");
    fs::hard_link(&own, &other).unwrap();
    assert!(scene.passed().is_none());
    fs::remove_file(&other).unwrap();
    assert!(scene.passed().is_some());
    fs::set_permissions(&own, Permissions::from_mode(0o644)).unwrap();
    assert!(scene.passed().is_none());
}

#[test]
fn what_is_in_memory_is_not_passed_on() {
    let scene = Scene::new();
    // The tree of a file of one leaf is made from it when it is asked for.
    let mut hasher = ContentHasher::new();
    hasher.update(b"one leaf");
    let digests = hasher.finish();
    let path = scene.path("small");
    fs::write(&path, b"one leaf").unwrap();
    let identity = Identity::of(&fs::symlink_metadata(&path).unwrap());
    scene.store.add_seeded(&path, identity, &digests).unwrap();
    let tree = ContentId::tree_v2(digests.blake3.0);
    let tree = scene.store.open_content(&tree).unwrap().unwrap();
    assert!(scene.store.pass(&tree).is_none());
}
