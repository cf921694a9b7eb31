//! `verify`, `import` and `doctor` as a person uses them, with a daemon and without.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::common::{LATER, Node, Place, SOON, Settings, cjp2pfs, run, sha256_of};
use serde_json::Value;

fn store_command(store: &Path, arguments: &[&str]) -> crate::common::Finished {
    run(cjp2pfs().args(arguments).arg("--store").arg(store), SOON)
}

fn data(name: &str) -> Vec<u8> {
    let mut data = vec![0; 300_000];
    blake3::Hasher::new()
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut data);
    data
}

/// Files of these names in a folder of their own.
fn files(place: &Place, names: &[&str]) -> PathBuf {
    let folder = place.path("files");
    fs::create_dir_all(&folder).unwrap();
    for name in names {
        fs::write(folder.join(name), data(name)).unwrap();
    }
    folder
}

fn rot(store: &Path, id: &str) {
    let path = store.join("complete/sha256").join(&id[..2]).join(id);
    let file = OpenOptions::new().write(true).open(&path);
    // Root may; others are kept out by the mode.
    let file = file.unwrap_or_else(|_| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap()
    });
    let times = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(b"rot", 1000).unwrap();
    file.set_modified(times).unwrap();
}

#[test]
fn what_was_imported_and_rots_is_found() {
    let place = Place::new();
    let folder = files(&place, &["a", "b", "c"]);
    fs::write(folder.join("empty"), "").unwrap();
    let store = place.path("store");
    let imported = store_command(&store, &["import", folder.to_str().unwrap()]).ok();
    assert!(
        imported.stderr.contains("empty is left out"),
        "{}",
        imported.stderr
    );
    let lines: Vec<String> = ["a", "b", "c"]
        .iter()
        .map(|name| {
            format!(
                "{}  {}\n",
                sha256_of(&data(name)),
                folder.join(name).display()
            )
        })
        .collect();
    assert_eq!(imported.text(), lines.concat());
    let fine = store_command(&store, &["verify"]).ok().text();
    assert!(
        fine.starts_with("6 files with ") && fine.ends_with(" 0 not right\n"),
        "{fine}"
    );
    store_command(&store, &["doctor"]).ok();

    let id = sha256_of(&data("b"));
    rot(&store, &id);
    let found = store_command(&store, &["verify", &id]);
    assert!(found.text().ends_with(" 1 not right\n"), "{}", found.text());
    let said = found.failed(1);
    assert!(
        said.contains(&format!("{id} is rotten: set aside as ")),
        "{said}"
    );
    let gone = store_command(&store, &["verify", &id]).failed(1);
    assert!(gone.contains("none of that is held"), "{gone}");
    store_command(&store, &["verify", &sha256_of(&data("a"))]).ok();

    let doctor = store_command(&store, &["doctor", "--json"]);
    let checks: Vec<Value> = serde_json::from_slice(&doctor.stdout).unwrap();
    let aside = checks
        .iter()
        .find(|check| check["what"] == "set aside")
        .unwrap();
    assert_eq!(aside["fine"], false);
    assert!(
        aside["found"]
            .as_str()
            .unwrap()
            .starts_with("1 rotten files in ")
    );
    doctor.failed(1);
    fs::remove_dir_all(store.join("aside")).unwrap();

    // Without the index nothing is lost but what it alone knows.
    fs::remove_file(store.join("index.redb")).unwrap();
    let rebuilt = store_command(&store, &["doctor", "--rebuild"]).ok().text();
    assert!(rebuilt.contains("made again from the files"), "{rebuilt}");
    let listed = store_command(&store, &["ls"]).ok().text();
    assert_eq!(listed.lines().count(), 1 + 2, "{listed}");
}

/// A daemon that writes in its store only makes no copy either, where none is needed.
#[test]
fn what_a_daemon_imports_is_the_same_file_or_shares_its_blocks() {
    let place = Place::new();
    let own = files(&place, &["x"]);
    let store = place.path("store");
    let _daemon = Node::seed(Settings::new(&store), &[&own], 1);
    let file = place.path("y");
    fs::write(&file, data("y")).unwrap();
    let before = SystemTime::now() - Duration::from_secs(60);
    let opened = OpenOptions::new().write(true).open(&file).unwrap();
    opened.set_modified(before).unwrap();
    store_command(&store, &["import", file.to_str().unwrap()]).ok();
    let id = sha256_of(&data("y"));
    let held = store.join("complete/sha256").join(&id[..2]).join(&id);
    let (held, file) = (fs::metadata(held).unwrap(), fs::metadata(&file).unwrap());
    let mut clone = Command::new("cp");
    clone.arg("--reflink=always");
    clone.args([place.path("y"), place.path("clone")]);
    if !run(&mut clone, SOON).status.success() {
        assert_eq!((held.ino(), file.nlink()), (file.ino(), 2));
    }
    assert_eq!(fs::read_dir(store.join("partial")).unwrap().count(), 0);
}

#[test]
fn a_daemon_fetches_what_was_rotten() {
    let place = Place::new();
    let folder = files(&place, &["x", "y"]);
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[&folder], 2);
    let store = place.path("store");
    let own = place.path("own");
    fs::write(&own, "own").unwrap();
    let daemon = Node::seed(Settings::new(&store).peer(seeder.address), &[&own], 1);
    let id = sha256_of(&data("x"));
    let target = place.path("target");
    run(&mut Settings::new(&store).get(&id, &target), LATER).ok();
    let only_ours = data("only ours");
    fs::write(place.path("z"), &only_ours).unwrap();
    store_command(&store, &["import", place.path("z").to_str().unwrap()]).ok();

    store_command(&store, &["verify"]).ok();
    rot(&store, &id);
    let nobody = sha256_of(&only_ours);
    rot(&store, &nobody);
    let said = run(cjp2pfs().arg("verify").arg("--store").arg(&store), LATER).failed(1);
    assert!(said.contains(&format!("{id} was fetched again")), "{said}");
    assert!(
        said.contains(&format!("{nobody} cannot be fetched again: ")),
        "{said}"
    );
    store_command(&store, &["verify"]).ok();
    fs::remove_file(&target).unwrap();
    run(&mut Settings::new(&store).get(&id, &target), LATER).ok();
    assert!(fs::read(&target).unwrap() == data("x"));
    let refused = store_command(&store, &["doctor", "--rebuild"]).failed(1);
    assert!(
        refused.contains("a daemon runs for this store"),
        "{refused}"
    );
    store_command(&store, &["doctor"]).ok();
    daemon.stop();
}
