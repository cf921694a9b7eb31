//! A store that a later release has written to is refused in one sentence, and left as it is.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cjp2pfs::content::ContentId;
use cjp2pfs::store::{Store, StoreError};

fn a_store(dir: &Path) {
    let store = Store::open(dir).unwrap();
    store.pin(&ContentId::sha256([3; 32])).unwrap();
}

fn refused(dir: &Path) -> String {
    let error = Store::open(dir).err().expect("it is refused");
    assert!(matches!(error, StoreError::NewerIndex { .. }), "{error:?}");
    let names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !names.iter().any(|name| name.contains("damaged")),
        "{names:?}"
    );
    error.to_string()
}

#[test]
fn a_table_of_a_higher_version() {
    let dir = tempfile::tempdir().unwrap();
    a_store(dir.path());
    let database = redb::Database::open(dir.path().join("index.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("complete_v2");
    txn.open_table(table).unwrap().insert(1, 2).unwrap();
    txn.commit().unwrap();
    drop(database);
    let said = refused(dir.path());
    assert!(
        said.ends_with("was written by a newer version of this program (table complete_v2)"),
        "{said}"
    );
}

#[test]
fn a_table_that_is_not_known_is_no_reason() {
    let dir = tempfile::tempdir().unwrap();
    a_store(dir.path());
    let database = redb::Database::open(dir.path().join("index.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("something_v7");
    txn.open_table(table).unwrap().insert(1, 2).unwrap();
    txn.commit().unwrap();
    drop(database);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.pinned().unwrap(), [ContentId::sha256([3; 32])]);
}

#[test]
fn a_newer_format_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    a_store(dir.path());
    let file = fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("index.redb"))
        .unwrap();
    for slot in [64, 192] {
        file.write_all_at(&[4], slot).unwrap();
    }
    let said = refused(dir.path());
    assert!(said.contains("(redb file format 4)"), "{said}");
    for slot in [64, 192] {
        file.write_all_at(&[3], slot).unwrap();
    }
    assert_eq!(Store::open(dir.path()).unwrap().pinned().unwrap().len(), 1);
}
