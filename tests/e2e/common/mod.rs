//! What the end-to-end tests share: the real binary, real mounts, the Python peer, bounded waits.
//!
//! Every test has a scratch folder of its own; every node its own store and port. Nothing waits for
//! a length of time in the hope that something has happened by then: [`wait`] polls for the event,
//! and every command is killed at its limit. What a test started is ended when it drops, on a panic
//! too: processes killed by their id, mounts detached.

// Each test file compiles this module for itself and uses a part of it.
#![allow(dead_code, unused_imports, unused_macros)]

mod content;
mod gate;
mod mounted;
mod node;
mod process;
mod python;
mod raw;

pub use content::{Place, Sample, sha256_of};
pub use gate::Gate;
pub use mounted::{Detach, Mounted, can_mount, is_alive, is_mounted, is_root, on_path};
pub use node::{Node, Settings, cjp2pfs, program_for_all};
pub use process::{Finished, Process, run, wait};
pub use python::{PythonPeer, can_run_python};
pub use raw::{RawPeer, first};

use std::time::Duration;

/// For what should take moments; long, because the machine may be busy with other tests.
pub const SOON: Duration = Duration::from_secs(20);
/// For what moves many megabytes in an unoptimised build.
pub const LATER: Duration = Duration::from_secs(120);

/// Ends the test where this user cannot mount.
macro_rules! requires_mount {
    () => {
        if let Err(reason) = $crate::common::can_mount() {
            println!("skipped: {reason}");
            return;
        }
    };
}
pub(crate) use requires_mount;

/// Ends the test where there is no Python 3.11.
macro_rules! requires_python {
    () => {
        if let Err(reason) = $crate::common::can_run_python() {
            println!("skipped: {reason}");
            return;
        }
    };
}
pub(crate) use requires_python;
