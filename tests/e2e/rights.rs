//! What a daemon may do: less than who started it, where that is possible.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use crate::common::{Mounted, Node, Place, SOON, Settings, cjp2pfs, is_mounted, run, wait};
use cjp2pfs::node::calls::{self, Threads};
use cjp2pfs::node::rights::{self, Rights};

/// The fields of `/proc/PID/status`.
pub fn status_of(pid: i32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name.to_owned(), value.trim().replace('\t', " ")))
        .collect()
}

/// Runs `what` on a thread whose rights have been given up, which are each thread's own.
fn confined(store: &Path, what: impl FnOnce() + Send + 'static) {
    let store = store.to_owned();
    with_less(move || rights::write_only_in(&store), what);
}

fn with_less(give_up: impl FnOnce() + Send + 'static, what: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        give_up();
        what();
        let _ = done.send(());
    });
    let _ = ended.recv_timeout(SOON);
    assert!(thread.is_finished() || ended.recv_timeout(Duration::from_secs(1)).is_err());
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn who_is_confined_to_the_store_writes_only_there() {
    let place = Place::new();
    let (store, outside) = (place.folder("store"), place.folder("outside"));
    fs::write(outside.join("file"), "content").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let inside = store.clone();
    confined(&store, move || {
        if !Rights::in_force().writes_only_in_store {
            println!("skipped: this kernel has no Landlock");
            return;
        }
        fs::write(inside.join("file"), "content").unwrap();
        fs::create_dir(inside.join("folder")).unwrap();
        fs::rename(inside.join("file"), inside.join("folder/file")).unwrap();
        fs::remove_file(inside.join("folder/file")).unwrap();
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"content");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        let denied = |result: std::io::Result<()>, what: &str| {
            assert_eq!(
                result.unwrap_err().kind(),
                ErrorKind::PermissionDenied,
                "{what}"
            );
        };
        let file = outside.join("file");
        denied(File::create(outside.join("new")).map(drop), "a new file");
        denied(
            File::options().append(true).open(&file).map(drop),
            "appending",
        );
        denied(fs::remove_file(&file), "removing");
        denied(fs::create_dir(outside.join("folder")), "a folder");
        denied(fs::rename(&file, inside.join("file")), "moving it in");
        denied(
            std::os::unix::fs::symlink("x", outside.join("link")),
            "a link",
        );
        denied(
            std::net::TcpStream::connect(address).map(drop),
            "a TCP connection",
        );
        denied(TcpListener::bind("127.0.0.1:0").map(drop), "a TCP port");
        denied(Command::new("true").status().map(drop), "a program");
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    });
    // Only that thread.
    fs::write(place.path("outside/file"), "more").unwrap();
}

#[test]
fn who_has_given_up_system_calls_is_refused_them() {
    let give_up = || {
        rights::gain_no_privileges();
        calls::give_up(Threads::This);
    };
    with_less(give_up, || {
        assert!(Rights::in_force().calls_refused);
        let refused = |result: libc::c_long, what: &str| {
            let error = std::io::Error::last_os_error();
            assert_eq!(
                (result, error.raw_os_error()),
                (-1, Some(libc::EPERM)),
                "{what}"
            );
        };
        let program = Command::new("true").status().unwrap_err();
        assert_eq!(program.raw_os_error(), Some(libc::EPERM));
        // SAFETY: none of them changes anything of this process if it is allowed after all, but for its
        // namespace of mounts.
        unsafe {
            refused(libc::unshare(libc::CLONE_NEWNS).into(), "a namespace");
            refused(
                libc::syscall(libc::SYS_bpf, 0, std::ptr::null::<u8>(), 0),
                "bpf",
            );
            refused(
                libc::ptrace(libc::PTRACE_ATTACH, libc::getppid(), 0, 0),
                "another process",
            );
        }
        // What a node does goes on.
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        std::thread::spawn(|| drop(tempfile::tempfile().unwrap()))
            .join()
            .unwrap();
    });
    run(&mut Command::new("true"), SOON).ok();
}

/// The processes that do for the daemon `pid` what it may not, by name.
pub fn helpers_of(pid: i32) -> BTreeMap<String, i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let named = children.split_whitespace().map(|child| {
        let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap();
        let name = line.split('\0').next().unwrap_or_default();
        (name.to_owned(), child.parse().unwrap())
    });
    named.collect()
}

/// The process that unmounts for the daemon `pid`.
fn unmounter_of(pid: i32) -> i32 {
    helpers_of(pid)["cjp2pfs-unmounter"]
}

/// Waits until a process has ended, be it that nobody has asked how.
#[track_caller]
pub fn ends(pid: i32) {
    wait("the other process to end", SOON, || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

/// All threads of a mount are held, those that mounted it too; who unmounts for it is another process.
#[test]
fn a_mount_writes_in_its_store_only_and_is_unmounted_by_another_process() {
    requires_mount!();
    let place = Place::new();
    let file = place.file("content", 300_000);
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[&file.path], 1);
    let settings = Settings::new(place.path("store")).peer(seeder.address);
    let mounted = Mounted::new(settings, &place.folder("mnt"));
    let pid = mounted.node.process.pid();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2"), "{status}");
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
    let rights = &mounted.node.status()["rights"];
    assert_eq!(rights["calls_refused"], true);
    // As far as this kernel can hold anybody.
    let held = rights["writes_only_in_store"].clone();
    let seeding = seeder.status()["rights"]["writes_only_in_store"].clone();
    assert_eq!(held, seeding);
    println!("held to its store: {held}");
    file.is(&mounted.cat(&file.sha256).ok().stdout);
    let unmounter = unmounter_of(pid);
    mounted.umount();
    ends(unmounter);
}

/// A signal for all of a terminal's or a service's processes is for the daemon; and a daemon that is
/// killed leaves a dead mount, not an empty folder, and no process.
#[test]
fn who_unmounts_ends_with_the_daemon_and_not_before() {
    requires_mount!();
    let place = Place::new();
    let at = place.folder("mnt");
    let mut mounted = Mounted::new(Settings::new(place.path("store")), &at);
    let unmounter = unmounter_of(mounted.node.process.pid());
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: kill takes no pointers; the process is the child of one that runs.
        assert_eq!(unsafe { libc::kill(unmounter, signal) }, 0);
    }
    mounted.node.process.signal(libc::SIGTERM);
    assert_eq!(mounted.node.process.wait(SOON).code(), Some(0));
    assert!(!is_mounted(&at));
    drop(mounted);

    let mut mounted = Mounted::new(Settings::new(place.path("store")), &at);
    let unmounter = unmounter_of(mounted.node.process.pid());
    mounted.node.process.kill();
    ends(unmounter);
    assert!(is_mounted(&at));
    // Without it the daemon ends as ever, and says that its mount is left.
    drop(mounted);
    let mut mounted = Mounted::new(Settings::new(place.path("store")), &at);
    let unmounter = unmounter_of(mounted.node.process.pid());
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(unmounter, libc::SIGKILL) }, 0);
    mounted.node.process.signal(libc::SIGTERM);
    assert_eq!(mounted.node.process.wait(SOON).code(), Some(1));
    let said = mounted.node.said();
    assert!(said.contains("could not be unmounted"), "{said}");
}

#[test]
fn a_seeding_node_tells_what_it_gave_up() {
    let place = Place::new();
    let file = place.file("content", 100_000);
    let node = Node::seed(Settings::new(place.path("store")), &[&file.path], 1);
    let rights = node.status()["rights"].clone();
    let seen = status_of(node.process.pid());
    assert_eq!(seen["NoNewPrivs"], "1");
    assert_eq!(rights["no_new_privileges"], true);
    assert_eq!(seen["Seccomp"], "2");
    assert_eq!(rights["calls_refused"], true);
    let held = &rights["writes_only_in_store"];
    println!("held to its store: {held}");
    let mut status = cjp2pfs();
    status
        .arg("status")
        .arg("--store")
        .arg(&node.settings.store);
    let text = run(&mut status, SOON).ok().text();
    assert!(text.contains("gains none"), "{text}");
    assert_eq!(
        text.contains("writes in its store only"),
        *held == true,
        "{text}"
    );
    let mut doctor = cjp2pfs();
    doctor
        .arg("doctor")
        .arg("--store")
        .arg(&node.settings.store);
    let text = run(&mut doctor, SOON).text();
    assert!(text.contains("gains none"), "{text}");
    // It serves all the same.
    let output = place.path("copy");
    let other = Settings::new(place.path("other")).peer(node.address);
    run(&mut other.get(&file.sha256, &output), SOON).ok();
    file.is_in(&output);
    node.stop();
}

/// What a web page could reach: it can make a browser connect to any TCP port of this machine.
#[test]
fn a_node_listens_on_no_tcp_port() {
    let place = Place::new();
    let file = place.file("content", 1000);
    let node = Node::seed(Settings::new(place.path("store")), &[&file.path], 1);
    let proc = format!("/proc/{}", node.process.pid());
    let sockets: Vec<String> = fs::read_dir(format!("{proc}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    let listed = |table: &str| -> Vec<String> {
        let text = fs::read_to_string(format!("{proc}/net/{table}")).unwrap_or_default();
        let inode = |line: &str| line.split_whitespace().nth(9).map(str::to_owned);
        text.lines().skip(1).filter_map(inode).collect()
    };
    assert!(
        listed("udp").iter().any(|inode| sockets.contains(inode)),
        "{sockets:?}"
    );
    for table in ["tcp", "tcp6"] {
        assert!(
            !listed(table).iter().any(|inode| sockets.contains(inode)),
            "{table}"
        );
    }
    node.stop();
}

/// What is seeded may lie anywhere, also what is named when the node runs already.
#[test]
fn a_folder_can_be_seeded_later() {
    let place = Place::new();
    let file = place.file("content", 1000);
    let node = Node::seed(Settings::new(place.path("store")), &[&file.path], 1);
    let later = place.file("elsewhere/later", 200_000);
    let mut seed = node.settings.command("seed");
    run(seed.arg(place.path("elsewhere")), SOON).ok();
    let output = place.path("copy");
    let other = Settings::new(place.path("other")).peer(node.address);
    run(&mut other.get(&later.sha256, &output), SOON).ok();
    later.is_in(&output);
    node.stop();
}
