//! Processes with a time limit, ended when dropped.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Polls until `look` finds something; panics with `what` after `limit`.
#[track_caller]
pub fn wait<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < limit,
            "waited {limit:?} in vain for {what}"
        );
        thread::sleep(Duration::from_millis(15));
    }
}

/// What a command that ended left behind.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub took: Duration,
}

impl Finished {
    /// The same, if it ended with success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
        self
    }

    /// Standard error, if it ended with this code.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}: {}",
            self.status,
            self.stderr
        );
        self.stderr
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs a command to its end; kills it and panics at `limit`.
#[track_caller]
pub fn run(command: &mut Command, limit: Duration) -> Finished {
    let start = Instant::now();
    let mut process = Process::start(command);
    let status = wait(&format!("{command:?} to end"), limit, || process.ended());
    let took = start.elapsed();
    let (stdout, stderr) = process.outputs();
    Finished {
        status,
        stdout,
        stderr,
        took,
    }
}

/// A running process; killed when dropped.
pub struct Process {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Process {
    /// Starts it with both outputs collected.
    pub fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Self::start_as_is(command);
        process.stdout = process.child.stdout.take().map(collect);
        process.stderr = process.child.stderr.take().map(collect);
        process
    }

    /// Starts it with both outputs going to files, for what runs long.
    pub fn start_logging(command: &mut Command, stdout: &Path, stderr: &Path) -> Self {
        command
            .stdout(File::create(stdout).unwrap())
            .stderr(File::create(stderr).unwrap());
        Self::start_as_is(command)
    }

    fn start_as_is(command: &mut Command) -> Self {
        command.stdin(Stdio::null());
        // SAFETY: both are bare system calls, safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // Where the tests were started in the background of a script they ignore it.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                // A test runner that is killed takes what it started with it.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            })
        };
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            child,
            stdout: None,
            stderr: None,
        }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: kill takes no pointers; the child is not reaped yet, so the id is its own.
        unsafe { libc::kill(self.pid(), signal) };
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end, at most `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait("a process to end", limit, || self.ended())
    }

    /// Ends it as an operator would, and insists after `limit`.
    #[track_caller]
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        if self.ended().is_none() {
            self.signal(libc::SIGTERM);
        }
        self.wait(limit)
    }

    /// `kill -9`; returns when it is gone.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            self.signal(libc::SIGKILL);
            self.child.wait().unwrap();
        }
    }

    /// Both outputs, after the end.
    pub fn outputs(&mut self) -> (Vec<u8>, String) {
        let take =
            |end: Option<JoinHandle<Vec<u8>>>| end.map_or(Vec::new(), |it| it.join().unwrap());
        let stdout = take(self.stdout.take());
        let stderr = take(self.stderr.take());
        (stdout, String::from_utf8_lossy(&stderr).into_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(libc::SIGKILL);
            // A process stuck in the kernel must not hang the test as well.
            let start = Instant::now();
            while matches!(self.child.try_wait(), Ok(None))
                && start.elapsed() < Duration::from_secs(5)
            {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}
