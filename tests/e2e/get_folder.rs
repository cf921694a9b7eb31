//! `get --folder`: a published folder arrives with its names, whole, resumed, and nowhere else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::common::{LATER, Node, Place, SOON, Settings, cjp2pfs, run};

fn id_of(folder: &Path) -> String {
    let said = run(cjp2pfs().args(["hash", "--folder"]).arg(folder), SOON)
        .ok()
        .text();
    said[..64].to_owned()
}

fn get(settings: &Settings, id: &str, target: &Path) -> std::process::Command {
    let mut command = settings.command("get");
    command.arg("--folder").arg(id).arg("-o").arg(target);
    command
}

#[test]
fn a_folder_arrives_with_its_names() {
    let place = Place::new();
    let folder = place.folder("folder");
    let big = place.file("folder/deep/big", 3_000_000);
    fs::set_permissions(&big.path, fs::Permissions::from_mode(0o750)).unwrap();
    for number in 0..60 {
        place.file(&format!("folder/many/{number}"), 100 + number);
    }
    place.file("folder/odd\\name\n", 7);
    fs::create_dir_all(folder.join("bare/room")).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    symlink("deep/big", folder.join("way")).unwrap();
    let id = id_of(&folder);
    let seeder = Node::seed(Settings::new(place.path("a")), &[&folder], 62);

    let settings = Settings::new(place.path("b")).peer(seeder.address);
    let copy = place.path("copy");
    run(&mut get(&settings, &id, &copy), LATER).ok();
    assert_eq!(id_of(&copy), id);
    assert!(copy.join("bare/room").is_dir());
    let one = fs::metadata(copy.join("deep/big")).unwrap();
    let other = fs::metadata(&big.path).unwrap();
    assert_eq!((one.mode(), one.mtime()), (other.mode(), other.mtime()));
    assert_eq!(
        fs::read_link(copy.join("way")).unwrap(),
        Path::new("deep/big")
    );

    // Once more: nothing is fetched, what is missing or broken off comes again.
    fs::remove_file(copy.join("many/7")).unwrap();
    let before = fs::metadata(copy.join("many/8")).unwrap().ino();
    run(&mut get(&settings, &id, &copy), LATER).ok();
    assert_eq!(id_of(&copy), id);
    assert_eq!(fs::metadata(copy.join("many/8")).unwrap().ino(), before);

    // What is the user's own is not replaced without being asked to.
    fs::write(copy.join("many/9"), "mine").unwrap();
    let told = run(&mut get(&settings, &id, &copy), LATER).failed(1);
    assert!(
        told.contains("\"many/9\": something else is there"),
        "{told}"
    );
    assert_eq!(fs::read(copy.join("many/9")).unwrap(), b"mine");
    run(get(&settings, &id, &copy).arg("--force"), LATER).ok();
    assert_eq!(id_of(&copy), id);

    // Through a daemon.
    let again = place.path("again");
    run(&mut get(&seeder.settings, &id, &again), LATER).ok();
    assert_eq!(id_of(&again), id);

    // What is no folder is none.
    let told = run(&mut get(&settings, &big.sha256, &place.path("no")), LATER).failed(1);
    assert!(told.contains("no folder listing"), "{told}");
    assert!(!place.path("no").exists());
    seeder.stop();
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let place = Place::new();
    let listings = place.folder("listings");
    let content = place.file("listings/content", 9);
    let entry = |path: &str| {
        format!(
            "# 9 2024-05-01T12:34:56Z 644 -\n{}  {path}\n",
            content.sha256
        )
    };
    let hostile = [
        entry("../escaped"),
        entry("/tmp/cjp2pfs-escaped"),
        entry("a/../../escaped"),
        entry("a") + &entry("a/b"),
        // A link, and a file behind it.
        "# -> ..\n#  a\n".to_owned() + &entry("a/escaped"),
    ];
    let mut ids = Vec::new();
    for (number, entries) in hostile.iter().enumerate() {
        let text = format!("# cjp2pfs-folder 1\n{entries}");
        fs::write(listings.join(number.to_string()), &text).unwrap();
        ids.push(crate::common::sha256_of(text.as_bytes()));
    }
    // Harmless as a listing: the link is left out.
    let text = format!("# cjp2pfs-folder 1\n# -> ..\n#  a\n{}", entry("b/c"));
    fs::write(listings.join("links"), &text).unwrap();
    let links = crate::common::sha256_of(text.as_bytes());
    let seeder = Node::seed(Settings::new(place.path("a")), &[&listings], 7);
    let settings = Settings::new(place.path("b")).peer(seeder.address);
    let target = place.path("in/target");
    place.folder("in");
    for id in &ids {
        run(&mut get(&settings, id, &target), LATER).failed(1);
    }
    let done = run(&mut get(&settings, &links, &target), LATER).ok();
    assert!(
        done.stderr.contains("left out: 1 of 1 links"),
        "{}",
        done.stderr
    );
    content.is_in(&target.join("b/c"));
    assert!(fs::symlink_metadata(target.join("a")).is_err());

    // A link that somebody has put in the way is not followed.
    fs::remove_dir_all(target.join("b")).unwrap();
    let elsewhere = place.folder("elsewhere");
    symlink(&elsewhere, target.join("b")).unwrap();
    run(get(&settings, &links, &target).arg("--force"), LATER).failed(1);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert!(!place.path("in/escaped").exists() && !place.path("escaped").exists());
    assert!(!Path::new("/tmp/cjp2pfs-escaped").exists());
    seeder.stop();
}

/// The names under which files are written before they are whole are no names of the listing's.
#[test]
fn a_listing_cannot_name_what_is_not_whole_yet() {
    let place = Place::new();
    let listings = place.folder("listings");
    let big = place.file("listings/big", 8 << 20);
    let small = place.file("listings/small", 9);
    let mut text = "# cjp2pfs-folder 1\n".to_owned();
    let mut entry = |length: usize, sha256: &str, path: &str| {
        text += &format!("# {length} 2024-05-01T12:34:56Z 644 -\n{sha256}  {path}\n");
    };
    entry(8 << 20, &big.sha256, "!big");
    for number in 0..8 {
        entry(9, &small.sha256, &format!(".cjp2pfs-0-{number}.part"));
    }
    for number in 0..8 {
        entry(9, &small.sha256, &format!(".cjp2pfs-{number}.part"));
    }
    fs::write(listings.join("listing"), &text).unwrap();
    let id = crate::common::sha256_of(text.as_bytes());
    let seeder = Node::seed(Settings::new(place.path("a")), &[&listings], 3);
    let settings = Settings::new(place.path("b")).peer(seeder.address);
    let target = place.path("target");
    run(get(&settings, &id, &target).arg("--force"), LATER).ok();
    big.is_in(&target.join("!big"));
    for number in 0..8 {
        small.is_in(&target.join(format!(".cjp2pfs-0-{number}.part")));
        small.is_in(&target.join(format!(".cjp2pfs-{number}.part")));
    }
    assert_eq!(fs::read_dir(&target).unwrap().count(), 17);
    seeder.stop();
}
