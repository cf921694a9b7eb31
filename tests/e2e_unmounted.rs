//! However it is unmounted and whatever is pending: the daemon is gone in time, with success, and its
//! store is free.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Mounted, Node, Place, Process, PythonPeer, SOON, Settings};
use common::{is_alive, is_mounted, is_root, on_path, requires_mount, requires_python, run, wait};

/// What is promised, and what a machine that is busy with other tests may take beside.
const LIMIT: Duration = Duration::from_secs(3);
const SLACK: Duration = Duration::from_secs(7);

/// A mount with programs on it: some wait for bytes or a name, one has a file open and does nothing.
struct Busy {
    mount: Mounted,
    programs: Vec<Process>,
    _peer: PythonPeer,
}

impl Busy {
    fn new(place: &Place) -> Self {
        let folder = place.folder("folder");
        let file = place.file("folder/content", 30 << 20);
        let peer = PythonPeer::serve(&folder, &place.path("peer.json"), &["--silent-after", "20"]);
        let settings = Settings::new(place.path("store"))
            .peer(peer.address)
            .with(&["--lookup-timeout", "60s", "--read-timeout", "60s"]);
        let mount = Mounted::new(settings, &place.path("mnt"));
        let mut programs: Vec<_> = (0..3).map(|_| mount.start_cat(&file.sha256)).collect();
        programs.push(mount.start_cat(&"ab".repeat(32)));
        let idle = r#"exec 3<"$1" && : > "$2" && sleep 600"#;
        programs.push(Process::start(
            Command::new("sh")
                .args(["-c", idle, "sh"])
                .arg(mount.path(&file.sha256))
                .arg(place.path("open")),
        ));
        wait("a file to be open", SOON, || {
            place.path("open").exists().then_some(())
        });
        wait("programs to wait", SOON, || {
            (mount.node.count("operations_waiting") >= 4).then_some(())
        });
        Self {
            mount,
            programs,
            _peer: peer,
        }
    }

    /// The daemon ends by itself, and what waited on the mount is let go.
    #[track_caller]
    fn ends(mut self, what: &str) {
        let start = Instant::now();
        let status = self.mount.node.process.wait(LIMIT + SLACK);
        let took = start.elapsed();
        println!("{what}: {took:?}");
        assert_eq!(status.code(), Some(0), "{what}: {}", self.mount.node.said());
        assert!(!is_mounted(&self.mount.at));
        let idle = self.programs.pop().unwrap();
        for program in &mut self.programs {
            assert!(!program.wait(SOON).success());
        }
        drop(idle);
        // The store is free, and whole.
        let settings = Settings::new(&self.mount.node.settings.store);
        let again = Mounted::new(settings, &self.mount.at);
        again.umount();
    }
}

fn unmounting(program: &str, arguments: &[&str], at: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(at);
    command
}

#[test]
fn a_busy_mount_that_is_unmounted_lazily_ends() {
    requires_mount!();
    requires_python!();
    for (program, arguments) in [("umount", &["-l"][..]), ("fusermount3", &["-u", "-z"])] {
        if !on_path(program) || program == "umount" && !is_root() {
            println!("skipped: {program}");
            continue;
        }
        let place = Place::new();
        let busy = Busy::new(&place);
        let done = run(
            &mut unmounting(program, arguments, &busy.mount.at),
            LIMIT + SLACK,
        );
        done.ok();
        busy.ends(program);
    }
}

#[test]
fn a_busy_mount_is_not_unmounted_by_those_who_ask_first_and_goes_on() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let busy = Busy::new(&place);
    for (program, arguments) in [("umount", &[][..]), ("fusermount3", &["-u"])] {
        if !on_path(program) || program == "umount" && !is_root() {
            println!("skipped: {program}");
            continue;
        }
        let done = run(
            &mut unmounting(program, arguments, &busy.mount.at),
            LIMIT + SLACK,
        );
        assert!(!done.status.success(), "{program}");
        assert!(done.stderr.contains("busy"), "{program}: {}", done.stderr);
    }
    assert!(is_alive(&busy.mount.at));
    let mut umount = common::cjp2pfs();
    umount
        .arg("umount")
        .arg(&busy.mount.at)
        .arg("--store")
        .arg(&busy.mount.node.settings.store);
    run(&mut umount, LIMIT + SLACK).ok();
    busy.ends("cjp2pfs umount");
}

#[test]
fn signals_end_the_daemon_whatever_is_pending() {
    requires_mount!();
    requires_python!();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let place = Place::new();
        let busy = Busy::new(&place);
        busy.mount.node.process.signal(signal);
        busy.ends(&format!("signal {signal}"));
    }
}

#[test]
fn an_idle_mount_ends_however_it_is_unmounted() {
    requires_mount!();
    for (program, arguments) in [
        ("umount", &[][..]),
        ("umount", &["-l"]),
        ("fusermount3", &["-u"]),
        ("fusermount3", &["-u", "-z"]),
    ] {
        if !on_path(program) || program == "umount" && !is_root() {
            println!("skipped: {program}");
            continue;
        }
        let place = Place::new();
        let mut mount = Mounted::new(Settings::new(place.path("store")), &place.path("mnt"));
        run(
            &mut unmounting(program, arguments, &mount.at),
            LIMIT + SLACK,
        )
        .ok();
        let status = mount.node.process.wait(LIMIT + SLACK);
        assert_eq!(status.code(), Some(0), "{}", mount.node.said());
        // The store is free.
        let seed = place.file("content", 1000);
        Node::seed(Settings::new(place.path("store")), &[&seed.path], 1).stop();
    }
}

#[test]
fn readers_of_a_killed_daemon_end_at_once_and_the_next_mount_heals() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let mut busy = Busy::new(&place);
    let start = Instant::now();
    busy.mount.node.process.kill();
    let idle = busy.programs.pop();
    for program in &mut busy.programs {
        assert!(!program.wait(LIMIT + SLACK).success());
    }
    println!("readers ended after {:?}", start.elapsed());
    let settings = Settings::new(&busy.mount.node.settings.store);
    let healed = Mounted::new(settings, &busy.mount.at);
    drop(idle);
    healed.umount();
}
