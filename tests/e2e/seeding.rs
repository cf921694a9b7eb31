//! What is seeded stays seeded, follows what changes, and ends when it is told to.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::common::{LATER, Node, Place, SOON, Settings, cjp2pfs, run, wait};
use serde_json::Value;

fn seeding(store: &Path) -> Vec<Value> {
    let done = run(
        cjp2pfs()
            .args(["ls", "--seeding", "--json", "--store"])
            .arg(store),
        SOON,
    );
    serde_json::from_slice(&done.ok().stdout).unwrap()
}

/// Whether content with this hash is given from where it lies.
fn is_seeded(store: &Path, sha256: &str) -> bool {
    let done = run(
        cjp2pfs()
            .args(["explain", "--json", sha256, "--store"])
            .arg(store),
        SOON,
    );
    let told: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
    told["place"]["in"] == "seeded"
}

/// The id in the line that `seed` prints for a folder.
fn folder_id(lines: &[String]) -> Option<String> {
    let line = lines.iter().find(|line| line.starts_with("# folder/"))?;
    Some(line["# folder/".len()..][..64].to_owned())
}

fn listing_of(folder: &Path) -> String {
    run(
        cjp2pfs().args(["hash", "--folder", "--list"]).arg(folder),
        SOON,
    )
    .ok()
    .text()
}

fn id_of(folder: &Path) -> String {
    let said = run(cjp2pfs().args(["hash", "--folder"]).arg(folder), SOON)
        .ok()
        .text();
    said[..64].to_owned()
}

#[test]
fn a_folder_has_an_id_that_hash_and_seed_agree_on() {
    let place = Place::new();
    let folder = place.folder("folder");
    let one = place.file("folder/one", 70_000);
    place.file("folder/deep/er/two words", 5);
    place.file("folder/odd\\name\n", 3);
    place.file("folder/.hidden", 3);
    place.file("folder/.git/config", 3);
    fs::create_dir_all(folder.join("bare/room")).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    symlink("deep", folder.join("way")).unwrap();
    symlink("/etc/passwd", folder.join("out")).unwrap();
    fs::set_permissions(&one.path, fs::Permissions::from_mode(0o4750)).unwrap();
    let node = Node::seed(Settings::new(place.path("store")), &[&folder], 4);
    let printed = folder_id(&node.lines()).expect("a line for the folder");
    let text = listing_of(&folder);
    assert_eq!(printed, id_of(&folder));
    assert_eq!(printed, crate::common::sha256_of(text.as_bytes()));

    assert!(text.starts_with("# cjp2pfs-folder 1\n"), "{text}");
    assert!(text.contains(" 750 "), "{text}");
    assert!(text.contains("  empty\n# "), "{text}");
    assert!(text.contains("# -> deep\n#  way\n"), "{text}");
    assert!(text.contains("\n# /\n#  bare/room\n"), "{text}");
    assert!(!text.contains("#  bare\n"), "{text}");
    assert!(text.contains("# -> /etc/passwd\n#  out\n"), "{text}");
    assert!(!text.contains("hidden") && !text.contains(".git"), "{text}");
    let list = place.path("list");
    fs::write(&list, &text).unwrap();
    run(
        Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet"])
            .arg(&list)
            .current_dir(&folder),
        SOON,
    )
    .ok();
    let said = node.said();
    let listed = "only in the listing: 1 empty, 2 symbolic links\n";
    assert!(said.contains(listed), "{said}");
    assert!(said.contains("left out: 2 hidden\n"), "{said}");

    // The listing is content like any other.
    let getter = Settings::new(place.path("getter")).peer(node.address);
    let got = place.path("got");
    run(&mut getter.get(&printed, &got), LATER).ok();
    assert_eq!(fs::read_to_string(&got).unwrap(), text);
    node.stop();
}

#[test]
fn a_running_daemon_seeds_what_it_is_told_and_remembers_it() {
    let place = Place::new();
    let first = place.file("first", 10_000);
    let folder = place.folder("folder");
    let second = place.file("folder/second", 20_000);
    let once = place.file("once", 30_000);
    let store = place.path("store");
    let settings = Settings::new(&store);
    let node = Node::seed(settings.clone(), &[&first.path], 1);

    let said = run(settings.command("seed").arg(&folder), SOON).ok();
    assert!(said.text().contains(&second.sha256), "{}", said.text());
    assert!(said.stderr.contains("serves 1 file"), "{}", said.stderr);
    run(settings.command("seed").arg("--once").arg(&once.path), SOON).ok();
    // What there is nothing of is not.
    let nothing = run(settings.command("seed").arg("/dev/null"), SOON).failed(1);
    let told = "left out: 1 special file\ncjp2pfs: nothing to serve\n";
    assert!(nothing.ends_with(told), "{nothing}");
    // Of a folder there is always its listing.
    let hollow = place.folder("hollow");
    fs::write(hollow.join("empty"), "").unwrap();
    let said = run(settings.command("seed").arg(&hollow), SOON).ok();
    let told = "only in the listing: 1 empty\ncjp2pfs: the daemon of this store serves the listing of 1 folder\n";
    assert!(said.stderr.ends_with(told), "{}", said.stderr);
    let listed = seeding(&store);
    assert!(
        listed.iter().any(|one| one["id"] == *id_of(&hollow)),
        "{listed:?}"
    );
    let got = place.path("hollow-list");
    let getter = Settings::new(place.path("hollow-getter")).peer(node.address);
    run(&mut getter.get(&id_of(&hollow), &got), LATER).ok();
    assert_eq!(fs::read_to_string(&got).unwrap(), listing_of(&hollow));
    run(
        cjp2pfs()
            .arg("unseed")
            .arg(&hollow)
            .arg("--store")
            .arg(&store),
        SOON,
    )
    .ok();
    let listed = seeding(&store);
    assert_eq!(listed.len(), 3, "{listed:?}");
    let entry = |listed: &[Value], path: &Path| {
        let path = path.to_str().unwrap();
        listed.iter().find(|one| one["path"] == path).cloned()
    };
    assert_eq!(entry(&listed, &folder).unwrap()["id"], *id_of(&folder));
    assert_eq!(entry(&listed, &folder).unwrap()["watch"], "live");
    assert_eq!(entry(&listed, &once.path).unwrap()["once"], true);
    let getter = Settings::new(place.path("getter")).peer(node.address);
    for file in [&first, &second, &once] {
        run(
            getter.get(&file.sha256, &place.path("got")).arg("--force"),
            LATER,
        )
        .ok();
        file.is_in(&place.path("got"));
    }
    node.stop();

    // Without one, what was seeded once is seeded no longer.
    assert!(entry(&seeding(&store), &once.path).is_none());

    // The next one goes on with what is remembered, whatever else it is told to seed.
    let other = place.file("other", 40_000);
    let node = Node::seed(settings.clone(), &[&other.path], 1);
    let listed = seeding(&store);
    assert!(entry(&listed, &once.path).is_none(), "{listed:?}");
    assert_eq!(listed.len(), 3);
    let getter = Settings::new(place.path("getter2"))
        .peer(node.address)
        .with(&["--lookup-timeout", "1s"]);
    run(&mut getter.get(&second.sha256, &place.path("b")), LATER).ok();
    run(&mut getter.get(&once.sha256, &place.path("c")), LATER).failed(1);

    // Until it is told not to.
    let inside = run(
        cjp2pfs()
            .args(["unseed", "--store"])
            .arg(&store)
            .arg(&second.path),
        SOON,
    );
    let told = inside.failed(1);
    assert!(told.contains("is seeded as a part of"), "{told}");
    let said = run(
        cjp2pfs()
            .args(["unseed", "--store"])
            .arg(&store)
            .arg(&folder),
        SOON,
    )
    .ok();
    assert!(said.text().starts_with("1 file of"), "{}", said.text());
    let getter = Settings::new(place.path("getter3"))
        .peer(node.address)
        .with(&["--lookup-timeout", "1s"]);
    run(&mut getter.get(&second.sha256, &place.path("d")), LATER).failed(1);
    node.stop();

    // And with no daemon.
    assert_eq!(seeding(&store).len(), 2);
    run(
        cjp2pfs()
            .args(["unseed", "--store"])
            .arg(&store)
            .arg(&first.path),
        SOON,
    )
    .ok();
    run(
        cjp2pfs()
            .args(["unseed", "--store"])
            .arg(&store)
            .arg(&first.path),
        SOON,
    )
    .failed(1);
    assert_eq!(seeding(&store).len(), 1);
}

#[test]
fn what_changes_is_served_anew_and_listed_anew() {
    let place = Place::new();
    let folder = place.folder("folder");
    let old = place.file("folder/file", 100_000);
    let moved = place.file("folder/moved", 1000);
    let gone = place.file("folder/gone", 2000);
    let store = place.path("store");
    let node = Node::seed(Settings::new(&store), &[&folder], 3);
    let getter = |name: &str| {
        Settings::new(place.path(name))
            .peer(node.address)
            .with(&["--lookup-timeout", "500ms"])
    };
    let seeded = |sha256: &str| is_seeded(&store, sha256);
    assert!(seeded(&old.sha256));

    let new = place.file("folder/file-that-is-new", 5000);
    fs::rename(&new.path, &old.path).unwrap();
    fs::create_dir_all(folder.join("deep/er")).unwrap();
    fs::rename(&moved.path, folder.join("deep/er/moved")).unwrap();
    fs::remove_file(&gone.path).unwrap();
    wait("the new content to be served", LATER, || {
        seeded(&new.sha256).then_some(())
    });
    wait("the old content to be forgotten", LATER, || {
        (!seeded(&old.sha256) && !seeded(&gone.sha256)).then_some(())
    });
    let right = id_of(&folder);
    wait("the new listing", LATER, || {
        (seeding(&store)[0]["id"] == *right && node.count("contents_seeded") == 2).then_some(())
    });
    run(&mut getter("a").get(&new.sha256, &place.path("x")), LATER).ok();
    run(&mut getter("b").get(&moved.sha256, &place.path("y")), LATER).ok();
    run(&mut getter("c").get(&right, &place.path("z")), LATER).ok();

    // A file in a folder that has just appeared.
    let late = place.file("folder/new/deep/late", 3000);
    wait("a file in a new folder", LATER, || {
        seeded(&late.sha256).then_some(())
    });
    fs::create_dir(folder.join("new/bare")).unwrap();
    let right = id_of(&folder);
    wait("an empty folder to be listed", LATER, || {
        (seeding(&store)[0]["id"] == *right).then_some(())
    });
    node.stop();
}

/// Long files whose hashing takes longer than anybody waits keep nothing else from being served anew:
/// no file, no other folder's listing, and no folder that is gone over after a restart.
#[test]
fn what_is_short_does_not_wait_for_what_is_long() {
    let place = Place::new();
    let slow = place.folder("slow");
    place.file("slow/short", 100);
    let quick = place.folder("quick");
    place.file("quick/file", 100);
    let other = place.file("other", 100);
    let store = place.path("store");
    let settings = Settings::new(&store);
    let hashes = |folder: &Path| {
        let path = folder.to_str().unwrap();
        let all = seeding(&store);
        let entry = all.iter().find(|one| one["path"] == path).unwrap();
        (!entry["hashing"].is_null()).then_some(())
    };
    let follows = |round: usize| {
        for name in ["slow/short", "quick/file"] {
            let new = place.file(name, 1000 + round);
            wait(name, LATER, || is_seeded(&store, &new.sha256).then_some(()));
        }
        let right = id_of(&quick);
        wait("the other folder's listing", LATER, || {
            let all = seeding(&store);
            all.iter().any(|one| one["id"] == *right).then_some(())
        });
    };

    let node = Node::seed(settings.clone(), &[&slow, &quick], 2);
    for number in 0..6 {
        let long = fs::File::create(slow.join(format!("long{number}"))).unwrap();
        long.set_len(1 << 40).unwrap();
    }
    wait("the long ones to be hashed", LATER, || hashes(&slow));
    follows(1);
    hashes(&slow).expect("the long ones take longer");
    node.stop();

    let node = Node::seed(settings, &[&other.path], 1);
    wait("the long ones to be hashed again", LATER, || hashes(&slow));
    follows(2);
    hashes(&slow).expect("the long ones take longer");
    node.stop();
}
