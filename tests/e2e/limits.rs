//! `ls`, `pin`, `unpin`, `gc` and `--store-limit` as a person uses them, with a daemon and without.

use std::fs;
use std::path::Path;

use crate::common::{LATER, Node, Place, SOON, Settings, cjp2pfs, run, sha256_of, wait};
use serde_json::Value;

const SIZE: usize = 1 << 20;

/// Files that a node seeds, and their hashes.
fn seeder(place: &Place, count: u8) -> (Node, Vec<String>) {
    let folder = place.path("files");
    fs::create_dir_all(&folder).unwrap();
    let hashes = (0..count)
        .map(|number| {
            let mut data = vec![0; SIZE];
            blake3::Hasher::new()
                .update(&[number])
                .finalize_xof()
                .fill(&mut data);
            let path = folder.join(number.to_string());
            fs::write(&path, &data).unwrap();
            sha256_of(&data)
        })
        .collect();
    let node = Node::seed(
        Settings::new(place.path("seeder")),
        &[&folder],
        usize::from(count),
    );
    (node, hashes)
}

fn store_command(store: &Path, arguments: &[&str]) -> crate::common::Finished {
    run(cjp2pfs().args(arguments).arg("--store").arg(store), SOON)
}

fn ls(store: &Path) -> Vec<Value> {
    let listed = store_command(store, &["ls", "--json"]).ok();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    listed.as_array().unwrap().clone()
}

/// The ids of complete content in the store.
fn complete(store: &Path) -> Vec<String> {
    let mut ids: Vec<String> = ls(store)
        .iter()
        .filter(|held| held["state"] == "complete")
        .map(|held| held["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort_unstable();
    ids
}

fn sorted(ids: &[&String]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_store_with_a_limit_keeps_what_is_pinned_and_what_came_last() {
    let place = Place::new();
    let (seeder, ids) = seeder(&place, 5);
    let store = place.path("store");
    let settings = Settings::new(&store)
        .peer(seeder.address)
        .with(&["--store-limit", "3500K"]);
    let mut got = |number: usize| {
        let target = place.path("target");
        run(settings.get(&ids[number], &target).arg("--force"), LATER).ok();
        fs::remove_file(target).unwrap();
    };
    got(0);
    store_command(&store, &["pin", &ids[0]]).ok();
    (1..5).for_each(&mut got);
    let held = ls(&store);
    let of = |id: &String| held.iter().find(|held| held["id"] == id.as_str());
    assert_eq!(of(&ids[0]).unwrap()["pinned"], true);
    assert_eq!(of(&ids[4]).unwrap()["pinned"], false);
    assert_eq!(of(&ids[4]).unwrap()["verified"], true);
    assert_eq!(of(&ids[4]).unwrap()["length"], SIZE);
    assert!(of(&ids[1]).is_none(), "{held:?}");
    let bytes: u64 = held
        .iter()
        .map(|held| held["on_disk"].as_u64().unwrap())
        .sum();
    assert!(bytes <= 3500 << 10, "{bytes}");

    let text = store_command(&store, &["ls"]).ok().text();
    assert!(text.starts_with("    LENGTH     ON DISK"), "{text}");
    let line = text.lines().find(|line| line.ends_with(&ids[0])).unwrap();
    assert!(line.contains(" all ") && line.contains(" yes "), "{line}");

    let would = store_command(&store, &["gc", "--dry-run", "--store-limit", "1"]).ok();
    assert!(would.text().contains(&ids[4]) && !would.text().contains(&ids[0]));
    assert!(
        would.stderr.contains("would be given up"),
        "{}",
        would.stderr
    );
    assert!(complete(&store).contains(&ids[4]));
    store_command(&store, &["gc", "--store-limit", "1"]).ok();
    assert_eq!(complete(&store), [ids[0].clone()]);
    store_command(&store, &["unpin", &ids[0]]).ok();
    let again = store_command(&store, &["unpin", &ids[0]]).ok();
    assert!(again.stderr.contains("is not pinned"), "{}", again.stderr);
    store_command(&store, &["gc", "--store-limit", "1"]).ok();
    assert!(complete(&store).is_empty());
}

#[test]
fn a_daemon_is_asked_where_one_runs() {
    let place = Place::new();
    let (seeder, ids) = seeder(&place, 3);
    let store = place.path("store");
    let own = place.path("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("file"), "seeded here").unwrap();
    let settings = Settings::new(&store).peer(seeder.address);
    let daemon = Node::seed(settings.clone(), &[&own.join("file")], 1);
    let target = place.path("target");
    for id in &ids {
        run(Settings::new(&store).get(id, &target).arg("--force"), LATER).ok();
    }
    // As long as the user has it, too, giving it up would make no room.
    fs::remove_file(&target).unwrap();
    wait("all to be held", SOON, || {
        (complete(&store) == sorted(&[&ids[0], &ids[1], &ids[2]])).then_some(())
    });
    let seeded: Vec<_> = ls(&store)
        .into_iter()
        .filter(|held| held["state"] == "seeded")
        .collect();
    assert_eq!(seeded.len(), 1);
    assert_eq!(seeded[0]["path"], own.join("file").to_str().unwrap());
    store_command(&store, &["pin", &ids[1]]).ok();
    // What a `get` asked for is kept for a moment, for who reads it next.
    wait("the rest to be given up", SOON, || {
        store_command(&store, &["gc", "--store-limit", "1"]).ok();
        (complete(&store) == sorted(&[&ids[1]])).then_some(())
    });
    assert!(own.join("file").exists());
    let status = store_command(&store, &["status"]).ok().text();
    assert!(status.contains(" MiB taken, "), "{status}");
    daemon.stop();
    assert_eq!(complete(&store), sorted(&[&ids[1]]));
}

#[test]
fn without_a_store_one_is_not_made() {
    let place = Place::new();
    let store = place.path("nothing");
    for command in [&["ls"][..], &["gc"], &["pin", &"ab".repeat(32)]] {
        let said = store_command(&store, command).failed(1);
        assert!(said.contains("there is no store in"), "{said}");
    }
    assert!(!store.exists());
}
