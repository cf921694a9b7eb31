//! The real binary: seeding nodes, and commands against a store.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

use super::{LATER, Place, Process, SOON, run, wait};

/// The binary, deaf to the configuration and the environment of whoever runs the tests.
pub fn cjp2pfs() -> Command {
    let mut command = Command::new(cargo_bin!("cjp2pfs"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CJP2PFS_") {
            command.env_remove(name);
        }
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command.env("XDG_DATA_HOME", "/nonexistent");
    command
}

/// A copy of the binary in `place` for users who cannot go where the binary lies.
///
/// Another process makes it. Had this one open for writing what it then runs, so would every child
/// that another test forked meanwhile, until that child's `exec`, and running it would fail with
/// `ETXTBSY`.
#[track_caller]
pub fn program_for_all(place: &Place) -> PathBuf {
    let program = place.path("cjp2pfs");
    run(
        Command::new("install")
            .args(["-m", "755"])
            .arg(cargo_bin!("cjp2pfs"))
            .arg(&program),
        SOON,
    )
    .ok();
    fs::set_permissions(place.path(""), Permissions::from_mode(0o755)).unwrap();
    program
}

/// How a node-running command is started.
#[derive(Clone)]
pub struct Settings {
    pub store: PathBuf,
    pub bind: String,
    pub peers: Vec<SocketAddr>,
    pub more: Vec<String>,
}

impl Settings {
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            bind: "127.0.0.1:0".to_owned(),
            peers: Vec::new(),
            more: Vec::new(),
        }
    }

    pub fn bind(mut self, address: impl ToString) -> Self {
        self.bind = address.to_string();
        self
    }

    pub fn peer(mut self, peer: SocketAddr) -> Self {
        self.peers.push(peer);
        self
    }

    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.more
            .extend(arguments.iter().map(|it| (*it).to_owned()));
        self
    }

    /// `cjp2pfs <command>` with the flags that every node-running command shares.
    pub fn command(&self, name: &str) -> Command {
        let mut command = cjp2pfs();
        command
            .arg(name)
            .args(["--no-bootstrap", "--no-lan", "--bind", &self.bind])
            .arg("--store")
            .arg(&self.store);
        for peer in &self.peers {
            command.arg("--peer").arg(peer.to_string());
        }
        command.args(&self.more);
        command
    }

    /// `cjp2pfs get` of `id` into `output`.
    pub fn get(&self, id: &str, output: &Path) -> Command {
        let mut command = self.command("get");
        command.arg(id).arg("-o").arg(output);
        command
    }

    pub fn status(&self) -> Option<Value> {
        report(&self.store, "status")
    }
}

fn report(store: &Path, command: &str) -> Option<Value> {
    let done = run(
        cjp2pfs().args([command, "--json", "--store"]).arg(store),
        SOON,
    );
    if !done.status.success() {
        return None;
    }
    Some(
        serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|error| panic!("{command} --json: {error}")),
    )
}

/// A node that runs in the foreground: `seed`, or `mount -f`.
pub struct Node {
    pub process: Process,
    pub settings: Settings,
    pub address: SocketAddr,
    log: PathBuf,
    output: PathBuf,
}

impl Node {
    /// `cjp2pfs seed PATHS`, ready when all `files` of them have been hashed.
    #[track_caller]
    pub fn seed(settings: Settings, paths: &[&Path], files: usize) -> Self {
        let mut command = settings.command("seed");
        command.args(paths);
        let node = Self::start(settings, &mut command);
        wait("every file to be hashed", LATER, || {
            (node.lines().len() >= files).then_some(())
        });
        node
    }

    /// Starts `command` and waits until its node answers `status`.
    #[track_caller]
    pub fn start(settings: Settings, command: &mut Command) -> Self {
        fs::create_dir_all(&settings.store).unwrap();
        let log = settings.store.with_extension("stderr");
        let output = settings.store.with_extension("stdout");
        let mut process = Process::start_logging(command, &output, &log);
        let address = wait("the node to answer `status`", SOON, || {
            if let Some(status) = process.ended() {
                let said = fs::read_to_string(&log).unwrap_or_default();
                panic!("{command:?} ended with {status}: {said}");
            }
            let status = settings.status()?;
            status["address"].as_str()?.parse().ok()
        });
        Self {
            process,
            settings,
            address,
            log,
            output,
        }
    }

    /// The whole lines that it has written to standard output.
    pub fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// What it has written to standard error.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        let status = self.settings.status();
        status.unwrap_or_else(|| panic!("no status; the node said: {}", self.said()))
    }

    /// A number of `status --json`.
    #[track_caller]
    pub fn count(&self, field: &str) -> u64 {
        let status = self.status();
        status[field]
            .as_u64()
            .unwrap_or_else(|| panic!("no {field} in {status}"))
    }

    /// `peers --json`.
    pub fn peers(&self) -> Value {
        report(&self.settings.store, "peers").unwrap_or_else(|| panic!("no peers: {}", self.said()))
    }

    /// Ends it with SIGTERM; it must end with success, soon.
    #[track_caller]
    pub fn stop(mut self) {
        let status = self.process.stop(SOON);
        let code = status.code();
        // Ending because it was told to is what a seeding node is for; shells count 128 + SIGTERM.
        assert!(matches!(code, Some(0 | 143)), "{status}: {}", self.said());
    }

    /// What to wait on for the transfer of at least `bytes`.
    #[track_caller]
    pub fn wait_fetched(&self, bytes: u64, limit: Duration) {
        wait("bytes to be fetched", limit, || {
            (self.count("bytes_fetched") >= bytes).then_some(())
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- {} said:\n{}",
                self.settings.store.display(),
                self.said()
            );
        }
    }
}
