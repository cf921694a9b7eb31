//! A `get` that is told to end does so, whatever it waits for, and leaves nothing half done behind.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use crate::common::{Node, Place, SOON, Sample, Settings, wait};

/// More than any pipe or socket holds.
const LENGTH: usize = 8 << 20;

/// A process that is killed when the test is over, and its standard output, which nobody reads.
struct Get {
    child: Child,
    output: ChildStdout,
}

impl Get {
    /// Starts it and waits until it has written something.
    #[track_caller]
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        output.read_exact(&mut [0]).unwrap();
        Self { child, output }
    }

    #[track_caller]
    fn end(&mut self) -> ExitStatus {
        wait("get to end", SOON, || self.child.try_wait().unwrap())
    }
}

impl Drop for Get {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(pid: u32, signal: i32) {
    let pid = libc::pid_t::try_from(pid).unwrap();
    // SAFETY: kill takes no pointers; each is a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

fn seeder(place: &Place, length: usize) -> (Node, Sample) {
    let file = place.file("content", length);
    let settings = Settings::new(place.path("seeder"));
    (Node::seed(settings, &[&file.path], 1), file)
}

#[test]
fn one_signal_ends_it_though_nobody_reads_its_output() {
    let place = Place::new();
    let (seeder, file) = seeder(&place, LENGTH);
    let itself = Settings::new(place.path("getter")).peer(seeder.address);
    for (settings, signal) in [(&itself, libc::SIGTERM), (&seeder.settings, libc::SIGINT)] {
        let mut get = Get::start(settings.command("get").args([&file.sha256, "-o", "-"]));
        send(get.child.id(), signal);
        assert_eq!(get.end().code(), Some(128 + signal));
    }
}

#[test]
fn one_signal_ends_it_though_the_daemon_has_stopped() {
    let place = Place::new();
    let (seeder, file) = seeder(&place, LENGTH);
    let mut get = Get::start(
        seeder
            .settings
            .command("get")
            .args([&file.sha256, "-o", "-"]),
    );
    let daemon = u32::try_from(seeder.process.pid()).unwrap();
    send(daemon, libc::SIGSTOP);
    // What is under way already still comes, and then no more.
    let mut output = std::mem::replace(&mut get.output, empty());
    let reading = std::thread::spawn(move || output.read_to_end(&mut Vec::new()));
    send(get.child.id(), libc::SIGTERM);
    let ended = get.end();
    send(daemon, libc::SIGCONT);
    assert_eq!(ended.code(), Some(128 + libc::SIGTERM));
    reading.join().unwrap().unwrap();
}

/// An output with nothing in it.
fn empty() -> ChildStdout {
    let mut nothing = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    let output = nothing.stdout.take().unwrap();
    nothing.wait().unwrap();
    output
}

#[test]
fn two_signals_leave_no_half_written_file() {
    let place = Place::new();
    let (seeder, file) = seeder(&place, 64 << 20);
    let folder = place.folder("output");
    let names = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let out = folder.join("out");
    let mut command = seeder.settings.get(&file.sha256, &out);
    let mut get = command.stderr(Stdio::null()).spawn().unwrap();
    wait("something to be written", SOON, || {
        (!names().is_empty()).then_some(())
    });
    // Both signals at once, so that no orderly end comes between them.
    for signal in [libc::SIGSTOP, libc::SIGINT, libc::SIGTERM, libc::SIGCONT] {
        send(get.id(), signal);
    }
    wait("get to end", SOON, || get.try_wait().unwrap());
    // Nothing, unless it was quicker than the signals.
    let left = names();
    assert!(left.is_empty() || left == [out.clone()], "{left:?}");
    if left == [out.clone()] {
        file.is_in(&out);
    }
}
