//! SIGINT, SIGTERM and SIGHUP, told to a function on a thread of its own.
//!
//! The first one asks for an orderly end. The second ends the process at once: whoever presses
//! Ctrl-C twice does not want to wait.

use std::io;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

/// Calls `first` with the signal's number when the first of the three comes.
///
/// # Errors
/// The handlers or the thread cannot be set up.
pub fn on_first_signal(first: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
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
            first(runtime.block_on(wait()));
            let second = runtime.block_on(wait());
            std::process::exit(128 + second);
        })?;
    Ok(())
}
