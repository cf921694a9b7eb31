//! What the program tells of itself on standard error, beyond errors and notices.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;

/// A daemon's log starts anew when it has grown to this.
const LOG_LIMIT: u64 = 4 << 20;

/// fuser warns when it finds its mount taken away already, which is how ours always end; notify, when
/// the system has dropped the watch of a folder that is gone.
const DEFAULT: &str = "warn,fuser::mnt=error,notify::inotify=error";

/// Starts telling. `CJP2PFS_LOG` (in the syntax of `RUST_LOG`) is used where no `-v` is given.
///
/// In the background standard error is the log file of the store, which is kept bounded.
pub fn start(verbose: u8, background: bool) {
    let filter = match verbose {
        0 => EnvFilter::try_from_env("CJP2PFS_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT)),
        1 => EnvFilter::new("info"),
        2 => EnvFilter::new("cjp2pfs=debug,info"),
        _ => EnvFilter::new("cjp2pfs=trace,debug"),
    };
    // What cannot be told is not told: complaining of that, where that cannot be told either, would
    // end the thread.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false);
    // A second subscriber cannot be there yet; if it were, it would be good enough.
    let _ = if background {
        builder
            .with_ansi(false)
            .with_writer(|| BoundedLog)
            .try_init()
    } else {
        builder
            .with_ansi(io::stderr().is_terminal())
            .with_writer(io::stderr)
            .try_init()
    };
}

/// Standard error as a file that is opened for appending, emptied when it has grown too long.
struct BoundedLog;

static WRITTEN: AtomicU64 = AtomicU64::new(0);

impl Write for BoundedLog {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let count = io::stderr().write(text)?;
        let written = WRITTEN.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        if written > LOG_LIMIT {
            WRITTEN.store(0, Ordering::Relaxed);
            File::from(io::stderr().as_fd().try_clone_to_owned()?).set_len(0)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
