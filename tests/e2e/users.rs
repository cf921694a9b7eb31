//! Daemons of root: what they keep of its rights, and how they become another user.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::common::{
    Detach, Mounted, Node, Place, Process, SOON, Settings, is_mounted, is_root, on_path,
    program_for_all, run, wait,
};
use crate::rights::{ends, helpers_of, status_of};

/// Some user who is nobody in particular.
const USER: u32 = 54_321;
const GROUP: u32 = 54_322;

macro_rules! requires_root {
    () => {
        if !is_root() {
            println!("skipped: only root can become another user");
            return;
        }
    };
}

/// A user whom the system knows: `fusermount3` mounts for no others.
const NOBODY: u32 = 65_534;

/// A folder that [`USER`] owns, within its reach.
fn owned(place: &Place, name: &str) -> std::path::PathBuf {
    owned_by(place, name, USER, GROUP)
}

fn owned_by(place: &Place, name: &str, user: u32, group: u32) -> std::path::PathBuf {
    let folder = place.folder(name);
    fs::set_permissions(folder.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(&folder, Some(user), Some(group)).unwrap();
    folder
}

/// Each thread has rights of its own. The one that passthrough takes is with a process that has no other.
#[test]
fn a_mount_of_root_has_no_right_of_root() {
    requires_root!();
    requires_mount!();
    const DAC_READ_SEARCH: u64 = 1 << 2;
    const SYS_ADMIN: u64 = 1 << 21;
    let place = Place::new();
    for (flags, helpers) in [
        (&[][..], &["cjp2pfs-passthrough", "cjp2pfs-unmounter"][..]),
        (&["--no-passthrough"], &["cjp2pfs-unmounter"]),
    ] {
        let settings = Settings::new(place.path("store")).with(flags);
        let mounted = Mounted::new(settings, &place.folder("mnt"));
        let pid = mounted.node.process.pid();
        let has = |of: &str, set: &str| {
            let status = fs::read_to_string(format!("/proc/{of}/status")).unwrap();
            let value = status.lines().find_map(|line| line.strip_prefix(set));
            u64::from_str_radix(value.unwrap().trim(), 16).unwrap()
        };
        let mut threads = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let task = task.unwrap().file_name().into_string().unwrap();
            let of = format!("{pid}/task/{task}");
            let name = fs::read_to_string(format!("/proc/{of}/comm")).unwrap();
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
                assert_eq!(has(&of, set), 0, "{set} of the thread {name}");
            }
            threads += 1;
        }
        assert!(threads > 5, "{threads}");
        let status = mounted.node.status();
        assert_eq!(status["rights"]["uid"], 0);
        assert_eq!(status["rights"]["capabilities"], 0);
        let there = helpers_of(pid);
        assert_eq!(there.keys().collect::<Vec<_>>(), helpers);
        for (helper, process) in &there {
            let kept = match helper.as_str() {
                "cjp2pfs-passthrough" => SYS_ADMIN,
                _ => SYS_ADMIN | DAC_READ_SEARCH,
            };
            let process = process.to_string();
            wait("the other rights to be given up", SOON, || {
                (has(&process, "CapPrm:") == kept).then_some(())
            });
            assert_eq!(has(&process, "CapEff:"), kept, "{helper}");
            assert_eq!(has(&process, "CapInh:"), 0, "{helper}");
            // No program brings more: running one is refused.
            wait("system calls to be given up", SOON, || {
                (has(&process, "Seccomp:") == 2).then_some(())
            });
            assert_eq!(has(&process, "NoNewPrivs:"), 1, "{helper}");
        }
        mounted.umount();
        there.values().for_each(|helper| ends(*helper));
    }
}

/// Who unmounts has given up most of root's rights by then, and not that of going there.
#[test]
fn a_mount_of_root_in_a_folder_of_another_users_own_is_taken_away() {
    requires_root!();
    requires_mount!();
    let place = Place::new();
    let own = owned(&place, "own");
    let at = place.folder("own/mnt");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    let mut mounted = Mounted::new(Settings::new(place.path("store")), &at);
    mounted.node.process.signal(libc::SIGTERM);
    let ended = mounted.node.process.wait(SOON);
    assert_eq!(ended.code(), Some(0), "{}", mounted.node.said());
    assert!(!is_mounted(&at));
}

/// Root's own folders are out of reach of the user that it becomes, its configuration too.
#[test]
fn the_configuration_of_root_is_left_with_root() {
    requires_root!();
    let place = Place::new();
    let store = owned(&place, "store");
    let file = place.file("content", 1000);
    let home = place.folder("home");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let (user, group) = (USER.to_string(), GROUP.to_string());
    let settings = Settings::new(&store).with(&["--uid", &user, "--gid", &group]);
    let mut command = settings.command("seed");
    command
        .env("HOME", &home)
        .env_remove("XDG_CONFIG_HOME")
        .arg(&file.path);
    let node = Node::start(settings, &mut command);
    assert_eq!(node.status()["rights"]["uid"], USER);
    node.stop();
}

#[test]
fn a_seeding_node_of_root_becomes_another_user() {
    requires_root!();
    let place = Place::new();
    let store = owned(&place, "store");
    let file = place.file("content", 100_000);
    let (user, group) = (USER.to_string(), GROUP.to_string());
    let settings = Settings::new(&store).with(&["--uid", &user, "--gid", &group]);
    let node = Node::seed(settings, &[&file.path], 1);
    let seen = status_of(node.process.pid());
    assert_eq!(seen["Uid"], [&*user; 4].join(" "));
    assert_eq!(seen["Gid"], [&*group; 4].join(" "));
    assert_eq!(seen["Groups"], "");
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&seen[set], 16), Ok(0), "{set}");
    }
    assert_eq!(node.status()["rights"]["uid"], USER);
    assert_eq!(node.status()["rights"]["capabilities"], 0);
    for entry in fs::read_dir(&store).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), USER, "{entry:?}");
    }
    let output = place.path("copy");
    let other = Settings::new(place.path("other")).peer(node.address);
    run(&mut other.get(&file.sha256, &output), SOON).ok();
    file.is_in(&output);
    node.stop();
}

#[test]
fn a_mount_of_root_is_made_by_the_other_user() {
    requires_root!();
    requires_mount!();
    if !on_path("fusermount3") {
        println!("skipped: no fusermount3");
        return;
    }
    let mode = fs::metadata("/dev/fuse").unwrap().mode();
    if mode & 0o006 != 0o006 {
        println!("skipped: /dev/fuse is not for everybody here");
        return;
    }
    let place = Place::new();
    let (store, at) = (
        owned_by(&place, "store", NOBODY, NOBODY),
        owned_by(&place, "mnt", NOBODY, NOBODY),
    );
    let file = place.file("content", 300_000);
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[&file.path], 1);
    let _detach = Detach(at.clone());
    let (user, group) = (NOBODY.to_string(), NOBODY.to_string());
    let settings = Settings::new(&store)
        .peer(seeder.address)
        .with(&["--uid", &user, "--gid", &group]);
    let mut command = settings.command("mount");
    command.arg("-f").arg(&at);
    let mut node = Node::start(settings, &mut command);
    wait("the mount", SOON, || is_mounted(&at).then_some(()));
    assert_eq!(status_of(node.process.pid())["Uid"], [&*user; 4].join(" "));
    // Root itself may not look into the mount of another user; that user may.
    let mut cat = Command::new("cat");
    cat.arg(at.join(&file.sha256)).uid(NOBODY).gid(NOBODY);
    file.is(&run(&mut cat, SOON).ok().stdout);
    assert!(node.process.stop(SOON).success(), "{}", node.said());
    assert!(!is_mounted(&at));
}

#[test]
fn only_root_becomes_another_user() {
    requires_root!();
    let place = Place::new();
    let store = owned(&place, "store");
    let program = program_for_all(&place);
    let file = place.file("content", 1000);
    let mut seed = Command::new(&program);
    seed.env("HOME", "/nonexistent");
    seed.args([
        "seed",
        "--uid",
        "1",
        "--gid",
        "1",
        "--no-bootstrap",
        "--no-lan",
        "--store",
    ])
    .arg(&store)
    .arg(&file.path)
    .uid(USER)
    .gid(GROUP);
    let said = run(&mut seed, SOON).failed(1);
    assert!(said.contains("only root can run this as user 1"), "{said}");
    // As oneself is no change.
    let mut seed = Process::start(
        Command::new(&program)
            .env("HOME", "/nonexistent")
            .args([
                "seed",
                "--uid",
                &USER.to_string(),
                "--gid",
                &GROUP.to_string(),
            ])
            .args([
                "--no-bootstrap",
                "--no-lan",
                "--bind",
                "127.0.0.1:0",
                "--store",
            ])
            .arg(&store)
            .arg(&file.path)
            .uid(USER)
            .gid(GROUP),
    );
    wait("the node", SOON, || {
        store.join("control.sock").exists().then_some(())
    });
    seed.stop(SOON);
}
