//! Leaving a daemon behind.
//!
//! The command starts itself once more, in a session of its own, with standard output as a pipe to
//! the parent. Through it the child tells in lines what the user should know and at last whether it
//! is ready, and the parent's exit code follows from that. Starting anew instead of forking keeps
//! this sound whatever threads there are; standard output instead of a special descriptor needs no
//! rule about who closes it.

use std::env;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::exit_codes::Outcome;
use super::tell;

/// Set in the child's environment.
const MARK: &str = "CJP2PFS_BACKGROUND";
/// The daemon's standard error, in its store.
const LOG: &str = "mount.log";

const READY: &str = "ready";
const NOTICE: &str = "notice ";
const FAILURE: &str = "failure ";

/// The child's way to the process that started it.
pub struct Parent(());

impl Parent {
    /// The parent, if this process is such a child.
    pub fn of_this_process() -> Option<Self> {
        env::var_os(MARK).map(|_| Self(()))
    }

    /// Leaves the parent's session, so that the terminal's signals and end do not come here.
    pub fn leave_its_session(&self) {
        // SAFETY: setsid takes no argument and touches no memory. It fails only for the leader of
        // a process group, which a freshly started child is not; nothing is lost if it does.
        unsafe {
            libc::setsid();
        }
    }

    /// Lets the parent print a line for the user.
    pub fn tell_notice(&self, line: &str) {
        // A parent that has gone is found out by `tell_ready`.
        let _ = send(&format!("{NOTICE}{line}"));
    }

    /// Lets the parent print why it did not work, and fail.
    pub fn tell_failure(&self, line: &str) {
        tell(line);
        let _ = send(&format!("{FAILURE}{line}"));
    }

    /// Lets the parent end with success.
    ///
    /// # Errors
    /// It has gone: whoever asked for the daemon does not want it any more.
    pub fn tell_ready(&self) -> io::Result<()> {
        send(READY)
    }
}

fn send(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{}", line.replace('\n', " "))?;
    out.flush()
}

/// Starts this command once more in the background and waits until it is ready.
///
/// # Errors
/// It cannot be started, or the sentence that it failed with.
pub fn start(store: &Path) -> Result<Outcome> {
    let unusable = || format!("cannot use {} as the store", store.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(store)
        .with_context(unusable)?;
    let log_path = store.join(LOG);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log_path)
        .with_context(unusable)?;
    // One run, one log; a daemon that still runs on this store has it open for appending.
    if let Ok(metadata) = log.metadata()
        && metadata.len() > 1 << 20
    {
        let _ = log.set_len(0);
    }
    let mut child = env::current_exe()
        .and_then(|program| {
            Command::new(program)
                .args(env::args_os().skip(1))
                .env(MARK, "1")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(log)
                .spawn()
        })
        .context("cannot start the daemon")?;
    let lines = child.stdout.take().map(BufReader::new);
    for line in lines.into_iter().flat_map(BufRead::lines) {
        let line = line.context("cannot hear from the daemon")?;
        if line == READY {
            return Ok(Outcome::Done);
        } else if let Some(notice) = line.strip_prefix(NOTICE) {
            tell(notice);
        } else if let Some(failure) = line.strip_prefix(FAILURE) {
            bail!("{failure}");
        }
    }
    let status = child.wait().context("cannot hear from the daemon")?;
    bail!(
        "the daemon ended before the mount could be used ({status}); see {}",
        log_path.display()
    )
}
