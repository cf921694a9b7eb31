//! A seeding daemon as its user meets it: what it prints, what the other commands hear from it, how
//! it ends. No mount, and no peer but itself.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn cjp2pfs(dir: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("cjp2pfs"));
    command
        .current_dir(dir)
        .env("HOME", dir)
        .env("XDG_CONFIG_HOME", dir)
        .env("CJP2PFS_STORE", dir.join("store"))
        .env("CJP2PFS_BIND", "127.0.0.1:0")
        .env("CJP2PFS_NO_BOOTSTRAP", "1")
        .env("CJP2PFS_NO_LAN", "1");
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    cjp2pfs(dir).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A child that is killed when its test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.0.id()).unwrap();
        // SAFETY: kill touches no memory, and the process is our child, not yet waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits until it has said what it does at SIGINT (proc_pid_status(5)): before, it dies of it.
    fn handles_signals(&self) {
        let until = Instant::now() + PATIENCE;
        let path = format!("/proc/{}/status", self.0.id());
        loop {
            let status = fs::read_to_string(&path).unwrap();
            let caught = status
                .lines()
                .find_map(|line| line.strip_prefix("SigCgt:"))
                .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            if caught.is_some_and(|mask| mask & 1 << (libc::SIGINT - 1) != 0) {
                return;
            }
            assert!(Instant::now() < until, "it handles no signals");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Seeds `files` and waits until it serves; also what it said on standard error until then.
fn seed(dir: &Path) -> (Running, String) {
    seed_by(dir, cjp2pfs(dir))
}

fn seed_by(dir: &Path, mut command: Command) -> (Running, String) {
    let mut child = command
        .args(["seed", "files"])
        .stdout(fs::File::create(dir.join("list")).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("serving ") {
        assert_ne!(lines.read_line(&mut said).unwrap(), 0, "it ended: {said}");
    }
    // Reading on, so that it never waits for room in the pipe.
    std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
    (Running(child), said)
}

#[test]
fn a_seeder_serves_tells_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("files")).unwrap();
    let content: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(dir.join("files/long"), &content).unwrap();
    fs::write(dir.join("files/new\nline"), "odd").unwrap();
    fs::write(dir.join("files/empty"), "").unwrap();

    let mistyped = run(dir, &["seed", "files", "fiels"]);
    assert_eq!(mistyped.status.code(), Some(1));
    let told = "cjp2pfs: cannot read fiels: No such file or directory\n";
    assert_eq!(text(&mistyped.stderr), told);
    assert!(!dir.join("store").exists());

    let (mut seeder, said) = seed(dir);
    assert!(
        said.starts_with("cjp2pfs: only in the listing: 1 empty\nserving 2 files on 127.0.0.1:"),
        "{said}"
    );
    let mode = fs::metadata(dir.join("store/control.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // The list is that of sha256sum, and so sha256sum can check it.
    let checked = Command::new("sha256sum")
        .args(["--check", "--quiet", "--strict", "list"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let list = fs::read_to_string(dir.join("list")).unwrap();
    assert_eq!(
        list.lines().filter(|line| !line.starts_with('#')).count(),
        2
    );
    let id = list
        .lines()
        .find(|line| line.ends_with("files/long"))
        .unwrap();
    let id = &id[..64];

    let status = run(dir, &["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["command"], "seed");
    assert_eq!(status["pid"], seeder.0.id());
    assert_eq!(status["contents_seeded"], 2);
    let status = run(dir, &["status"]);
    assert!(text(&status.stdout).starts_with("daemon        seed, process "));
    let peers = run(dir, &["peers", "--json"]);
    let peers: serde_json::Value = serde_json::from_slice(&peers.stdout).unwrap();
    assert!(peers.is_array());

    // Through the daemon: to a file, to standard output, and what nobody has.
    let got = run(dir, &["get", id, "-o", "got"]);
    assert_eq!((got.status.code(), text(&got.stderr)), (Some(0), ""));
    assert_eq!(fs::read(dir.join("got")).unwrap(), content);
    let got = run(dir, &["get", id, "-o", "-"]);
    assert!(got.stdout == content && got.status.success());

    // A second `seed` on the same store lets the first one seed.
    let second = run(dir, &["seed", "files"]);
    assert_eq!(second.status.code(), Some(0));
    assert_eq!(
        text(&second.stderr),
        "cjp2pfs: only in the listing: 1 empty\ncjp2pfs: the daemon of this store serves 2 files\n"
    );

    seeder.signal(libc::SIGINT);
    assert_eq!(seeder.end().code(), Some(0));
    assert!(!dir.join("store/control.sock").exists());
    assert_eq!(run(dir, &["status"]).status.code(), Some(1));

    // With no daemon the store still has it.
    let got = run(dir, &["get", id]);
    assert_eq!((got.status.code(), text(&got.stderr)), (Some(0), ""));
    assert_eq!(fs::read(dir.join(id)).unwrap(), content);
    assert_eq!(run(dir, &["get", id]).status.code(), Some(1), "it exists");
    assert_eq!(run(dir, &["get", id, "--force"]).status.code(), Some(0));
}

#[test]
fn a_killed_seeder_leaves_nothing_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("files")).unwrap();
    fs::write(dir.join("files/file"), "content").unwrap();
    let (mut seeder, _) = seed(dir);
    seeder.0.kill().unwrap();
    seeder.end();
    let status = run(dir, &["status"]);
    let told = text(&status.stderr);
    assert!(
        told.starts_with("cjp2pfs: no daemon runs for the store "),
        "{told}"
    );
    let (mut seeder, said) = seed(dir);
    assert!(said.contains("serving 1 file on "), "{said}");
    seeder.signal(libc::SIGTERM);
    assert_eq!(seeder.end().code(), Some(0));
}

#[test]
fn a_store_with_a_very_long_path_has_a_socket_too() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("l".repeat(200));
    fs::create_dir_all(dir.join("files")).unwrap();
    fs::write(dir.join("files/file"), "content").unwrap();
    let (mut seeder, _) = seed(&dir);
    assert_eq!(run(&dir, &["status"]).status.code(), Some(0));
    seeder.signal(libc::SIGINT);
    assert_eq!(seeder.end().code(), Some(0));
}

#[test]
fn a_node_may_have_as_many_descriptors_as_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("files")).unwrap();
    fs::write(dir.join("files/file"), "content").unwrap();
    let mut command = cjp2pfs(dir);
    // SAFETY: setrlimit is a bare system call, safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit {
                rlim_cur: 256,
                rlim_max: 512,
            };
            match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        })
    };
    let (mut seeder, _) = seed_by(dir, command);
    let limits = fs::read_to_string(format!("/proc/{}/limits", seeder.0.id())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let numbers: Vec<_> = line.unwrap().split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["512", "512"]);
    seeder.signal(libc::SIGINT);
    seeder.end();
}

#[test]
fn get_gives_up_and_can_be_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let id = "5".repeat(64);
    let got = run(dir, &["get", &id, "--lookup-timeout", "300ms"]);
    assert_eq!(got.status.code(), Some(1));
    let told = format!("cjp2pfs: cannot get {id}: nobody in the network has it\n");
    assert_eq!(text(&got.stderr), told);

    let mut child = cjp2pfs(dir);
    child.args(["get", &id, "--lookup-timeout", "60s"]);
    let mut running = Running(child.stderr(Stdio::null()).spawn().unwrap());
    running.handles_signals();
    running.signal(libc::SIGINT);
    assert_eq!(running.end().code(), Some(130));
    assert!(!dir.join(&id).exists());
}

/// Commands that only look make no store where there is none.
#[test]
fn what_only_looks_at_a_store_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let bare = dir.path().join("bare");
    fs::create_dir(&bare).unwrap();
    for store in [&bare, &dir.path().join("absent")] {
        for command in [&["ls", "--seeding"][..], &["ls"], &["publish", "--list"]] {
            let output = run(
                dir.path(),
                &[command, &["--store", store.to_str().unwrap()]].concat(),
            );
            assert_eq!(output.status.code(), Some(1), "{command:?}");
            let said = format!("cjp2pfs: there is no store in {}\n", store.display());
            assert_eq!(text(&output.stderr), said, "{command:?}");
        }
    }
    assert_eq!(fs::read_dir(&bare).unwrap().count(), 0);
    assert!(!dir.path().join("absent").exists());
}
