//! Who may do what with the mount, the store and what lies in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::common::{Mounted, Node, Place, SOON, Settings, run, wait};

/// A script, served, and its hash.
fn seeded_script(place: &Place) -> (Node, String) {
    let path = place.path("script");
    fs::write(&path, "#!/bin/sh\necho it runs\n").unwrap();
    let bytes = fs::read(&path).unwrap();
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[&path], 1);
    (seeder, crate::common::sha256_of(&bytes))
}

fn options(at: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let at = at.to_str().unwrap();
    let line = table
        .lines()
        .find(|line| line.split(' ').nth(4) == Some(at))
        .unwrap();
    let options = line.split(' ').nth(5).unwrap();
    options.split(',').map(str::to_owned).collect()
}

#[test]
fn nothing_on_the_mount_is_run_unless_asked_for() {
    requires_mount!();
    let place = Place::new();
    let (seeder, id) = seeded_script(&place);
    for exec in [false, true] {
        let more: &[&str] = if exec { &["--exec"] } else { &[] };
        let settings = Settings::new(place.path("store"))
            .peer(seeder.address)
            .with(more);
        let mount = Mounted::new(settings, &place.path("mnt"));
        let set = options(&mount.at);
        for option in ["ro", "nosuid", "nodev"] {
            assert!(set.iter().any(|it| it == option), "{option}: {set:?}");
        }
        assert_eq!(set.iter().any(|it| it == "noexec"), !exec, "{set:?}");
        let path = mount.path(&id);
        let mut stat = Command::new("stat");
        stat.args(["-c", "%a %F"]).arg(&path).arg(&mount.at);
        assert_eq!(
            run(&mut stat, SOON).ok().text(),
            "444 regular file\n555 directory\n"
        );
        // Everybody's bits lack it, so it is not a program even then; a loader may map it.
        let direct = run(Command::new("sh").arg("-c").arg(&path), SOON);
        assert_eq!(direct.status.code(), Some(126), "{}", direct.stderr);
        let mut map = Command::new("python3");
        map.args([
            "-c",
            "import mmap, sys; f = open(sys.argv[1], 'rb'); \
             mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC, flags=mmap.MAP_PRIVATE)",
        ])
        .arg(&path);
        if crate::common::can_run_python().is_ok() {
            assert_eq!(run(&mut map, SOON).status.success(), exec);
        }
        mount.umount();
    }
}

/// Whatever the umask, and also when the folder was there and is open to everybody.
#[test]
fn nobody_else_gets_into_the_store() {
    requires_mount!();
    let place = Place::new();
    let (seeder, id) = seeded_script(&place);
    let store = place.folder("store");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o777)).unwrap();
    let at = place.folder("mnt");
    let settings = Settings::new(&store).peer(seeder.address);
    let mut command = settings.command("mount");
    command.arg("-f").arg(&at);
    // SAFETY: umask is a bare system call, safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::umask(0);
            Ok(())
        })
    };
    let _detach = crate::common::Detach(at.clone());
    let mut node = Node::start(settings, &mut command);
    wait("the mount", SOON, || {
        crate::common::is_alive(&at).then_some(())
    });
    run(Command::new("cat").arg(at.join(&id)), SOON).ok();
    wait("it to be held", SOON, || {
        (node.count("contents_held") >= 1).then_some(())
    });
    let mut seen = 0;
    assert_eq!(
        fs::metadata(&store).unwrap().permissions().mode() & 0o777,
        0o777,
        "the user's choice"
    );
    for entry in fs::read_dir(&store).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
        seen += 1;
    }
    assert!(seen >= 3, "{seen}");
    assert_eq!(node.process.stop(SOON).code(), Some(0), "{}", node.said());
}
