//! Complete content whose file the user has as well: one file, two names.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use cjp2pfs::content::{ByteRange, ContentHasher, ContentId};
use cjp2pfs::store::Store;
use tempfile::TempDir;

struct Scene {
    folder: TempDir,
    store: Store,
    id: ContentId,
    other_id: ContentId,
    data: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let data: Vec<u8> = (0..100_000u32).map(|i| (i * 7 + i / 251) as u8).collect();
        let mut hasher = ContentHasher::new();
        hasher.update(&data);
        let digests = hasher.finish();
        let id = ContentId::sha256(digests.sha256.0);
        let partial = store.partial(&id, data.len() as u64).unwrap();
        partial.write_at(0, &data).unwrap();
        partial.note_present(ByteRange::at(0, data.len() as u64));
        partial.complete().unwrap();
        store.learned_digests(&digests);
        Self {
            other_id: ContentId::blake3(digests.blake3.0),
            folder,
            store,
            id,
            data,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lend(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(self.store.lend(&self.id, &path, 0o644).unwrap());
        path
    }

    fn held(&self) -> Option<Vec<u8>> {
        let content = self.store.open_content(&self.id).unwrap()?;
        let mut data = vec![0; content.length() as usize];
        content.read_at(0, &mut data).unwrap();
        content.still_valid().then_some(data)
    }

    fn open_again(self) -> Self {
        let Self {
            folder,
            store,
            id,
            other_id,
            data,
        } = self;
        drop(store);
        Self {
            store: Store::open(&folder.path().join("store")).unwrap(),
            folder,
            id,
            other_id,
            data,
        }
    }
}

#[test]
fn a_lent_file_is_the_user_s_and_still_held() {
    let scene = Scene::new();
    let path = scene.lend("file");
    let found = fs::metadata(&path).unwrap();
    assert_eq!(found.nlink(), 2, "nothing was copied");
    assert_eq!(found.permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read(&path).unwrap(), scene.data);
    assert_eq!(scene.held().unwrap(), scene.data);
    let again = scene.lend("again");
    assert_eq!(fs::metadata(&again).unwrap().nlink(), 3);
    let content = scene.store.open_content(&scene.other_id).unwrap().unwrap();
    assert!(content.may_change());
    assert_eq!(content.length(), scene.data.len() as u64);
    let by_other_id = scene.path("by other id");
    assert!(
        scene
            .store
            .lend(&scene.other_id, &by_other_id, 0o600)
            .unwrap()
    );
}

#[test]
fn what_happens_to_its_other_name_is_of_no_matter() {
    let scene = Scene::new();
    let path = scene.lend("file");
    let renamed = scene.path("renamed");
    fs::rename(&path, &renamed).unwrap();
    fs::set_permissions(&renamed, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(scene.held().unwrap(), scene.data);
    fs::remove_file(&renamed).unwrap();
    let scene = scene.open_again();
    assert_eq!(scene.held().unwrap(), scene.data);
    assert_eq!(scene.store.counts().held, 2, "the content and its tree");
}

#[test]
fn a_changed_file_is_the_user_s_alone() {
    for how in ["append", "overwrite", "truncate", "map"] {
        for reopened in [false, true] {
            let mut scene = Scene::new();
            let path = scene.lend("file");
            let open = scene.store.open_content(&scene.id).unwrap().unwrap();
            let mut options = OpenOptions::new();
            match how {
                "append" => {
                    let mut file = options.append(true).open(&path).unwrap();
                    file.write_all(b"more").unwrap();
                }
                "overwrite" => {
                    let mut file = options.write(true).open(&path).unwrap();
                    file.write_all(b"other").unwrap();
                }
                "truncate" => {
                    options.write(true).truncate(true).open(&path).unwrap();
                }
                _ => write_through_a_mapping(&path),
            }
            let changed = fs::read(&path).unwrap();
            assert_ne!(changed, scene.data);
            assert!(!open.still_valid(), "{how}");
            drop(open);
            if reopened {
                scene = scene.open_again();
            }
            assert_eq!(scene.held(), None, "{how}");
            assert!(scene.store.open_content(&scene.other_id).unwrap().is_none());
            assert_eq!(
                fs::read(&path).unwrap(),
                changed,
                "the user's is left alone"
            );
            assert_eq!(fs::metadata(&path).unwrap().nlink(), 1);
        }
    }
}

fn write_through_a_mapping(path: &std::path::Path) {
    use std::os::fd::AsRawFd;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let (shared, rights) = (libc::MAP_SHARED, libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a fresh mapping of 4096 bytes of a longer file, used within them and unmapped once.
    unsafe {
        let map = libc::mmap(
            std::ptr::null_mut(),
            4096,
            rights,
            shared,
            file.as_raw_fd(),
            0,
        );
        assert_ne!(map, libc::MAP_FAILED);
        *map.cast::<u8>() ^= 1;
        assert_eq!(libc::msync(map, 4096, libc::MS_SYNC), 0);
        assert_eq!(libc::munmap(map, 4096), 0);
    }
}

#[test]
fn what_cannot_be_lent_is_refused_without_harm() {
    let scene = Scene::new();
    let taken = scene.path("taken");
    fs::write(&taken, b"mine").unwrap();
    assert!(!scene.store.lend(&scene.id, &taken, 0o644).unwrap());
    assert_eq!(fs::read(&taken).unwrap(), b"mine");
    let unknown = ContentId::sha256([9; 32]);
    let target = scene.path("target");
    assert!(!scene.store.lend(&unknown, &target, 0o644).unwrap());
    let nowhere = scene.path("no/folder");
    assert!(!scene.store.lend(&scene.id, &nowhere, 0o644).unwrap());
    let mine = scene.path("seeded");
    fs::write(&mine, b"a file of the user's").unwrap();
    let mut hasher = ContentHasher::new();
    hasher.update(b"a file of the user's");
    let digests = hasher.finish();
    let identity = cjp2pfs::store::Identity::of(&fs::symlink_metadata(&mine).unwrap());
    scene.store.add_seeded(&mine, identity, &digests).unwrap();
    let seeded = ContentId::sha256(digests.sha256.0);
    assert!(!scene.store.lend(&seeded, &target, 0o644).unwrap());
    assert!(!target.exists());
    assert_eq!(scene.held().unwrap(), scene.data);
}
