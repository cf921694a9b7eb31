//! A published folder in the mount: its names, lengths, times and modes for one fetch, and every
//! program that copies and checks.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::common::{
    LATER, Mounted, Node, Place, SOON, Settings, can_mount, cjp2pfs, on_path, run,
};

fn id_of(folder: &Path) -> String {
    let said = run(cjp2pfs().args(["hash", "--folder"]).arg(folder), SOON)
        .ok()
        .text();
    said[..64].to_owned()
}

/// Some files with their own times and modes.
fn folder(place: &Place) -> std::path::PathBuf {
    let folder = place.folder("folder");
    for (number, (name, length)) in [
        ("one", 300_000),
        ("deep/er/two words", 70_000),
        ("deep/three", 5),
        ("odd\\name\nhere", 3),
    ]
    .into_iter()
    .enumerate()
    {
        let sample = place.file(&format!("folder/{name}"), length);
        let mode = [0o644, 0o755, 0o600, 0o640][number];
        fs::set_permissions(&sample.path, fs::Permissions::from_mode(mode)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + number as u64);
        fs::File::open(&sample.path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    fs::create_dir_all(folder.join("bare/room")).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_100_000_000);
    let empty = fs::File::open(folder.join("empty")).unwrap();
    empty.set_modified(time).unwrap();
    symlink("deep/er", folder.join("way")).unwrap();
    symlink("/etc/passwd", folder.join("out")).unwrap();
    folder
}

/// What `find` says of everything: kind, length, mode, time, name, target.
fn told(folder: &Path) -> Vec<String> {
    let done = run(
        Command::new("find")
            .arg(".")
            .args(["-mindepth", "1", "(", "-type", "f"])
            .args(["-printf", "f %s %m %T@ %P\\0"])
            .args(["-o", "-type", "l", "-printf", "l %P %l\\0"])
            .args(["-o", "-type", "d", "-printf", "d %P\\0", ")"])
            .current_dir(folder),
        SOON,
    )
    .ok();
    let mut all: Vec<String> = done
        .stdout
        .split(|byte| *byte == 0)
        .map(|one| String::from_utf8_lossy(one).into_owned())
        .filter(|one| !one.is_empty() && !one.starts_with("l out "))
        // Below the second nothing is listed.
        .map(|one| one.replace(".0000000000 ", " "))
        .collect();
    all.sort();
    all
}

#[test]
fn a_published_folder_is_walked_copied_and_checked() {
    if let Err(why) = can_mount() {
        eprintln!("skipped: {why}");
        return;
    }
    let place = Place::new();
    let original = folder(&place);
    let seeder = Node::seed(Settings::new(place.path("a")), &[&original], 4);
    let mount = Mounted::new(
        Settings::new(place.path("b"))
            .peer(seeder.address)
            .with(&["--lookup-timeout", "2s"]),
        &place.path("mnt"),
    );
    let published = mount.at.join("folder").join(id_of(&original));

    // Names, lengths, times and modes, for the listing alone.
    assert_eq!(told(&published), told(&original));
    let fetched = mount.node.count("bytes_fetched");
    assert!(fetched < 10_000, "{fetched} bytes were fetched to list it");
    assert!(!published.join("out").exists());
    assert_eq!(
        fs::read_link(published.join("way")).unwrap(),
        Path::new("deep/er")
    );

    for (name, copier) in [
        ("cp -a", &["cp", "-a"][..]),
        ("rsync -a", &["rsync", "-a"][..]),
    ] {
        if !on_path(copier[0]) {
            eprintln!("skipped: {name}");
            continue;
        }
        let copy = place.path(copier[0]);
        let mut from = published.clone().into_os_string();
        from.push("/.");
        run(
            Command::new(copier[0])
                .args(&copier[1..])
                .arg(&from)
                .arg(&copy),
            LATER,
        )
        .ok();
        assert_eq!(told(&copy), told(&original), "{name}");
        assert_eq!(id_of(&copy), {
            // What leads out is not in the copy.
            fs::remove_file(original.join("out")).ok();
            id_of(&original)
        });
    }
    let text = run(
        cjp2pfs()
            .args(["hash", "--folder", "--list"])
            .arg(&original),
        SOON,
    )
    .ok();
    let list = place.path("list");
    fs::write(&list, &text.stdout).unwrap();
    run(
        Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet"])
            .arg(&list)
            .current_dir(&published),
        LATER,
    )
    .ok();

    // A file of it has a state like any other content, and is listed with those that are here.
    let one = fs::metadata(published.join("one")).unwrap();
    assert_eq!((one.len(), one.mode() & 0o7777), (300_000, 0o644));
    assert!(one.mtime() == 1_000_000_000);
    let names: Vec<_> = fs::read_dir(mount.at.join("folder"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, [published.file_name().unwrap().to_str().unwrap()]);

    // What is no folder is none.
    let file = crate::common::sha256_of(&fs::read(original.join("one")).unwrap());
    let error = fs::read_dir(mount.at.join("folder").join(&file)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR), "{error}");
    let nobody = fs::metadata(mount.at.join("folder").join("ab".repeat(32))).unwrap_err();
    assert_eq!(nobody.raw_os_error(), Some(libc::ENOENT), "{nobody}");
    mount.node.stop();
    seeder.stop();
}

#[test]
fn the_mount_shows_what_its_node_gives() {
    if let Err(why) = can_mount() {
        eprintln!("skipped: {why}");
        return;
    }
    let place = Place::new();
    let original = folder(&place);
    let file = place.file("single", 50_000);
    let settings = Settings::new(place.path("store"));
    let mount = Mounted::new(settings.clone(), &place.path("mnt"));
    run(
        settings.command("seed").arg(&original).arg(&file.path),
        LATER,
    )
    .ok();
    let seeding = mount.at.join("seeding");
    let mut names: Vec<_> = fs::read_dir(&seeding)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["folder", "single"]);
    assert_eq!(told(&seeding.join("folder")), told(&original));
    file.is_in(&seeding.join("single"));
    let error = fs::metadata(seeding.join("other")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    // And by its id, in another place.
    let published = mount.at.join("folder").join(id_of(&original));
    assert_eq!(told(&published), told(&original));
    assert_eq!(
        fs::read(published.join("deep/three")).unwrap(),
        fs::read(original.join("deep/three")).unwrap()
    );
    mount.node.stop();
}
