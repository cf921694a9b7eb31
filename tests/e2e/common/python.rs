//! The independent peer in Python (`tests/peer`).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Finished, LATER, Process, SOON, run, wait};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peer/peer.py");

/// Whether the peer can run here, and if not, why not.
pub fn can_run_python() -> Result<(), String> {
    let test = "import sys; sys.exit(sys.version_info < (3, 11))";
    match Command::new("python3").args(["-c", test]).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("python3 is older than 3.11".into()),
        Err(error) => Err(format!("python3: {error}")),
    }
}

/// The peer, serving a folder.
pub struct PythonPeer {
    pub process: Process,
    pub address: SocketAddr,
    stats: PathBuf,
}

impl PythonPeer {
    /// `stats` names the file of the counters, unique to this peer.
    #[track_caller]
    pub fn serve(folder: &Path, stats: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command
            .arg(PEER)
            .arg("serve")
            .arg(folder)
            .arg("--stats")
            .arg(stats)
            .args(arguments);
        let (output, log) = (
            stats.with_extension("stdout"),
            stats.with_extension("stderr"),
        );
        let mut process = Process::start_logging(&mut command, &output, &log);
        let address = wait("the Python peer to listen", SOON, || {
            if process.ended().is_some() {
                panic!("{command:?}: {}", fs::read_to_string(&log).unwrap());
            }
            let said = fs::read_to_string(&output).unwrap();
            said.strip_prefix("listening on ")?
                .strip_suffix('\n')?
                .parse()
                .ok()
        });
        Self {
            process,
            address,
            stats: stats.to_owned(),
        }
    }

    /// The counters, up to about 100 ms old.
    pub fn stats(&self) -> Value {
        serde_json::from_slice(&fs::read(&self.stats).unwrap()).unwrap()
    }

    /// Ends it; the counters are final.
    #[track_caller]
    pub fn stop(mut self) -> Value {
        self.process.stop(SOON);
        self.stats()
    }

    /// Bytes of content that it has sent for `id`.
    pub fn served(stats: &Value, id: &str) -> u64 {
        stats["served"][id].as_u64().unwrap_or(0)
    }

    /// `peer.py get`, which checks what comes as a deployed node does.
    #[track_caller]
    pub fn get(id: &str, from: SocketAddr, output: &Path) -> Finished {
        let mut command = Command::new("python3");
        command
            .arg(PEER)
            .args(["get", id, "--from", &from.to_string(), "-o"])
            .arg(output)
            .args(["--timeout", "60"]);
        run(&mut command, LATER)
    }

    /// `peer.py latest`: what a key last published, checked.
    #[track_caller]
    pub fn latest(key: &str, name: &str, from: SocketAddr) -> Finished {
        let mut command = Command::new("python3");
        command
            .arg(PEER)
            .args(["latest", key, name, "--from", &from.to_string()]);
        run(&mut command, LATER)
    }

    /// `peer.py listing`: the text that names what is in a folder.
    #[track_caller]
    pub fn listing(folder: &Path) -> String {
        let mut command = Command::new("python3");
        command.arg(PEER).arg("listing").arg(folder);
        run(&mut command, LATER).ok().text()
    }

    #[track_caller]
    pub fn self_test() -> Finished {
        run(Command::new("python3").arg(PEER).arg("self-test"), LATER)
    }
}
