//! `get` of what a running daemon has: the store's own file under a second name, where that may be, or
//! its bytes.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::common::{LATER, Mounted, Node, Place, Sample, Settings};
use crate::common::{cjp2pfs, is_root, run};

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// Where the store of `settings` has `sample`.
fn held(settings: &Settings, sample: &Sample) -> PathBuf {
    let id = &sample.sha256;
    let folder = settings.store.join("complete/sha256");
    folder.join(&id[..2]).join(id)
}

fn import(settings: &Settings, sample: &Sample) {
    // A file that was just written to is copied, and not taken as it is.
    let mut import = cjp2pfs();
    import.args(["import", "--store"]).arg(&settings.store);
    run(import.arg(&sample.path), LATER).ok();
}

/// A daemon that holds two pieces of content and serves a third from where it lies.
fn daemon(place: &Place) -> (Node, Settings, [Sample; 2], Sample) {
    let settings = Settings::new(place.path("store")).with(&["--lookup-timeout", "500ms"]);
    let own = ["one", "two"].map(|name| place.file(name, 3_000_777));
    let seeded = place.file("seeded", 100_000);
    let node = Node::seed(settings.clone(), &[&seeded.path], 1);
    for sample in &own {
        import(&settings, sample);
    }
    (node, settings, own, seeded)
}

#[test]
fn what_a_daemon_has_for_itself_gets_a_second_name() {
    let place = Place::new();
    let (node, settings, [one, two], seeded) = daemon(&place);
    let got = place.path("got");
    for sample in [&one, &two] {
        run(settings.get(&sample.sha256, &got).arg("--force"), LATER).ok();
        sample.is_in(&got);
        assert_eq!(inode(&got), inode(&held(&settings, sample)));
        // It is the user's, as a new file is.
        assert_ne!(fs::metadata(&got).unwrap().permissions().mode() & 0o200, 0);
    }
    // Under one name more in the end, and none left over in the store.
    assert_eq!(fs::metadata(&got).unwrap().nlink(), 2);
    for entry in fs::read_dir(settings.store.join("partial")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().starts_with("offered"), "{name:?}");
    }

    // What is seeded is never linked to: it is not the store's to give away.
    let copy = place.path("copy");
    run(&mut settings.get(&seeded.sha256, &copy), LATER).ok();
    seeded.is_in(&copy);
    assert_ne!(inode(&copy), inode(&seeded.path));
    assert_eq!(fs::metadata(&seeded.path).unwrap().nlink(), 1);

    // What the user changes is content no more, and nobody is given what it became.
    fs::write(&got, "changed").unwrap();
    let again = place.path("again");
    let refused = run(&mut settings.get(&two.sha256, &again), LATER);
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("nobody"), "{}", refused.stderr);
    assert!(!again.exists());
    run(&mut settings.get(&one.sha256, &again), LATER).ok();
    one.is_in(&again);
    node.stop();
}

/// Whoever may enter the store of another user, root, gets a file of its own, which that one cannot write to.
#[test]
fn the_file_of_another_users_store_is_copied() {
    if !is_root() {
        return println!("skipped: only root can give files away");
    }
    let place = Place::new();
    let (node, settings, [one, _], _) = daemon(&place);
    chown(settings.store.join("control.sock"), Some(65534), None).unwrap();
    let got = place.path("got");
    run(&mut settings.get(&one.sha256, &got), LATER).ok();
    one.is_in(&got);
    assert_ne!(inode(&got), inode(&held(&settings, &one)));
    assert_eq!(fs::metadata(held(&settings, &one)).unwrap().nlink(), 1);
    node.stop();
}

/// A mount's daemon may write to nothing but its store. What the kernel reads past it has to stay as it
/// is, and is copied.
#[test]
fn a_daemon_that_mounts_lends_as_well() {
    requires_mount!();
    let place = Place::new();
    let settings = Settings::new(place.path("store"));
    let mount = Mounted::new(settings.clone(), &place.path("mnt"));
    let samples = ["one", "two"].map(|name| place.file(name, 3_000_777));
    for sample in &samples {
        import(&settings, sample);
    }
    let [one, two] = samples;
    let mut passed = fs::File::open(mount.path(&one.sha256)).unwrap();
    let mut read = Vec::new();
    passed.read_to_end(&mut read).unwrap();
    one.is(&read);
    for (sample, name, lent) in [(&one, "got one", !is_root()), (&two, "got two", true)] {
        let got = place.path(name);
        run(&mut settings.get(&sample.sha256, &got), LATER).ok();
        sample.is_in(&got);
        let links = inode(&got) == inode(&held(&settings, sample));
        assert_eq!(links, lent, "{name}");
    }
    // And what is lent is read through the mount as before.
    two.is(&mount.cat(&two.sha256).ok().stdout);
    mount.umount();
}
