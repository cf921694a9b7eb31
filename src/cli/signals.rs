//! SIGINT, SIGTERM and SIGHUP, told to a function on a thread of its own.
//!
//! The first one asks for an orderly end, which has a limit: what the process waits for, such as an
//! output that nobody reads, must not keep it. The second ends it at once: whoever presses Ctrl-C
//! twice does not want to wait.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::export;

/// From the signal to the end.
pub const END_LIMIT: Duration = Duration::from_secs(3);
/// What a busy machine gets beyond it before the process is ended as it is.
const GRACE: Duration = Duration::from_millis(500);

/// Calls `first` with the signal's number when the first of the three comes. If the process still
/// runs when the second comes, or [`END_LIMIT`] has passed, it is ended as it is, with 128 + the
/// signal's number.
///
/// # Errors
/// The handlers or the thread cannot be set up.
pub fn on_first_signal(first: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    let wait = async move || {
        tokio::select! {
            _ = interrupt.recv() => libc::SIGINT,
            _ = terminate.recv() => libc::SIGTERM,
            _ = hangup.recv() => libc::SIGHUP,
        }
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut wait = wait;
            let signal = runtime.block_on(wait());
            first(signal);
            let until = async { timeout(END_LIMIT + GRACE, wait()).await };
            let last = runtime.block_on(until).unwrap_or(signal);
            export::remove_unfinished();
            std::process::exit(128 + last);
        })?;
    Ok(())
}
