//! How many descriptors the process may have.
//!
//! The soft limit is 1,024 nearly everywhere, for the sake of programs that use select(2), which
//! cannot express more. Nothing here does, and content that is partial takes two descriptors each,
//! so the limit is raised to what the administrator allows, as systemd.exec(5) asks of programs that
//! do not use select(2) (`LimitNOFILE=`).

use std::io;

/// Raises the soft limit to the hard one. Where that fails the node runs with fewer.
pub fn raise() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is whole and outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 {
        if limit.rlim_cur >= limit.rlim_max {
            return;
        }
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: as above.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
            return;
        }
    }
    let error = io::Error::last_os_error();
    tracing::warn!(%error, "the limit of descriptors could not be raised");
}
